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


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ("photos/rook/9.jpg,rook,train", "images.csv, row 14: .*9.jpg does not exist"),
        ("photos/rook/0.jpg,rook,test", "row 14 names 'photos/rook/0.jpg', which row 10 names"),
        ("photos/rook/../rook/1.jpg,rook,test", "row 14: .* lies outside"),
        ("/etc/x.jpg,rook,test", "row 14: '/etc/x.jpg' lies outside"),
        ("photos/rook/0.jpg,rook,holdout", "row 14: split is 'holdout'; choose from train, val"),
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
    raw = _raw(tmp_path / "mine", ROWS, "path;label;split")
    with pytest.raises(ValueError, match="has the columns path;label;split; its first line must"):
        load_list(settings(), raw)
    (raw / "images.csv").unlink()
    with pytest.raises(ValueError, match=r"images\.csv does not exist; write it with the columns"):
        load_list(settings(), raw)
