"""Command `predict`: asks the delivered model about photographs.

    python src predict photo.jpg more/          # files, folders with all below them, tars
    python src predict more/ --csv out.csv      # for a spreadsheet
    python src predict more/ --model FOLDER --top-k 3

A line is a photograph, its class and the probability that the model gives it. The answer is that
of the pipeline's own test, to the bit on the same kind of machine: images are stored, resized and
cut as `prepare` and `finetune` do it. What cannot be read is named at the end.
"""

import argparse
import csv
import itertools
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from synthbridge.core.log import say
from synthbridge.core.processes import start_accelerator
from synthbridge.data.encoding import encode_image
from synthbridge.data.shards import index_shard, write_shard
from synthbridge.delivery.model import DeliveredModel, delivered_folder, only_dataset, read_model
from synthbridge.sources.photos import Photo, list_photos
from synthbridge.training.team import Team

AT_ONCE = 1024  # photographs in memory and in a temporary shard: four of `predict`'s batches
FAULTS_SHOWN = 10

Answer = list[tuple[str, float]]  # the likeliest classes with their probabilities


def predict(
    photos: Sequence[Path], *, model: Path, csv_file: Path | None = None, top_k: int = 1
) -> None:
    """Print a line for each photograph, and write them to a table.

    Args:
        photos: files, folders, tars.
        model: a delivered folder.
        csv_file: the table; None: no table.
        top_k: how many classes to name, the likeliest first.

    Raises:
        ValueError: if there is no photograph, or none can be read.
    """
    delivered = read_model(model)
    top_k = min(top_k, len(delivered.class_names))
    faults: list[str] = []
    rows: list[tuple[str, Answer]] = []
    with start_accelerator() as accelerator:
        team = Team(accelerator, rank=0, size=1)
        for name, probabilities in classify(delivered, list_photos(photos), team, faults):
            best = np.argsort(-probabilities, kind="stable")[:top_k]
            answer = [(delivered.class_names[label], float(probabilities[label])) for label in best]
            rows.append((name, answer))
            told = "  ".join(f"{found} {probability:.3f}" for found, probability in answer)
            say(f"{name}  {told}")
    if csv_file and rows:
        _write_table(csv_file, rows, top_k)
    _tell(faults, len(rows))


def classify(
    model: DeliveredModel, photos: Iterable[Photo], team: Team, faults: list[str]
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield each photograph's name and class probabilities (C,); what is unreadable adds a fault.

    The photographs pass through a shard, as `prepare` would write it: so there is one way from a
    file to an input.
    """
    readable = _stored(photos, model.preprocessing.max_side, faults)
    while part := list(itertools.islice(readable, AT_ONCE)):
        with tempfile.TemporaryDirectory() as folder:
            shard = Path(folder) / "photos.tar"
            write_shard(shard, (sample for _, sample in part))
            probabilities = model.classify(index_shard(shard), team)
        yield from zip((name for name, _ in part), probabilities, strict=True)


def _stored(
    photos: Iterable[Photo], max_side: int | None, faults: list[str]
) -> Iterator[tuple[str, dict]]:
    """Yield each photograph's name, and the sample of a shard that `prepare` would make of it."""
    for number, photo in enumerate(photos):
        try:
            extension, content = encode_image(photo.read(), photo.name, max_side)
        except (ValueError, OSError) as error:
            faults.append(str(error))
            continue
        sample = {"__key__": f"{number:09d}", extension: content, "cls": 0, "json": {}}
        yield photo.name, sample


def _write_table(path: Path, rows: Sequence[tuple[str, Answer]], top_k: int) -> None:
    head = ["path", "class", "probability"]
    head += [f"{column}_{k}" for k in range(2, top_k + 1) for column in head[1:]]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(head)
        for name, answer in rows:
            writer.writerow([name, *(value for pair in answer for value in pair)])


def _tell(faults: Sequence[str], num_read: int) -> None:
    """Name what could not be read; it ends the command in an error only where nothing could."""
    shown = [*faults[:FAULTS_SHOWN]]
    if len(faults) > FAULTS_SHOWN:
        shown.append(f"and {len(faults) - FAULTS_SHOWN} more")
    if not num_read:
        raise ValueError("; ".join(shown) or "there is no image in what you named")
    for fault in shown:
        say(f"not read: {fault}")


def main(arguments: list[str]) -> None:
    """Take photographs and the model's folder."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "python src predict", description=__doc__, formatter_class=formatter
    )
    parser.add_argument("photos", nargs="+", type=Path, help="image files, folders, tars")
    parser.add_argument(
        "--model", type=Path, help="default: data/delivered/DATASET, of the only one"
    )
    parser.add_argument("--csv", type=Path, help="write a table too")
    parser.add_argument("--top-k", type=int, default=1, help="classes to name (default: 1)")
    args = parser.parse_args(arguments)
    if args.top_k < 1:
        raise ValueError(f"--top-k is {args.top_k}; name at least one class")
    model = args.model or delivered_folder(only_dataset())
    predict(args.photos, model=model, csv_file=args.csv, top_k=args.top_k)
