"""Stage `probe`: how ready models are for the real task, before any of it is trained.

LEEP and LogME on the real training images, and the accuracy of a linear classifier on frozen
features, for the backbone and for every stage-one model.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from accelerate.utils import gather_object
from torch import nn

from synthbridge.data.real import SPLITS, PreparedDataset, read_dataset
from synthbridge.evidence.leep import leep
from synthbridge.evidence.logme import logme
from synthbridge.files import write_json
from synthbridge.progress import StageLog, progress
from synthbridge.stages.params import Params, read_params, source_name
from synthbridge.stages.processes import my_share, start_accelerator
from synthbridge.stages.trainings import load_samples, make_recipe
from synthbridge.training.classifier import load_backbone, load_classifier
from synthbridge.training.features import extract_features, fixed_feature_accuracy
from synthbridge.training.images import ImageSet
from synthbridge.training.loop import Recipe, predict
from synthbridge.training.team import Team

Row = dict[str, Any]


class Prober:
    """Measures models against one real data set, on all its training images."""

    def __init__(self, dataset: PreparedDataset, recipe: Recipe, team: Team):
        """Decode the splits."""
        self.recipe, self.team = recipe, team
        self.num_classes = len(dataset.class_names)
        size = recipe.settings.resize_size
        self.images: dict[str, ImageSet] = {
            split: load_samples(dataset.samples(split), size, team.device) for split in SPLITS
        }
        self.labels = {split: set_.labels.cpu().numpy() for split, set_ in self.images.items()}

    def leep(self, model: nn.Module) -> float:
        """Return LEEP of the model's own head on the real training images."""
        soft = predict(model, self.images["train"], self.recipe, self.team)
        return leep(soft, self.labels["train"], self.num_classes)

    def measures(self, model: nn.Module) -> dict[str, float]:
        """Return LEEP of the model's own head, and what its frozen features are worth.

        LEEP and LogME are read on the real training images, the accuracy of a linear classifier
        on the test images.
        """
        value = self.leep(model)
        model.to(self.team.device)
        features = {
            split: extract_features(model, images, self.recipe)
            for split, images in self.images.items()
        }
        return {
            "leep": value,
            "logme": logme(features["train"], self.labels["train"], self.num_classes),
            "fixed_feature_accuracy": fixed_feature_accuracy(features, self.labels),
        }


def probe_backbone(prober: Prober, backbone: Path, seeds: Sequence[int]) -> list[Row]:
    """Measure the backbone: with its own head, and with fresh ones (the random-head variant)."""
    pretrained = load_backbone(backbone, num_classes=None, seed=0)
    own = {"set": None, "source": None, "model": "upstream", "seed": None}
    rows = _rows(own, prober.measures(pretrained))
    for seed in seeds:
        fresh = load_backbone(backbone, num_classes=prober.num_classes, seed=seed)
        value = prober.leep(fresh)
        rows.append({**own, "seed": seed, "measure": "leep_random_head", "value": value})
    return rows


def probe_stage_one(prober: Prober, backbone: Path, checkpoint: Path) -> list[Row]:
    """Measure one stage-one model, named by its file NAME/sSEED.safetensors."""
    seed = int(checkpoint.stem.removeprefix("s"))
    model = load_backbone(backbone, num_classes=prober.num_classes, seed=seed)
    load_classifier(model, checkpoint)
    who = {"model": checkpoint.parent.name, "seed": seed}
    return _rows(who, prober.measures(model))


def _rows(who: Row, measures: dict[str, float]) -> list[Row]:
    return [{**who, "measure": name, "value": value} for name, value in measures.items()]


def probe(
    params: Params,
    *,
    dataset: str,
    real: Path,
    backbone: Path,
    stage_one: Sequence[Path],
    out: Path,
) -> None:
    """Write the measures of the backbone and of the stage-one models of all sets to `out`."""
    log = StageLog("probe: LEEP, LogME and fixed features of the backbone and stage-one models")
    with start_accelerator() as accelerator:
        prepared = read_dataset(real)
        recipe = make_recipe(params.training, backbone, prepared.flip)
        prober = Prober(prepared, recipe, Team(accelerator, rank=0, size=1))
        found = [(path.name, file) for path in stage_one for file in _checkpoints(path)]
        mine = my_share(accelerator, found)
        rows: list[Row] = []
        for name, file in progress(mine, total=len(mine), what="probing", unit="model"):
            settings = params.synthetic[name]
            about = {"set": name, "source": source_name(name, settings), "shots": settings.shots}
            rows += [{**about, **row} for row in probe_stage_one(prober, backbone, file)]
        rows = gather_object(rows)
        if accelerator.is_main_process:
            rows += probe_backbone(prober, backbone, params.seeds)
            rows.sort(key=str)  # the same order for any number of processes
            write_json(out, [{"dataset": dataset, **row} for row in rows])
    log.done(f"{len(rows)} measures", out)


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/*.safetensors"))


def main(arguments: list[str] | None = None) -> None:
    """Take the data set's name and the paths that dvc.yaml names."""
    parser = argparse.ArgumentParser(prog="probe", description=__doc__)
    parser.add_argument("--dataset", required=True, help="a group below `data` in params.yaml")
    for name in ("--real", "--backbone", "--out"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--stage-one", type=Path, nargs="*", default=[])
    probe(read_params(), **vars(parser.parse_args(arguments)))
