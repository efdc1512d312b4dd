"""A delivered folder, read by us and by timm."""

import itertools
import re

import numpy as np
import pytest
import timm
import torch
from accelerate import Accelerator
from PIL import Image
from timm.data import create_transform, resolve_data_config

from own_data import photo
from synthbridge.core.files import read_json, write_json
from synthbridge.data.real import read_dataset
from synthbridge.data.shards import encode_png, index_shard, read_image, write_shard
from synthbridge.delivery.model import Preprocessing, only_dataset, read_model
from synthbridge.training.images import Normalisation, load_samples
from synthbridge.training.loop import centre_crop
from synthbridge.training.team import Team


@pytest.fixture(scope="module")
def team():
    return Team(Accelerator(cpu=True), rank=0, size=1)


def _timm_answers(folder, images):
    """Return what timm's own way answers: (N, C)."""
    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    transform = create_transform(**resolve_data_config({}, model=model))
    with torch.inference_mode():
        inputs = torch.stack([transform(image) for image in images])  # pyright: ignore
        return model(inputs).softmax(1).numpy()


def test_answers_are_those_of_the_pipelines_test_to_the_bit(study, delivered, team):
    root, _ = study
    seed = read_json(delivered / "choice.json")["seed"]
    samples = read_dataset(root / "real").samples("test")
    with np.load(root / f"results/real/vanilla/full-s{seed}.npz") as tested:
        answers = read_model(delivered).classify(samples, team)
        assert np.array_equal(answers, tested["probabilities"])


def test_timm_reads_the_test_set_alike(study, delivered, team):
    root, _ = study
    samples = read_dataset(root / "real").samples("test")
    labels = np.array([sample.label for sample in samples])
    ours = read_model(delivered).classify(samples, team)
    theirs = _timm_answers(delivered, [read_image(sample) for sample in samples])
    accuracies = [100 * (answers.argmax(1) == labels).mean() for answers in (ours, theirs)]
    assert abs(accuracies[0] - accuracies[1]) <= 0.5
    assert np.abs(ours - theirs).max() < 1e-5  # squares: nothing is rounded otherwise


def test_the_cards_lines_run_and_name_the_model_once(delivered, team, tmp_path, monkeypatch):
    """So that an id of the hub may take the folder's place: nothing else is opened there."""
    code = re.search(r"```python\n(.*?)```", (delivered / "README.md").read_text(), re.DOTALL)
    assert code is not None
    lines = code[1].replace('"local-dir:FOLDER"', repr(f"local-dir:{delivered}"))
    assert "open(f" not in lines and "FOLDER" not in lines
    monkeypatch.chdir(tmp_path)
    image = photo(0, (20, 20))
    image.save("photo.jpg")
    found: dict = {}
    exec(lines, found)
    assert list(found["names"]) == list(read_model(delivered).class_names)
    expected = _timm_answers(delivered, [Image.open("photo.jpg")])[0]
    assert np.allclose(found["probabilities"].numpy(), expected, atol=1e-6)


def test_timm_reads_images_of_any_shape_nearly_alike(study, delivered, team, tmp_path):
    """It rounds the longer side, and where the crop begins, otherwise: a pixel at most."""
    root, _ = study
    tested = read_dataset(root / "real").samples("test")
    sizes = [(16 + n % 9, 16 + n % 5) for n in range(len(tested))]
    images = [read_image(s).resize(size) for s, size in zip(tested, sizes, strict=True)]
    samples = _stored(images, tmp_path / "images.tar")
    labels = np.array([sample.label for sample in tested])
    ours = read_model(delivered).classify(samples, team).argmax(1) == labels
    theirs = _timm_answers(delivered, images).argmax(1) == labels
    assert abs(100 * ours.mean() - 100 * theirs.mean()) <= 0.5


def test_timms_inputs_are_ours_within_a_pixel(delivered, tmp_path):
    sizes = [(64, 48), (37, 90), (101, 33), (24, 24), (300, 211), (20, 20), (50, 51)]
    images = [photo(seed, size) for seed, size in enumerate(sizes)]
    seen = read_model(delivered).preprocessing
    squares = load_samples(
        _stored(images, tmp_path / "photos.tar"), seen.resize_size, torch.device("cpu")
    )
    index = torch.arange(len(images))
    ours = seen.normalisation(centre_crop(squares.at(index), seen.image_size))
    transform = create_transform(**resolve_data_config(_read_config(delivered)))
    for image, our in zip(images, ours, strict=True):
        their = transform(image)
        least = min(
            float((our[:, y : 15 + y, x : 15 + x] - their[:, v : 15 + v, u : 15 + u]).abs().mean())  # pyright: ignore
            for y, x, v, u in itertools.product((0, 1), repeat=4)
        )
        assert least < (1e-6 if image.width == image.height else 0.1)


def _read_config(folder):
    return read_json(folder / "config.json")["pretrained_cfg"]


def _stored(images, path):
    """Store images as a shard; return its samples."""
    samples = [
        {"__key__": f"{n:04d}", "png": encode_png(np.asarray(image)), "cls": 0, "json": {}}
        for n, image in enumerate(images)
    ]
    write_shard(path, samples)
    return index_shard(path)


def test_the_configuration_says_all_that_timm_asks(delivered):
    config = read_json(delivered / "config.json")
    assert config["label_names"] == ["one", "two", "three", "four"]
    assert (config["architecture"], config["num_classes"]) == ("test_resnet", 4)
    seen = config["pretrained_cfg"]
    assert seen["input_size"] == [3, 16, 16] and seen["crop_pct"] == 0.8
    assert (seen["crop_mode"], seen["interpolation"]) == ("center", "bicubic")
    assert (seen["mean"], seen["std"]) == ([0.5] * 3, [0.25] * 3)
    assert config["max_side"] is None


@pytest.mark.parametrize("image_size", [16, 24, 224, 299, 384])
def test_the_ratio_gives_timm_every_resize_size(image_size):
    """timm resizes to floor(size / ratio), and a rounded quotient may lie just below."""
    for resize_size in range(image_size, 2 * image_size):
        normalisation = Normalisation((0.5,) * 3, (0.5,) * 3)
        ratio = Preprocessing(image_size, resize_size, normalisation, None).crop_pct
        transform = create_transform((3, image_size, image_size), crop_pct=ratio)
        assert transform.transforms[0].size == resize_size  # pyright: ignore


def test_a_folder_that_is_none_is_refused(delivered, tmp_path):
    with pytest.raises(ValueError, match=r"holds no delivered model .* 'dvc repro deliver'"):
        read_model(tmp_path)
    config = read_json(delivered / "config.json")
    del config["label_names"]
    write_json(tmp_path / "config.json", config)
    with pytest.raises(ValueError, match="holds no delivered model"):
        read_model(tmp_path)


def test_one_data_set_needs_no_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("datasets: [mine]\n")
    assert only_dataset() == "mine"
    (tmp_path / "params.yaml").write_text("datasets: [mine, yours]\n")
    with pytest.raises(ValueError, match="has the data sets mine, yours; say which one"):
        only_dataset()
