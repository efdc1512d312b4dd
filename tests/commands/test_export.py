"""Exported sets and models, read by the libraries that know the layouts."""

import datasets
import numpy as np
import pytest
import timm
import webdataset
from torchvision.datasets import ImageFolder

from delivered_model import MINIATURE, run_deliver, write_study
from quarters import CLASS_NAMES, make_source, write_dataset
from synthbridge.commands.export import main
from synthbridge.core.files import read_json, write_json
from synthbridge.data.shards import encode_png, index_shard, read_image, write_shard

NUM_IMAGES = 12
HUB = {**MINIATURE, "generator": {"hub": "stable-diffusion-v1-5/stable-diffusion-v1-5"}}
DRAWN = {"prompts": "dsi", "shots": 4, "guidance_scale": 3.5, "images_per_class": 3}
FOUND = {"search": "caption", "pool": "data/raw/photos", "images_per_class": 3}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A repository with a set made from shots, of which one image is left out."""
    root = tmp_path_factory.mktemp("repository")
    data = root / "data"
    write_dataset(data / "real/quarters", {"train": make_source("real", 4, seed=0)})
    for name, record in (("dsi_4", {"prompt": "a {} photo"}), ("found", {"query": "a {}"})):
        for subset in ("s0", "s1") if name == "dsi_4" else ("all",):
            samples = list(_samples(subset, record))
            write_shard(data / f"sets/quarters/{name}/b0/{subset}-00000.tar", samples)
            keys = [sample["__key__"] for sample in samples]
            kept = keys[1:] if subset == "s0" else None
            if subset != "s1":
                write_json(data / f"examined/quarters/{name}/kept.json", {"keys": kept})
    params = {
        "datasets": ["quarters"],
        "sets": ["dsi_4", "found"],
        "synthetic": {"dsi_4": DRAWN},
        "retrieved": {"found": FOUND},
        "upstream": HUB,
    }
    write_json(root / "params.yaml", params)  # JSON is YAML too
    write_json(root / "dvc.yaml", {"vars": [{"num_blocks": 2}]})
    return root


def _samples(subset, record):
    images = make_source("synthetic", NUM_IMAGES, seed=len(subset))
    for index, (image, label) in enumerate(zip(images.images, images.labels, strict=True)):
        facts = {key: text.format(CLASS_NAMES[label]) for key, text in record.items()}
        yield {
            "__key__": f"{subset}-{index:06d}",
            "png": encode_png(image.permute(1, 2, 0).numpy()),
            "cls": int(label),
            "json": {**facts, "seed": index, "class_name": CLASS_NAMES[label]},
        }


@pytest.fixture(autouse=True)
def here(root, monkeypatch):
    monkeypatch.chdir(root)


def _expected(root, name="dsi_4", shard="s0-00000.tar", skip=1):
    """Return pixels, class and prompt by the seed of each image."""
    samples = index_shard(root / f"data/sets/quarters/{name}/b0/{shard}")[skip:]
    return {
        s.record["seed"]: (np.asarray(read_image(s)).tobytes(), CLASS_NAMES[s.label], s.record)
        for s in samples
    }


def test_image_folder(root, tmp_path):
    main(["images", "dsi_4", "--to", str(tmp_path / "out")])
    found = ImageFolder(tmp_path / "out")
    assert sorted(found.classes) == sorted(CLASS_NAMES)
    pixels = {(np.asarray(image).tobytes(), found.classes[label]) for image, label in found}
    assert pixels == {(content, name) for content, name, _ in _expected(root).values()}
    assert (tmp_path / "out/classes.txt").read_text().split() == CLASS_NAMES


def test_webdataset(root, tmp_path, monkeypatch):
    monkeypatch.setattr("synthbridge.delivery.image_sets.IMAGES_PER_SHARD", 8)
    main(["images", "dsi_4", "--form", "webdataset", "--to", str(tmp_path / "out")])
    assert "train-{00000..00001}.tar" in (tmp_path / "out/README.md").read_text()
    shards = str(tmp_path / "out/train-{00000..00001}.tar")
    found = webdataset.WebDataset(shards, shardshuffle=False).decode("pil")
    expected = _expected(root)
    assert len(list(found)) == len(expected) == NUM_IMAGES - 1
    for sample in found:
        content, name, record = expected[sample["json"]["seed"]]
        assert np.asarray(sample["png"]).tobytes() == content
        assert CLASS_NAMES[int(sample["cls"])] == name
        assert sample["json"]["prompt"] == record["prompt"]


def test_hugging_face_datasets(root, tmp_path, monkeypatch):
    main(["images", "dsi_4", "--form", "datasets", "--to", str(tmp_path / "out")])
    found = datasets.load_dataset(
        str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache")
    )
    expected = _expected(root)
    assert len(found) == len(expected)
    for row in found:
        content, name, record = expected[row["seed"]]  # pyright: ignore
        assert np.asarray(row["image"].convert("RGB")).tobytes() == content  # pyright: ignore
        assert (row["class_name"], row["prompt"]) == (name, record["prompt"])  # pyright: ignore


def test_the_card_says_how_the_images_came_about(root, tmp_path):
    main(["images", "dsi_4", "--to", str(tmp_path / "a")])
    card = (tmp_path / "a/README.md").read_text()
    assert "11 images of 4 classes. 1 more were made; training left them out" in card
    assert "its licence: CreativeML Open RAIL-M" in card and "`a two photo`" in card
    main(["images", "found", "--to", str(tmp_path / "b")])
    card = (tmp_path / "b/README.md").read_text()
    assert "retrieved by caption from data/raw/photos" in card and "`a two`" in card
    assert "belong to their authors; no licence is recorded" in " ".join(card.split())


def test_a_set_made_from_shots_has_images_for_each_seed(root, tmp_path):
    main(["images", "dsi_4", "--seed", "1", "--to", str(tmp_path / "out")])
    names = {path.stem for path in (tmp_path / "out").glob("*/*.png")}
    assert names <= {f"s1-{index:06d}" for index in range(NUM_IMAGES)}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["images", "dsi_8"], "'dsi_8' is no set; choose from dsi_4, found"),
        (["images", "found", "--dataset", "other"], "run 'dvc repro examine@other-found'"),
        (["model"], "data/delivered/quarters holds no delivered model"),
    ],
)
def test_what_is_not_there_is_refused(arguments, sentence, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        main([*arguments, "--to", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_nothing_is_written_over(root, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    for what in (["images", "dsi_4"], ["model"]):
        with pytest.raises(ValueError, match="is there already; name a folder that is new"):
            main([*what, "--to", str(tmp_path)])
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_the_model_is_copied_whole(root, tmp_path, monkeypatch):
    monkeypatch.setenv("SYNTHBRIDGE_WORK", str(tmp_path / "work"))
    params = write_study(tmp_path / "study")
    delivered = run_deliver(tmp_path / "study", params, tmp_path / "data/delivered/quarters")
    write_json(tmp_path / "params.yaml", {"datasets": ["quarters"]})
    monkeypatch.chdir(tmp_path)
    main(["model", "--to", str(tmp_path / "out")])
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == {
        p.name: p.read_bytes() for p in delivered.iterdir()
    }
    model = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True)
    assert model.num_classes == len(read_json(delivered / "config.json")["label_names"])
