"""Writing behind the device: threads encode and write finished shards while the next are drawn."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from synthbridge.core.units import whole_unit
from synthbridge.data.shards import encode_jpeg, write_shard
from synthbridge.data.synthetic import PlannedShard

Plan = TypeVar("Plan")


def write_units(
    paths: Mapping[PlannedShard, Path],
    images: Iterator[tuple[Plan, np.ndarray]],
    describe: Callable[[PlannedShard, Plan], dict[str, Any]],
    *,
    jpeg_quality: int,
) -> None:
    """Write each shard as a unit of work, `shard.tar`.

    Args:
        paths: the unit of each shard, in the order in which `images` come.
        images: of all shards in order: the plan of each, and (H, W, 3) uint8.
        describe: a sample as `write_shard` takes it, without its image.
        jpeg_quality: 1..100.
    """
    with ThreadPoolExecutor() as encoders, ThreadPoolExecutor(1) as writer:
        writing: Future | None = None
        for shard, path in paths.items():
            samples = [
                (describe(shard, plan), encoders.submit(encode_jpeg, image, jpeg_quality))
                for plan, image in islice(images, shard.num_images)
            ]
            if writing:
                writing.result()  # memory holds two shards at most; an error shows here
            writing = writer.submit(_write_unit, samples, path)
        if writing:
            writing.result()


def _write_unit(samples: list[tuple[dict[str, Any], Future]], path: Path) -> None:
    """Write one finished shard into the work folder."""
    with whole_unit(path) as unit:
        write_shard(
            unit / "shard.tar", ({**sample, "jpg": jpeg.result()} for sample, jpeg in samples)
        )
