"""Data sets in the Hub's forms, on local folders: nothing here reaches the network."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from own_data import CLASSES, class_folders, encoded, photo, settings
from synthbridge.data.sources.hub_datasets import load_hub_dataset

datasets = pytest.importorskip("datasets")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def _parquet(folder, name, labels, first_seed=0, names=CLASSES):
    """Write a split as the Hub keeps it: image bytes and class indices in a parquet file."""
    label = datasets.ClassLabel(names=list(names)) if names else datasets.Value("string")
    rows = {
        "picture": [
            {"bytes": encoded(photo(first_seed + i)), "path": None} for i in range(len(labels))
        ],
        "kind": labels,
        "note": ["x"] * len(labels),
    }
    features = datasets.Features(
        {"picture": datasets.Image(), "kind": label, "note": datasets.Value("string")}
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
        (("id: birds", "revison: x"), "revison is not a known key; choose from config, id, image"),
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


class _Hub(BaseHTTPRequestHandler):
    """A hub that knows one data set's newest commit."""

    def do_GET(self):
        known = self.path.startswith("/api/datasets/me/birds")
        body = b'{"id": "me/birds", "sha": "%s"}' % (b"ab" * 20) if known else b"{}"
        self.send_response(200 if known else 404)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def test_an_id_without_a_commit_is_refused_with_the_commit(tmp_path, monkeypatch):
    import huggingface_hub

    server = HTTPServer(("127.0.0.1", 0), _Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(huggingface_hub.HfApi, "__init__", _at(endpoint))
    for line in ("", "revision: main"):
        raw = _hub_yaml(tmp_path / "mine", "id: me/birds", line)
        with pytest.raises(ValueError, match=f"should be a commit .*\nrevision: {'ab' * 20}"):
            load_hub_dataset(settings(), raw)
    raw = _hub_yaml(tmp_path / "mine", "id: me/fish")
    with pytest.raises(ValueError, match="should be a commit .*, and the hub cannot say it: .*404"):
        load_hub_dataset(settings(), raw)
    server.shutdown()


def _at(endpoint):
    from huggingface_hub import HfApi

    original = HfApi.__init__
    return lambda self, *args, **kwargs: original(self, endpoint, *args, **kwargs)
