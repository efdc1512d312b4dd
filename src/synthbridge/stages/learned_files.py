"""What `invert` leaves of a subset beside its words: the loss curve, the images to start from."""

import csv
from pathlib import Path
from typing import Any

from synthbridge.data.shards import Sample, encode_png, read_square
from synthbridge.files import whole_file


def write_curve(path: Path, losses: list[float], fixed_noise: dict[int, float]) -> None:
    """Write the loss of every step, and beside it the readings at fixed noise."""
    with whole_file(path) as partial, partial.open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["step", "loss", "fixed_noise_loss"])
        for step in range(len(losses) + 1):
            loss = f"{losses[step - 1]:.6f}" if step else ""
            reading = f"{fixed_noise[step]:.6f}" if step in fixed_noise else ""
            rows.writerow([step, loss, reading])


def start_image(sample: Sample, size: int) -> dict[str, Any]:
    """Return a real image as `write_shard` takes it, for images to start from."""
    return {
        "__key__": sample.key,
        "png": encode_png(read_square(sample, size)),
        "cls": sample.label,
        "json": {"name": sample.record["name"]},
    }
