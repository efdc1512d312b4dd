"""Stage `examine` on noise and a tiny CLIP, both in the real formats."""

import math
import shutil

import numpy as np
import pytest
import torch

from synthbridge.clip.class_scores import class_vectors
from synthbridge.clip.embedding import load_clip
from synthbridge.core.files import hash_folder, read_json, write_json
from synthbridge.data.shards import encode_png, write_shard
from synthbridge.data.synthetic import synthetic_samples
from synthbridge.evidence.settings import ExamineSettings
from synthbridge.prompts.templates import TEMPLATES
from synthbridge.stages.examine import ExamineParams, examine
from synthbridge.upstream.clip import make_clip, save_clip
from synthbridge.upstream.pool import write_caption
from synthbridge.upstream.tokenizer import train_tokenizer

SETTINGS = ExamineSettings(
    threshold=0.9999, neighbours=2, max_images=100, kid_subset_size=8, kid_subsets=3, seed=0
)
PER_CLASS = 10


def noise(seed, count):
    return np.random.default_rng(seed).integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)


def write(path, images, key):
    samples = [
        {
            "__key__": f"{key}-{index // PER_CLASS:04d}-{index:06d}",
            "png": encode_png(image),
            "cls": index // PER_CLASS,
            "json": {"name": f"{key}{index}"},
        }
        for index, image in enumerate(images)
    ]
    write_shard(path, samples)


def set_of_seed_0(test):
    """Return a subset's images, the last of which is a test image."""
    return np.concatenate([noise(2, 19), test[7:8]])


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Real images of two classes, a set with two subsets that holds a test image, and a CLIP."""
    folder = tmp_path_factory.mktemp("world")
    facts = {"class_names": ["one", "two"], "image_size": 16, "flip": False, "counts": {}}
    write_json(folder / "real/dataset.json", facts)
    write_json(folder / "real/few_shot.json", [])
    test = noise(0, 20)
    write(folder / "real/test-00000.tar", test, "test")
    write(folder / "real/train-00000.tar", np.concatenate([test[:1], noise(1, 19)]), "train")
    write(folder / "set/b0/s0-00000.tar", set_of_seed_0(test), "s0")
    write(folder / "set/b0/s1-00000.tar", noise(3, 20), "s1")
    (folder / "set/b1").mkdir()  # beyond the volume
    rng = np.random.default_rng(0)
    captions = [write_caption("one two", ("bold",), style_fraction=0.5, rng=rng) for _ in range(50)]
    tokenizer = train_tokenizer(captions, folder / "clip")
    save_clip(make_clip(tokenizer, seed=0), folder / "clip")
    return folder


def run(world, out, fraction=1.0, settings=SETTINGS, real=None, cap=None):
    examine(
        ExamineParams(settings, fraction, cap, clip_name="a tiny CLIP"),
        real=real or world / "real",
        blocks=[world / "set/b0", world / "set/b1"],
        clip=world / "clip",
        out=out,
        metric=out.parent / f"{out.name}.json",
    )
    (row,) = read_json(out.parent / f"{out.name}.json")
    return row


@pytest.fixture(autouse=True)
def work(tmp_path_factory, monkeypatch):
    """Let all tests share one work folder, as stages do."""
    folder = tmp_path_factory.getbasetemp() / "work_of_examine"
    monkeypatch.setenv("SYNTHBRIDGE_WORK", str(folder))
    return folder


def test_all_images_are_kept_and_a_copied_test_image_is_found(world, tmp_path):
    metric = run(world, tmp_path / "out")
    assert read_json(tmp_path / "out/kept.json") == {"keep_fraction": 1.0, "keys": None}
    leakage = read_json(tmp_path / "out/findings/leakage.json")
    assert leakage["pairs"] == [
        {"image": "b0/s0-0001-000019", "test_image": "test7", "similarity": 1.0}
    ]
    assert (leakage["num_images"], leakage["num_near_duplicates"]) == (40, 1)
    assert leakage["fraction"] == 0.025
    train = {"num_images": 20, "num_near_duplicates": 1, "fraction": 0.05}
    assert leakage["real_train"] == train
    assert metric["near_duplicate_fraction"] == 0.025 and metric["kept_fraction"] == 1
    assert metric["near_duplicate_fraction_of_real_train"] == 0.05


def test_what_sift_has_chosen_is_kept_and_how_is_said(world, tmp_path):
    keys = ["s0-0000-000003", "s0-0001-000012", "s1-0001-000019"]
    sifted = {"keys": keys, "select": "entropy", "entropy": 0.5, "entropy_kept": 0.9}
    write_json(tmp_path / "sifted.json", sifted)
    examine(
        ExamineParams(SETTINGS, 0.1, None, clip_name="a tiny CLIP", select="entropy"),
        real=world / "real",
        blocks=[world / "set/b0", world / "set/b1"],
        clip=world / "clip",
        out=tmp_path / "out",
        metric=tmp_path / "out.json",
        sifted=tmp_path / "sifted.json",
    )
    assert read_json(tmp_path / "out/kept.json")["keys"] == keys
    gap = read_json(tmp_path / "out/findings/gap.json")
    assert (gap["num_drawn"], gap["select"], gap["kept_fraction"]) == (40, "entropy", 0.075)
    (metric,) = read_json(tmp_path / "out.json")
    assert (metric["num_images"], metric["entropy"], metric["entropy_kept"]) == (3, 0.5, 0.9)


def test_a_copied_image_of_the_extra_test_set_is_found_as_well(world, tmp_path, monkeypatch):
    monkeypatch.setenv("SYNTHBRIDGE_WORK", str(tmp_path / "work"))
    real = shutil.copytree(world / "real", tmp_path / "real")
    write(real / "extra_test-00000.tar", noise(3, 20)[5:6], "extra")  # s1 holds it
    metric = run(world, tmp_path / "out", real=real)
    assert metric["num_near_duplicates"] == 2
    pairs = read_json(tmp_path / "out/findings/leakage.json")["pairs"]
    assert {pair["test_image"] for pair in pairs} == {"test7", "extra0"}


def test_the_gap_is_of_each_subset_and_too_few_images_for_fid_are_said(world, tmp_path):
    metric = run(world, tmp_path / "out")
    gap = read_json(tmp_path / "out/findings/gap.json")
    assert list(gap["subsets"]) == ["s0", "s1"] and gap["clip"] == "a tiny CLIP"
    for subset in gap["subsets"].values():
        assert (subset["num_real"], subset["num_images"]) == (20, 20)
        assert subset["needs"]["fid"] == 128 and "fid" not in subset
        assert {"kid", "precision"} <= subset.keys()
        assert [row["class"] for row in subset["by_class"]] == ["one", "two"]
    kids = [subset["kid"] for subset in gap["subsets"].values()]
    assert metric["kid"] == pytest.approx(np.mean(kids), abs=1e-5) and "fid" not in metric


def test_the_picture_shows_the_pairs_most_alike(world, tmp_path):
    from PIL import Image

    run(world, tmp_path / "out")
    picture = np.asarray(Image.open(tmp_path / "out/findings/pairs.png"))
    assert picture.shape == (2 * 64, 16 * 64, 3)
    np.testing.assert_array_equal(picture[:64, :64], picture[64:, :64])  # the copy comes first


def test_the_filter_keeps_the_fraction_that_fits_its_class_best(world, tmp_path):
    run(world, tmp_path / "out", fraction=0.3)
    clip = load_clip(world / "clip", torch.device("cpu"))
    classes = class_vectors(clip, ["one", "two"], TEMPLATES)
    best = {"s0": [], "s1": []}
    for subset, images in (("s0", set_of_seed_0(noise(0, 20))), ("s1", noise(3, 20))):
        scores = clip.embed_images(images) @ classes.T
        for label in (0, 1):
            own = scores[label * PER_CLASS : (label + 1) * PER_CLASS, label]
            for index in np.argsort(-own)[: math.ceil(0.3 * PER_CLASS)]:
                best[subset].append(f"{subset}-{label:04d}-{label * PER_CLASS + index:06d}")
    keys = read_json(tmp_path / "out/kept.json")["keys"]
    assert keys == sorted(best["s0"] + best["s1"])
    kept = synthetic_samples([world / "set/b0"], 1, tmp_path / "out/kept.json")
    assert {sample.key for sample in kept} == set(best["s1"])
    assert read_json(tmp_path / "out/findings/leakage.json")["num_images"] == len(keys)


def test_a_cap_keeps_the_images_of_a_fraction_as_small(world, tmp_path):
    run(world, tmp_path / "fraction", fraction=0.3)
    run(world, tmp_path / "cap", cap=3)
    keys = [read_json(tmp_path / name / "kept.json")["keys"] for name in ("fraction", "cap")]
    assert keys[0] == keys[1]


def test_what_trains_does_not_depend_on_how_it_is_judged(world, tmp_path):
    run(world, tmp_path / "a")
    run(world, tmp_path / "b", settings=SETTINGS.model_copy(update={"threshold": 0.5}))
    assert (tmp_path / "a/kept.json").read_bytes() == (tmp_path / "b/kept.json").read_bytes()


def test_same_bytes_again_and_no_image_is_embedded_twice(world, tmp_path, work):
    run(world, tmp_path / "a")
    made = {path: path.stat().st_mtime_ns for path in (work / "embed").glob("??/*/*")}
    assert len(made) == len([*world.rglob("*.tar")])  # a unit a shard, of the set and real ones
    run(world, tmp_path / "b")
    assert made == {path: path.stat().st_mtime_ns for path in (work / "embed").glob("??/*/*")}
    assert hash_folder(tmp_path / "a") == hash_folder(tmp_path / "b")


def test_without_a_clip_or_an_image_it_says_so(world, tmp_path):
    (tmp_path / "empty").mkdir()
    params = ExamineParams(SETTINGS, 1.0, None, clip_name="none")
    paths = {"real": world / "real", "out": tmp_path / "out", "metric": tmp_path / "m.json"}
    with pytest.raises(ValueError, match=r"holds no CLIP .* upstream.clip"):
        examine(params, blocks=[world / "set/b0"], clip=tmp_path / "empty", **paths)
    with pytest.raises(ValueError, match="no image in"):
        examine(params, blocks=[tmp_path / "empty"], clip=world / "clip", **paths)


def test_each_class_has_the_mean_clip_score_of_the_images_that_train(world, tmp_path):
    run(world, tmp_path / "out", fraction=0.3)
    clip = load_clip(world / "clip", torch.device("cpu"))
    classes = class_vectors(clip, ["one", "two"], TEMPLATES)
    subsets = read_json(tmp_path / "out/findings/gap.json")["subsets"]
    for subset, images in (("s0", set_of_seed_0(noise(0, 20))), ("s1", noise(3, 20))):
        scores = (clip.embed_images(images) @ classes.T).reshape(2, PER_CLASS, 2)
        for label, row in enumerate(subsets[subset]["by_class"]):
            best = np.sort(scores[label, :, label])[-math.ceil(0.3 * PER_CLASS) :]
            assert row["clip_score"] == pytest.approx(best.mean(), abs=1e-5)
