"""A budget: the largest experiment that fits so many hours of one GPU, by its predicted speeds."""

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from synthbridge.core.settings import check_settings
from synthbridge.forecast.estimates import count_work, predict
from synthbridge.forecast.sizes import DatasetSize
from synthbridge.forecast.speeds import Card, Speeds, read_cards, read_speeds
from synthbridge.params import Params


@dataclass(frozen=True)
class Scale:
    """How large an experiment is, beside Bridged's own (arXiv:2403.19866)."""

    images_per_class: int  # of every synthetic set; paper: 1,000
    inversion_steps: int  # paper: 20,000
    stage_one_epochs: int  # paper: 150
    real_epochs: int  # on all real images; paper: 150
    num_seeds: int  # paper: three

    def gives_up(self) -> str:
        """Say what is less than the paper's, in a line."""
        papers = {
            f"{self.images_per_class:,} images a class (1,000)": self.images_per_class < 1000,
            f"{self.inversion_steps:,} steps of inversion (20,000)": self.inversion_steps < 20_000,
            f"{self.stage_one_epochs} epochs in stage one (150)": self.stage_one_epochs < 150,
            f"{self.real_epochs} on real images (150)": self.real_epochs < 150,
        }
        return ", ".join(line for line, is_less in papers.items() if is_less)


SCALES = (  # the largest first; chosen: volume falls before seeds, which the interval needs
    Scale(1000, 10_000, 30, 150, 5),
    Scale(600, 6000, 30, 150, 5),
    Scale(400, 4000, 20, 100, 5),
    Scale(300, 3000, 20, 100, 5),
    Scale(200, 3000, 20, 100, 3),
    Scale(150, 2000, 20, 60, 3),
    Scale(100, 2000, 20, 60, 3),
    Scale(50, 1000, 20, 40, 3),
    Scale(25, 1000, 20, 30, 3),
)


def find_card(words: str) -> tuple[str, Card]:
    """Return the card that `--gpu` means: its name, or GB of memory (24GB: the slowest with it).

    Raises:
        ValueError: if none is meant.
    """
    cards = read_cards()
    name = words.lower().replace(" ", "").removeprefix("nvidia")
    name = f"rtx{name}" if f"rtx{name}" in cards else name
    if name in cards:
        return name, cards[name]
    if found := re.fullmatch(r"(\d{1,3})(gb|gib)?", name):
        fitting = {key: card for key, card in cards.items() if card.memory <= float(found[1])}
        if fitting:
            most = max(card.memory for card in fitting.values())
            slowest = min(
                (key for key, card in fitting.items() if card.memory == most),
                key=lambda key: fitting[key].tflops,
            )
            return slowest, fitting[slowest]
    known = ", ".join(f"{key} ({card.memory:g}GB)" for key, card in cards.items())
    raise ValueError(f"--gpu is '{words}'; choose from {known}, or give its memory as 24GB")


def card_speeds(name: str) -> Speeds:
    """Return the speeds of a card."""
    return read_speeds()[name]


def fit_hours(
    values: Mapping[str, Any], sizes: Mapping[str, DatasetSize], speeds: Speeds, hours: float
) -> tuple[Scale, float]:
    """Return the largest scale whose whole run takes at most `hours`, and the hours that it takes.

    Args:
        values: of a whole params.yaml.
        sizes: of the data sets.
        speeds: of the GPU.
        hours: above 0.

    Raises:
        ValueError: if even the smallest takes longer; says how long.
    """
    taken = 0.0
    for scale in SCALES:
        taken = predict(count_work(at_scale(values, scale), sizes), speeds).seconds / 3600
        if taken <= hours:
            return scale, taken
    raise ValueError(
        f"the smallest experiment takes {taken:.1f} hours on {speeds.device} ({speeds.basis}), and "
        f"--hours is {hours:g}; give it more hours or a faster GPU, or take fewer classes"
    )


def scale_of(params: Params) -> Scale:
    """Return the scale that settings are at."""
    return Scale(
        max(settings.images_per_class for settings in params.synthetic.values()),
        params.invert.num_steps,
        max(settings.num_epochs or 0 for settings in params.stage_one.values()),
        params.real_leg.num_epochs,
        len(params.seeds),
    )


def at_scale(values: Mapping[str, Any], scale: Scale) -> Params:
    """Return the settings of a params.yaml at a scale."""
    scaled = copy.deepcopy(dict(values))
    for key, value in scaled_settings(scale, values).items():
        *groups, name = key.split(".")
        group = scaled
        for each in groups:
            group = group[each]
        group[name] = value
    return check_settings(Params, scaled, "")


def scaled_settings(scale: Scale, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a scale says of a profile: dotted keys and their values.

    Args:
        scale: the scale.
        values: of the profile.
    """
    volume = scale.images_per_class
    settings: dict[str, Any] = {
        **{
            f"{kind}.{name}.images_per_class": volume
            for kind in ("synthetic", "retrieved")
            for name in values[kind]
        },
        "generate.images_per_block": volume,
        "invert.num_steps": scale.inversion_steps,
        "real_leg.num_epochs": scale.real_epochs,
        "real_leg.num_epochs_few_shot": min(100, scale.real_epochs),
        "seeds": list(range(scale.num_seeds)),
    }
    for name in values["stage_one"]:
        settings[f"stage_one.{name}.num_epochs"] = scale.stage_one_epochs
        settings[f"stage_one.{name}.images_per_class"] = volume
    return settings
