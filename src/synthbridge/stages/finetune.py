"""Stage `finetune`: a start and real images (with synthetic ones in mixed arms) become models.

One run is one arm, number of shots and seed. It leaves the final model, its record and the class
probabilities of every test image, so that no later statistic needs the model.
"""

import argparse
import shutil
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from synthbridge.data.manifests import Shots
from synthbridge.data.synthetic import hash_samples
from synthbridge.files import hash_file, hash_folder, read_json, write_json
from synthbridge.progress import StageLog
from synthbridge.stages.arm_trainer import (
    MODEL,
    PREDICTIONS,
    RECORD,
    FinetuneInputs,
    FinetuneParams,
    Run,
    Trainer,
)
from synthbridge.stages.costs import Amounts, prepared_size
from synthbridge.stages.params import Params, read_params, source_name
from synthbridge.stages.processes import start_accelerator
from synthbridge.stages.run_metrics import write_run_metrics
from synthbridge.stages.training_counts import TrainingCounts
from synthbridge.stages.trainings import share_trainings
from synthbridge.training.arms import describe_legs
from synthbridge.work import unit_key, unit_path


def finetune(
    params: FinetuneParams,
    inputs: FinetuneInputs,
    *,
    labels: Mapping[str, str | None],
    models: Path,
    results: Path,
    metrics: Path | None = None,
) -> None:
    """Train every run of a family of arms.

    Args:
        params: settings.
        inputs: where the data and the starting models lie.
        labels: dataset, set and source, as the records shall name them.
        models: the folder for the final models.
        results: the folder for records and predictions.
        metrics: a small file of their accuracies, for git.
    """
    count = len(params.arms) * len(params.shots) * len(params.seeds)
    shots = ", ".join(str(shots) for shots in params.shots) or "no"
    log = StageLog(f"finetune: {count} runs of {', '.join(params.arms)} at {shots} shots")
    with start_accelerator() as accelerator:
        rates = read_json(inputs.rates)
        runs = list_runs(params, inputs, rates)
        trainer = None
        for run, team in share_trainings(
            accelerator, runs, what="fine-tuning", unit="run", log=log, cost=_cost(params, inputs)
        ):
            trainer = trainer or Trainer(params, inputs, team)
            trainer.make(run)
        if accelerator.is_main_process:
            models.mkdir(parents=True, exist_ok=True)
            write_json(results / "index.json", {**labels, "num_runs": len(runs)})
            records = []
            for run in runs:
                selection = describe_selection(rates[str(run.shots)])
                records.append(_publish(run, {**labels, **selection}, models, results))
            if metrics:
                write_run_metrics(metrics, records)
    log.done(f"{count} final models and their predictions", results)


def _cost(params: FinetuneParams, inputs: FinetuneInputs) -> Callable[[Run], Amounts]:
    """Return what a run costs."""
    size = prepared_size(inputs.real)
    counts = TrainingCounts(params.training.batch_size, params.real_leg, params.stage_one, size)
    volume = cache(lambda seed: len(inputs.synthetic_samples(seed)))
    return lambda run: counts.run(
        params.arms[run.arm],
        run.shots,
        volume=volume(run.seed) if inputs.blocks else 0,
        num_judged=size.num_test,
    )


def describe_selection(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a record says of how its learning rate was selected.

    Args:
        chosen: what `select` says of one number of shots. Its accuracies are called by the split
            that they were measured on; those on test images mark the record.
    """
    if "test_accuracy" in chosen:
        return {"selection": chosen["test_accuracy"], "selected_on": "test"}
    return {"selection": chosen["held_out_accuracy"]}


def _publish(run: Run, labels: Mapping[str, Any], models: Path, results: Path) -> dict[str, Any]:
    """Copy a finished run out of the work folder; return its record."""
    name = f"{run.shots}-s{run.seed}"
    record = {**read_json(run.path / RECORD), **labels}
    write_json(results / run.arm / f"{name}.json", record)
    shutil.copyfile(run.path / PREDICTIONS, results / run.arm / f"{name}.npz")
    (models / run.arm).mkdir(exist_ok=True)
    shutil.copyfile(run.path / MODEL, models / run.arm / f"{name}.safetensors")
    return record


def list_runs(
    params: FinetuneParams, inputs: FinetuneInputs, rates: Mapping[str, Any]
) -> list[Run]:
    """List the runs, arms innermost: what a process takes is short and long ones alike.

    Args:
        params: settings.
        inputs: where the data and the starting models lie.
        rates: what `select` chose for each number of shots.
    """
    shared = {
        "real": hash_folder(inputs.real),
        "backbone": hash_folder(inputs.backbone),
        "training": params.training.model_dump(),
        "epochs": params.real_leg.model_dump(exclude={"learning_rates", "select_on"}),
    }
    synthetic = {
        seed: hash_samples(inputs.synthetic_samples(seed)) if inputs.blocks else []
        for seed in params.seeds
    }

    def unit(arm: str, shots: Shots, seed: int) -> Path:
        legs = params.arms[arm]
        named = {name for leg in legs for name in (leg.stage_one, leg.add_steps_of) if name}
        checkpoint = inputs.checkpoint(legs, seed)
        key = unit_key(
            arm=arm,
            legs=describe_legs(legs),
            num_steps={name: params.stage_one[name].num_steps for name in sorted(named)},
            checkpoint=hash_file(checkpoint) if checkpoint else None,
            synthetic=synthetic[seed],
            shots=shots,
            seed=seed,
            learning_rate=rates[str(shots)]["learning_rate"],
            **shared,
        )
        return unit_path("finetune", key)

    return [
        Run(arm, shots, seed, rates[str(shots)]["learning_rate"], unit(arm, shots, seed))
        for shots in params.shots
        for seed in params.seeds
        for arm in params.arms
    ]


def _choose_shots(params: Params, set_name: str | None) -> list[Shots]:
    """Return the shots that runs with a set may see: a set learned from k shots serves k alone."""
    own = params.set_settings(set_name).shots if set_name else None
    return [shots for shots in params.shots if own is None or shots == own]


def main(arguments: list[str] | None = None) -> None:
    """Take the names and paths that dvc.yaml names."""
    parser = argparse.ArgumentParser(prog="finetune", description=__doc__)
    parser.add_argument("--dataset", required=True, help="a group below `data` in params.yaml")
    parser.add_argument("--family", required=True, help="a group below `arms` in params.yaml")
    parser.add_argument("--set", help="one of `sets` in params.yaml")
    for name in ("--real", "--backbone", "--rates", "--models", "--results"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--metrics", type=Path, help="a small file of accuracies, for git")
    parser.add_argument("--blocks", type=Path, nargs="+", default=[], help="for mixed arms")
    parser.add_argument("--kept", type=Path, help="what examine keeps of the set (default: all)")
    parser.add_argument("--stage-one", type=Path, help="for bridged arms")
    args = parser.parse_args(arguments)
    params = read_params()
    source = source_name(args.set, params.set_settings(args.set)) if args.set else "real"
    finetune(
        FinetuneParams(
            arms=getattr(params.arms, args.family),
            shots=_choose_shots(params, args.set),
            seeds=params.seeds,
            training=params.training,
            real_leg=params.real_leg,
            stage_one=params.stage_one,
        ),
        FinetuneInputs(
            args.real, args.backbone, args.rates, args.blocks, args.stage_one, args.kept
        ),
        labels={"dataset": args.dataset, "set": args.set, "source": source},
        models=args.models,
        results=args.results,
        metrics=args.metrics,
    )
