"""Photographs get the answers of the pipeline's own test."""

import csv
import io
import os

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from delivered_model import run_deliver, write_study
from own_data import encoded, photo, write_tar
from synthbridge.commands.predict import main
from synthbridge.core.files import read_json, write_json
from synthbridge.data.real import read_dataset
from synthbridge.data.shards import encode_png, read_image_bytes


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    root = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SYNTHBRIDGE_WORK", str(root / "work"))
        params = write_study(root)
    return root, run_deliver(root, params, root / "data/delivered/quarters")


@pytest.fixture(autouse=True)
def here(study, monkeypatch):
    root, _ = study
    (root / "params.yaml").write_text("datasets: [quarters]\n")
    monkeypatch.chdir(root)


def _table(path):
    with path.open(newline="") as file:
        return list(csv.reader(file))


@pytest.fixture
def photos(study, tmp_path):
    """The test images as files, in the order of the split."""
    root, _ = study
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, sample in enumerate(read_dataset(root / "real").samples("test")):
        (folder / f"{number:03d}.png").write_bytes(read_image_bytes(sample))
    return folder


def test_photographs_get_the_answers_of_the_test_to_the_bit(study, photos, tmp_path, capsys):
    root, model = study
    main([str(photos), "--csv", str(tmp_path / "out.csv"), "--top-k", "4"])
    head, *rows = _table(tmp_path / "out.csv")
    assert head[:5] == ["path", "class", "probability", "class_2", "probability_2"]
    names = read_json(model / "config.json")["label_names"]
    seed = read_json(model / "choice.json")["seed"]
    with np.load(root / f"results/real/vanilla/full-s{seed}.npz") as tested:
        expected = tested["probabilities"]
    assert len(rows) == len(expected)
    for (path, *pairs), row in zip(rows, expected, strict=True):
        assert path.startswith(str(photos))
        found = {name: np.float32(p) for name, p in zip(pairs[::2], pairs[1::2], strict=True)}
        assert [found[name] for name in names] == row.tolist()
        assert pairs[0] == names[row.argmax()]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{photos}/000.png  {rows[0][1]} {float(rows[0][2]):.3f}  ")
    assert len(lines) == len(rows)


def test_every_form_of_image_is_read_and_gives_one_answer(photos, tmp_path, capsys):
    """Lossless ones the same, to the last digit; a folder in a folder, a tar, a list too."""
    pixels = np.asarray(Image.open(photos / "000.png").convert("RGB"))
    image, forms = Image.fromarray(pixels), tmp_path / "forms"
    (forms / "below").mkdir(parents=True)
    for kind, ending in (("BMP", "bmp"), ("TIFF", "tif"), ("PPM", "ppm"), ("GIF", "GIF")):
        image.save(forms / f"a.{ending}", kind)
    image.save(forms / "below/b.webp", lossless=True)
    pillow_heif.register_heif_opener()
    image.save(forms / "a.heic", quality=-1)
    image.save(forms / "a.avif", quality=100)
    turned = image.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    turned.save(forms / "below/c.png", exif=exif)
    write_tar(tmp_path / "d.tar", [("x/d.png", encode_png(pixels)), ("x/d.txt", b"one")])
    (tmp_path / "list.csv").write_text(f"path,label\n{photos}/000.png,one\n")
    (forms / "notes.txt").write_text("no image")
    (forms / ".hidden.png").write_text("no image")
    main([str(forms), str(tmp_path / "d.tar"), str(tmp_path / "list.csv")])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 10
    lossy = (".GIF", ".heic", ".avif")
    lossless = {line.split("  ")[1] for line in lines if not any(kind in line for kind in lossy)}
    assert len(lossless) == 1


def test_large_photographs_are_reduced_as_prepare_reduces_them(study, tmp_path):
    """A model of data with max_side answers about a large image as about the stored one."""
    _, model = study
    config = read_json(model / "config.json")
    answers = []
    (tmp_path / "a.png").write_bytes(encoded(photo(3, (400, 300)), "PNG"))
    for max_side in (None, 24):
        try:
            write_json(model / "config.json", {**config, "max_side": max_side})
            main([str(tmp_path / "a.png"), "--csv", str(tmp_path / "out.csv")])
        finally:
            write_json(model / "config.json", config)
        answers.append(_table(tmp_path / "out.csv")[1])
    assert answers[0] != answers[1]


def test_what_cannot_be_read_is_named_at_the_end_and_stops_nothing(photos, tmp_path, capsys):
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "cut.jpg").write_bytes(encoded(photo(0))[:200])
    (bad / "empty.png").write_bytes(b"")
    (bad / "gone.jpg").symlink_to(bad / "nowhere.jpg")
    (bad / "half.tar").write_bytes(b"no tar")
    os.mkfifo(bad / "pipe.jpg")
    main([str(bad), str(photos / "000.png")])
    first, *faults = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{photos}/000.png  ")
    assert all(line.startswith("not read: ") for line in faults)
    for name in ("cut.jpg", "empty.png", "gone.jpg", "half.tar"):
        assert any(name in fault for fault in faults), name
    assert len(faults) == 4


@pytest.mark.parametrize("content", [b"", b"no image"])
def test_where_nothing_can_be_read_it_ends_in_an_error(tmp_path, content):
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.jpg is (empty|no image)"):
        main([str(tmp_path)])


def test_paths_and_numbers_that_are_wrong_are_refused_before_any_work(tmp_path, photos):
    with pytest.raises(ValueError, match=r"nowhere does not exist; name image files, folders"):
        main([str(photos), str(tmp_path / "nowhere")])
    with pytest.raises(ValueError, match="there is no image in what you named"):
        main([str(_empty(tmp_path))])
    with pytest.raises(ValueError, match="--top-k is 0; name at least one class"):
        main([str(photos), "--top-k", "0"])
    with pytest.raises(ValueError, match="holds no delivered model"):
        main([str(photos), "--model", str(tmp_path)])


def _empty(folder):
    (folder / "empty").mkdir()
    return folder / "empty"


def test_many_photographs_pass_in_parts(photos, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("synthbridge.commands.predict.AT_ONCE", 64)
    main([str(photos)])
    printed = io.StringIO(capsys.readouterr().out).readlines()
    assert [line.split("  ")[0][-7:-4] for line in printed] == [f"{n:03d}" for n in range(200)]
