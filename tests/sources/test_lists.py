import pytest

from own_data import CLASSES, class_folders, settings
from synthbridge.sources.lists import load_list


def _raw(folder, lines, header="path,label,split"):
    """Write images and images.csv."""
    if not folder.exists():
        class_folders(folder / "photos")
    (folder / "images.csv").write_text("\n".join([header, *lines]) + "\n")
    return folder


ROWS = [
    f"photos/{name}/{index}.jpg,{name},{split}"
    for name in CLASSES
    for index, split in enumerate(("train", "train", "val", "test"))
]


def test_a_list_with_splits(tmp_path):
    raw = _raw(tmp_path / "mine", [*reversed(ROWS)])
    dataset = load_list(settings(), raw)
    assert dataset.class_keys == CLASSES
    assert [len(dataset.splits()[name]) for name in ("train", "validation", "test")] == [6, 3, 3]
    assert [image.name for image in dataset.test] == [f"photos/{name}/3.jpg" for name in CLASSES]
    assert dataset.test[1].label == 1
    assert dataset.test[1].read() == (raw / dataset.test[1].name).read_bytes()


def test_a_list_without_splits_as_a_spreadsheet_writes_it(tmp_path):
    rows = [f'"{row.split(",")[0]}",{row.split(",")[1]},me' for row in ROWS]
    raw = _raw(tmp_path / "mine", rows, "\ufeffpath,label,photographer")
    dataset = load_list(settings(test_per_class=1), raw)
    assert len(dataset.train) == 9 and len(dataset.test) == 3


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("first", ["", "sep={}\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_list_in_the_forms_that_spreadsheets_write(tmp_path, separator, first, encoding):
    raw = tmp_path / "mine"
    class_folders(raw / "photos")
    lines = ["Path,Label ,SPLIT", *(row.replace("/", "\\") for row in ROWS)]
    text = first.format(separator) + "\r\n".join(lines).replace(",", separator)
    (raw / "images.csv").write_bytes(text.encode(encoding))
    dataset = load_list(settings(), raw)
    assert [image.name for image in dataset.test] == [f"photos/{name}/3.jpg" for name in CLASSES]
    (raw / "photos/rook/3.jpg").unlink()
    with pytest.raises(ValueError, match=f"row {14 if first else 13}: .*rook/3.jpg does not exist"):
        load_list(settings(), raw)


def test_another_encoding_is_named_with_its_line(tmp_path):
    raw = _raw(tmp_path / "mine", ROWS)
    content = (raw / "images.csv").read_bytes().replace(b",house_sparrow", b",caf\xe9")
    (raw / "images.csv").write_bytes(content)
    with pytest.raises(ValueError, match=r"images\.csv, line 6, is not UTF-8 \(Latin-1 or Windows"):
        load_list(settings(), raw)


def test_a_list_may_end_in_tsv_but_there_is_one(tmp_path):
    raw = _raw(tmp_path / "mine", [row.replace(",", "\t") for row in ROWS], "path\tlabel\tsplit")
    (raw / "images.csv").rename(raw / "images.tsv")
    assert len(load_list(settings(), raw).test) == 3
    (raw / "images.csv").write_text("path,label\n")
    with pytest.raises(ValueError, match=r"holds images\.csv and images\.tsv; keep one of them"):
        load_list(settings(), raw)


@pytest.mark.parametrize("length", [1, 200_000])
def test_a_quote_that_is_not_closed_is_told(tmp_path, length):
    row = 'photos/rook/0.jpg,"rook,test' + "\n" + "x" * length
    raw = _raw(tmp_path / "mine", [*ROWS[:3], row])
    with pytest.raises(ValueError, match=r"the row after line 4 cannot be read .*; is a quote not"):
        load_list(settings(), raw)


def test_a_separator_inside_a_cell_is_told(tmp_path):
    raw = _raw(tmp_path / "mine", [*ROWS[:3], "photos/rook/0.jpg,rook, black,test"])
    with pytest.raises(ValueError, match="row 5 has more cells than the first line; put quotes"):
        load_list(settings(), raw)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("rook", "Rook"),
        ("1", "1.0"),
        ("a b", "a\u00a0b"),
        ("rook", "ro\u200bok"),
        ("caf\u00e9", "cafe\u0301"),
        ("rook", "rook\ufeff"),
        ("rook", "ro\u00adok"),
    ],
)
def test_one_class_in_two_spellings_is_told(tmp_path, one, other):
    raw = _raw(tmp_path / "mine", [row.replace(",rook,", f",{one},") for row in ROWS])
    text = (raw / "images.csv").read_text().replace(f"rook/2.jpg,{one}", f"rook/2.jpg,{other}")
    (raw / "images.csv").write_text(text)
    with pytest.raises(ValueError, match="one class spelt in two ways") as error:
        load_list(settings(), raw)
    assert "'photos/rook/0.jpg'" in str(error.value) and f"2.jpg' {other!a}" in str(error.value)


def _grouped(count, group):
    """Return rows of `count` images a class without splits; `group` names that of an index."""
    return [f"photos/{n}/{i}.jpg,{n},{group(n, i)}" for n in CLASSES for i in range(count)]


def test_groups_stay_whole_where_the_split_is_dealt(tmp_path):
    """Six persons have two photographs of every class; a test of three images takes two of them."""
    class_folders(tmp_path / "mine" / "photos", 12)
    raw = _raw(tmp_path / "mine", _grouped(12, lambda _, i: f"person {i // 2}"), "path,label,group")
    for seed in range(5):
        dataset = load_list(settings(test_per_class=3, validation_per_class=2, seed=seed), raw)
        train, test = (
            {image.group for image in images} for images in (dataset.train, dataset.test)
        )
        assert len(test) == 2 and len(train) == 4 and not train & test
        assert [sum(i.label == c for i in dataset.test) for c in range(3)] == [4, 4, 4]
        for image in dataset.test:
            assert int(image.name.split("/")[-1].removesuffix(".jpg")) // 2 == int(image.group[-1])


def test_groups_within_one_class_fill_each_class(tmp_path):
    class_folders(tmp_path / "mine" / "photos", 9)
    raw = _raw(tmp_path / "mine", _grouped(9, lambda n, i: f"{n} {i // 3}"), "path,label,group")
    dataset = load_list(settings(test_per_class=2), raw)
    assert [sum(i.label == c for i in dataset.test) for c in range(3)] == [3, 3, 3]
    assert not {i.group for i in dataset.test} & {i.group for i in dataset.train}


def test_groups_that_cannot_fill_the_splits_are_refused(tmp_path):
    class_folders(tmp_path / "mine" / "photos", 6)
    raw = _raw(tmp_path / "mine", _grouped(6, lambda n, i: f"{n} {i % 2}"), "path,label,group")
    with pytest.raises(ValueError, match="cannot fill test, validation and train; class 'American"):
        load_list(settings(test_per_class=2), raw)
    with pytest.raises(ValueError, match="has the fewest groups, 2: lower the two, add groups or"):
        load_list(settings(test_per_class=4), raw)


def test_a_group_that_only_some_images_have_is_refused(tmp_path):
    rows = [f"{row},person {i}" for i, row in enumerate(ROWS)]
    raw = _raw(
        tmp_path / "mine",
        [*rows[:5], rows[5].rpartition(",")[0] + ", ", *rows[6:]],
        "path,label,split,group",
    )
    with pytest.raises(ValueError, match="image 'photos/house_sparrow/1.jpg' has no group, but"):
        load_list(settings(), raw)
    raw = _raw(raw, [f"{row}," for row in ROWS], "path,label,split,group")
    assert not load_list(settings(), raw).has_groups


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ("photos/rook/9.jpg,rook,train", "images.csv, row 14: .*9.jpg does not exist"),
        ("photos/rook/0.jpg,rook,test", "row 14 names 'photos/rook/0.jpg', which row 10 names"),
        ("photos/rook/../rook/1.jpg,rook,test", "row 14: .* lies outside"),
        ("/etc/x.jpg,rook,test", "row 14: '/etc/x.jpg' lies outside"),
        (
            "photos/rook/0.jpg,rook,holdout",
            "row 14: split is 'holdout'; choose from train, training, val",
        ),
        ("photos/rook/0.jpg,rook,", "row 14: split is ''; choose from"),
        ("photos/rook/0.jpg,rook", "row 14: split is ''; choose from"),
        ("photos/rook/0.jpg,,test", "row 14 lacks its label; fill it in"),
        (",rook,test", "row 14 lacks its path; fill it in"),
    ],
)
def test_a_wrong_row_is_named(tmp_path, row, sentence):
    raw = _raw(tmp_path / "mine", [*ROWS, row])
    with pytest.raises(ValueError, match=sentence):
        load_list(settings(), raw)


def test_a_wrong_header_and_a_missing_list_are_named(tmp_path):
    raw = _raw(tmp_path / "mine", ROWS, "file,label,split")
    with pytest.raises(ValueError, match="has the columns file, label, split; its first line must"):
        load_list(settings(), raw)
    (raw / "images.csv").unlink()
    with pytest.raises(ValueError, match=r"images\.csv does not exist; write it with the columns"):
        load_list(settings(), raw)
