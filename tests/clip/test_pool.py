import csv
import json

import numpy as np
import pytest
from PIL import Image

from own_data import write_tar
from synthbridge.clip.pool import list_images, read_bytes, read_pixels
from synthbridge.data.shards import encode_png
from synthbridge.upstream.pool import read_pool, write_pool_shard
from synthbridge.upstream.settings import PoolSettings


def _png(shade):
    return encode_png(np.full((4, 6, 3), shade, np.uint8))


def write_files(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def test_shards_with_captions_as_text_or_in_a_record(tmp_path):
    record = json.dumps({"caption": "from the\n record", "url": "x"}).encode()
    first = [("k1.png", _png(1)), ("k1.txt", b"a  text"), ("k1.json", b"{}")]
    second = [("k2.jpg", _png(2)), ("k2.json", record)]
    write_tar(tmp_path / "b/1.tar", [*second, *first])
    write_tar(tmp_path / "a.tar", [("dir.1/k.JPEG", _png(3)), ("dir.1/k.json", b"no json")])
    images = list(list_images(tmp_path))
    assert [(image.key, image.caption) for image in images] == [
        ("a.tar/dir.1/k", ""),
        ("b/1.tar/k1", "a text"),
        ("b/1.tar/k2", "from the record"),
    ]
    assert [read_bytes(tmp_path, image) for image in images] == [_png(3), _png(1), _png(2)]
    assert (read_pixels(tmp_path, images[1]) == 1).all()


def test_it_reads_what_the_miniature_pool_holds(tmp_path):
    settings = PoolSettings(num_images=20, images_per_shard=10, style_fraction=0.5, seed=0)
    for shard in range(2):
        write_pool_shard(settings, shard, tmp_path)
    images, pool = list(list_images(tmp_path)), read_pool(tmp_path)
    assert [image.caption for image in images] == pool.captions
    np.testing.assert_array_equal(
        np.stack([read_pixels(tmp_path, image) for image in images]), pool.images
    )


def test_images_with_their_captions_beside_them(tmp_path):
    write_files(tmp_path, {"x/b.webp": _png(1), "x/b.txt": b"a bee", "a.PNG": _png(2)})
    write_files(tmp_path, {"notes.txt": b"no caption of an image"})
    found = [(image.key, image.caption) for image in list_images(tmp_path)]
    assert found == [("a.PNG", ""), ("x/b.webp", "a bee")]


@pytest.mark.parametrize("kind", ["metadata.csv", "metadata.jsonl"])
def test_metadata_lists_an_image_once_whatever_its_captions(tmp_path, kind):
    write_files(tmp_path, {"x/a.png": _png(1), "x/a.txt": b"not this", "b.png": _png(2)})
    rows = [{"file_name": "x/a.png", "text": "one, two"}, {"file_name": "x/a.png", "text": "three"}]
    if kind == "metadata.csv":
        with (tmp_path / kind).open("w", newline="") as file:
            writer = csv.DictWriter(file, ["file_name", "text"])
            writer.writeheader()
            writer.writerows(rows)
    else:
        (tmp_path / kind).write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    found = [(image.key, image.caption) for image in list_images(tmp_path)]
    assert found == [("b.png", ""), ("x/a.png", "one, two three")]


def test_captions_may_be_in_utf_16_and_left_overs_are_no_images(tmp_path):
    files = {"a.png": _png(1), "._a.png": b"of a Mac", "@eaDir/a.png": _png(2)}
    table = "file_name,caption\na.png,une abeille \u00e0 miel\n".encode("utf-16")
    write_files(tmp_path, {**files, "metadata.csv": table})
    found = [(image.key, image.caption) for image in list_images(tmp_path)]
    assert found == [("a.png", "une abeille \u00e0 miel")]


def test_pixels_are_upright_and_of_three_channels(tmp_path):
    grey = Image.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3))
    exif = Image.Exif()
    exif[274] = 6  # orientation: turn a quarter clockwise
    grey.save(tmp_path / "a.png", exif=exif)
    (tmp_path / "a.txt").write_text("turned")
    pixels = read_pixels(tmp_path, next(list_images(tmp_path)))
    np.testing.assert_array_equal(pixels[..., 0], [[3, 0], [4, 1], [5, 2]])
    assert pixels.shape == (3, 2, 3)


OPEN_QUOTE = b'file_name,caption\na.png,"' + b"bee " * 40_000  # longer than a cell may be


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({}, "holds no image"),
        (
            {"a.png": _png(1), "b.txt": b"of nothing"},
            "holds 1 images and no caption of any; put KE",
        ),
        ({"a.png": _png(1), "a.txt": b" \n"}, "no caption of any"),
        ({"a.tar": b"no tar"}, "a.tar is not a whole tar"),
        ({"a.png": _png(1), "metadata.csv": b"file_name,caption\nb.png,bee\n"}, "names b.png, whi"),
        ({"a.png": _png(1), "metadata.csv": b"file,caption\na.png,bee\n"}, "needs file_name, and"),
        ({"a.png": _png(1), "metadata.csv": OPEN_QUOTE}, "cannot be read .* it needs file_name, a"),
        ({"a.png": _png(1), "a.txt": "caf\u00e9".encode("latin-1")}, "a.txt, line 1, is not UTF-8"),
        ({"a.png": _png(1), "metadata.jsonl": b"[1]\n"}, "it needs file_name, and caption or te"),
        ({"a.png": _png(1), "metadata.jsonl": b"{\n"}, "it needs file_name, and caption or text"),
    ],
)
def test_what_is_no_pool_of_captioned_images_is_refused(tmp_path, files, sentence):
    write_files(tmp_path, files)
    with pytest.raises(ValueError, match=sentence):
        list(list_images(tmp_path))


def test_shards_without_captions_are_refused(tmp_path):
    write_tar(tmp_path / "a.tar", [("k.png", _png(1)), ("k.json", b'{"caption": null}')])
    with pytest.raises(ValueError, match="holds 1 images and no caption of any"):
        list(list_images(tmp_path))


def test_a_shard_cut_between_two_samples_is_refused(tmp_path):
    path = write_tar(tmp_path / "a.tar", [("k.png", _png(1)), ("k.txt", b"a bee")])
    path.write_bytes(path.read_bytes().rstrip(b"\0") + bytes(507))  # to the end of the last file
    with pytest.raises(ValueError, match=r"a\.tar is not a whole tar .*, or take it out of the po"):
        list(list_images(tmp_path))


def test_a_shard_may_be_empty_where_others_are_not(tmp_path):
    write_tar(tmp_path / "a.tar", [])
    write_tar(tmp_path / "b.tar", [("k.png", _png(1)), ("k.txt", b"a bee")])
    assert [image.key for image in list_images(tmp_path)] == ["b.tar/k"]


def test_a_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(ValueError, match="the pool .*nowhere is no folder; name one"):
        list(list_images(tmp_path / "nowhere"))


def test_an_image_that_is_not_whole_is_named(tmp_path):
    write_files(tmp_path, {"a.png": _png(1)[:40], "a.txt": b"cut"})
    with pytest.raises(ValueError, match=r"image 'a.png' of .* is no image"):
        read_pixels(tmp_path, next(list_images(tmp_path)))
