"""Forms of data to the letter: what people have on their disks, and what `prepare` makes of it.

Each row is one kind of input: either the names of the classes that come out, or what the sentence
of the refusal says.
"""

import codecs
import os
import re

import pytest

from own_data import encoded, photo, settings, write_tar
from synthbridge.sources.inspection import inspect_dataset
from synthbridge.sources.loading import load_dataset

AB = ("a", "b")


def _image(number=0):
    return encoded(photo(number))


def _folders(*names, beside=None, split=False):
    """Return what makes class folders of three images each, and files beside, by path."""

    def make(raw):
        for number, name in enumerate(names):
            (raw / name).mkdir(parents=True)
            for index in range(3):
                (raw / name / f"{index}.jpg").write_bytes(_image(10 * number + index))
        for path, content in (beside or {}).items():
            (raw / path).parent.mkdir(parents=True, exist_ok=True)
            (raw / path).write_bytes(content.encode() if isinstance(content, str) else content)

    return make, {"test_per_class": None if split else 1}


def _both(*names):
    """Return what makes class folders in train and test: `Cat/cat` is spelt so in the two."""
    pairs = [name.split("/") if "/" in name else (name, name) for name in names]
    train, test = zip(*pairs, strict=True)
    return _folders(*(f"train/{n}" for n in train), *(f"test/{n}" for n in test), split=True)


ROWS = "".join(f"{index}.jpg,{'ab'[index % 2]}\n" for index in range(8))


def _list(text, name="images.csv", beside=None):
    """Return what makes eight images and a list; `text` in bytes is taken as it is."""

    def make(raw):
        (raw / "sub").mkdir(parents=True)
        for index in range(8):
            for folder in (raw, raw / "sub"):
                (folder / f"{index}.jpg").write_bytes(_image(index))
        (raw / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        for path, content in (beside or {}).items():
            (raw / path).write_text(content)

    return make, {"source": "csv", "test_per_class": 1}


def _labelled(*labels):
    """Return a list of the eight images with these labels in turn."""
    return _list("path,label\n" + "".join(f"{i}.jpg,{labels[i % len(labels)]}\n" for i in range(8)))


def _tar(*labels, extension="cls", beside=(), name="birds.tar", files=None, change=str):
    """Return what makes a tar of eight samples with these labels in turn."""
    members = list(beside)
    for index in range(8):
        members.append((change(f"{index:03d}.jpg"), _image(index)))
        members.append((change(f"{index:03d}.{extension}"), labels[index % len(labels)]))

    def make(raw):
        write_tar(raw / name, members)
        for path, content in (files or {}).items():
            (raw / path).write_bytes(content)

    return make, {"source": "webdataset", "test_per_class": 1}


def _tars(*names, split):
    """Return what makes tars of these names, with the same labels."""

    def make(raw):
        for number, name in enumerate(names):
            members = []
            for index in range(4):
                members.append((f"{index}.jpg", _image(10 * number + index)))
                members.append((f"{index}.cls", b"ab"[index % 2 : index % 2 + 1]))
            write_tar(raw / name, members)

    return make, {"source": "webdataset", "test_per_class": None if split else 1}


def _bytes(content, name="birds.tar"):
    def make(raw):
        raw.mkdir()
        (raw / name).write_bytes(content)

    return make, {"source": "webdataset", "test_per_class": 1}


JSON = "under one of label, class_name, class, cls"
SPELT = "one class spelt in two ways"

READ = {
    # --- names of folders
    "ages": (_folders("0-2 years", "3-5 years"), ("0-2 years", "3-5 years")),
    "sizes": (_folders("0.25 mm", "0.5 mm"), ("0.5 mm", "0.25 mm")),
    "coins": (_folders("1 cent", "2 cent"), ("1 cent", "2 cent")),
    "a numbering": (_folders("001.Crow", "002.Rook"), ("Crow", "Rook")),
    "a class with a dot": (_folders(".net", "java"), (".net", "java")),
    "spaces, accents": (_folders("café au lait", "thé"), ("café au lait", "thé")),
    "numbers in order": (_folders("class 10", "class 2"), ("class 2", "class 10")),
    # --- what lies beside images
    "annotations": (_folders(*AB, beside={"a/0.xml": "x", "b/0.txt": "x", "b/0.json": "{}"}), AB),
    "notes in a class": (_folders(*AB, beside={"a/README.md": "x"}), AB),
    "notes at the top": (_folders(*AB, beside={"README.md": "x", "LICENSE": "x"}), AB),
    "annotations at the top": (_folders(*AB, beside={"all.json": "{}", "all.xml": "x"}), AB),
    "Windows": (_folders(*AB, beside={"a/THUMBS.DB": "x", "desktop.ini": "x"}), AB),
    "macOS": (_folders(*AB, beside={"a/._0.jpg": "x", "a/Icon\r": "", ".DS_Store": "x"}), AB),
    "a zip made by macOS": (_folders(*AB, beside={"__MACOSX/a/._0.jpg": "x"}), AB),
    "a server": (_folders(*AB, beside={"a/@eaDir/0.jpg/thumb.jpg": "x"}), AB),
    "a notebook": (_folders(*AB, beside={".ipynb_checkpoints/x.ipynb": "{}"}), AB),
    "capitals": (_folders(*AB, beside={"a/9.JPG": _image(99), "b/9.JPEG": _image(98)}), AB),
    # --- names.yaml
    "empty names": (_folders(*AB, beside={"names.yaml": ""}), AB),
    "names of comments": (_folders(*AB, beside={"names.yaml": "# none\n"}), AB),
    "words of YAML": (
        _folders("0", "null", "yes", beside={"names.yaml": "0: zero\nnull: nil\nyes: yea\n"}),
        ("zero", "nil", "yea"),
    ),
    "names in UTF-16": (
        _folders(*AB, beside={"names.yaml": "a: café\n".encode("utf-16")}),
        ("café", "b"),
    ),
    # --- lists
    "a list": (_list(f"path,label\n{ROWS}"), AB),
    "a mark of UTF-8": (_list(codecs.BOM_UTF8 + f"path,label\n{ROWS}".encode()), AB),
    "UTF-16": (_list(f"path,label\n{ROWS}".encode("utf-16")), AB),
    "semicolons": (_list(f"path,label\n{ROWS}".replace(",", ";")), AB),
    "tabs": (_list(f"path,label\n{ROWS}".replace(",", "\t")), AB),
    "a .tsv": (_list(f"path,label\n{ROWS}".replace(",", "\t"), "images.tsv"), AB),
    "columns in capitals": (_list(f"Path,Label\n{ROWS}"), AB),
    "columns with spaces": (_list(f" path , label \n{ROWS}"), AB),
    "Excel's first line": (_list("sep=;\n" + f"path,label\n{ROWS}".replace(",", ";")), AB),
    "paths of Windows": (_list("path,label\n" + re.sub(r"(\d\.jpg)", r"sub\\\1", ROWS)), AB),
    "lines of Windows": (_list(f"path,label\n{ROWS}".replace("\n", "\r\n")), AB),
    "lines of an old Mac": (_list(f"path,label\n{ROWS}".replace("\n", "\r")), AB),
    "empty lines": (_list(f"path,label\n\n{ROWS}\n\n"), AB),
    "quotes": (_list(f"path,label\n{ROWS}".replace(",a", ',"a"')), AB),
    "more columns": (_list("path,label,by\n" + ROWS.replace("\n", ",me\n")), AB),
    "a comma in a name": (_labelled('"crow, black"', "b"), ("b", "crow, black")),
    # --- tars
    "indices": (_tar(b"0", b"1", files={"classes.txt": b"a\nb\n"}), AB),
    "lines of Windows in classes": (_tar(b"0", b"1", files={"classes.txt": b"a\r\nb\r\n"}), AB),
    "classes in UTF-16": (
        _tar(b"0", b"1", files={"classes.txt": "a\nb\n".encode("utf-16")}),
        AB,
    ),
    "a part of the classes": (_tar(b"0", b"1", files={"classes.txt": b"a\nb\nc\n"}), AB),
    "texts": (_tar(b"a\n", b" b\r\n", extension="txt"), AB),
    "texts in UTF-16": (_tar("a".encode("utf-16"), "b".encode("utf-16"), extension="txt"), AB),
    "JSON": (_tar(b'{"label": "a"}', b'{"class": "b"}', extension="json"), AB),
    "extensions in capitals": (_tar(b"a", b"b", change=str.upper), AB),
    "a dot and a slash": (_tar(b"a", b"b", change=lambda name: f"./{name}"), AB),
    "a path upwards": (_tar(b"a", b"b", change=lambda name: f"../{name}"), AB),
    "prose in a tar": (_tar(b"a", b"b", beside=[("README.md", b"x"), ("LICENSE.txt", b"x")]), AB),
    "left-overs in a tar": (
        _tar(
            *(b"a", b"b"),
            beside=[
                (".DS_Store", b"x"),
                ("x/Thumbs.db", b"x"),
                ("._000.jpg", b"x"),
                ("__MACOSX/000.jpg", b"x"),
                ("desktop.ini", b"x"),
            ],
        ),
        AB,
    ),
    "split by words of names": (_tars("birds-train-0.tar", "birds-TEST-0.tar", split=True), AB),
    "split by one word": (_tars("TRAIN-0.tar", "TEST-0.tar", split=True), AB),
    "names of no split": (_tars("x.tar", "y.tar", split=False), AB),
}

REFUSED = {
    # --- folders
    "a list at the top": (
        _folders(*AB, beside={"labels.csv": "x"}),
        "labels.csv lies in no class folder; .*source: csv reads lists",
    ),
    "an image at the top": (_folders(*AB, beside={"x.jpg": _image()}), "x.jpg lies in no class"),
    "an empty class": (_folders(*AB, beside={"c/.keep": ""}), "class folder .*/c is empty"),
    "a level too much": (
        _folders("x/a", "x/b"),
        "is a folder inside a class folder; images",
    ),
    "one class": (_folders("a"), "holds one class; a classifier needs two"),
    "a class in test alone": (
        _folders("train/a", "train/b", "test/a", "test/b", "test/c", split=True),
        "class 'c' has no image in train, only in test",
    ),
    "a page saved as an image": (
        _folders(*AB, beside={"a/9.jpg": "<html>404</html>"}),
        "a/9.jpg is no image that Pillow can read; save it as JPEG or PNG, or remove it",
    ),
    "a pointer": (
        _folders(*AB, beside={"a/9.jpg": "version https://git-lfs.github.com/spec/v1\noid x\n"}),
        "a/9.jpg is a pointer of Git LFS and no image yet; run 'git lfs pull'",
    ),
    "an empty image": (_folders(*AB, beside={"a/9.jpg": ""}), r"a/9.jpg is empty \(0 bytes\)"),
    "half an image": (
        _folders(*AB, beside={"a/9.jpg": _image()[:300]}),
        r"a/9.jpg cannot be decoded \(.*\); copy it again or remove it",
    ),
    "a film": (_folders(*AB, beside={"a/9.mp4": "x"}), "a/9.mp4 is no image that Pillow can read"),
    "a drawing": (_folders(*AB, beside={"a/9.svg": "<svg/>"}), "a/9.svg is no image that Pillow"),
    "half a download": (_folders(*AB, beside={"a/9.jpg.part": "x"}), "half copied or downloaded"),
    "an archive": (_folders(*AB, beside={"all.zip": "x"}), "all.zip is an archive"),
    "another case": (_both("Cat/cat", "dog"), SPELT),
    "a space behind": (_both("Cat /Cat", "dog"), SPELT),
    "accents apart": (_both("caf\u00e9/cafe\u0301", "dog"), SPELT),
    "a no-break space": (_both("a b/a\u00a0b", "dog"), SPELT),
    "a space of no width": (_both("a/a\u200b", "dog"), SPELT),
    # --- names.yaml
    "names.yml": (_folders(*AB, beside={"names.yml": "a: x"}), "is not read; call it names.yaml"),
    "names in a list": (
        _folders(*AB, beside={"names.yaml": "- a\n"}),
        "holds no names; write a line 'folder: name' for each class",
    ),
    "a name twice": (
        _folders(*AB, beside={"names.yaml": "a: x\na: y\n"}),
        r'is not valid YAML: .*found duplicate key "a".*line: 2\)$',
    ),
    "a name without a class": (
        _folders(*AB, beside={"names.yaml": "c: x"}),
        "'c' is no class",
    ),
    "names in Latin-1": (
        _folders(*AB, beside={"names.yaml": "a: café\n".encode("latin-1")}),
        r"names.yaml, line 1, is not UTF-8 \(Latin-1 or Windows-1252, perhaps\); save the file as",
    ),
    "one name for two": (_folders(*AB, beside={"names.yaml": "a: x\nb: X"}), "the same name 'X'"),
    # --- lists
    "no list": (_list("x", "other.csv"), "images.csv does not exist; write it with the columns"),
    "two lists": (_list("x", beside={"images.tsv": "x"}), "holds images.csv and images.tsv"),
    "an empty list": (_list(""), r"has the columns \(none\); its first line must name path and"),
    "a list of no row": (_list("path,label\n"), "holds no labelled image"),
    "other columns": (_list(f"file,class\n{ROWS}"), "has the columns file, class; its first line"),
    "bars": (_list(f"path,label\n{ROWS}".replace(",", "|")), r"has the columns path\|label; its"),
    "a column twice": (
        _list("path,label,label\n" + ROWS.replace("\n", ",z\n")),
        "has the column label twice; rename one of them",
    ),
    "Latin-1": (
        _list(f"path,label\n{ROWS}".replace(",a", ",café").encode("latin-1")),
        "images.csv, line 2, is not UTF-8",
    ),
    "UTF-16 without its mark": (
        _list(f"path,label\n{ROWS}".encode("utf-16-le")),
        r"holds bytes of zero \(UTF-16 without its mark, perhaps\); save the file as UTF-8",
    ),
    "an open quote": (_list(f'path,label\n"0.jpg,a\n{ROWS}'), "after line 1 .*a quote not closed"),
    "a long open quote": (_list('path,label\n"0.jpg,a\n' + "x" * 200_000), "a quote not closed"),
    "a row too short": (_list(f"path,label\n0.jpg\n{ROWS}"), "row 2 lacks its label; fill it in"),
    "a row too long": (_list(f"path,label\n0.jpg,a,x\n{ROWS}"), "row 2 has more cells than the"),
    "a row of commas": (_list(f"path,label\n{ROWS},\n"), "row 10 lacks its path; fill it in"),
    "a file that is not there": (_list(f"path,label\n{ROWS}9.jpg,a"), "row 10: .*9.jpg does not"),
    "a file in other case": (_list(f"path,label\n{ROWS}0.JPG,a"), "row 10: .*0.JPG does not exist"),
    "a folder for a file": (_list(f"path,label\n{ROWS}sub,a"), "row 10: .*sub is a folder; name"),
    "an address": (
        _list(f"path,label\n{ROWS}https://x.org/y.jpg,a"),
        "row 10: 'https://x.org/y.jpg' is an address; nothing is downloaded: put the image into",
    ),
    "a path outside": (_list(f"path,label\n{ROWS}../x.jpg,a"), "row 10: '../x.jpg' lies outside"),
    "a drive": (_list(f"path,label\n{ROWS}C:\\x\\0.jpg,a"), "row 10: 'C:/x/0.jpg' lies outside"),
    "a file twice": (
        _list(f"path,label\n{ROWS}0.jpg,a"),
        "row 10 names '0.jpg', which row 2",
    ),
    "two labels of a file": (
        _list(f"path,label\n{ROWS}0.jpg,b"),
        "row 10 names '0.jpg', which",
    ),
    "an unknown split": (
        _list("path,label,split\n" + ROWS.replace("\n", ",pred\n")),
        "row 2: split is 'pred'; choose from train, training, val",
    ),
    "a label of a table's": (
        _labelled("a", "b", "NaN"),
        "has the label 'NaN', which stands",
    ),
    "an index of none": (
        _labelled("0", "-1"),
        "has the label '-1', which stands",
    ),
    "an index far below": (_labelled("0", "1", "-100"), "row 4 has the label '-100', which stands"),
    "a fraction below": (_labelled("0", "-1.0"), "row 3 has the label '-1.0', which stands for no"),
    "numbers as fractions": (_labelled("1", "2", "1.0", "2"), SPELT),
    "labels in other case": (_labelled("a", "b", "A", "b"), SPELT),
    "one label": (_labelled("a"), "holds one class; a classifier needs two"),
    # --- tars
    "no tar": (_tar(b"a", name="birds.tar.gz"), "holds no .tar; unpack birds.tar.gz to .tar"),
    "an empty tar": (_bytes(b""), "birds.tar is not a whole tar"),
    "no real tar": (_bytes(b"x" * 2000), "birds.tar is not a whole tar"),
    "no label": (_tar(b"a", extension="npy"), "sample '000' has no .cls, .json or .txt; add its"),
    "two images": (
        _tar(b"a", b"b", beside=[("000.png", b"x")]),
        r"sample '000' has 2 images \(.jpg, .*\); it needs one",
    ),
    "a key with dots": (
        _tar(b"a", b"b", change=lambda name: f"v1.{name}"),
        "sample 'v1' has 0 images .* a key ends at the first dot of the file's name",
    ),
    "null": (_tar(b'{"label": null}', extension="json"), f"the label None; .* {JSON}"),
    "a list of labels": (_tar(b'{"label": [0, 7]}', extension="json"), r"the label \[0, 7\]; "),
    "a mapping": (_tar(b'{"label": {}}', extension="json"), "the label {}; write an index or a"),
    "true": (_tar(b'{"label": true}', extension="json"), "the label True; write an index or a"),
    "a fraction": (_tar(b'{"label": 1.0}', extension="json"), "the label 1.0; write an index or a"),
    "NaN": (_tar(b'{"label": NaN}', extension="json"), "the label nan; write an index or a name"),
    "no mapping": (_tar(b"[1]", extension="json"), f".json has no label; .* {JSON}"),
    "no JSON": (_tar(b"{", extension="json"), r".json cannot be read \(.*\); correct it"),
    "no text": (_tar(b"\xff\xd8", b"b"), "sample '000': .cls, line 1, is not UTF-8"),
    "an empty label": (_tar(b" \n", b"b"), "sample '000': .cls is empty; write an index or a name"),
    "an index below": (_tar(b"-1", b"0"), "has the label '-1', which stands for none"),
    "an index far below, in JSON": (
        _tar(b'{"label": -100}', b'{"label": 0}', extension="json"),
        "sample '000' has the label '-100', which stands for none; label it or leave it out",
    ),
    "an index below, beside a list": (
        _tar(b"-1.0", b"0", files={"classes.txt": b"a\nb\n"}),
        "sample '000' has the label '-1.0', which stands for none",
    ),
    "an index above": (
        _tar(b"0", b"7", files={"classes.txt": b"a\nb\n"}),
        r"sample '001' has class '7', but .*classes.txt names 2 classes \(0 is the first line\)",
    ),
    "a class twice": (_tar(b"0", b"1", files={"classes.txt": b"a\na\n"}), "line 2 repeats 'a'"),
    "an empty class's line": (
        _tar(b"0", files={"classes.txt": b"a\n\nb"}),
        "line 2 is empty",
    ),
    "a tar of no split": (
        _tars("birds-train-0.tar", "x.tar", split=True),
        "x.tar names no split, but others name one; let its name hold one of train",
    ),
}


def _load(made, folder):
    make, changes = made
    raw = folder / "mine"
    make(raw)
    asked = settings(**changes)
    dataset = load_dataset(asked, raw)
    inspect_dataset(dataset, asked.max_side)
    return dataset


@pytest.mark.parametrize("kind", READ)
def test_what_people_have_is_read(kind, tmp_path):
    made, names = READ[kind]
    assert _load(made, tmp_path).class_names == names


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_used_is_refused_in_a_sentence(kind, tmp_path):
    made, sentence = REFUSED[kind]
    with pytest.raises(ValueError, match=sentence) as error:
        _load(made, tmp_path)
    assert "\n" not in str(error.value) and "\0" not in str(error.value)


def test_a_pipe_is_no_file(tmp_path):
    make, changes = _folders(*AB)
    raw = tmp_path / "mine"
    make(raw)
    os.mkfifo(raw / "a/pipe.jpg")
    with pytest.raises(ValueError, match=r"a/pipe\.jpg is a pipe, a socket or a device"):
        load_dataset(settings(**changes), raw)
