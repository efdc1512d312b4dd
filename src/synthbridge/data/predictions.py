"""Predictions on disk: a .npz whose bytes hang on its arrays alone.

numpy's own differ between releases of Python, whose zipfile writes other heads, and of zlib.
Probabilities hardly shrink, so nothing is compressed.
"""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from synthbridge.core.files import write_bytes

EPOCH = (1980, 1, 1, 0, 0, 0)  # the first time that a zip can tell


def write_predictions(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays by name in one move, as np.load reads them; the same arrays, the same bytes."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, np.asarray(array), allow_pickle=False)
            # Its size is known before: a small one gets no head of those beyond 4 GiB.
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", EPOCH), content.getvalue())
    write_bytes(path, packed.getvalue())
