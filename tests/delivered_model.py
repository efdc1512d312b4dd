"""A small study with its final models, and what `deliver` makes of it."""

import itertools
from pathlib import Path

import pytest
import torch
from evidence.simulated import SETTINGS

from quarters import make_source, training_settings, write_backbone, write_dataset
from synthbridge.core.files import write_json
from synthbridge.delivery.settings import DeliverSettings
from synthbridge.stages.deliver import DeliverInputs, DeliverParams, deliver
from synthbridge.stages.finetune import FinetuneInputs, FinetuneParams, finetune
from synthbridge.training.images import ImageSet
from synthbridge.training.settings import LegSettings, RealLegSettings
from synthbridge.upstream.settings import UpstreamSettings

SEEDS = (0, 1, 2)
MINIATURE = {
    "pool": None,
    "clip": None,
    "generator": None,
    "backbone": {
        "model": "test_resnet",
        "input_size": 16,
        "num_images": 26,
        "num_steps": 1,
        "batch_size": 2,
        "learning_rate": 0.1,
        "seed": 0,
    },
}


def make_study(tmp_path_factory, **settings) -> tuple[Path, DeliverParams]:
    """Train final models in a folder of their own, as `write_study` does."""
    root = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SYNTHBRIDGE_WORK", str(root / "work"))
        return root, write_study(root, **settings)


def write_study(
    root: Path, *, rate: float = 0.05, shift_test: int = 0, **training
) -> DeliverParams:
    """Train final models on bright quarters below `root`; return what `deliver` is run with.

    Args:
        root: an empty folder.
        rate: at which the arm `vanilla` learns; another arm, `hardly`, learns nothing.
        shift_test: is added to the classes of most test images, so that learning reads them worse.
        training: settings to change.
    """
    splits = {
        split: make_source("real", count, seed=len(split))
        for split, count in (("train", 16), ("validation", 40), ("test", 200))
    }
    test = splits["test"]
    shifted = shift_test * (torch.arange(len(test)) < 0.9 * len(test))
    splits["test"] = ImageSet(test.images, (test.labels + shifted) % 4)
    write_dataset(root / "real", splits)
    write_backbone(root / "backbone", seed=7)
    settings = training_settings(**training)
    rates = {"vanilla": rate, "hardly": 1e-6}
    for arm, rate in rates.items():
        write_json(root / "rates.json", {"full": {"learning_rate": rate, "held_out_accuracy": {}}})
        leg = RealLegSettings(
            learning_rates=[rate], select_on="validation", num_epochs=30, num_epochs_few_shot=1
        )
        finetune(
            FinetuneParams(
                {arm: [LegSettings(train_on="real")]}, ["full"], SEEDS, settings, leg, {}
            ),
            FinetuneInputs(root / "real", root / "backbone", root / "rates.json"),
            labels={"dataset": "quarters", "set": None, "method": "real"},
            models=root / "models/real",
            results=root / "results/real",
        )
    write_json(root / "results/real/index.json", {"num_runs": len(rates) * len(SEEDS)})
    return DeliverParams(
        dataset="quarters",
        source="folder",
        deliver=DeliverSettings(ensemble=False),
        training=settings,
        report=SETTINGS,
        max_side=None,
        sets=[],
        made_of={},
        upstream=UpstreamSettings.model_validate(MINIATURE),
    )


def run_deliver(root: Path, params: DeliverParams, out: Path) -> Path:
    """Run the stage on what `write_study` left."""
    names = ("real", "backbone", "models", "results")
    deliver(params, DeliverInputs(*(root / name for name in names)), out=out)
    return out


def changed(*folders: Path) -> set[str]:
    """Return the names of files whose bytes differ between folders."""
    names = {path.name for folder in folders for path in folder.iterdir()}
    pairs = itertools.pairwise(folders)
    return {n for a, b in pairs for n in names if (a / n).read_bytes() != (b / n).read_bytes()}
