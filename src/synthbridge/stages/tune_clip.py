"""Stage `tune_clip`: zero-shot CLIP, and a linear classifier tuned on its frozen features.

CLIP is another model than the backbone, so the report shows these arms apart. Without a synthetic
set: clip_zero_shot, which sees no image, and clip_vanilla, tuned on the real shots. With a set:
clip_mixed (both in one step) and clip_bridged (synthetic images first, then real ones), and as
controls clip_synthetic_only and clip_vanilla_equal_steps, tuned for as many steps as clip_bridged.
"""

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from synthbridge.clip.embedding import Clip, load_clip
from synthbridge.clip.settings import ClipTuningSettings
from synthbridge.clip.shard_embeddings import embed_shards
from synthbridge.clip.tuning import Tuned, TuningImages, probabilities, tune, zero_shot_weights
from synthbridge.core.files import hash_folder, write_json
from synthbridge.core.log import StageLog, say
from synthbridge.core.processes import start_accelerator
from synthbridge.core.settings import Sections
from synthbridge.data.manifests import Shots
from synthbridge.data.predictions import write_predictions
from synthbridge.data.real import PreparedDataset, number_groups, read_dataset
from synthbridge.data.run_metrics import write_run_metrics
from synthbridge.data.shards import Sample, index_shard
from synthbridge.data.synthetic import block_folders, read_named_set, synthetic_samples
from synthbridge.prompts.templates import TEMPLATES
from synthbridge.training.accuracy import accuracies


@dataclass(frozen=True)
class TuneClipParams:
    """What the stage reads of params.yaml."""

    tuning: ClipTuningSettings
    shots: Sequence[Shots]  # those that the set's runs may see
    seeds: Sequence[int]


@dataclass(frozen=True)
class ClipTuning:
    """One classifier: its arm, what it may see, and what came of it."""

    arm: str
    shots: Shots  # 0: no image
    seed: int
    num_train: int  # images of the last tuning
    tuned: Tuned


def tune_clip(
    params: TuneClipParams,
    *,
    real: Path,
    clip: Path,
    blocks: Sequence[Path],
    labels: Mapping[str, str | None],
    results: Path,
    metrics: Path,
    kept: Path | None = None,
) -> None:
    """Write the runs of the real arms, or, where there are `blocks`, of their set's.

    Args:
        params: settings.
        real: the prepared data set.
        clip: the CLIP's folder; without a CLIP the results are empty, which is said.
        blocks: the blocks of a set; none: the arms on real images alone.
        labels: dataset, set and method, as the records shall name them.
        results: the folder for records and predictions, laid out as finetune's.
        metrics: the file for the accuracies of all runs.
        kept: what `examine` keeps of the set; None: all.
    """
    if (clip / "absent.json").is_file():  # upstream.clip is null
        say("tune_clip: upstream.clip is null, so there is no zero-shot row and nothing to tune")
        write_json(results / "index.json", {**labels, "num_runs": 0})
        write_json(metrics, {})
        return
    log = StageLog("tune_clip", "a linear classifier on CLIP's frozen features")
    with start_accelerator() as accelerator:
        tuner = Tuner(params, read_dataset(real), clip, accelerator.device)
        runs = tuner.real_runs() if not blocks else tuner.synthetic_runs(blocks, kept)
        write_json(results / "index.json", {**labels, "num_runs": len(runs)})
        publisher = Publisher(tuner, labels, results)
        write_run_metrics(metrics, [publisher.write(run) for run in runs])
    log.done(f"{len(runs)} runs on CLIP", results)


class Tuner:
    """Makes runs; keeps what they share: CLIP, its zero-shot classifier, the images' features."""

    def __init__(
        self, params: TuneClipParams, dataset: PreparedDataset, clip: Path, device: torch.device
    ):
        """Load CLIP and make its zero-shot classifier."""
        self.params, self.dataset, self.device = params, dataset, device
        self.clip: Clip = load_clip(clip, device)
        self.clip_hash = hash_folder(clip)
        self.rows: dict[Path, dict[str, np.ndarray]] = {}  # of each shard, by key: features (D,)
        prompts = [[text.format(name) for text in TEMPLATES] for name in dataset.class_names]
        self.zero_shot = zero_shot_weights(self.clip, prompts).to(device)

    def real_runs(self) -> list[ClipTuning]:
        """Make clip_zero_shot, and clip_vanilla for all shots and seeds."""
        runs = [ClipTuning("clip_zero_shot", 0, 0, 0, Tuned(self.zero_shot))]
        for shots, seed in self._cells():
            real = self._real(shots, seed)
            tuned = tune(self.zero_shot, [real], self.params.tuning, seed=seed)
            runs.append(ClipTuning("clip_vanilla", shots, seed, len(real.labels), tuned))
        return runs

    def synthetic_runs(self, blocks: Sequence[Path], kept: Path | None) -> list[ClipTuning]:
        """Make the arms with the set, and their controls, for all shots and seeds it serves."""
        runs = []
        settings = self.params.tuning
        for shots, seed in self._cells():
            real = self._real(shots, seed)
            size = settings.synthetic_batch_size
            synthetic = self.images(synthetic_samples(blocks, seed, kept), size)
            # Epochs are counted on the synthetic images, as in He et al.'s code.
            mixed = tune(self.zero_shot, [synthetic, real], settings, seed=seed)
            # Reconstruction: both legs have the stated epochs and rate.
            first = tune(self.zero_shot, [synthetic], settings, seed=seed)
            last = tune(first.weights, [real], settings, seed=seed)
            total = first.gradient_steps + last.gradient_steps
            epochs = math.ceil(total / real.steps_per_epoch)  # whole ones: a step more, if any
            longer = settings.model_copy(update={"num_epochs": epochs})
            alone = tune(self.zero_shot, [real], longer, seed=seed)
            num_real, num_synthetic = len(real.labels), len(synthetic.labels)
            runs += [
                ClipTuning("clip_mixed", shots, seed, num_real + num_synthetic, mixed),
                ClipTuning("clip_synthetic_only", shots, seed, num_synthetic, first),
                ClipTuning(
                    "clip_bridged", shots, seed, num_real, replace(last, gradient_steps=total)
                ),
                ClipTuning("clip_vanilla_equal_steps", shots, seed, num_real, alone),
            ]
        return runs

    def _cells(self) -> list[tuple[Shots, int]]:
        return [(shots, seed) for shots in self.params.shots for seed in self.params.seeds]

    def _real(self, shots: Shots, seed: int) -> TuningImages:
        samples = self.dataset.train_samples(shots, seed)
        return self.images(samples, self.params.tuning.real_batch_size)

    def images(self, samples: Sequence[Sample], batch_size: int) -> TuningImages:
        """Put images together with their features and labels, on the device."""
        features = torch.from_numpy(self.features(samples)).to(self.device)
        labels = torch.tensor([sample.label for sample in samples], device=self.device)
        return TuningImages(features, labels, batch_size)

    def features(self, samples: Sequence[Sample]) -> np.ndarray:
        """Return what CLIP sees in `samples`: (N, D) float32, unit vectors.

        An image is seen as CLIP's own processor shows it, without augmentation: as He et al. do.
        """
        new = sorted({sample.shard for sample in samples} - self.rows.keys())
        for shard, vectors in embed_shards(lambda: self.clip, self.clip_hash, new).items():
            keys = [sample.key for sample in index_shard(shard)]
            self.rows[shard] = dict(zip(keys, vectors, strict=True))
        return np.stack([self.rows[sample.shard][sample.key] for sample in samples])


class Publisher:
    """Tests runs and writes them as `finetune` does."""

    def __init__(self, tuner: Tuner, labels: Mapping[str, str | None], results: Path):
        """Embed the test images, and those of the extra test set where there is one."""
        self.tuner, self.labels, self.results = tuner, labels, results
        self.test = tuner.images(tuner.dataset.samples("test"), 1)
        self.groups = number_groups(tuner.dataset.samples("test"))
        extra = tuner.dataset.extra_test_samples()
        self.extra = tuner.images(extra, 1) if extra else None

    def write(self, run: ClipTuning) -> dict[str, Any]:
        """Write one run's record and predictions; return the record."""
        guesses = probabilities(run.tuned.weights, self.test.features)
        answers = self.test.labels.cpu().numpy()
        points = accuracies(guesses, answers)
        if self.extra:
            extra = probabilities(run.tuned.weights, self.extra.features)
            points |= accuracies(extra, self.extra.labels.cpu().numpy(), "extra_")
        points["gradient_steps"] = run.tuned.gradient_steps
        path = self.results / run.arm / f"{run.shots}-s{run.seed}"
        record = {**self._record(run), **points, **self.labels}
        write_json(path.with_suffix(".json"), record)
        predictions = {"probabilities": guesses, "labels": answers, **self.groups}
        write_predictions(path.with_suffix(".npz"), predictions)
        return record

    def _record(self, run: ClipTuning) -> dict[str, Any]:
        rate = self.tuner.params.tuning.learning_rate
        curve = {"train_loss": run.tuned.train_loss, "train_accuracy": run.tuned.train_accuracy}
        return {
            "arm": run.arm,
            "shots": run.shots,
            "seed": run.seed,
            "learning_rate": rate if run.num_train else None,
            "selection": {},
            "selected_on": "nothing",  # the rate stands in the settings
            "num_train": run.num_train,
            "curve": {name: [round(v, 6) for v in values] for name, values in curve.items()},
        }


def main(arguments: list[str] | None = None) -> None:
    """Take the names and paths that dvc.yaml names."""
    parser = argparse.ArgumentParser(prog="tune_clip", description=__doc__)
    parser.add_argument("--dataset", required=True, help="a group below `data` in params.yaml")
    parser.add_argument("--set", help="of clip_tuning.sets")
    for name in ("--real", "--clip", "--results", "--metrics"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--blocks", type=Path, help="of the set: the folder of b0, b1, ...")
    parser.add_argument("--num-blocks", type=int, default=0)
    parser.add_argument("--kept", type=Path, help="what examine keeps of it")
    args = parser.parse_args(arguments)
    blocks = block_folders(args.blocks, args.num_blocks) if args.blocks else []
    sections = Sections()
    of_set = read_named_set(sections, args.set)
    tune_clip(
        TuneClipParams(
            tuning=sections.read(ClipTuningSettings, "clip_tuning"),
            shots=of_set.serves(sections.read(list[Shots], "shots")),
            seeds=sections.read(list[int], "seeds"),
        ),
        real=args.real,
        clip=args.clip,
        blocks=blocks,
        labels={"dataset": args.dataset, "set": args.set, "method": of_set.method},
        results=args.results,
        metrics=args.metrics,
        kept=args.kept,
    )
