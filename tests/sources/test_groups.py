import pytest
from PIL import Image

from own_data import class_folders, encoded, photo, settings
from synthbridge.sources.folders import load_folder
from synthbridge.sources.groups import name_groups
from synthbridge.sources.lists import load_list


def _grouped(contents, **changes):
    """Group images of these contents, by their names."""
    readers = {name: (lambda content=content: content) for name, content in contents.items()}
    return name_groups(readers, settings(**changes))


def test_a_regular_expression_finds_groups_in_names(capsys):
    names = dict.fromkeys(["rook/b7_01.jpg", "rook/b7_02.jpg", "crow/b9_01.jpg"], b"")
    found = _grouped(names, group_by="regex", group_regex=r"(b\d+)_")
    assert list(found.values()) == ["b7", "b7", "b9"]
    found = _grouped(names, group_by="regex", group_regex=r"^\w+/b\d")
    assert list(found.values()) == ["rook/b7", "rook/b7", "crow/b9"]
    found = _grouped(names, group_by="regex", group_regex="7")
    assert list(found.values()) == ["7", "7", "crow/b9_01.jpg"]
    assert "finds nothing in 1 images, which stand alone ('crow" in capsys.readouterr().out
    with pytest.raises(ValueError, match="group_regex is 'x', which finds nothing in any image's"):
        _grouped(names, group_by="regex", group_regex="x")


def _taken(seed, time, camera="A"):
    exif = Image.Exif()
    exif[0x0110] = camera
    exif.get_ifd(0x8769)[0x9003] = time
    return encoded(photo(seed), exif=exif)


def test_photographs_of_one_minute_are_a_series():
    times = {"a": "00:10", "b": "00:55", "c": "01:50", "d": "03:10", "e": "03:20"}
    contents = {
        name: _taken(number, f"2024:05:01 10:{time}")
        for number, (name, time) in enumerate(times.items())
    }
    contents["other camera"] = _taken(7, "2024:05:01 10:00:20", "B")
    contents["no time"] = encoded(photo(8))
    contents["damaged"] = encoded(photo(9), exif=b"Exif\0\0nothing of it")
    found = _grouped(contents, group_by="exif-minute")
    alone = {name: name for name in ("other camera", "no time", "damaged")}
    assert found == {"a": "a", "b": "a", "c": "a", "d": "d", "e": "d", **alone}


def test_where_no_image_says_its_time_there_is_no_series():
    with pytest.raises(ValueError, match="no image says in its EXIF when it was taken; choose"):
        _grouped({"a": encoded(photo(0)), "b": encoded(photo(1))}, group_by="exif-minute")


def test_images_that_look_alike_are_joined():
    first, other = photo(0, (120, 90)), photo(1, (120, 90))
    contents = {
        "z": encoded(first, "PNG"),
        "a": encoded(first, quality=90),
        "m": encoded(first.resize((60, 45)), quality=60),
        "other": encoded(other),
        "tiny": encoded(photo(2)),
    }
    found = _grouped(contents, group_by="alike")
    assert found == {"z": "a", "a": "a", "m": "a", "other": "other", "tiny": "tiny"}


def _series(folder):
    """Make three classes of four series each, of three images that differ by their quality."""
    raw = folder / "mine"
    for number, name in enumerate(("crow", "rook", "tit")):
        (raw / name).mkdir(parents=True)
        for series in range(4):
            image = photo(100 * number + series, (96, 64))
            for shot in range(3):
                content = encoded(image, quality=95 - 20 * shot)
                (raw / name / f"{shot}_{name}{series}.jpg").write_bytes(content)
    return raw


@pytest.mark.parametrize(
    "how", [{"group_by": "alike"}, {"group_by": "regex", "group_regex": r"_(\w+)\.jpg"}]
)
def test_a_series_stays_on_one_side_of_the_split(tmp_path, how):
    dataset = load_folder(settings(test_per_class=2, **how), _series(tmp_path))
    sides = [{image.group for image in images} for images in (dataset.train, dataset.test)]
    assert not sides[0] & sides[1] and len(dataset.test) == 9
    assert all(image.group for image in dataset.train)


def test_files_that_name_groups_are_not_grouped_again(tmp_path):
    raw = class_folders(tmp_path / "mine")
    rows = [f"{path.relative_to(raw)},{path.parent.name},g" for path in sorted(raw.rglob("*.jpg"))]
    (raw / "images.csv").write_text("\n".join(["path,label,group", *rows]))
    asked = settings(source="csv", test_per_class=1, group_by="alike")
    with pytest.raises(ValueError, match=r"mine\.group_by is alike, but the files of "):
        load_list(asked, raw)
