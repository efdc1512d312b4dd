"""Stage `probe`: how ready models are for the real task, before any of it is trained.

LEEP and LogME on the real training images, and the accuracy of linear heads on frozen features, for
the backbone and for every stage-one model; of these, if params.yaml says so, also the accuracy of
their own heads on test images with one cue left, texture or shape.
"""

import argparse
import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate.utils import gather_object
from torch import Tensor, nn

from synthbridge.core.files import write_json
from synthbridge.core.log import StageLog, progress
from synthbridge.core.processes import my_share, start_accelerator
from synthbridge.core.settings import Sections
from synthbridge.data.real import SPLITS, PreparedDataset, read_dataset
from synthbridge.data.run_metrics import write_probe_metrics
from synthbridge.data.synthetic import NamedSet, read_named_set
from synthbridge.evidence.leep import leep
from synthbridge.evidence.logme import logme
from synthbridge.training.accuracy import top1
from synthbridge.training.classifier import load_backbone, load_classifier
from synthbridge.training.cues import one_cue_sets
from synthbridge.training.features import extract_features, fixed_feature_accuracies
from synthbridge.training.heads import HeadRecipe, fresh_head, linear_head
from synthbridge.training.images import ImageSet, load_samples
from synthbridge.training.loop import predict
from synthbridge.training.recipe import Recipe, make_recipe, recorded_recipe
from synthbridge.training.settings import ProbeSettings, TrainingSettings
from synthbridge.training.team import Team

Row = dict[str, Any]


@dataclass(frozen=True)
class ProbeParams:
    """What the stage reads of params.yaml."""

    probe: ProbeSettings
    training: TrainingSettings
    learning_rates: Sequence[float]  # of linear heads
    seeds: Sequence[int]
    sets: Mapping[str, NamedSet]


def probe(
    params: ProbeParams,
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
    log = StageLog("probe", "LEEP, LogME and fixed features of the backbone and stage-one models")
    with start_accelerator() as accelerator:
        prepared = read_dataset(real)
        recipe = make_recipe(params.training, backbone, prepared.flip)
        prober = Prober(
            prepared,
            recipe,
            Team(accelerator, rank=0, size=1),
            learning_rates=params.learning_rates,
            num_epochs=params.probe.num_epochs,
        )
        if params.probe.cues:
            prober.add_cues()
        found = [(path.name, folder) for path in stage_one for folder in _models(path)]
        mine = my_share(accelerator, found)
        rows: list[Row] = []
        for name, folder in progress(mine, total=len(mine), what="probing", unit="model"):
            of_set = params.sets[name]
            about = {"set": name, "method": of_set.method, "shots": of_set.shots}
            rows += [{**about, **row} for row in probe_stage_one(prober, backbone, folder)]
        rows = gather_object(rows)
        if accelerator.is_main_process:
            rows += probe_backbone(prober, backbone, params.seeds)
            rows.sort(key=str)  # the same order for any number of processes
            write_json(out, [{"dataset": dataset, **_rounded(row)} for row in rows])
            if metrics:
                write_probe_metrics(metrics, rows)
    log.done(f"{len(rows)} measures", out)


def _models(folder: Path) -> list[Path]:
    """List the folders of stage-one models of a set, one a name."""
    return sorted({file.parent for file in folder.glob("*/*.safetensors")})


def _rounded(row: Row) -> Row:
    """Round LEEP and LogME to six significant digits: sums in single precision bear no more.

    The digits behind differ between models of CPU. Accuracies are counts over counts, and exact.
    """
    if row["measure"].endswith("_accuracy"):
        return row
    return {**row, "value": float(f"{row['value']:.6g}")}


class Prober:
    """Measures models against one real data set, on all its training images."""

    def __init__(
        self,
        dataset: PreparedDataset,
        recipe: Recipe,
        team: Team,
        *,
        learning_rates: Sequence[float],
        num_epochs: int,
    ):
        """Decode the splits; rates and epochs are those of linear heads on frozen features."""
        self.recipe, self.team = recipe, team
        self.head_recipe = HeadRecipe(recipe.settings, learning_rates, num_epochs)
        # What chose the rate of linear heads; records of the accuracies that it led to say so.
        self.selected_on = "validation" if len(learning_rates) > 1 else "nothing"
        self.num_classes = len(dataset.class_names)
        size = recipe.settings.resize_size
        self.images: dict[str, ImageSet] = {
            split: load_samples(dataset.samples(split), size, team.device) for split in SPLITS
        }
        self.labels = {split: set_.labels for split, set_ in self.images.items()}
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
        return leep(soft, self.labels["train"].cpu().numpy(), self.num_classes)

    def logme(self, features: dict[str, Tensor]) -> float:
        """Return LogME of the frozen features of the real training images."""
        labels = self.labels["train"].cpu().numpy()
        return logme(features["train"].cpu().numpy(), labels, self.num_classes)

    def features(self, model: nn.Module) -> dict[str, Tensor]:
        """Return the frozen features of every split."""
        model.to(self.team.device)
        return {
            split: extract_features(model, images, self.recipe)
            for split, images in self.images.items()
        }

    def fixed_features(
        self, features: Sequence[dict[str, Tensor]], starts: Sequence[Tensor], seeds: Sequence[int]
    ) -> list[float]:
        """Return the test accuracy of a linear head on the frozen features, for every seed."""
        starts = [start.to(self.team.device) for start in starts]
        return fixed_feature_accuracies(features, self.labels, starts, self.head_recipe, seeds)

    def fresh_heads(self, features: dict[str, Tensor], seeds: Sequence[int]) -> list[Tensor]:
        """Draw a new head for every seed."""
        num_features = features["train"].shape[1]
        return [fresh_head(num_features, self.num_classes, seed) for seed in seeds]

    def cue_accuracies(self, model: nn.Module) -> dict[str, float]:
        """Return the accuracy of the model's own head on test images with one cue each."""
        labels = self.labels["test"].cpu().numpy()
        return {
            f"{cue}_accuracy": top1(predict(model, images, self.recipe, self.team), labels)
            for cue, images in self.one_cue.items()
        }


def probe_backbone(prober: Prober, backbone: Path, seeds: Sequence[int]) -> list[Row]:
    """Measure the backbone: with its own head, and with fresh ones (the random-head variant)."""
    pretrained = load_backbone(backbone, num_classes=None, seed=0)
    own = {"set": None, "method": None, "model": "upstream"}
    features = prober.features(pretrained)
    measures = {"leep": prober.leep(pretrained), "logme": prober.logme(features)}
    rows = _rows({**own, "seed": None}, measures)
    starts = prober.fresh_heads(features, seeds)
    fixed = prober.fixed_features([features] * len(seeds), starts, seeds)
    for seed, accuracy in zip(seeds, fixed, strict=True):
        fresh = load_backbone(backbone, num_classes=prober.num_classes, seed=seed)
        rows += [
            {**own, "seed": seed, "measure": "leep_random_head", "value": prober.leep(fresh)},
            {
                **own,
                "seed": seed,
                "measure": "fixed_feature_accuracy",
                "value": accuracy,
                "selected_on": prober.selected_on,
            },
        ]
    return rows


def probe_stage_one(prober: Prober, backbone: Path, folder: Path) -> list[Row]:
    """Measure the stage-one models NAME/sSEED.safetensors of one name, seed by seed.

    Their linear heads are trained together: new ones (Bridged's table 6, FC reinit), and their
    own further, where they are plain layers.
    """
    seeds = sorted(int(file.stem.removeprefix("s")) for file in folder.glob("*.safetensors"))
    who = {"model": folder.name}
    rows: list[Row] = []
    features, own_heads = [], []
    for seed in seeds:
        checkpoint = folder / f"s{seed}.safetensors"
        model = load_backbone(backbone, num_classes=prober.num_classes, seed=seed)
        load_classifier(model, checkpoint)
        of_model = prober.under(recorded_recipe(prober.recipe, checkpoint))
        features.append(of_model.features(model))
        measures = {"leep": of_model.leep(model), "logme": prober.logme(features[-1])}
        rows += _rows({**who, "seed": seed}, {**measures, **of_model.cue_accuracies(model)})
        if (head := linear_head(model)) is not None:
            own_heads.append(head)
    starts = {"fixed_feature_accuracy": prober.fresh_heads(features[0], seeds)}
    if own_heads:
        starts["fixed_feature_own_head_accuracy"] = own_heads
    for measure, heads in starts.items():
        accuracies = prober.fixed_features(features, heads, seeds)
        for seed, accuracy in zip(seeds, accuracies, strict=True):
            of_seed = {**who, "seed": seed, "selected_on": prober.selected_on}
            rows += _rows(of_seed, {measure: accuracy})
    return rows


def _rows(who: Row, measures: dict[str, float]) -> list[Row]:
    return [{**who, "measure": name, "value": value} for name, value in measures.items()]


def main(arguments: list[str] | None = None) -> None:
    """Take the data set's name and the paths that dvc.yaml names."""
    parser = argparse.ArgumentParser(prog="probe", description=__doc__)
    parser.add_argument("--dataset", required=True, help="a group below `data` in params.yaml")
    for name in ("--real", "--backbone", "--out"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--stage-one", type=Path, required=True, help="holds a folder a set")
    parser.add_argument("--metrics", type=Path, help="a small file of the same, for git")
    args = parser.parse_args(arguments)
    sections = Sections()
    params = ProbeParams(
        probe=sections.read(ProbeSettings, "probe"),
        training=sections.read(TrainingSettings, "training"),
        learning_rates=sections.read(list[float], "real_leg.learning_rates"),
        seeds=sections.read(list[int], "seeds"),
        sets={name: read_named_set(sections, name) for name in sections.read(list[str], "sets")},
    )
    stage_one = [args.stage_one / name for name in params.sets]
    probe(params, **{**vars(args), "stage_one": stage_one})
