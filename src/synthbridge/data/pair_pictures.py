"""One picture of many pairs of images, side by side, for a person to look through."""

from collections.abc import Iterable

import numpy as np
from PIL import Image, ImageOps

from synthbridge.data.shards import encode_png

TILE, PAIRS_SHOWN, PAIRS_A_ROW = 64, 32, 4  # pixels a side


def draw_pairs(pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> bytes:
    """Draw pairs of images (H, W, 3) uint8, one or more, as a PNG."""
    tiles = [np.concatenate([_tile(pixels) for pixels in pair], axis=1) for pair in pairs]
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % PAIRS_A_ROW)
    starts = range(0, len(tiles), PAIRS_A_ROW)
    rows = [np.concatenate(tiles[start : start + PAIRS_A_ROW], axis=1) for start in starts]
    return encode_png(np.concatenate(rows))


def _tile(pixels: np.ndarray) -> np.ndarray:
    """Cut the centre square as (TILE, TILE, 3) uint8."""
    return np.asarray(ImageOps.fit(Image.fromarray(pixels), (TILE, TILE)))
