"""Stage `plan`: a set's volume and prompts become one small file a block: only new ones are made.

The files are `data.block_plan`'s. Beside them `names.json` says which sense was chosen for each
ambiguous class name, with all scores.
"""

import argparse
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synthbridge.core.files import hash_file, read_json, write_json
from synthbridge.core.log import StageLog, progress, say
from synthbridge.core.settings import Sections
from synthbridge.data.block_plan import BlockPlan, Prompts, write_block_plan
from synthbridge.data.real import PreparedDataset, read_dataset
from synthbridge.data.shards import read_image
from synthbridge.data.synthetic import ALL, check_volume
from synthbridge.diffusion.prompts import learned_prompts, placeholders
from synthbridge.diffusion.settings import LEARNED, SyntheticSettings
from synthbridge.prompts.composing import compose_prompts
from synthbridge.prompts.lists import (
    PromptLists,
    find_lists,
    name_some,
    read_lists,
    read_own_prompts,
)
from synthbridge.prompts.senses import Choice, ambiguous, choose_sense
from synthbridge.prompts.templates import template_prompts

if TYPE_CHECKING:
    from synthbridge.clip.embedding import Clip

Chosen = dict[int, Choice]  # by label, of the classes whose names are ambiguous
COMPOSED = ("contextual", "stylised")  # prompts of the data set's lists


@dataclass(frozen=True, kw_only=True)
class PlanParams:
    """What the stage reads of params.yaml."""

    dataset: str
    source: str  # of the data set: its lists serve where its own name has none
    synthetic: SyntheticSettings
    placeholder: str  # stands for the style token; of it the words of classes are made
    images_per_block: int


@dataclass(frozen=True)
class PlanInputs:
    """What other stages made, and the folder of prompt files."""

    real: Path
    style: Path
    clip: Path
    generator: Path
    prompts: Path


def plan(params: PlanParams, inputs: PlanInputs, *, out: Path, num_blocks: int) -> None:
    """Write the plan of each block, `b0.json` and on; blocks above the volume hold nothing.

    Raises:
        ValueError: if the volume is above the blocks' capacity or no whole number of blocks, if
            a prompt file is wrong, or a prompt longer than the generator reads.
    """
    volume, size = params.synthetic.images_per_class, params.images_per_block
    log = StageLog("plan", f"{volume} images a class, {size} a block")
    check_volume(volume, size, num_blocks)
    real = read_dataset(inputs.real)
    styles = read_json(inputs.style / "index.json")  # subset -> hash of its words, or null
    writer = PromptWriter(params, real, inputs)
    choices = writer.choose_names(list(styles))
    prompts = {subset: writer.write(chosen) for subset, chosen in choices.items()}
    writer.check_lengths(prompts.values())
    for number in range(num_blocks):
        start, block = number * size, None
        if start < volume:
            block = BlockPlan(
                start=start,
                stop=start + size,
                class_names=real.class_names,
                guidance_scale=params.synthetic.guidance_scale,
                styles=styles,
                prompts=prompts,
                image_strength=params.synthetic.image_strength,
                starts=_hash_starts(params.synthetic, inputs.style, list(styles)),
                mix_gamma=params.synthetic.mix_gamma,
                tuned=params.synthetic.tuned,
            )
        write_block_plan(out / f"b{number}.json", block)
    write_json(out / "names.json", _describe_choices(choices, real.class_names))
    log.done(f"{num_blocks} block plans", out)


def _hash_starts(
    settings: SyntheticSettings, style: Path, subsets: Sequence[str]
) -> dict[str, str] | None:
    """Hash the real images that the images of each subset start from, if they do."""
    if settings.image_strength is None:
        return None
    return {subset: hash_file(style / f"{subset}.tar") for subset in subsets}


def _describe_choices(
    choices: Mapping[str, Chosen], class_names: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Return the choices of each subset by class name, as JSON holds them."""
    return {
        subset: {class_names[label]: asdict(choice) for label, choice in chosen.items()}
        for subset, chosen in choices.items()
        if chosen
    }


class PromptWriter:
    """Writes the candidate prompts of a set's classes, from lists that are read once."""

    def __init__(self, params: PlanParams, real: PreparedDataset, inputs: PlanInputs):
        """Read and check the prompt file that the set needs."""
        self.params, self.settings, self.inputs = params, params.synthetic, inputs
        self.real, self.class_names = real, real.class_names
        self.lists, self.own = PromptLists(), None
        if self.settings.prompt_file is not None:
            name = self.settings.prompt_file.replace("{dataset}", params.dataset)
            self.own = read_own_prompts(inputs.prompts / name, self.class_names)
        if self.settings.prompts in COMPOSED or self.settings.class_names == "disambiguated":
            self.lists = self._read_lists()

    def _read_lists(self) -> PromptLists:
        """Read the data set's lists.

        Raises:
            ValueError: if there are none, or none of the kind that is asked for.
        """
        dataset, kind = self.params.dataset, self.settings.prompts
        path = find_lists(self.inputs.prompts, dataset, self.params.source)
        lists = read_lists(path)
        if kind in COMPOSED and not getattr(lists, kind):
            raise ValueError(f"{path} has no pattern below {kind}; docs/prompts.md shows some")
        chooses = self.settings.class_names == "disambiguated"
        if chooses and not ambiguous(lists.senses, self.class_names):
            raise ValueError(
                f"{path} gives no class of {dataset} senses to choose from; add some, or write "
                "'class_names: plain'"
            )
        if unknown := lists.unknown_classes(self.class_names):
            say(f"  {path} also names {name_some(unknown)}, no class of {dataset}")
        return lists

    def choose_names(self, subsets: Sequence[str]) -> dict[str, Chosen]:
        """Choose the sense of each ambiguous name, once a subset.

        A subset sees what its runs may see: the k shots of its seed, or all of train; never a
        validation or test image. Plain names are the same for all subsets: nothing is chosen.
        """
        if self.settings.class_names == "plain":
            return {ALL: {}}
        from synthbridge.clip.embedding import load_clip
        from synthbridge.core.processes import start_accelerator

        with_seeds = {name: 0 if name == ALL else int(name[1:]) for name in subsets}
        with start_accelerator() as accelerator:
            clip = load_clip(self.inputs.clip, accelerator.device)
            return {subset: self._choose(clip, seed) for subset, seed in with_seeds.items()}

    def _choose(self, clip: "Clip", seed: int) -> Chosen:
        """Choose senses by the training images that a run with `seed` may see."""
        labels = ambiguous(self.lists.senses, self.class_names)
        assert self.settings.shots is not None
        seen = self.real.train_samples(self.settings.shots, seed)
        shown = [sample for sample in seen if sample.label in labels]
        reading = progress(shown, total=len(shown), what="reading real images", unit="image")
        images = clip.embed_images(np.asarray(read_image(sample)) for sample in reading)
        shown_labels = np.array([sample.label for sample in shown])
        return {
            label: choose_sense(
                images[shown_labels == label],
                {
                    sense: clip.embed_texts(template_prompts(sense))
                    for sense in self.lists.senses[self.class_names[label]]
                },
            )
            for label in labels
        }

    def write(self, chosen: Chosen) -> Prompts:
        """Return the candidate prompts of every class; `chosen` renames some."""
        if self.own is not None:
            return self.own
        if self.settings.prompts in LEARNED:
            kind, names = self.settings.prompts, self.class_names
            words = placeholders(kind, self.params.placeholder, len(names))
            return [[prompt] for prompt in learned_prompts(kind, names, words)]
        return [
            self._write_class(name, chosen[label].chosen if label in chosen else name)
            for label, name in enumerate(self.class_names)
        ]

    def _write_class(self, name: str, called: str) -> list[str]:
        """Write the prompts of one class; `called` is its name or a sense of it."""
        superclass = self.settings.superclass
        if self.settings.prompts == "template":
            apposition = "" if superclass is None else f", a type of {superclass}"
            return template_prompts(called + apposition)
        return compose_prompts(
            self.lists, self.settings.prompts, name, called=called, superclass=superclass
        )

    def check_lengths(self, prompts: Iterable[Prompts]) -> None:
        """Check that the generator reads every prompt whole, before an hour has gone into others.

        Raises:
            ValueError: if one is too long.
        """
        from synthbridge.diffusion.loading import load_reader

        read = load_reader(self.inputs.generator)
        words = placeholders(self.settings.prompts, self.params.placeholder, len(self.class_names))
        learned = re.compile("|".join(map(re.escape, words)))
        for per_class in prompts:
            # A learned word is one token, which this reader does not know: as `x` is.
            read([learned.sub("x", prompt) for candidates in per_class for prompt in candidates])


def main(arguments: list[str] | None = None) -> None:
    """Take the names and the paths that dvc.yaml names."""
    parser = argparse.ArgumentParser(prog="plan", description=__doc__)
    parser.add_argument("--dataset", required=True, help="a group below `data` in params.yaml")
    parser.add_argument("--set", required=True, help="a group below `synthetic` in params.yaml")
    for name in ("--real", "--style", "--clip", "--generator", "--prompts"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="for names.json, b0.json, ...")
    parser.add_argument("--num-blocks", type=int, required=True)
    args = parser.parse_args(arguments)
    sections = Sections()
    params = PlanParams(
        dataset=args.dataset,
        source=sections.read(str, f"data.{args.dataset}.source"),
        synthetic=sections.read(SyntheticSettings, f"synthetic.{args.set}"),
        placeholder=sections.read(str, "invert.placeholder"),
        images_per_block=sections.read(int, "generate.images_per_block"),
    )
    inputs = PlanInputs(args.real, args.style, args.clip, args.generator, args.prompts)
    plan(params, inputs, out=args.out, num_blocks=args.num_blocks)
