import os

import pytest

from own_data import encoded, photo, write_tar
from synthbridge.sources.photos import list_photos


def _names(folder, *paths):
    return [photo.name.removeprefix(f"{folder}/") for photo in list_photos(list(paths))]


def test_files_folders_tars_and_lists_are_listed_in_order(tmp_path):
    for name in ("b.jpg", "a.PNG", "below/c.jpg", "below/deep/d"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(photo(0)))
    write_tar(tmp_path / "in/e.tar", [("x/1.jpg", b"1"), ("x/1.cls", b"0"), ("x/2.png", b"2")])
    (tmp_path / "list.csv").write_text("label,path\none,in/b.jpg\n")
    assert _names(tmp_path, tmp_path / "list.csv", tmp_path / "in") == [
        "in/b.jpg",
        *("in/a.PNG", "in/b.jpg", "in/e.tar/x/1", "in/e.tar/x/2"),
        *("in/below/c.jpg", "in/below/deep/d"),
    ]
    in_tar = {p.name[-1]: p.read() for p in list_photos([tmp_path / "in/e.tar"])}
    assert in_tar == {"1": b"1", "2": b"2"}


@pytest.mark.parametrize(
    ("name", "text", "encoding"),
    [
        ("list.csv", "Path;label\nin\\a.jpg;one\n", "utf-16"),
        ("list.csv", "sep=;\npath;label\nin/a.jpg;one\n", "utf-8-sig"),
        ("list.tsv", "label\tpath\none\tin/a.jpg\n", "utf-8"),
    ],
)
def test_a_list_is_read_as_the_source_csv_reads_its_own(tmp_path, name, text, encoding):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.jpg").write_bytes(b"1")
    (tmp_path / name).write_bytes(text.encode(encoding))
    assert _names(tmp_path, tmp_path / name) == ["in/a.jpg"]


def test_what_is_no_image_is_passed_over_in_a_folder_and_tried_when_named(tmp_path):
    for name in ("notes.txt", "labels.json", "Thumbs.db", ".hidden.jpg"):
        (tmp_path / name).write_text("no image")
    os.mkfifo(tmp_path / "pipe.jpg")
    assert _names(tmp_path, tmp_path) == []
    assert _names(tmp_path, tmp_path / "notes.txt") == ["notes.txt"]


def test_a_pipe_of_a_list_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "a.jpg").write_bytes(b"1")
    (tmp_path / "list.csv").write_text("path\npipe.jpg\na.jpg\ngone.jpg\n")
    pipe, image, gone = list_photos([tmp_path / "list.csv"])
    with pytest.raises(
        ValueError, match=r"pipe\.jpg is a pipe, a socket or a device and no file; t"
    ):
        pipe.read()
    assert image.read() == b"1"
    with pytest.raises(FileNotFoundError):
        gone.read()


def test_links_are_followed_once_and_broken_ones_are_listed(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/one.jpg").write_bytes(b"1")
    (tmp_path / "a/again").symlink_to(tmp_path)
    (tmp_path / "a/gone.jpg").symlink_to(tmp_path / "nowhere")
    assert _names(tmp_path, tmp_path) == ["a/gone.jpg", "a/one.jpg"]


def test_a_broken_tar_is_a_photograph_that_cannot_be_read(tmp_path):
    (tmp_path / "a.tar").write_bytes(b"no tar")
    (broken,) = list_photos([tmp_path])
    with pytest.raises(ValueError, match=r"a\.tar is not a whole tar"):
        broken.read()


def test_a_path_or_a_list_that_cannot_be_used_is_refused(tmp_path):
    with pytest.raises(ValueError, match="nowhere does not exist; name image files, folders"):
        list_photos([tmp_path, tmp_path / "nowhere"])
    (tmp_path / "a.csv").write_text("file,label\nb.jpg,one\n")
    with pytest.raises(
        ValueError, match=r"a\.csv has the columns file, label; its .* name path, sep"
    ):
        list(list_photos([tmp_path / "a.csv"]))
    (tmp_path / "a.csv").write_text("path,label\n,one\n")
    with pytest.raises(ValueError, match=r"a\.csv, row 2 lacks its path; fill it in"):
        list(list_photos([tmp_path / "a.csv"]))
