"""Draw the pool: captioned images of digits in many fonts and styles."""

import argparse
from pathlib import Path

from synthbridge.files import write_json
from synthbridge.progress import StageLog, progress
from synthbridge.settings import read_section
from synthbridge.upstream.folders import whole_folder
from synthbridge.upstream.pool import CLASS_NAMES, count_cores, count_shards, write_pool
from synthbridge.upstream.settings import PoolSettings


def pool(params: PoolSettings, *, out: Path) -> None:
    """Write the pool's shards and classes.json to the folder `out`."""
    log = StageLog(f"drawing a pool of {params.num_images} captioned images")
    with whole_folder(out) as folder:
        shards = write_pool(folder, params, num_processes=count_cores())
        bar = progress(
            shards, total=count_shards(params), what="drawing the pool", unit="image",
            items_each=params.images_per_shard,
        )  # fmt: skip
        num_images = sum(bar)
        write_json(folder / "classes.json", {"names": list(CLASS_NAMES)})
    log.done(f"a pool of {num_images} images", out)


def main(arguments: list[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(prog="pool", description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    paths = parser.parse_args(arguments)
    pool(read_section(PoolSettings, "pool"), out=paths.out)


if __name__ == "__main__":
    main()
