import hashlib
import zipfile

import numpy as np

from synthbridge.data.predictions import write_predictions

ARRAYS = {
    "probabilities": np.linspace(0, 1, 6, dtype=np.float32).reshape(3, 2),
    "labels": np.array([0, 1, 1]),
    "groups": np.array([0, 0, 1], np.int32),
}


def test_numpy_reads_what_was_written(tmp_path):
    write_predictions(tmp_path / "a/b.npz", ARRAYS)
    with np.load(tmp_path / "a/b.npz", allow_pickle=False) as found:
        assert list(found) == list(ARRAYS)
        for name, array in ARRAYS.items():
            assert found[name].dtype == array.dtype
            assert np.array_equal(found[name], array)
    assert zipfile.ZipFile(tmp_path / "a/b.npz").testzip() is None


def test_the_bytes_hang_on_no_release_of_python(tmp_path):
    write_predictions(tmp_path / "a.npz", ARRAYS)
    content = (tmp_path / "a.npz").read_bytes()
    # The same on 3.11.2 and 3.11.7, and on 3.10 to 3.13 but for the arrays.
    assert hashlib.sha256(content).hexdigest() == (
        "c3e62153f2483ff0e9d8ad782bba9be779b27cf5943599f1a88ab6d525e68d5c"
    )
