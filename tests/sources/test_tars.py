import json

import pytest

from own_data import CLASSES, encoded, photo, settings, write_tar
from synthbridge.data.shards import write_shard
from synthbridge.sources.tars import load_tars


def _members(labels, kind="cls", first_seed=0):
    """Return the files of one sample a label."""
    for index, label in enumerate(labels):
        yield f"birds/{index:03d}.jpg", encoded(photo(first_seed + index))
        yield f"birds/{index:03d}.{kind}", label.encode()


def test_shards_with_splits_and_indices(tmp_path):
    raw = tmp_path / "mine"
    write_tar(raw / "train-00000.tar", _members("0120"))
    write_tar(raw / "train-00001.tar", _members("122", first_seed=100))
    write_tar(raw / "val-00000.tar", _members("012", first_seed=200))
    write_tar(raw / "test_00000.tar", _members("210", first_seed=300))
    # The order of the file, not of the alphabet: an index counts its lines.
    (raw / "classes.txt").write_text("rook\nhouse_sparrow\nAmericanCrow\n")
    dataset = load_tars(settings(), raw)
    assert dataset.class_names == ("rook", "house sparrow", "American Crow")
    assert [len(dataset.splits()[name]) for name in ("train", "validation", "test")] == [7, 3, 3]
    assert [image.label for image in dataset.train] == [0, 1, 2, 0, 1, 2, 2]
    assert dataset.train[4].name == "train-00001.tar/birds/000"
    assert dataset.train[4].read() == encoded(photo(100))


@pytest.mark.parametrize(
    ("kind", "label"),
    [
        ("cls", "{}"),
        ("txt", " {}\n"),
        ("json", '{{"width": 3, "label": "{}"}}'),
        ("json", '{{"class_name": "{}", "cls": 7}}'),
    ],
)
def test_one_tar_with_names(tmp_path, kind, label):
    labels = [label.format(name) for name in CLASSES * 3]
    write_tar(tmp_path / "mine" / "birds.tar", _members(labels, kind))
    dataset = load_tars(settings(test_per_class=1), tmp_path / "mine")
    assert dataset.class_keys == CLASSES
    assert len(dataset.train) == 6 and len(dataset.test) == 3


@pytest.mark.parametrize(
    "names",
    [
        ("birds-train-000.tar", "birds-test-000.tar"),
        ("TRAIN-0.tar", "Test-0.TAR"),
        ("birds_training2017.tar", "birds.testing.tar"),
    ],
)
def test_a_word_of_a_tars_name_says_its_split(tmp_path, names):
    for seed, name in enumerate(names):
        write_tar(tmp_path / "mine" / name, _members(CLASSES * 2, first_seed=100 * seed))
    dataset = load_tars(settings(), tmp_path / "mine")
    assert {image.name.split("/")[0] for image in dataset.train} == {names[0]}
    assert {image.name.split("/")[0] for image in dataset.test} == {names[1]}
    write_tar(tmp_path / "mine" / "train-test.tar", _members(CLASSES))
    with pytest.raises(ValueError, match=r"train-test\.tar names test and train, but others name"):
        load_tars(settings(), tmp_path / "mine")


@pytest.mark.parametrize("label", [None, [0, 7], {"a": 1}, True, 1.5])
def test_a_json_label_that_is_neither_text_nor_index_is_refused(tmp_path, label):
    labels = [json.dumps({"label": label})] + [json.dumps({"label": name}) for name in CLASSES * 3]
    write_tar(tmp_path / "mine" / "birds.tar", _members(labels, "json"))
    with pytest.raises(ValueError, match=r"sample 'birds/000': \.json has the label .*; write an"):
        load_tars(settings(test_per_class=1), tmp_path / "mine")


def test_labels_in_capitals_are_read_and_a_readme_is_passed_over(tmp_path):
    members = [(name.replace(".cls", ".CLS"), text) for name, text in _members(CLASSES * 3)]
    prose = [("README.txt", b"x"), ("birds/readme.md", b"x"), ("LICENSE", b"x")]
    write_tar(tmp_path / "mine" / "birds.tar", [*prose, *members])
    dataset = load_tars(settings(test_per_class=1), tmp_path / "mine")
    assert len(dataset.train) == 6 and len(dataset.test) == 3


def test_what_lies_beside_samples_is_left_out_with_one_line(tmp_path, capsys):
    for number in range(2):
        beside = [
            *((f"birds/._{i:03d}.jpg", b"x") for i in range(3)),
            ("__MACOSX/birds/000.jpg", b"x"),
            ("birds/Thumbs.db", b"x"),
            ("README.txt", b"x"),
            (".DS_Store", b"x"),
        ]
        members = [*beside, *_members(CLASSES * 3, first_seed=100 * number)]
        write_tar(tmp_path / "mine" / f"birds{number}.tar", members)
    dataset = load_tars(settings(test_per_class=1), tmp_path / "mine")
    assert len(dataset.train) == 15
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "left out" in line]
    assert line.endswith(": 2 .DS_Store, 6 ._*, 2 README, 2 Thumbs, 2 __MACOSX")


def test_samples_alone_say_nothing_of_what_is_left_out(tmp_path, capsys):
    write_tar(tmp_path / "mine" / "birds.tar", _members(CLASSES * 3))
    load_tars(settings(test_per_class=1), tmp_path / "mine")
    assert "left out" not in capsys.readouterr().out


def test_classes_of_the_list_without_an_image_are_left_out_with_a_line(tmp_path, capsys):
    write_tar(tmp_path / "mine" / "birds.tar", _members("024" * 3))
    (tmp_path / "mine" / "classes.txt").write_text("rook\njay\nowl\ncrow\nwren\n")
    dataset = load_tars(settings(test_per_class=1), tmp_path / "mine")
    assert dataset.class_keys == ("rook", "owl", "wren")
    assert {image.label for image in dataset.train} == {0, 1, 2}
    said = capsys.readouterr().out
    assert "2 classes of the list have no image and are left out (jay, ...)" in said


def test_a_name_in_a_tar_that_is_no_utf8_is_told(tmp_path):
    members = [*_members(CLASSES * 3), ("caf\udce9.jpg", b"x"), ("caf\udce9.cls", b"rook")]
    write_tar(tmp_path / "mine" / "birds.tar", members)
    with pytest.raises(ValueError, match=r"'birds\.tar/caf\\udce9' has a name .* no UTF-8; rename"):
        load_tars(settings(test_per_class=1), tmp_path / "mine")


def test_a_key_with_dots_is_told(tmp_path):
    write_tar(tmp_path / "mine" / "birds.tar", [("v1.5_a.jpg", b"x"), ("v1.5_a.cls", b"0")])
    with pytest.raises(ValueError, match="sample 'v1' has 0 images .* a key ends at the first dot"):
        load_tars(settings(test_per_class=1), tmp_path / "mine")


@pytest.mark.parametrize("kind", ["cls", "json"])
def test_an_index_of_minus_one_is_no_class(tmp_path, kind):
    labels = [str(i) if kind == "cls" else json.dumps({"label": i}) for i in (0, 1, -1) * 4]
    write_tar(tmp_path / "mine" / "birds.tar", _members(labels, kind))
    with pytest.raises(ValueError, match="birds/002' has the label '-1', which stands for none"):
        load_tars(settings(test_per_class=1), tmp_path / "mine")


def test_json_names_groups_beside_any_kind_of_label(tmp_path):
    members = [
        (f"{i}.{kind}", content)
        for i, label in enumerate(CLASSES * 3)
        for kind, content in [
            ("jpg", encoded(photo(i))),
            ("cls", label.encode()),
            ("json", json.dumps({"group": i // 3}).encode()),
        ]
    ]
    write_tar(tmp_path / "mine" / "birds.tar", members)
    dataset = load_tars(settings(test_per_class=1), tmp_path / "mine")
    (group,) = {image.group for image in dataset.test}
    assert {group, *(image.group for image in dataset.train)} == {"0", "1", "2"}
    assert group not in {image.group for image in dataset.train}


@pytest.mark.parametrize("group", [[1], True, " ", {"a": 1}, 1.5])
def test_a_group_that_is_no_name_is_refused(tmp_path, group):
    labels = [json.dumps({"label": name, "group": group}) for name in CLASSES]
    write_tar(tmp_path / "mine" / "birds.tar", _members(labels, "json"))
    with pytest.raises(ValueError, match=r"sample 'birds/000': \.json has the group .*; write a"):
        load_tars(settings(test_per_class=1), tmp_path / "mine")


def test_indices_named_by_names_yaml_stay_in_their_order(tmp_path):
    raw = tmp_path / "mine"
    labels = [json.dumps({"label": index}) for index in range(12)] * 3
    write_tar(raw / "birds.tar", _members(labels, "json"))
    names = [f'"{index}": {chr(97 + index)} bird\n' for index in range(12)]
    (raw / "names.yaml").write_text("".join(names))
    dataset = load_tars(settings(test_per_class=1), raw)
    assert dataset.class_keys == tuple(str(index) for index in range(12))
    assert dataset.class_names[10] == "k bird"


def test_shards_that_we_wrote_can_be_read(tmp_path):
    for split, seed in (("train", 0), ("validation", 100), ("test", 200)):
        samples = (
            {
                "__key__": f"{split}-{index:07d}",
                "jpg": encoded(photo(seed + index)),
                "cls": index % 3,
                "json": {"name": str(index), "class_name": CLASSES[index % 3]},
            }
            for index in range(6)
        )
        write_shard(tmp_path / "mine" / f"{split}-00000.tar", samples)
    (tmp_path / "mine" / "classes.txt").write_text("\n".join(CLASSES))
    dataset = load_tars(settings(), tmp_path / "mine")
    assert [len(images) for images in dataset.splits().values()] == [6, 6, 6]
    assert dataset.test[4].label == 1 and dataset.test[4].read() == encoded(photo(204))


@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        ([("a.jpg", b"x")], "birds.tar: sample 'a' has no .cls, .json or .txt; add its class"),
        (
            [("a.cls", b"0")],
            r"sample 'a' has 0 images \(.jpg, .jpeg, .png, .webp, .*\); it needs one",
        ),
        ([("a.jpg", b"x"), ("a.jpg", b"x"), ("a.cls", b"0")], "sample 'a' has 2 images"),
        ([("a.jpg", b"x"), ("a.cls", b"3")], "sample 'a' has class '3', but .* names 3 classes"),
        ([("a.jpg", b"x"), ("a.cls", b"owl")], "has class 'owl', but .*classes.txt names 3"),
        ([("a.jpg", b"x"), ("a.cls", b" ")], r"\.cls is empty; write an index or a name"),
        ([("a.jpg", b"x"), ("a.json", b"{}")], r"\.json has no label; .* one of label, class_name"),
        ([("a.jpg", b"x"), ("a.cls", b"\xff")], r"\.cls, line 1, is not UTF-8 \(Latin"),
    ],
)
def test_a_wrong_sample_is_named(tmp_path, members, sentence):
    write_tar(tmp_path / "mine" / "birds.tar", members)
    (tmp_path / "mine" / "classes.txt").write_text("\n".join(CLASSES))
    with pytest.raises(ValueError, match=sentence):
        load_tars(settings(test_per_class=1), tmp_path / "mine")


@pytest.mark.parametrize("keep", [0, 700, 4000, -1024])
def test_a_cut_tar_is_named(tmp_path, keep):
    path = write_tar(tmp_path / "mine" / "birds.tar", _members(CLASSES * 3))
    content = path.read_bytes().rstrip(b"\0") + bytes(1024)
    path.write_bytes(content[:keep])
    with pytest.raises(ValueError, match=r"birds\.tar is not a whole tar .*; copy it again"):
        load_tars(settings(test_per_class=1), tmp_path / "mine")


def test_other_faults_of_a_folder_of_tars(tmp_path):
    raw = tmp_path / "mine"
    raw.mkdir()
    (raw / "birds.tar.gz").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"holds no \.tar; unpack birds\.tar\.gz to \.tar"):
        load_tars(settings(), raw)
    write_tar(raw / "train-0.tar", _members(CLASSES))
    write_tar(raw / "more.tar", _members(CLASSES))
    with pytest.raises(ValueError, match=r"more\.tar names no split, but others name one"):
        load_tars(settings(), raw)
    (raw / "more.tar").unlink()
    (raw / "test-0.tar").mkdir()
    with pytest.raises(ValueError, match=r"test-0\.tar is a folder, not a tar; pack what it holds"):
        load_tars(settings(), raw)
    (raw / "test-0.tar").rmdir()
    (raw / "classes.txt").write_text("rook\nrook\n")
    with pytest.raises(ValueError, match=r"classes\.txt: line 2 repeats 'rook'; name each class"):
        load_tars(settings(), raw)
    (raw / "train-1.tar.part").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"train-1\.tar\.part is half copied or downloaded"):
        load_tars(settings(), raw)
