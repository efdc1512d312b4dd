import numpy as np
from PIL import Image

from own_data import encoded, fill, photo, settings
from synthbridge.core.files import read_json
from synthbridge.stages.prepare import prepare

SIZE = (96, 64)


def _raw(folder):
    """Make two classes with splits of their own; two test images are in train in other clothes."""
    raw = folder / "mine"
    for number, name in enumerate(("crow", "rook")):
        for split, count, first in (("train", 6, 0), ("test", 2, 50)):
            for index in range(count):
                path = raw / split / name / f"{index}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(encoded(photo(1000 * number + first + index, SIZE)))
    again = photo(50, SIZE).resize((66, 44))
    (raw / "train/crow/again.jpg").write_bytes(encoded(again, quality=60))
    (raw / "train/rook/same.png").write_bytes((raw / "test/rook/0.jpg").read_bytes())
    return raw


def test_what_looks_alike_across_splits_is_listed_and_shown(tmp_path, capsys):
    raw, out = _raw(tmp_path), tmp_path / "out"
    prepare(settings(validation_per_class=2), raw=raw, out=out)
    printed = capsys.readouterr().out
    assert "1 pair(s) of images in different splits look alike, 1 test images among" in printed
    assert "group_by" not in printed  # the split is the user's own and stays
    found = read_json(out / "near_duplicates.json")
    assert found["num_pairs"] == 1
    (pair,) = found["pairs"]
    assert [image["name"] for image in pair["images"]] == [
        "test/crow/0.jpg",
        "train/crow/again.jpg",
    ]
    assert pair["images"][0] == {"name": "test/crow/0.jpg", "split": "test", "class": "crow"}
    assert 0.95 < pair["similarity"] < 1
    pixels = np.asarray(Image.open(out / "near_duplicates.png"))
    assert np.abs(pixels[:, :64].astype(int) - pixels[:, 64:128]).mean() < 12
    assert (pixels[:, 128:] == 255).all()
    # Listed and not taken out; the one with the same pixels is.
    manifest = read_json(out / "manifest.json")["splits"]
    names = {*manifest["train"], *manifest["validation"]}
    assert "train/crow/again.jpg" in names and "train/rook/same.png" not in names


def test_where_we_hold_out_test_the_way_out_is_named(tmp_path, capsys):
    raw = tmp_path / "mine"
    for number, name in enumerate(("crow", "rook")):
        (raw / name).mkdir(parents=True)
        for index in range(6):
            image = photo(100 * number + index % 3, SIZE)
            content = encoded(image, quality=50 + 8 * index)
            (raw / name / f"{index}.jpg").write_bytes(content)
    prepare(settings(test_per_class=2), raw=raw, out=tmp_path / "out")
    assert "write group_by: alike (docs/own-data.md)" in capsys.readouterr().out
    prepare(settings(test_per_class=2, group_by="alike"), raw=raw, out=tmp_path / "grouped")
    assert "look alike" not in capsys.readouterr().out


def test_where_nothing_looks_alike_nothing_is_written(tmp_path, capsys):
    raw = tmp_path / "mine"
    for number, name in enumerate(("crow", "rook")):
        fill(raw / name, 6, 100 * number)
    prepare(settings(test_per_class=1), raw=raw, out=tmp_path / "out")
    assert not list((tmp_path / "out").glob("near_duplicates*"))
    assert "look alike" not in capsys.readouterr().out
