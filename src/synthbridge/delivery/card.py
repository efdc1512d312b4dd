"""The card of a delivered model: what it is, how it was chosen, what it reads, how to use it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from synthbridge.data.manifests import Shots
from synthbridge.delivery.model import Preprocessing

MEASURES = {"top1": "top-1 accuracy", "mean_per_class": "mean accuracy per class"}
# What `real_leg.select_on` says of the learning rate that all arms share.
RATES = {
    "validation": (
        "The same held-out images had chosen the learning rate, with plain fine-tuning alone."
    ),
    "test": (
        "**The learning rate was selected on test images** (`real_leg.select_on: test`), which "
        "flatters every accuracy below."
    ),
    "nothing": "No label chose the learning rate: there was one to choose from.",
}


@dataclass(frozen=True)
class Read:
    """What the models of an arm read of the held-out images, mean over seeds, percent."""

    arm: str
    set: str | None
    accuracy: float


@dataclass(frozen=True)
class Difference:
    """The arm against a reference on the test images, over all seeds: a row of the report."""

    reference: str
    accuracy: float  # of the reference, percent
    difference: float  # points
    low: float
    high: float


@dataclass(frozen=True)
class OnTest:
    """What is known of test images. Percent."""

    accuracy: float  # of the delivered model
    low: float  # over the choice of test images
    high: float
    mean: float  # of the arm, over seeds
    num_images: int
    confidence: float
    against: Sequence[Difference]


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """All that the card says."""

    dataset: str
    source: str  # what the real images are
    class_names: Sequence[str]
    counts: Mapping[str, int]  # images of each split
    shots: Shots
    seeds: Sequence[int]
    seed: int  # the median, which is delivered unless all are
    num_members: int  # models that answer together
    together: (
        float | None
    )  # what all seeds together read of held-out images, percent; None: unasked
    read: Sequence[Read]  # the candidates
    best: int  # among them
    num_close: int  # others that the held-out images cannot tell from the best
    measure: str
    selected_on: str  # the split that chose the learning rate
    origins: Sequence[str]  # of the images and the weights, a sentence each
    test: OnTest
    architecture: str
    preprocessing: Preprocessing
    tolerance: float  # of the ONNX file

    def choice(self) -> dict[str, Any]:
        """Return the choice for machines."""
        chosen = self.read[self.best]
        return {
            "arm": chosen.arm,
            "set": chosen.set,
            "shots": self.shots,
            "seed": self.seed,
            "seeds": list(self.seeds),
            "num_members": self.num_members,
            "together": None if self.together is None else round(self.together, 4),
            "measure": self.measure,
            "num_held_out": self.counts["validation"],
            "num_close": self.num_close,
            "candidates": [
                {"arm": read.arm, "set": read.set, "held_out": round(read.accuracy, 4)}
                for read in self.read
            ],
            "test": {
                "accuracy": round(self.test.accuracy, 4),
                "low": round(self.test.low, 4),
                "high": round(self.test.high, 4),
                "mean_over_seeds": round(self.test.mean, 4),
            },
        }


def write_card(card: ModelCard) -> str:
    """Return the card as Markdown, with the head that the Hugging Face hub reads."""
    parts = (_head, _what, _how_chosen, _results, _made_of, _inputs, _use)
    return "\n".join(part(card) for part in parts)


def _head(card: ModelCard) -> str:
    return f"""\
---
license: unknown
library_name: timm
pipeline_tag: image-classification
tags:
- image-classification
- timm
- onnx
---

# {card.dataset}: {card.architecture}
"""


def _what(card: ModelCard) -> str:
    names = ", ".join(card.class_names[:20])
    more = f" and {len(card.class_names) - 20} more" if len(card.class_names) > 20 else ""
    return f"""\
A classifier of {len(card.class_names)} classes: {names}{more}.

It reads {card.test.accuracy:.1f} % of {card.test.num_images} test images rightly \
({MEASURES[card.measure]}; {card.test.confidence:.0%} interval {card.test.low:.1f} to \
{card.test.high:.1f} %, over the choice of test images). Images that are unlike those of \
`{card.dataset}` may be read worse, and every image gets a class, also one that shows none of them.
"""


def _how_chosen(card: ModelCard) -> str:
    chosen, held_out = card.read[card.best], card.counts["validation"]

    def mark(read: Read) -> str:
        return "chosen" if read is chosen else ""

    rows = "\n".join(
        f"| {read.arm} | {read.set or ''} | {read.accuracy:.1f} | {mark(read)} |"
        for read in card.read
    )
    others = len(card.read) - 1
    return f"""\
## How it was chosen

{_name(chosen)} read {chosen.accuracy:.1f} % of {held_out} held-out training images, the mean over \
{_count(len(card.seeds), "seed")}: the best of {_count(len(card.read), "candidate")} at \
{_shots(card.shots)}. No model was trained on these images, and no test image had a part in the \
choice. {RATES[card.selected_on]}

The best of many looks better than it is, so {chosen.accuracy:.1f} % is too high a hope; the test \
result is not. {_closeness(card.num_close, others)}

{_members(card)}

| arm | set | held-out (%) | |
|---|---|---|---|
{rows}
"""


def _members(card: ModelCard) -> str:
    median = (
        f"Of the seeds, number {card.seed} is delivered, the median on these images: the best one "
        "would flatter, and any other might be a stroke of bad luck."
    )
    if card.together is None:
        return median
    read = f"All seeds together, their probabilities averaged, read {card.together:.1f} % of them"
    if card.num_members == 1:
        return f"{median} {read}, no better than one on average, so they are not delivered."
    return (
        f"{read}, better than one on average. So {_count(card.num_members, 'model')} are delivered "
        f"and asked by `predict` and `model.onnx`, in {card.num_members} times the time of one. "
        f"timm loads one of them, the median on these images (seed {card.seed}): its accuracy is "
        f"that of the arm below.{_seen_together(card)}"
    )


def _seen_together(card: ModelCard) -> str:
    """Say that few-shot models, each with images of its own, have together seen more of them."""
    if card.shots == "full":
        return ""
    most = card.num_members * int(card.shots)
    return (
        f" Each was trained on {_shots(card.shots)} of its own choice, so that together they have "
        f"seen up to {most}: what they read together is no result at {_shots(card.shots)}."
    )


def _closeness(num_close: int, others: int) -> str:
    if not others:
        return "There was nothing else to choose from."
    if not num_close:
        return f"All {others} others lie more than two standard errors (paired) below it."
    return (
        f"{num_close} of the {others} others lie within two standard errors (paired) of it: these "
        "images cannot tell them apart, and any of them might have been chosen."
    )


def _results(card: ModelCard) -> str:
    test = card.test
    rows = "\n".join(
        f"| {row.reference} | {row.accuracy:.1f} | {row.difference:+.1f} {_interval(row)} |"
        for row in test.against
    )
    table = f"""
| against | test (%) | difference, points [{test.confidence:.0%} interval] |
|---|---|---|
{rows}
"""
    return f"""\
## Test results

Over {_count(len(card.seeds), "seed")} the arm reads {test.mean:.1f} % of {test.num_images} test \
images. Below, it is compared with real images alone, image by image and seed by seed, as in the \
report: with plain fine-tuning (`vanilla`) and, where the report does so, with as many gradient \
steps on them (`vanilla_equal_steps`).
{table if test.against else ""}"""


def _interval(row: Difference) -> str:
    """Return the interval; too few seeds have none."""
    return "(no interval)" if math.isnan(row.low) else f"[{row.low:+.1f}, {row.high:+.1f}]"


def _made_of(card: ModelCard) -> str:
    lines = "\n".join(f"- {origin}" for origin in card.origins)
    counts = ", ".join(f"{count} {split}" for split, count in sorted(card.counts.items()))
    return f"""\
## What it was made of

- Real images: {card.source}; {counts}. Each run saw {_shots(card.shots)}.
{lines}
"""


def _inputs(card: ModelCard) -> str:
    seen = card.preprocessing
    reduced = ""
    if seen.max_side is not None:
        reduced = (
            f"Images with a shorter side above {seen.max_side} pixels are first reduced to it and "
            "stored anew, which timm does not do. "
        )
    mean, std = (", ".join(f"{v:.4g}" for v in values) for values in _statistics(seen))
    return f"""\
## Inputs

RGB, the shorter side resized to {seen.resize_size} pixels (bicubic, antialiased), the central \
{seen.image_size} x {seen.image_size} cut out, values in 0..1, less the mean ({mean}), divided by \
the standard deviation ({std}). `config.json` says so to timm. {reduced}`python src predict` \
prepares images as the pipeline does, to the bit. timm's transform does so with square images; of \
others it rounds the longer side and the place of the crop otherwise, by a pixel at most, which \
moves a probability the more the smaller the input is.

`model.onnx` takes such inputs, any number at a time, and gives probabilities, within \
{card.tolerance:g} of torch's.
"""


def _statistics(seen: Preprocessing) -> tuple[Sequence[float], Sequence[float]]:
    return seen.normalisation.mean, seen.normalisation.std


def _use(card: ModelCard) -> str:
    return """\
## Use

```sh
python src predict PHOTOS --model FOLDER    # in the repository that made it
```

```python
import timm, torch
from PIL import Image

name = "local-dir:FOLDER"  # or "hf-hub:OWNER/NAME", once it is uploaded
model = timm.create_model(name, pretrained=True).eval()
config = timm.data.resolve_data_config({}, model=model)
transform = timm.data.create_transform(**config)
image = transform(Image.open("photo.jpg").convert("RGB")).unsqueeze(0)
with torch.inference_mode():
    probabilities = model(image).softmax(1)[0]
names = model.pretrained_cfg["label_names"]
print(names[probabilities.argmax()], probabilities.max())
```

To upload: write the licence that you give it into the head of this file, in place of `unknown` \
(what it was made of, above, may bind you), then `hf upload OWNER/NAME FOLDER`.
"""


def _name(read: Read) -> str:
    return f"Arm `{read.arm}`" + (f" with set `{read.set}`" if read.set else ", without a set,")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _shots(shots: Shots) -> str:
    return "all training images" if shots == "full" else f"{_count(int(shots), 'image')} a class"
