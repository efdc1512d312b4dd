"""CLIP's embeddings of the images in shards: a unit of work a shard, made once for all stages."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from synthbridge.clip.embedding import Clip
from synthbridge.core.files import hash_file
from synthbridge.core.keys import unit_key
from synthbridge.core.log import progress
from synthbridge.core.units import unit_path, whole_unit
from synthbridge.data.shards import Sample, index_shard, read_image

EMBEDDINGS = "embeddings.npy"


def embed_shards(
    load: Callable[[], Clip], clip_hash: str, shards: Sequence[Path]
) -> dict[Path, np.ndarray]:
    """Embed the images of `shards`, each shard once for all stages that ask.

    Args:
        load: returns the model; asked only where embeddings are missing.
        clip_hash: of its folder.
        shards: tars.

    Returns:
        For each shard unit vectors (N, D) float32, in the order of `index_shard`.

    Raises:
        ValueError: if a shard is damaged.
    """
    units = {
        shard: unit_path(
            "embed", unit_key(make=embed_shards, clip=clip_hash, shard=hash_file(shard))
        )
        for shard in shards
    }
    missing = [shard for shard in shards if not units[shard].is_dir()]
    clip = load() if missing else None
    with ThreadPoolExecutor() as readers:  # decoding leaves Python's lock free
        for shard in progress(missing, total=len(missing), what="embedding", unit="shard"):
            assert clip is not None
            images = readers.map(_read, index_shard(shard))
            with whole_unit(units[shard]) as unit:
                np.save(unit / EMBEDDINGS, clip.embed_images(images), allow_pickle=False)
    return {shard: np.load(units[shard] / EMBEDDINGS, allow_pickle=False) for shard in shards}


def _read(sample: Sample) -> np.ndarray:
    return np.asarray(read_image(sample))
