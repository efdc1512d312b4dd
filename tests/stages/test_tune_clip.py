"""Stage tune_clip on a tiny untrained CLIP and a few digits."""

from collections import defaultdict

import numpy as np
import pytest
import torch
from tiny_clip import save_tiny_clip

from own_data import settings as data_settings
from synthbridge.clip.embedding import load_clip
from synthbridge.clip.settings import ClipTuningSettings
from synthbridge.clip.tuning import probabilities, tune
from synthbridge.core.files import hash_folder, read_json, write_json
from synthbridge.data.real import read_dataset
from synthbridge.data.shards import encode_png, read_image, write_shard
from synthbridge.data.synthetic import synthetic_samples
from synthbridge.evidence.results import read_runs
from synthbridge.prompts.templates import TEMPLATES
from synthbridge.stages.prepare import prepare
from synthbridge.stages.tune_clip import TuneClipParams, Tuner, tune_clip

PARAMS = TuneClipParams(
    tuning=ClipTuningSettings(
        sets=[],
        num_epochs=2,
        learning_rate=0.1,
        weight_decay=0.1,
        real_batch_size=4,
        synthetic_batch_size=8,
    ),
    shots=[1, 2],
    seeds=[0, 1],
)


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    out = tmp_path_factory.mktemp("real")
    params = data_settings(source="digits", flip=False, extra_test="corrupted")
    prepare(params, raw=out / "none", out=out / "digits")
    return out / "digits"


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    return save_tiny_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture
def work(tmp_path, monkeypatch):
    monkeypatch.setenv("SYNTHBRIDGE_WORK", str(tmp_path / "work"))
    return tmp_path / "work"


def _run(real, clip, out, *, blocks=()):
    labels = {
        "dataset": "digits",
        "set": "mine" if blocks else None,
        "method": "mine" if blocks else "real",
    }
    tune_clip(
        PARAMS,
        real=real,
        clip=clip,
        blocks=blocks,
        labels=labels,
        results=out / "results",
        metrics=out / "metrics.json",
    )
    return read_json(out / "metrics.json")  # a row a run


def test_zero_shot_accuracy_is_that_of_a_direct_computation(real, clip_folder, work, tmp_path):
    metrics = _run(real, clip_folder, tmp_path)
    clip, dataset = load_clip(clip_folder, torch.device("cpu")), read_dataset(real)
    for split, name in (("test", "top1"), ("extra_test", "extra_top1")):
        samples = dataset.samples(split)
        images = clip.embed_images(np.asarray(read_image(sample)) for sample in samples)
        texts = [
            clip.embed_texts([text.format(name) for text in TEMPLATES]).mean(0)
            for name in dataset.class_names
        ]
        scores = [images @ mean / np.linalg.norm(mean) for mean in texts]
        correct = np.argmax(scores, axis=0) == [sample.label for sample in samples]
        (row,) = [row for row in metrics if row["arm"] == "clip_zero_shot"]
        assert row[name] == pytest.approx(100 * correct.mean(), abs=1e-4)


def test_results_are_read_as_finetunes_and_are_the_same_again(real, clip_folder, work, tmp_path):
    _run(real, clip_folder, tmp_path / "a")
    runs = read_runs([tmp_path / "a" / "results"], "digits")
    assert [(run.arm, run.shots, run.seed) for run in runs] == [
        ("clip_zero_shot", 0, 0),
        ("clip_vanilla", 1, 0),
        ("clip_vanilla", 1, 1),
        ("clip_vanilla", 2, 0),
        ("clip_vanilla", 2, 1),
    ]
    # 10 and 20 images in batches of 4, two epochs.
    assert [run.gradient_steps for run in runs] == [0, 6, 6, 10, 10]
    assert [run.num_train for run in runs] == [0, 10, 10, 20, 20]
    with np.load(tmp_path / "a/results/clip_vanilla/2-s1.npz") as written:
        assert len(written["groups"]) == len(written["labels"])
        assert set(written["groups"]) == set(range(7))  # blocks of the digits' test split
    made = {path: path.stat().st_mtime_ns for path in work.rglob("embeddings.npy")}
    assert made
    _run(real, clip_folder, tmp_path / "b")
    assert hash_folder(tmp_path / "a") == hash_folder(tmp_path / "b")
    assert made == {path: path.stat().st_mtime_ns for path in work.rglob("embeddings.npy")}


def _write_set(tmp_path):
    """Write a set's only block, two synthetic images of each class; return its folder."""
    rng = np.random.default_rng(0)
    samples = [
        {
            "__key__": f"x{number}",
            "cls": number % 10,
            "json": {},
            "png": encode_png(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)),
        }
        for number in range(20)
    ]
    write_shard(tmp_path / "b0" / "all-00000.tar", samples)
    return tmp_path / "b0"


def test_a_set_is_mixed_in_or_comes_first(real, clip_folder, work, tmp_path):
    metrics = _run(real, clip_folder, tmp_path, blocks=[_write_set(tmp_path)])
    steps = defaultdict(list)
    for row in metrics:  # of one seed, by shots
        if row["seed"] == "s0":
            steps[row["arm"]].append(row["gradient_steps"])
    # Two epochs over 20 synthetic images in batches of 8; bridged then tunes on the real ones. Real
    # images alone take as many steps in whole epochs, of 3 at one shot and of 5 at two.
    assert steps == {
        "clip_mixed": [6, 6],
        "clip_synthetic_only": [6, 6],
        "clip_bridged": [6 + 6, 6 + 10],
        "clip_vanilla_equal_steps": [12, 20],
    }
    runs = read_runs([tmp_path / "results"], "digits")
    assert {run.method for run in runs} == {"mine"}


@pytest.mark.parametrize("shots", [1, 2])
def test_each_arm_starts_where_it_says(shots, real, clip_folder, work, tmp_path):
    """What is written is what `tune` gives when it is called by hand, leg by leg."""
    block, seed = _write_set(tmp_path), 1
    _run(real, clip_folder, tmp_path, blocks=[block])
    tuner = Tuner(PARAMS, read_dataset(real), clip_folder, torch.device("cpu"))
    synthetic = tuner.images(synthetic_samples([block], seed), 8)
    shown = tuner.images(tuner.dataset.train_samples(shots, seed), 4)
    assert (len(synthetic.labels), len(shown.labels)) == (20, 10 * shots)
    test = tuner.images(tuner.dataset.samples("test"), 1).features
    tuning = PARAMS.tuning
    # Bridged takes 6 + 6 steps at one shot and 6 + 10 at two; epochs of 3 and 5 steps: four both.
    longer = tuning.model_copy(update={"num_epochs": 4})
    first = tune(tuner.zero_shot, [synthetic], tuning, seed=seed).weights
    expected = {
        "clip_synthetic_only": first,
        "clip_bridged": tune(first, [shown], tuning, seed=seed).weights,
        "clip_vanilla_equal_steps": tune(tuner.zero_shot, [shown], longer, seed=seed).weights,
    }
    for arm, weights in expected.items():
        with np.load(tmp_path / "results" / arm / f"{shots}-s{seed}.npz") as written:
            np.testing.assert_allclose(
                written["probabilities"], probabilities(weights, test), rtol=1e-5, err_msg=arm
            )
    vanilla = tune(tuner.zero_shot, [shown], tuning, seed=seed).weights  # bridged without a bridge
    assert not np.allclose(
        probabilities(vanilla, test), probabilities(expected["clip_bridged"], test), rtol=1e-2
    )


def test_without_a_clip_the_results_are_empty(real, work, tmp_path, capsys):
    write_json(tmp_path / "clip" / "absent.json", {"upstream.clip": None})
    assert _run(real, tmp_path / "clip", tmp_path) == {}
    assert read_json(tmp_path / "results" / "index.json")["num_runs"] == 0
    assert "upstream.clip" in capsys.readouterr().out
