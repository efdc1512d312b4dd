"""Checks of a raw folder, by the source that makes them all."""

import pytest

from own_data import class_folders, encoded, photo, settings
from synthbridge.sources.folders import load_folder


def _refused(raw, **changes):
    with pytest.raises(ValueError) as error:
        load_folder(settings(**changes), raw)
    return str(error.value)


def test_a_missing_or_empty_folder_is_refused(tmp_path):
    assert "mine does not exist; put the data set there" in _refused(tmp_path / "mine")
    (tmp_path / "mine").mkdir()
    assert "mine is empty; put the data set there" in _refused(tmp_path / "mine")


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("rook/9.jpg.part", "9.jpg.part is half copied or downloaded; finish that"),
        ("mine.zip", "mine.zip is an archive, and what lies beside it may be only a part"),
        ("mine.tar.gz", "mine.tar.gz is an archive"),
    ],
)
def test_a_part_of_a_data_set_is_refused(tmp_path, path, sentence):
    raw = class_folders(tmp_path / "mine")
    (raw / path).parent.mkdir(exist_ok=True)
    (raw / path).write_bytes(encoded(photo(5)))
    assert sentence in _refused(raw, test_per_class=1)
