"""Stage `probe`: how ready models are for the real task, before any of it is trained.

LEEP and LogME on the real training images, and the accuracy of a linear classifier on frozen
features, for the backbone and for every stage-one model; of these, if params.yaml says so, also the
accuracy of their own heads on test images with one cue left, texture or shape.
"""

import argparse
import copy
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
from synthbridge.stages.run_metrics import write_probe_metrics
from synthbridge.stages.trainings import load_samples, make_recipe, recorded_recipe
from synthbridge.training.accuracy import top1
from synthbridge.training.classifier import load_backbone, load_classifier
from synthbridge.training.cues import one_cue_sets
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
        self.one_cue: dict[str, ImageSet] = {}

    def add_cues(self) -> None:
        """Make the test images with texture alone and with shape alone."""
        self.one_cue = dict(one_cue_sets(self.images["test"], seed=0))

    def under(self, recipe: Recipe) -> "Prober":
        """Return a prober of the same images that makes inputs by another recipe."""
        other = copy.copy(self)
        other.recipe = recipe
        return other

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

    def cue_accuracies(self, model: nn.Module) -> dict[str, float]:
        """Return the accuracy of the model's own head on test images with one cue each."""
        return {
            f"{cue}_accuracy": top1(
                predict(model, images, self.recipe, self.team), self.labels["test"]
            )
            for cue, images in self.one_cue.items()
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
    prober = prober.under(recorded_recipe(prober.recipe, checkpoint))
    who = {"model": checkpoint.parent.name, "seed": seed}
    return _rows(who, {**prober.measures(model), **prober.cue_accuracies(model)})


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
    metrics: Path | None = None,
) -> None:
    """Write the measures of the backbone and of the stage-one models of all sets to `out`.

    `metrics` is a small file of the same, for git.
    """
    log = StageLog("probe: LEEP, LogME and fixed features of the backbone and stage-one models")
    with start_accelerator() as accelerator:
        prepared = read_dataset(real)
        recipe = make_recipe(params.training, backbone, prepared.flip)
        prober = Prober(prepared, recipe, Team(accelerator, rank=0, size=1))
        if params.probe.cues:
            prober.add_cues()
        found = [(path.name, file) for path in stage_one for file in _checkpoints(path)]
        mine = my_share(accelerator, found)
        rows: list[Row] = []
        for name, file in progress(mine, total=len(mine), what="probing", unit="model"):
            settings = params.set_settings(name)
            about = {"set": name, "source": source_name(name, settings), "shots": settings.shots}
            rows += [{**about, **row} for row in probe_stage_one(prober, backbone, file)]
        rows = gather_object(rows)
        if accelerator.is_main_process:
            rows += probe_backbone(prober, backbone, params.seeds)
            rows.sort(key=str)  # the same order for any number of processes
            write_json(out, [{"dataset": dataset, **row} for row in rows])
            if metrics:
                write_probe_metrics(metrics, rows)
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
    parser.add_argument("--metrics", type=Path, help="a small file of the same, for git")
    probe(read_params(), **vars(parser.parse_args(arguments)))
