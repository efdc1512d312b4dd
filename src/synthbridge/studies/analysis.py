"""Why a set's images fail: its classes beside one another, and the images that harm most.

Class by class, accuracy beside what `examine` found: precision, recall, CLIP score. Then the images
whose removal would help most, and what their removal does. All of it reads the workspace's own data
and results; no model is trained but linear heads.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import mean, stdev
from textwrap import fill
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from synthbridge.core.files import read_json
from synthbridge.core.processes import start_accelerator
from synthbridge.core.settings import check_settings, read_yaml
from synthbridge.data.real import read_dataset
from synthbridge.data.shards import Sample, read_square
from synthbridge.data.synthetic import (
    NamedSet,
    block_folders,
    subset_names,
    subset_of,
    synthetic_samples,
)
from synthbridge.evidence.comparisons import DASH
from synthbridge.evidence.figures import STYLE, write_png
from synthbridge.evidence.ranks import rank_correlation
from synthbridge.evidence.results import TestedModel, read_runs, shots_key
from synthbridge.pipeline import PIPELINE, count_blocks
from synthbridge.studies.drawing import shots_words
from synthbridge.studies.harm import FRACTION, RANDOM, WORST, Harm, Judges, find_harm
from synthbridge.training.classifier import load_backbone
from synthbridge.training.features import extract_features
from synthbridge.training.images import load_samples
from synthbridge.training.recipe import Recipe, make_recipe
from synthbridge.training.settings import TrainingSettings

ARMS = ("vanilla", "synthetic_only", "bridged")
FOUND = {"precision": 2, "recall": 2, "clip_score": 3}  # by `examine`: name -> digits
CONFIDENCE = 0.95
NUM_SHOWN = 8  # images of either kind in a row
MAX_CLASSES = 20  # in a table; of more, those that synthetic images alone read worst
TILE = 96  # pixels: the side of a picture


@dataclass(frozen=True)
class ClassRow:
    """One class of a set. Accuracies in percent, means over seeds; None: there is no such value."""

    name: str
    accuracy: Mapping[str, float]  # arm -> of the class's test images
    found: Mapping[str, float | None]  # what `examine` says of the class
    num_images: int  # that train, a seed
    harmful: float  # percent of them without which the held-out loss would be lower


@dataclass(frozen=True)
class SetAnalysis:
    """What there is to say of one set."""

    set: NamedSet
    shots: Any  # of the runs whose accuracies these are
    rows: list[ClassRow]
    harms: list[Harm]  # one a subset


def draw_analysis(params: Mapping[str, Any], figure: Path) -> str:
    """Draw the images that harm and help most of all data sets' sets; return the tables.

    Args:
        params: params.yaml.
        figure: the PNG to write.

    Raises:
        ValueError: if the pipeline's data is not there.
    """
    num_blocks = count_blocks(read_yaml(PIPELINE))
    with start_accelerator() as accelerator:
        found = {
            dataset: analyse(params, dataset, num_blocks, accelerator.device)
            for dataset in params["datasets"]
        }
    write_png(draw_extremes(found), figure)
    return "\n\n".join(write_analysis(*of_dataset) for of_dataset in found.items())


def analyse(
    params: Mapping[str, Any], dataset: str, num_blocks: int, device: torch.device
) -> list[SetAnalysis]:
    """Analyse every set of a data set, from what the pipeline left below data/.

    Raises:
        ValueError: if something is missing there.
    """
    real = read_dataset(Path(f"data/real/{dataset}"))
    backbone = Path("data/upstream/backbone")
    settings = check_settings(TrainingSettings, params["training"], "training")
    model = load_backbone(backbone, num_classes=None, seed=0).to(device)
    recipe = make_recipe(settings, backbone, real.flip)
    extract = partial(_extract, model=model, recipe=recipe, device=device)
    judges = Judges(extract(real.samples("validation")), extract(real.samples("test")))
    found = []
    for name in params["sets"]:
        generated = name in params["generated_sets"]
        named = NamedSet(name, params["synthetic"][name]["shots"] if generated else None)
        blocks = block_folders(Path(f"data/sets/{dataset}/{name}"), num_blocks)
        examined = Path(f"data/examined/{dataset}/{name}")
        kept = examined / "kept.json"
        seeds = subset_names(named.shots, params["seeds"]).values()
        harms = [
            find_harm(synthetic_samples(blocks, seed, kept), extract, judges, len(real.class_names))
            for seed in seeds
        ]
        gap = read_json(examined / "findings/gap.json")
        shots = max(named.serves(params["shots"]), key=shots_key)
        folders = [Path(f"data/results/{dataset}/{of}") for of in ("real", f"bridged/{name}")]
        runs = [run for run in read_runs(folders, dataset) if run.shots == shots]
        found.append(
            SetAnalysis(named, shots, class_rows(real.class_names, runs, gap, harms), harms)
        )
    return found


def _extract(
    samples: Sequence[Sample], *, model: nn.Module, recipe: Recipe, device: torch.device
) -> tuple[Tensor, Tensor]:
    images = load_samples(samples, recipe.settings.resize_size, device)
    return extract_features(model, images, recipe).clone(), images.labels


def class_rows(
    class_names: Sequence[str], runs: Sequence[TestedModel], gap: Any, harms: Sequence[Harm]
) -> list[ClassRow]:
    """Return a row a class.

    Args:
        class_names: of the data set.
        runs: of all arms, with the same set and shots.
        gap: what `examine` found.
        harms: one a subset.

    Raises:
        ValueError: if an arm has no run.
    """
    for arm in ARMS:
        if not any(run.arm == arm for run in runs):
            raise ValueError(f"no run of arm '{arm}'; add it to params.yaml and run 'dvc repro'")
    rows = []
    for label, name in enumerate(class_names):
        examined = [subset["by_class"][label] for subset in gap["subsets"].values()]
        influence = [
            harm.influence[[sample.label == label for sample in harm.samples]] for harm in harms
        ]
        rows.append(
            ClassRow(
                name,
                accuracy={
                    arm: 100
                    * mean(
                        run.correct[run.labels == label].mean() for run in runs if run.arm == arm
                    )
                    for arm in ARMS
                },
                found={
                    key: mean(row[key] for row in examined)
                    if all(key in row for row in examined)
                    else None
                    for key in FOUND
                },
                num_images=round(mean(len(of_subset) for of_subset in influence)),
                harmful=100 * float((np.concatenate(influence) < 0).mean()),
            )
        )
    return rows


# --- the page ------------------------------------------------------------------------------------


def write_analysis(dataset: str, analyses: Sequence[SetAnalysis]) -> str:
    """Return the tables of all sets as Markdown."""
    parts = [_correlation_table(dataset, analyses), _removal_table(dataset, analyses)]
    parts += [_class_table(dataset, analysis) for analysis in analyses]
    return "\n\n".join(parts)


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _class_table(dataset: str, analysis: SetAnalysis) -> str:
    """Return a row a class, those first that synthetic images alone read worst."""
    ordered = sorted(analysis.rows, key=lambda row: row.accuracy["synthetic_only"])
    shown = ordered[:MAX_CLASSES]
    table = _markdown(
        ["class", "vanilla", "synthetic only", "bridged", *_found_words(), "images", "harmful (%)"],
        [
            [
                row.name,
                *(f"{row.accuracy[arm]:.1f}" for arm in ARMS),
                *(_number(row.found[key], digits) for key, digits in FOUND.items()),
                str(row.num_images),
                f"{row.harmful:.0f}",
            ]
            for row in shown
        ],
    )
    is_long = len(ordered) > MAX_CLASSES
    which = f", the worst {MAX_CLASSES} of {len(ordered)} classes" if is_long else ""
    return f"### {dataset}, {_title(analysis)}{which}\n\n{table}"


def _title(analysis: SetAnalysis) -> str:
    return f"{analysis.set.name}; runs with {shots_words(str(analysis.shots))}"


def _found_words() -> list[str]:
    return [key.replace("clip_score", "CLIP score") for key in FOUND]


def _number(value: float | None, digits: int) -> str:
    return DASH if value is None else f"{value:.{digits}f}"


def _correlation_table(dataset: str, analyses: Sequence[SetAnalysis]) -> str:
    """Return the rank correlations over classes with what `examine` found, a row a set."""
    rows = []
    for analysis in analyses:
        alone = [row.accuracy["synthetic_only"] for row in analysis.rows]
        gain = [row.accuracy["bridged"] - row.accuracy["vanilla"] for row in analysis.rows]
        for words, values in (("synthetic only", alone), ("bridged over vanilla", gain)):
            cells = [
                _correlation(values, [row.found[key] for row in analysis.rows]) for key in FOUND
            ]
            rows.append([str(analysis.set.name), words, *cells])
    table = _markdown(["set", "accuracy by class of", *_found_words()], rows)
    num = len(rows) * len(FOUND)
    return (
        f"### {dataset}: does the gap of a class say how it is read?\n\n"
        f"Spearman's rank correlation over the {len(analyses[0].rows)} classes, "
        f"{CONFIDENCE:.0%} interval of each alone: of {num} intervals {num * (1 - CONFIDENCE):.1f} "
        f"miss the truth by chance.\n\n{table}"
    )


def _correlation(values: Sequence[float], others: Sequence[float | None]) -> str:
    known = [other for other in others if other is not None]
    found = rank_correlation(values, known, CONFIDENCE) if len(known) == len(values) else None
    return DASH if found is None else "{:+.2f} [{:+.2f}, {:+.2f}]".format(*found)


def _removal_table(dataset: str, analyses: Sequence[SetAnalysis]) -> str:
    """Return what a linear head reads with and without the worst images, a row a set."""
    choices = list(analyses[0].harms[0].accuracies)
    rows = [
        [
            str(analysis.set.name),
            *(
                _accuracies([harm.accuracies[choice] for harm in analysis.harms])
                for choice in choices
            ),
            _gain_over_random(analysis.harms),
            f"{min(harm.agreement for harm in analysis.harms):.2f}",
        ]
        for analysis in analyses
    ]
    table = _markdown(["set", *choices, "most harmful less random", "agreement"], rows)
    return (
        f"### {dataset}: what does leaving out the most harmful {FRACTION:.0%} do?\n\n"
        "Accuracy (%) of a linear head on the backbone's frozen features that learns from the set "
        "alone, test (held out): the held-out images chose which to leave out, so that their own "
        "accuracy flatters; the test images chose nothing. Most harmful less random: on test, "
        "mean ± standard deviation over seeds where a set has images for each. Agreement: the "
        "least correlation, over a set's seeds, of the estimated influence with learning again "
        "without the image.\n\n"
        f"{table}"
    )


def _accuracies(pairs: Sequence[tuple[float, float]]) -> str:
    held_out, test = np.mean(pairs, axis=0).tolist()
    return f"{test:.1f} ({held_out:.1f})"


def _gain_over_random(harms: Sequence[Harm]) -> str:
    """Return what leaving out the worst gains on test over random images, paired by subset."""
    gains = [harm.accuracies[WORST][1] - harm.accuracies[RANDOM][1] for harm in harms]
    return f"{mean(gains):+.1f}" + (f" ± {stdev(gains):.1f}" if len(gains) > 1 else "")


# --- the pictures --------------------------------------------------------------------------------


@matplotlib.rc_context(STYLE)
def draw_extremes(found: Mapping[str, Sequence[SetAnalysis]]) -> Figure:
    """Draw the most harmful images of each set, and below them the most helpful ones.

    Of a set with images for every seed, those of the first.
    """
    analyses = [(dataset, analysis) for dataset, of in found.items() for analysis in of]
    figure = Figure(figsize=(1.25 * NUM_SHOWN, 3.6 * len(analyses)), layout="constrained")
    parts = figure.subfigures(2 * len(analyses), 1, squeeze=False)[:, 0]
    for number, (dataset, analysis) in enumerate(analyses):
        harm = analysis.harms[0]
        order = harm.order()
        extremes = {
            "most harmful": order[:NUM_SHOWN],
            "most helpful": order[::-1][:NUM_SHOWN],
        }
        for part, (words, indices) in zip(
            parts[2 * number : 2 * number + 2], extremes.items(), strict=True
        ):
            part.suptitle(f"{dataset}, {analysis.set.name}: {words}", x=0.01, ha="left", fontsize=9)
            axes = part.subplots(1, NUM_SHOWN, squeeze=False)[0]
            for panel, index in zip(axes, indices, strict=False):
                panel.imshow(read_square(harm.samples[index], TILE))
                panel.set_xlabel(_caption(harm, int(index)), fontsize=6)
            for panel in axes:
                panel.set(xticks=[], yticks=[])
                panel.grid(visible=False)
    return figure


def _caption(harm: Harm, index: int) -> str:
    """Say what made or found an image, which it is, and its influence in thousandths."""
    sample = harm.samples[index]
    words = fill(sample.record.get("prompt") or sample.record.get("caption", ""), 24)
    where = f"{sample.shard.parent.name}/{subset_of(sample)}, {sample.record['class_name']}"
    return f"{words}\n{where}\n{1000 * harm.influence[index]:+.2f}"
