"""The stage on a small pool of plain colours, with a CLIP that was never trained."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from house import ROOT
from synthbridge.clip.settings import RetrievedSettings
from synthbridge.core.files import hash_folder, read_json, write_json
from synthbridge.data.real import read_dataset
from synthbridge.data.shards import encode_png, index_shard, read_image_bytes, write_shard
from synthbridge.stages.retrieve import RetrieveParams, retrieve
from synthbridge.upstream.clip import make_clip, save_clip
from synthbridge.upstream.tokenizer import train_tokenizer

NAMES = ["red", "green", "blue"]
COLOURS = {"red": (200, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 200)}
DEFAULTS = {
    "search": "caption",
    "candidates": None,
    "keep_fraction": 0.5,
    "cap": 100,
    "duplicates_above": 1.0,
    "images_per_class": 4,
}


def _image(colour, seed):
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 256, (16, 16, 3))
    return ((np.array(COLOURS[colour]) + noise) / 2).astype(np.uint8)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A real data set of three colours, a pool of 20 images of each, a CLIP."""
    root = tmp_path_factory.mktemp("world")
    facts = {"class_names": NAMES, "image_size": 16, "flip": False, "counts": {}}
    write_json(root / "real/dataset.json", facts)
    write_json(root / "real/few_shot.json", [[["a", "b", "c", "d"]] * len(NAMES)])
    for split, first in (("train", 1000), ("test", 2000)):
        samples = [
            {
                "__key__": f"{label}",
                "png": encode_png(_image(name, first + label)),
                "cls": label,
                "json": {"name": f"{split}-{name}", "class_name": name},
            }
            for label, name in enumerate(NAMES)
        ]
        write_shard(root / f"real/{split}-00000.tar", samples)
    (root / "pool").mkdir()
    for number in range(60):
        colour = NAMES[number % 3]
        Image.fromarray(_image(colour, number)).save(root / f"pool/{number:02d}.png")
        (root / f"pool/{number:02d}.txt").write_text(f"a photo of a {colour} thing")
    (root / "clip").mkdir()
    captions = [f"a photo of a {name} thing" for name in NAMES] * 20
    save_clip(make_clip(train_tokenizer(captions, root / "clip"), seed=0), root / "clip")
    return root


NOTHING = (
    r"was found for any class \('red', .*\); give the classes the words of its captions "
    r"\(retrieved\.retrieved\.queries\), .* python src sets remove retrieved$"
)


@pytest.fixture
def run(world, tmp_path, monkeypatch):
    """Run the stage; returns the folder that it fills."""
    monkeypatch.setenv("SYNTHBRIDGE_WORK", str(tmp_path / "work"))

    def run(out="out", *, real=world / "real", clip=world / "clip", **changes):
        settings = RetrievedSettings(**{**DEFAULTS, **changes})
        folder = tmp_path / out
        retrieve(
            RetrieveParams("retrieved", settings, images_per_block=2, classes_per_shard=2),
            real=real,
            pool=world / "pool",
            clip=clip,
            blocks=[folder / f"b{number}" for number in range(3)],
            record=folder / "record",
        )
        return folder

    return run


def _samples(folder, blocks=("b0", "b1", "b2")):
    shards = [shard for block in blocks for shard in sorted((folder / block).glob("*.tar"))]
    return [sample for shard in shards for sample in index_shard(shard)]


def _classes(folder):
    record = read_json(folder / "record/record.json")
    return {row["class_name"]: row for row in record["classes"]}


def test_ranks_are_cut_into_the_blocks_of_a_generated_set(run, world):
    folder = run()
    names = {path.name for path in (folder / "b0").iterdir()}
    assert names == {"all-00000.tar", "all-00001.tar", "index.json"}
    assert [sample.key for sample in _samples(folder, ["b1"])] == [
        f"all-{label:04d}-{index:06d}" for label in range(3) for index in (2, 3)
    ]
    assert read_json(folder / "b2/index.json") == {"num_images": 0}
    for label, name in enumerate(NAMES):
        own = [sample for sample in _samples(folder) if sample.label == label]
        ranks = [sample.record["similarity"] for sample in sorted(own, key=lambda s: s.key)]
        assert len(own) == 4 and ranks == sorted(ranks, reverse=True)
        for sample in own:
            record = sample.record
            assert record["caption"] == f"a photo of a {name} thing" and record["query"] == name
            assert record["class_name"] == name and record["search"] == "caption"
            assert read_image_bytes(sample) == (world / "pool" / record["pool_key"]).read_bytes()
    assert _classes(folder)["red"] == {
        "class_name": "red",
        "found": 20,
        "in_a_better_class": 0,
        "unreadable": 0,
        "near_duplicates_of_test": 0,
        "kept": 10,
        "taken": 4,
    }


def test_similarity_is_the_cosine_with_the_mean_of_the_27_templates(run, world):
    import torch

    from synthbridge.clip.embedding import load_clip
    from synthbridge.prompts.templates import TEMPLATES

    clip = load_clip(world / "clip", torch.device("cpu"))
    sample = _samples(run())[0]
    image = np.asarray(Image.open(world / "pool" / sample.record["pool_key"]))
    texts = clip.embed_texts([text.format("red") for text in TEMPLATES])
    mean = texts.mean(axis=0)
    cosine = clip.embed_images([image])[0] @ mean / np.linalg.norm(mean)
    assert sample.record["similarity"] == pytest.approx(cosine, abs=1e-5)


def test_volume_up_and_down_keeps_the_ranks(run):
    small, large = run("small", images_per_class=2), run("large", images_per_class=6)
    for name in ("all-00000.tar", "all-00001.tar"):
        assert (small / "b0" / name).read_bytes() == (large / "b0" / name).read_bytes()
    assert len(_samples(large)) == 18 and len(_samples(small)) == 6


@pytest.mark.parametrize("search", ["caption", "clip"])
def test_the_same_bytes_again_also_without_the_work_folder(run, search, tmp_path):
    settings = {"search": search, "candidates": 15}
    first = hash_folder(run("a", **settings))
    assert hash_folder(run("b", **settings)) == first
    shutil.rmtree(tmp_path / "work")
    assert hash_folder(run("c", **settings)) == first


def test_clip_search_names_the_text_that_found_an_image(run):
    folder = run(search="clip", candidates=5)
    assert all(" of " in sample.record["query"] for sample in _samples(folder))
    assert sum(row["found"] for row in _classes(folder).values()) >= 15
    keys = [sample.record["pool_key"] for sample in _samples(folder)]
    assert len(set(keys)) == len(keys)


def test_an_empty_class_is_named_and_the_others_go_on(run, capsys):
    folder = run(queries={"green": ["verdant"]}, images_per_class=6, keep_fraction=0.2)
    assert "green" in capsys.readouterr().out
    assert {sample.label for sample in _samples(folder)} == {0, 2}
    assert _classes(folder)["green"]["found"] == 0
    index = read_json(folder / "b0/index.json")
    assert index["retrieved"] == {"wanted": 6, "taken": {"red": 4, "green": 0, "blue": 4}}


def test_a_class_with_too_few_images_is_said_with_the_counts(run, capsys):
    folder = run(keep_fraction=0.1)
    said = capsys.readouterr().out
    for name, row in _classes(folder).items():
        assert (row["kept"], row["taken"]) == (2, 2) and f"{name} 2" in said


def test_a_test_image_in_the_pool_is_left_out_and_shown(run, world, tmp_path):
    pool = shutil.copytree(world / "pool", tmp_path / "pool")
    planted = read_image_bytes(read_dataset(world / "real").samples("test")[1])
    (pool / "planted.png").write_bytes(planted)
    (pool / "planted.txt").write_text("a photo of a green thing")
    with_it = run("kept", pool=str(pool), keep_fraction=1.0, images_per_class=6)
    assert _classes(with_it)["green"]["kept"] == 21
    folder = run("left_out", pool=str(pool), keep_fraction=1.0, duplicates_above=0.99999)
    assert _classes(folder)["green"]["near_duplicates_of_test"] == 1
    assert _classes(folder)["green"]["kept"] == 20
    assert "planted.png" not in {sample.record["pool_key"] for sample in _samples(folder)}
    (pair,) = read_json(folder / "record/near_duplicates.json")
    assert (pair["pool_key"], pair["test"]) == ("planted.png", "test-green")
    with Image.open(folder / "record/near_duplicates.png") as picture:
        tiles = np.asarray(picture)
    np.testing.assert_array_equal(tiles[:64, :64], tiles[:64, 64:128])


def test_of_many_near_duplicates_the_most_alike_are_listed_and_all_are_counted(run, monkeypatch):
    monkeypatch.setattr("synthbridge.stages.retrieve.MAX_PAIRS", 5)
    folder = run(keep_fraction=1.0, duplicates_above=1e-6, search="clip", candidates=2)
    pairs = read_json(folder / "record/near_duplicates.json")
    similarities = [pair["similarity"] for pair in pairs]
    assert len(pairs) == 5 and similarities == sorted(similarities, reverse=True)
    assert sum(row["near_duplicates_of_test"] for row in _classes(folder).values()) > 5


def test_an_image_of_the_extra_test_set_is_left_out_as_well(run, world, tmp_path):
    real = shutil.copytree(world / "real", tmp_path / "real")
    planted = (world / "pool/00.png").read_bytes()  # shows red
    record = {"name": "extra-red", "class_name": "red"}
    sample = {"__key__": "0", "png": planted, "cls": 0, "json": record}
    write_shard(real / "extra_test-00000.tar", [sample])
    settings = {"keep_fraction": 1.0, "duplicates_above": 0.99999}
    assert _classes(run("without", **settings))["red"]["kept"] == 20
    folder = run("with", real=real, **settings)
    assert _classes(folder)["red"]["near_duplicates_of_test"] == 1
    (pair,) = read_json(folder / "record/near_duplicates.json")
    assert (pair["pool_key"], pair["test"]) == ("00.png", "extra-red")


def test_a_broken_image_of_the_pool_is_left_out_and_counted(run, world, tmp_path):
    pool = shutil.copytree(world / "pool", tmp_path / "pool")
    (pool / "00.png").write_bytes(b"broken")
    folder = run(pool=str(pool), keep_fraction=1.0)
    assert _classes(folder)["red"]["unreadable"] == 1
    assert _classes(folder)["red"]["kept"] == 19


def test_an_index_made_before_serves_both_searches(run, tmp_path):
    expected = hash_folder(run("a", search="clip", candidates=9))
    made = next((tmp_path / "work/retrieve").glob("??/*/index.faiss")).parent
    index = str(shutil.copytree(made, tmp_path / "index"))
    by_caption = hash_folder(run("b"))
    shutil.rmtree(tmp_path / "work")
    assert hash_folder(run("c", search="clip", candidates=9, index=index)) == expected
    assert hash_folder(run("d", index=index)) == by_caption


def test_an_index_of_another_clip_is_refused(run, tmp_path):
    run(search="clip", candidates=9)
    made = next((tmp_path / "work/retrieve").glob("??/*/index.faiss")).parent
    about = json.loads((made / "index.json").read_text())
    (made / "index.json").write_text(json.dumps({**about, "clip": "f" * 64}))
    with pytest.raises(ValueError, match=r"is of another CLIP \(ffffffffffff\) than the one at ha"):
        run(search="clip", candidates=9, index=str(made))


def test_another_preprocessor_embeds_again(run, world, tmp_path):
    run("a")
    clip = shutil.copytree(world / "clip", tmp_path / "clip")
    path = clip / "preprocessor_config.json"
    path.write_text(json.dumps({**read_json(path), "image_mean": [0.1, 0.9, 0.5]}))
    again = hash_folder(run("b", clip=clip))
    shutil.rmtree(tmp_path / "work")
    assert hash_folder(run("c", clip=clip)) == again != hash_folder(tmp_path / "a")


def test_words_for_a_class_that_is_none_are_refused(run):
    with pytest.raises(ValueError, match="queries has words for 'rad', which is no class of the"):
        run(queries={"rad": ["red"]})


def test_nothing_found_at_all_is_refused(run):
    with pytest.raises(ValueError, match=NOTHING):
        run(queries={name: ["nothing"] for name in NAMES})


def test_a_volume_between_blocks_is_refused(run):
    with pytest.raises(ValueError, match="images_per_class is 3, which is no multiple"):
        run(images_per_class=3)


def test_two_processes_give_the_bytes_of_one_and_a_share_publishes_nothing(world, tmp_path):
    """Through the command, as DVC runs it."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copyfile(ROOT / name, scratch / name)
    hashes = []
    for count in ("1", "2", "share"):
        out = scratch / f"out{count}"
        paths = {
            "--real": world / "real",
            "--pool": world / "pool",
            "--clip": world / "clip",
            "--record": out / "record",
            "--blocks": out,
        }
        command = [sys.executable, str(ROOT / "src"), "retrieve", "--set", "retrieved"]
        command += ["--num-blocks", "3", *(str(part) for item in paths.items() for part in item)]
        environment = {"SYNTHBRIDGE_PROCESSES": count, "SYNTHBRIDGE_WORK": str(out / "work")}
        if count == "share":
            environment |= {"SYNTHBRIDGE_PROCESSES": "1", "SYNTHBRIDGE_SHARE": "1/1"}
        environment = {**os.environ, **environment}
        done = subprocess.run(command, cwd=scratch, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert ("between 2 processes" in done.stdout) == (count == "2")
        shutil.rmtree(out / "work")
        hashes.append(hash_folder(out))
    assert hashes[0] == hashes[1] and list(out.iterdir()) == []
