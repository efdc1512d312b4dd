"""What work costs: amounts of each kind of work, and the seconds that a device takes for one.

The stages say with these functions what they are about to do, `estimates` what all of them will.
Rates say how fast a machine is. They decide no byte: no stage depends on them, and this module is
left out of the keys of units, as those that only print.
"""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from synthbridge.diffusion.settings import InversionSettings, SamplingSettings
from synthbridge.settings import Settings, check_settings, read_yaml
from synthbridge.upstream.settings import BackboneFile, BackboneSettings, UpstreamSettings
from synthbridge.work import work_folder

Amounts = Mapping[str, float]  # kind of work -> how much of it
Seconds = Annotated[float, Field(ge=0)]

# Of one process; what every kind stands for is said in docs/planning.md.
DEVICE_KINDS = (
    "light_start", "training_start", "drawing_start", "embedding_start", "upstream_start",
    "embedded_image",
    "pool_image", "clip_row", "vae_row", "unet_row", "letter", "letter_row", "report",
)  # fmt: skip
GENERATOR_KINDS = ("encoded_image", "inverted_row", "denoised_row", "drawn_image")
BACKBONE_KINDS = (
    "training", "read_image", "gradient_step", "trained_row", "predicted_row", "probed_image",
)  # fmt: skip

COMMITTED = Path(__file__).with_name("rates.yaml")
MEASURED = "rates.yaml"  # in the work folder: this machine's own
NUM_READINGS = 11  # of an inversion's loss at fixed noise


class Rates(Settings):
    """Seconds that one process of a device takes for one of each kind of work."""

    device: str
    kind: Literal["cpu", "gpu"]
    source: Literal["measured", "predicted"]
    date: str  # of the measurement, or of the prediction
    seconds: dict[str, Seconds]
    generators: dict[str, dict[str, Seconds]]  # by name, as `generator_name` gives it
    backbones: dict[str, dict[str, Seconds]]
    bytes: dict[str, dict[str, float]] = Field(default_factory=dict)  # of the file, by model

    def of(self, generator: str | None, backbone: str) -> dict[str, float]:
        """Return the seconds of every kind, with these models.

        Raises:
            ValueError: if the device has not been measured with one of them.
        """
        seconds = dict(self.seconds)
        for what, name, known in (("generator", generator, self.generators),
                                  ("backbone", backbone, self.backbones)):  # fmt: skip
            if name is None:
                continue
            if name not in known:
                raise ValueError(
                    f"no rate of {what} '{name}' on {self.device} (known: {', '.join(known)}); "
                    "'python src estimate --measure' measures this machine with it"
                )
            seconds |= known[name]
        return seconds

    @property
    def origin(self) -> str:
        """Where the rates come from, in words."""
        return f"{self.device}, {self.source} {self.date}"


class RatesFile(Settings):
    """rates.yaml."""

    devices: dict[str, Rates]  # by a short name
    bytes: dict[str, dict[str, float]]  # by model: what one image or model of it takes on a disk


def read_rates() -> dict[str, Rates]:
    """Read the rates of all devices: this machine's own first, then the committed ones."""
    paths = [path for path in (COMMITTED, work_folder() / MEASURED) if path.is_file()]
    files = [check_settings(RatesFile, read_yaml(path), "", file=str(path)) for path in paths]
    sizes = {model: sizes for file in files for model, sizes in file.bytes.items()}
    found = {name: rates for file in reversed(files) for name, rates in file.devices.items()}
    return {name: rates.model_copy(update={"bytes": sizes}) for name, rates in found.items()}


def choose_rates(kind: str, generator: str | None, backbone: str | None) -> Rates | None:
    """Return the first rates of a `kind` of device that know the models; None: there are none."""
    for rates in read_rates().values():
        knows_generator = generator is None or generator in rates.generators
        knows_backbone = backbone is None or backbone in rates.backbones
        if rates.kind == kind and knows_generator and knows_backbone:
            return rates
    return None


def generator_name(upstream: UpstreamSettings) -> str | None:
    """Return what rates call the generator: the hub's name, or miniature."""
    return getattr(upstream.generator, "hub", "miniature") if upstream.generator else None


def backbone_name(upstream: UpstreamSettings, image_size: int) -> str:
    """Return what rates call the backbone: its architecture, and the pixels that it sees."""
    backbone = upstream.backbone
    if isinstance(backbone, BackboneSettings | BackboneFile):
        return f"{backbone.model} {image_size}"
    # resnet18.tv_in1k, timm/resnet18.tv_in1k: the weights' tag changes no cost.
    return f"{backbone.hub.rpartition('/')[2].partition('.')[0]} {image_size}"


def add(*amounts: Amounts) -> dict[str, float]:
    """Sum amounts kind by kind."""
    summed: dict[str, float] = {}
    for part in amounts:
        for kind, amount in part.items():
            summed[kind] = summed.get(kind, 0) + amount
    return summed


def drawing(num_images: int, sampling: SamplingSettings, guidance_scale: float) -> Amounts:
    """Images: a guided step takes two rows through the UNet, any other one."""
    guided = round(sampling.guided_share * sampling.num_steps) if guidance_scale != 1 else 0
    rows = num_images * (sampling.num_steps + guided)
    return {"denoised_row": rows, "drawn_image": num_images}


def style(num_images: int, invert: InversionSettings, grid: Amounts) -> Amounts:
    """One style token, learned from `num_images`; `grid` is what its samples take to draw."""
    # A reading goes forward only, a third of a step.
    rows = (invert.num_steps + NUM_READINGS / 3) * invert.batch_size
    return add({"encoded_image": num_images, "inverted_row": rows}, grid)


def leg(num_images: int, num_steps: int, batch_size: int) -> Amounts:
    """Gradient steps on `num_images` in batches of nearly equal size."""
    rows = num_images / math.ceil(num_images / batch_size)
    return {"gradient_step": num_steps, "trained_row": num_steps * rows}


def total(amounts: Amounts, each: Mapping[str, float]) -> float:
    """Return what all amounts take together: seconds of one process, or bytes."""
    return sum(amount * each[kind] for kind, amount in amounts.items())


def seconds_of_units(
    units: Sequence[Amounts], seconds: Mapping[str, float], processes: int, shared: bool
) -> float:
    """Return the seconds until the last of several processes has done its units.

    Args:
        units: each is taken whole by one process: every n-th by the same, as `my_share` deals.
        seconds: of one of each kind of work.
        processes: how many there are.
        shared: fewer units than processes are shared by all of them (trainings).
    """
    each = [total(unit, seconds) for unit in units]
    if shared and len(each) < processes:
        return sum(each) / processes
    return max((sum(each[rank::processes]) for rank in range(processes)), default=0.0)


def device_kind() -> Literal["cpu", "gpu"]:
    """Say which kind of device the stages will find, without loading torch where it is not."""
    from synthbridge.stages.gpus import visible_gpus

    return "gpu" if visible_gpus() else "cpu"


def cache_bytes() -> int:
    """Return how many bytes of decoded images stay in memory: SYNTHBRIDGE_CACHE_GIB (16)."""
    return int(float(os.environ.get("SYNTHBRIDGE_CACHE_GIB", "16")) * 2**30)
