"""How fast a machine is: seconds that one process takes for one of each kind of work.

docs/planning.md says what each kind of work is.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from synthbridge.core.settings import Settings, check_settings, read_yaml
from synthbridge.core.units import work_folder
from synthbridge.running.gpus import visible_gpus
from synthbridge.upstream.settings import BackboneFile, BackboneSettings, UpstreamSettings

Seconds = Annotated[float, Field(ge=0)]

DEVICE_KINDS = (
    "light_start",
    "training_start",
    "embedding_start",
    "upstream_start",
    "pool_image",
    "clip_row",
    "vae_row",
    "unet_row",
    "letter",
    "letter_row",
    "embedded_image",
    "examination",
    "tuned_row",
    "report",
)
GENERATOR_KINDS = (
    "load_generator",
    "encoded_image",
    "inverted_row",
    "denoised_row",
    "drawn_image",
)
BACKBONE_KINDS = (
    "training",
    "read_image",
    "gradient_step",
    "trained_row",
    "predicted_row",
    "probed_image",
)

# What a card computes; the rest is the CPU's beside it, or the disk's.
ON_THE_CARD = (
    *("encoded_image", "inverted_row", "denoised_row", "drawn_image"),
    *("trained_row", "predicted_row", "probed_image"),
)
# Generators that are told the guidance scale, at one row a step: known before they are fetched.
TOLD_SCALE = ("black-forest-labs/FLUX.1-dev",)
REFERENCE = "h200"  # the card whose seconds the others' follow from

COMMITTED = Path(__file__).with_name("speeds.yaml")
MEASURED = "speeds.yaml"  # in the work folder: this machine's own


class Speeds(Settings):
    """Seconds that one process of a device takes for one of each kind of work."""

    device: str
    kind: Literal["cpu", "gpu"]
    basis: Literal["measured", "predicted"]
    date: str  # of the measurement, or of the prediction
    seconds: dict[str, Seconds]
    generators: dict[str, dict[str, Seconds]]  # by name, as `generator_name` gives it
    backbones: dict[str, dict[str, Seconds]]
    bytes: dict[str, dict[str, float]] = Field(default_factory=dict)  # of the file, by model

    def of(self, generator: str | None, backbone: str | None) -> dict[str, float]:
        """Return the seconds of every kind, with these models; None: of none.

        Raises:
            ValueError: if the device has not been measured with one of them.
        """
        seconds = dict(self.seconds)
        for what, name, known in (
            ("generator", generator, self.generators),
            ("backbone", backbone, self.sized_backbones(backbone)),
        ):
            if name is None:
                continue
            if name not in known:
                raise ValueError(
                    f"no speed of {what} '{name}' on {self.device} (known: {', '.join(known)}); "
                    "'python src estimate --measure' measures this machine with it"
                )
            seconds |= known[name]
        return seconds

    def sized_backbones(self, name: str | None) -> dict[str, dict[str, Seconds]]:
        """Return the backbones, and `name` too where it is known at another number of pixels.

        A convolution's work goes with the pixels.
        """
        known = same_model(self.backbones, name)
        if name is None or known is None or name == known:
            return self.backbones
        pixels, of_known = (int(each.rpartition(" ")[2]) ** 2 for each in (name, known))
        scaled = {
            kind: value * (pixels / of_known if kind in ON_THE_CARD else 1)
            for kind, value in self.backbones[known].items()
        }
        return {**self.backbones, name: scaled}

    def sizes_of(self, name: str) -> Mapping[str, float]:
        """Return what one file of a model takes, whatever the pixels that it sees."""
        return self.bytes.get(same_model(self.bytes, name) or "", {})

    @property
    def origin(self) -> str:
        """Where the speeds come from, in words."""
        return f"{self.device}, {self.basis} {self.date}"


def same_model(known: Iterable[str], name: str | None) -> str | None:
    """Return the name in `known` of the same model: itself, or a backbone that sees other sizes."""
    if name is None or name in known:
        return name
    model, _, pixels = name.rpartition(" ")
    of_model = (each for each in known if model and each.rpartition(" ")[0] == model)
    return next(of_model, None) if pixels.isdigit() else None


class Card(Settings):
    """A GPU as its data sheet says."""

    device: str
    tflops: Annotated[float, Field(gt=0)]  # dense, in the format that we compute in there
    memory: Annotated[float, Field(gt=0)]  # GB


class SpeedsFile(Settings):
    """speeds.yaml."""

    devices: dict[str, Speeds]  # by a short name
    cards: dict[str, Card] = Field(default_factory=dict)  # by a short name
    bytes: dict[str, dict[str, float]]  # by model: what one image or model of it takes on a disk

    @model_validator(mode="after")
    def _every_kind_has_a_speed(self) -> "SpeedsFile":
        for name, speeds in self.devices.items():
            _check_kinds(f"devices.{name}.seconds", speeds.seconds, DEVICE_KINDS)
            for model, seconds in speeds.generators.items():
                _check_kinds(f"devices.{name}.generators.{model}", seconds, GENERATOR_KINDS)
            for model, seconds in speeds.backbones.items():
                _check_kinds(f"devices.{name}.backbones.{model}", seconds, BACKBONE_KINDS)
        return self


def _check_kinds(where: str, seconds: Mapping[str, float], kinds: Sequence[str]) -> None:
    if missing := [kind for kind in kinds if kind not in seconds]:
        raise ValueError(
            f"{where} lacks {', '.join(missing)}; add the seconds, or measure this machine again "
            "with 'python src estimate --measure'"
        )


def read_speeds_file(path: Path) -> SpeedsFile:
    """Read and check one file of speeds."""
    return check_settings(SpeedsFile, read_yaml(path), "", file=str(path))


def read_speeds() -> dict[str, Speeds]:
    """Read the speeds of all devices: this machine's own first, then the committed ones."""
    paths = [path for path in (COMMITTED, work_folder() / MEASURED) if path.is_file()]
    files = [read_speeds_file(path) for path in paths]
    sizes = {model: sizes for file in files for model, sizes in file.bytes.items()}
    found = {name: speeds for file in reversed(files) for name, speeds in file.devices.items()}
    cards = read_cards()
    for name in [name for name in cards if name not in found]:
        found[name] = _scaled(found[REFERENCE], cards[name], cards[REFERENCE])
    return {name: speeds.model_copy(update={"bytes": sizes}) for name, speeds in found.items()}


def read_cards() -> dict[str, Card]:
    """Read the cards whose speeds are predicted from their data sheets, by a short name."""
    return read_speeds_file(COMMITTED).cards


def _scaled(reference: Speeds, card: Card, reference_card: Card) -> Speeds:
    """Predict a card's speeds: it reaches the same fraction of its data sheet as the reference."""
    factor = reference_card.tflops / card.tflops

    def scale(seconds: Mapping[str, float]) -> dict[str, float]:
        return {
            kind: value * factor if kind in ON_THE_CARD else value
            for kind, value in seconds.items()
        }

    return reference.model_copy(
        update={
            "device": card.device,
            "basis": "predicted",
            "generators": {name: scale(each) for name, each in reference.generators.items()},
            "backbones": {name: scale(each) for name, each in reference.backbones.items()},
        }
    )


def choose_speeds(kind: str, generator: str | None, backbone: str | None) -> Speeds | None:
    """Return the first speeds of a `kind` of device that know the models; None: there are none."""
    for speeds in read_speeds().values():
        knows_generator = generator is None or generator in speeds.generators
        knows_backbone = backbone is None or backbone in speeds.sized_backbones(backbone)
        if speeds.kind == kind and knows_generator and knows_backbone:
            return speeds
    return None


def generator_name(upstream: UpstreamSettings) -> str | None:
    """Return what speeds call the generator: the hub's name, or miniature."""
    return getattr(upstream.generator, "hub", "miniature") if upstream.generator else None


def backbone_name(upstream: UpstreamSettings, image_size: int) -> str:
    """Return what speeds call the backbone: its architecture, and the pixels that it sees."""
    backbone = upstream.backbone
    if isinstance(backbone, BackboneSettings | BackboneFile):
        return f"{backbone.model} {image_size}"
    # resnet18.tv_in1k, timm/resnet18.tv_in1k: the weights' tag changes no cost.
    return f"{backbone.hub.rpartition('/')[2].partition('.')[0]} {image_size}"


def device_kind() -> Literal["cpu", "gpu"]:
    """Say which kind of device the stages will find, without loading torch."""
    return "gpu" if visible_gpus() else "cpu"
