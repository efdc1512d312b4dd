"""What the stages that look at images share: CLIP's image embeddings, a unit of work a shard."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from synthbridge.clip.embedding import load_clip
from synthbridge.data.shards import Sample, index_shard, read_image
from synthbridge.files import hash_file, hash_folder
from synthbridge.progress import progress
from synthbridge.work import unit_key, unit_path, whole_unit

EMBEDDINGS = "embeddings.npy"


def embed_shards(
    clip: Path, shards: Sequence[Path], device: torch.device
) -> dict[Path, np.ndarray]:
    """Embed the images of `shards`, each shard once for all stages that ask.

    Args:
        clip: a folder that `load_clip` takes.
        shards: tars.
        device: to compute on.

    Returns:
        For each shard unit vectors (N, D) float32, in the order of `index_shard`.

    Raises:
        ValueError: if there is no CLIP, or a shard is damaged.
    """
    name = hash_folder(clip)
    units = {
        shard: unit_path("embed", unit_key(clip=name, shard=hash_file(shard))) for shard in shards
    }
    missing = [shard for shard in shards if not units[shard].is_dir()]
    model = load_clip(clip, device) if missing else None
    with ThreadPoolExecutor() as readers:  # decoding leaves Python's lock free
        for shard in progress(missing, total=len(missing), what="embedding", unit="shard"):
            assert model is not None
            images = readers.map(_read, index_shard(shard))
            with whole_unit(units[shard]) as unit:
                np.save(unit / EMBEDDINGS, model.embed_images(images), allow_pickle=False)
    return {shard: np.load(units[shard] / EMBEDDINGS, allow_pickle=False) for shard in shards}


def _read(sample: Sample) -> np.ndarray:
    return np.asarray(read_image(sample))
