import pytest

from synthbridge.sources.named.listing import name_some, read_lines, read_pairs, readable


def test_readable():
    assert readable("Black_footed_Albatross") == "Black footed Albatross"
    assert readable("polka-dotted") == "polka-dotted" and readable("a__b_") == "a b"


def test_lines_lose_their_ends_and_empty_ones(tmp_path, write_lines):
    write_lines(tmp_path / "list.txt", "a b ", "", "c d e", end="\r\n")
    assert read_lines(tmp_path / "list.txt") == ["a b", "c d e"]
    assert read_pairs(tmp_path / "list.txt") == [("a", "b"), ("c", "d e")]


def test_only_a_few_classes_are_named():
    assert name_some(["a", "b", "c"]) == "a, b, c"
    assert name_some(["a", "b", "c", "d", "e"]) == "a, b, c, 2 more classes"


def test_missing_file_is_left_to_the_caller(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_lines(tmp_path / "none.txt")
