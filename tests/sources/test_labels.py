import pytest

from synthbridge.sources.labels import read_label


@pytest.mark.parametrize(
    ("value", "key"),
    [("rook ", "rook"), (7, "7"), (1.5, "1.5"), ("-", "-"), ("-1 degree", "-1 degree"), ("0", "0")],
)
def test_names_and_numbers_are_labels(value, key):
    assert read_label(value, "row 2") == key


@pytest.mark.parametrize("value", ["", " \n", "NaN", "-1", " -1.0", "-100", "-1e3", -1, -2.0])
def test_what_marks_an_unlabelled_image_is_none(value):
    with pytest.raises(ValueError, match="row 2 has the label '.*', which stands for none; label"):
        read_label(value, "row 2")


@pytest.mark.parametrize("value", [None, True, [1], {"a": 1}, b"rook"])
def test_what_is_neither_text_nor_number_is_no_label(value):
    with pytest.raises(ValueError, match="row 2 has the label .*; a label is a name or a number"):
        read_label(value, "row 2")
