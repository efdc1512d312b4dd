import pytest

from synthbridge.sources.rows import read_rows


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_rows_have_the_line_numbers_that_an_editor_shows(tmp_path, encoding, separator):
    path = tmp_path / "a.csv"
    lines = (f"sep={separator}", f" Path{separator}label", f"a.jpg{separator}one", "", "b.jpg")
    path.write_bytes("\r\n".join(lines).encode(encoding))
    assert read_rows(path, ("path",)) == [
        (3, {"path": "a.jpg", "label": "one"}),
        (5, {"path": "b.jpg", "label": None}),
    ]


def test_a_missing_column_and_an_open_quote_are_refused(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("path\na.jpg\n")
    with pytest.raises(ValueError, match=r"name path and label \(and split\), separated"):
        read_rows(path, ("path", "label"), "split")
    path.write_text('path\n"a.jpg\n')
    with pytest.raises(ValueError, match="the row after line 1 cannot be read"):
        read_rows(path, ("path",))
