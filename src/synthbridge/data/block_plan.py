"""The plan of a block: which images a set holds between two indices, and what they are drawn from.

`plan` writes one JSON file a block, `generate` reads it. A block above the set's volume holds no
image, and its file says just that, whatever else changes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from synthbridge.core.files import read_json, write_json
from synthbridge.data.synthetic import ALL

Prompts = list[list[str]]  # of each class its candidates, of which an image draws one


@dataclass(frozen=True, kw_only=True)
class BlockPlan:
    """What decides the images of one block, besides the generator and how it samples."""

    start: int  # first image index of each class
    stop: int
    class_names: Sequence[str]
    guidance_scale: float
    # Of each subset the hash of what it has learned, words or LoRAs, or None.
    styles: Mapping[str, str | None]
    # A learned word's placeholder stands in its prompts. By subset where class names were chosen by
    # each seed's own shots; else all subsets share those of `all`.
    prompts: Mapping[str, Prompts]
    image_strength: float | None = None  # None: images start from noise alone
    starts: Mapping[str, str] | None = None  # else of each subset the hash of its real images
    mix_gamma: float | None = None  # images start from other classes, by Diff-Mix
    tuned: Literal["dataset", "class"] | None = None  # what each LoRA is of; None: words, if any

    def candidates(self, subset: str, label: int) -> list[str]:
        """Return the prompts that an image of a class draws one of."""
        return self.prompts[ALL if ALL in self.prompts else subset][label]

    def num_images(self) -> int:
        """Count the images of all classes and subsets."""
        return len(self.styles) * len(self.class_names) * (self.stop - self.start)


def write_block_plan(path: Path, plan: BlockPlan | None) -> None:
    """Write the plan of a block; None: the block holds no image."""
    if plan is None:
        write_json(path, {"start": 0, "stop": 0})
        return
    values: dict[str, Any] = {
        "start": plan.start,
        "stop": plan.stop,
        "class_names": list(plan.class_names),
        "guidance_scale": plan.guidance_scale,
        "styles": plan.styles,
    }
    if ALL in plan.prompts:
        values["prompts"] = plan.prompts[ALL]
    else:
        values["prompts_by_subset"] = plan.prompts
    if plan.image_strength is not None:
        values |= {"image_strength": plan.image_strength, "starts": plan.starts}
    if plan.mix_gamma is not None:
        values["mix_gamma"] = plan.mix_gamma
    if plan.tuned is not None:
        values["tuned"] = plan.tuned
    write_json(path, values)


def read_block_plan(path: Path) -> BlockPlan | None:
    """Read the plan of a block; None: the block holds no image."""
    values = read_json(path)
    if values["start"] == values["stop"]:
        return None
    shared = values.pop("prompts", None)
    by_subset = values.pop("prompts_by_subset", None)
    return BlockPlan(prompts=by_subset or {ALL: shared}, **values)
