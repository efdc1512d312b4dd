"""Data sets in the Hub's forms, in local folders and from a hub on 127.0.0.1."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from house import ROOT
from own_data import CLASSES, class_folders, encoded, photo, settings
from synthbridge.core.files import hash_value
from synthbridge.sources.hub_datasets import load_hub_dataset
from upstream.hub_on_loopback import COMMIT, Hub, Repository, serve

datasets = pytest.importorskip("datasets")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def _parquet(folder, name, labels, first_seed=0, names=CLASSES, group_column="note"):
    """Write a split as the Hub keeps it: image bytes and class indices in a parquet file."""
    label = datasets.ClassLabel(names=list(names)) if names else datasets.Value("string")
    rows = {
        "picture": [
            {"bytes": encoded(photo(first_seed + i)), "path": None} for i in range(len(labels))
        ],
        "kind": labels,
        group_column: [f"bird {i // 2}" for i in range(len(labels))],
    }
    features = datasets.Features(
        {"picture": datasets.Image(), "kind": label, group_column: datasets.Value("string")}
    )
    table = datasets.Dataset.from_dict(rows, features=features)
    (folder / "data").mkdir(parents=True, exist_ok=True)
    table.to_parquet(folder / "data" / f"{name}-00000-of-00001.parquet")


def _hub_yaml(raw, *lines):
    raw.mkdir(exist_ok=True)
    (raw / "hub.yaml").write_text("\n".join(lines) + "\n")
    return raw


COLUMNS = ("id: birds", "image: picture", "label: kind")


def test_parquet_with_splits_and_class_labels(tmp_path):
    raw = _hub_yaml(tmp_path / "mine", *COLUMNS, "test: test", "validation: validation")
    names = ("rook", "house_sparrow", "AmericanCrow")  # the column's order stays
    _parquet(raw / "birds", "train", [0, 1, 2, 2], names=names)
    _parquet(raw / "birds", "validation", [0, 1, 2], 100, names)
    _parquet(raw / "birds", "test", [2, 1, 0], 200, names)
    dataset = load_hub_dataset(settings(), raw)
    assert dataset.class_keys == names
    assert dataset.class_names == ("rook", "house sparrow", "American Crow")
    assert [image.label for image in dataset.train] == [0, 1, 2, 2]
    assert [image.name for image in dataset.test] == [f"test/{i:07d}" for i in range(3)]
    assert [image.label for image in dataset.test] == [2, 1, 0]
    for seed, images in ((0, dataset.train), (100, dataset.validation), (200, dataset.test)):
        assert [i.read() for i in images] == [encoded(photo(seed + n)) for n in range(len(images))]
    assert sorted(path.name for path in raw.iterdir()) == ["birds", "hub.yaml"]


def test_labels_that_are_texts_and_a_test_split_held_out(tmp_path):
    raw = _hub_yaml(tmp_path / "mine", *COLUMNS)
    _parquet(raw / "birds", "train", list(CLASSES) * 3, names=None)
    dataset = load_hub_dataset(settings(test_per_class=1), raw)
    assert dataset.class_keys == CLASSES
    assert len(dataset.train) == 6 and len(dataset.test) == 3


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (["rook", "", "jay"], "image train/0000001 has the label '', which stands for none"),
        (["0", "1", "-1"], "image train/0000002 has the label '-1', which stands for none"),
        (["rook", "jay", " "], "image train/0000002 has the label '', which stands for none"),
        (["rook", "jay", " NaN"], "image train/0000002 has the label 'NaN', which stands for none"),
        ([0, 1, -100], "image train/0000002 has the label '-100', which stands for none"),
        ([0.0, -1.0, 1.0], "image train/0000001 has the label '-1.0', which stands for none"),
        ([0.0, float("nan"), 1.0], "image train/0000001 has no label; choose another split or col"),
        (["rook", None, "jay"], "image train/0000001 has no label; choose another split or column"),
        ([True, False, True], "image train/0000000 has the label True; a label is a name or a num"),
        ([["a"], ["b"], ["a"]], r"image train/0000000 has the label \['a'\]; a label is a name or"),
        (
            [{"x": 1}, {"x": 2}],
            "image train/0000000 has the label {'x': 1}; a label is a name or a",
        ),
    ],
)
def test_a_label_that_stands_for_none_is_refused(tmp_path, labels, sentence):
    raw = _hub_yaml(tmp_path / "mine", *COLUMNS)
    _parquet(raw / "birds", "train", list(CLASSES), names=None)
    path = raw / "birds/data/train-00000-of-00001.parquet"
    rows = [{"picture": encoded(photo(i)), "kind": label} for i, label in enumerate(labels)]
    datasets.Dataset.from_list(rows).cast_column("picture", datasets.Image()).to_parquet(path)
    with pytest.raises(ValueError, match=sentence) as error:
        load_hub_dataset(settings(test_per_class=1), raw)
    assert "\n" not in str(error.value)


def test_numbers_may_be_labels(tmp_path):
    raw = _hub_yaml(tmp_path / "mine", *COLUMNS)
    _parquet(raw / "birds", "train", [" 7", "12", "7 "] * 3, names=None)
    dataset = load_hub_dataset(settings(test_per_class=1), raw)
    assert dataset.class_keys == ("7", "12") and len(dataset.train) == 7


def test_classes_of_the_column_without_an_image_are_left_out_with_a_line(tmp_path, capsys):
    raw = _hub_yaml(tmp_path / "mine", *COLUMNS)
    names = ("rook", "jay", "nan", "crow", "wren")  # a name that the column states is a name
    _parquet(raw / "birds", "train", [0, 2, 4] * 3, names=names)
    dataset = load_hub_dataset(settings(test_per_class=1), raw)
    assert dataset.class_keys == ("rook", "nan", "wren")
    assert {image.label for image in dataset.train} == {0, 1, 2}
    said = capsys.readouterr().out
    assert "2 classes of the list have no image and are left out (jay, ...)" in said


@pytest.mark.parametrize(("column", "line"), [("group", ""), ("note", "group: note")])
def test_a_column_of_groups(tmp_path, column, line):
    raw = _hub_yaml(tmp_path / "mine", *COLUMNS, line)
    _parquet(raw / "birds", "train", list(CLASSES) * 6, names=None, group_column=column)
    dataset = load_hub_dataset(settings(test_per_class=1), raw)
    for image in (*dataset.train, *dataset.test):
        assert image.group == f"bird {int(image.name[-7:]) // 2}"
    assert not {i.group for i in dataset.train} & {i.group for i in dataset.test}


def test_a_row_without_an_image_is_named(tmp_path):
    raw = _hub_yaml(tmp_path / "mine", *COLUMNS)
    _parquet(raw / "birds", "train", list(CLASSES) * 3, names=None)
    path = raw / "birds/data/train-00000-of-00001.parquet"
    table = datasets.Dataset.from_parquet(str(path)).cast_column(
        "picture", datasets.Image(decode=False)
    )
    rows = table.to_dict()
    rows["picture"][4] = None
    datasets.Dataset.from_dict(rows, features=table.features).to_parquet(path)
    with pytest.raises(ValueError, match="row train/0000004 has no image; choose another split"):
        load_hub_dataset(settings(test_per_class=1), raw)


def test_a_column_that_nothing_calls_a_group_is_none(tmp_path):
    raw = _hub_yaml(tmp_path / "mine", *COLUMNS)
    _parquet(raw / "birds", "train", list(CLASSES) * 6, names=None)
    assert not load_hub_dataset(settings(test_per_class=1), raw).has_groups
    _hub_yaml(raw, *COLUMNS, "group: person")
    with pytest.raises(
        ValueError, match="group is 'person', but the data set has the columns pict"
    ):
        load_hub_dataset(settings(test_per_class=1), raw)


def test_the_metadata_of_an_image_folder_may_name_groups(tmp_path):
    raw = _hub_yaml(tmp_path / "mine", "id: birds")
    rows = []
    for index in range(18):
        name = f"{index}.jpg"
        fill_row = {"file_name": name, "label": CLASSES[index % 3], "group": index // 3}
        rows.append(json.dumps(fill_row))
        (raw / "birds" / "train").mkdir(parents=True, exist_ok=True)
        (raw / "birds" / "train" / name).write_bytes(encoded(photo(index)))
    (raw / "birds" / "train" / "metadata.jsonl").write_text("\n".join(rows) + "\n")
    dataset = load_hub_dataset(settings(test_per_class=1), raw)
    assert {image.group for image in (*dataset.train, *dataset.test)} == set("012345")


def test_an_image_folder(tmp_path):
    raw = _hub_yaml(tmp_path / "mine", "id: birds", "test: test")
    class_folders(raw / "birds" / "train", 3)
    class_folders(raw / "birds" / "test", 1, 1000)
    dataset = load_hub_dataset(settings(), raw)
    assert dataset.class_keys == CLASSES and len(dataset.train) == 9
    assert dataset.test[2].read() == (raw / "birds/test/rook/0.jpg").read_bytes()


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (("revision: x",), "hub.yaml: id is missing; add it"),
        (
            ("id: birds", "revison: x"),
            "revison is not a known key; choose from config, group, id, image",
        ),
        (("id: ../birds",), "hub.yaml: id '../birds' lies outside .*mine; DVC watches that folder"),
        (COLUMNS[:1], "hub.yaml: image is 'image', but the data set has the columns picture, kind"),
        (COLUMNS[:2], "hub.yaml: label is 'label', but the data set has the columns"),
        ((*COLUMNS, "test: held_out"), "hub.yaml: 'birds' cannot be read: .*held_out"),
        ((*COLUMNS, "config: big"), "hub.yaml: 'birds' cannot be read: .*big"),
    ],
)
def test_a_wrong_hub_yaml_is_a_sentence(tmp_path, lines, sentence):
    raw = _hub_yaml(tmp_path / "mine", *lines)
    _parquet(raw / "birds", "train", [0, 1, 2] * 3)
    with pytest.raises(ValueError, match=sentence):
        load_hub_dataset(settings(test_per_class=1), raw)


def test_a_row_without_a_label_and_a_missing_file_are_named(tmp_path):
    raw = _hub_yaml(tmp_path / "mine", *COLUMNS)
    _parquet(raw / "birds", "train", [0, 1, 2, -1])
    with pytest.raises(ValueError, match="image train/0000003 has no label"):
        load_hub_dataset(settings(test_per_class=1), raw)
    (raw / "hub.yaml").rename(raw / "hub.yml")
    with pytest.raises(ValueError, match="hub.yaml does not exist; write it with the data set's"):
        load_hub_dataset(settings(test_per_class=1), raw)


def _load_from(hub: Hub, raw: Path) -> subprocess.CompletedProcess:
    """Load in a process of its own: huggingface_hub reads HF_ENDPOINT when it is imported."""
    script = """
import sys
from pathlib import Path
from own_data import settings
from synthbridge.core.files import hash_value
from synthbridge.sources.hub_datasets import load_hub_dataset
try:
    dataset = load_hub_dataset(settings(), Path(sys.argv[1]))
except ValueError as error:
    sys.exit(str(error))
print(dataset.class_names)
for image in (*dataset.train, *dataset.validation, *dataset.test):
    print(image.name, image.label, hash_value(image.read().hex()))
"""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("HF_")},
        "HF_ENDPOINT": hub.endpoint,
        "HF_HOME": str(raw.parent / "home"),
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")]),
    }
    return subprocess.run(
        [sys.executable, "-c", script, str(raw)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_data_set_is_streamed_from_the_hub_at_its_commit(tmp_path):
    _parquet(tmp_path / "served", "train", [0, 1, 2, 2])
    _parquet(tmp_path / "served", "validation", [0, 1, 2], 100)
    _parquet(tmp_path / "served", "test", [2, 1, 0], 200)
    lines = (f"revision: {COMMIT}", *COLUMNS[1:], "test: test", "validation: validation")
    raw = _hub_yaml(tmp_path / "mine", "id: me/birds", *lines)
    with serve() as hub:
        hub.repositories["me/birds"] = Repository(tmp_path / "served")
        loaded = _load_from(hub, raw)
    assert loaded.returncode == 0, loaded.stderr
    seeds = {"train": (0, 4), "validation": (100, 3), "test": (200, 3)}
    labels = {"train": [0, 1, 2, 2], "validation": [0, 1, 2], "test": [2, 1, 0]}
    expected = [
        f"{split}/{n:07d} {labels[split][n]} {hash_value(encoded(photo(seed + n)).hex())}"
        for split, (seed, count) in seeds.items()
        for n in range(count)
    ]
    assert loaded.stdout.splitlines()[-len(expected) :] == expected
    assert any("data/train-00000-of-00001.parquet" in asked for asked in hub.asked)
    assert sorted(path.name for path in raw.iterdir()) == ["hub.yaml"]


@pytest.mark.parametrize(
    ("line", "fault"), [("", "missing"), ("revision: main", "'main', which may move")]
)
def test_an_id_without_a_commit_is_refused(tmp_path, line, fault):
    raw = _hub_yaml(tmp_path / "mine", "id: me/birds", line)
    with pytest.raises(ValueError, match=f"hub.yaml: revision is {fault}; run 'python src pin'"):
        load_hub_dataset(settings(), raw)


def test_an_id_that_the_hub_does_not_have_is_said(tmp_path):
    raw = _hub_yaml(tmp_path / "mine", "id: me/fish", f"revision: {COMMIT}")
    with serve() as hub:
        refused = _load_from(hub, raw).stderr
    assert "hub.yaml: 'me/fish' cannot be read: " in refused and "Traceback" not in refused
