import hashlib

import numpy as np
import pytest

from synthbridge.core.files import read_json, write_json
from synthbridge.data.generator_folders import STABLE_DIFFUSION
from synthbridge.data.shards import encode_png, write_shard
from synthbridge.diffusion.settings import SyntheticSettings
from synthbridge.prompts.templates import template_prompts
from synthbridge.stages.plan import PlanInputs, PlanParams, plan
from synthbridge.upstream.clip import make_clip, save_clip
from synthbridge.upstream.tokenizer import train_tokenizer

SETTINGS = {"prompts": "template", "shots": None, "guidance_scale": 3.5, "images_per_class": 4}


def write_real(folder, class_names):
    write_json(
        folder / "dataset.json",
        {"class_names": class_names, "image_size": 16, "flip": False, "counts": {}},
    )
    write_json(folder / "few_shot.json", [])


def run_plan(tmp_path, source="folder", **changes):
    """Plan three blocks of two images a class of the data set `birds`."""
    if not (tmp_path / "real").exists():
        write_real(tmp_path / "real", ["a", "b"])
    if not (tmp_path / "style").exists():
        write_json(tmp_path / "style/index.json", {"all": None})
    (tmp_path / "prompts").mkdir(exist_ok=True)
    folders = (tmp_path / name for name in ("real", "style", "clip", "generator", "prompts"))
    params = PlanParams(
        dataset="birds",
        source=source,
        synthetic=SyntheticSettings(**{**SETTINGS, **changes}),
        placeholder="<style>",
        images_per_block=2,
    )
    plan(params, PlanInputs(*folders), out=tmp_path, num_blocks=3)
    return [read_json(tmp_path / f"b{number}.json") for number in range(3)]


@pytest.fixture(scope="module")
def upstream_folders(tmp_path_factory):
    """A generator's tokenizer and a CLIP with random weights, both of a few captions."""
    folder = tmp_path_factory.mktemp("upstream")
    captions = [text for name in ("white a", "black b") for text in template_prompts(name)]
    tokenizer = train_tokenizer(captions, folder / "generator/tokenizer")
    tokenizer.save_pretrained(folder / "clip")
    save_clip(make_clip(tokenizer, seed=0), folder / "clip")
    write_json(folder / "generator/model_index.json", {"_class_name": "StableDiffusionPipeline"})
    for config in STABLE_DIFFUSION.configs[1:]:
        write_json(folder / "generator" / config, {})
    return folder


@pytest.fixture(autouse=True)
def generator(tmp_path, upstream_folders):
    (tmp_path / "generator").symlink_to(upstream_folders / "generator")


def test_blocks_are_ranges_and_empty_ones_say_nothing_else(tmp_path):
    first, second, third = run_plan(tmp_path)
    assert [first["start"], first["stop"]] == [0, 2]
    assert [second["start"], second["stop"]] == [2, 4]
    assert third == {"start": 0, "stop": 0}
    assert first["class_names"] == ["a", "b"] and first["styles"] == {"all": None}
    assert run_plan(tmp_path, guidance_scale=2.0)[2] == third


def test_blocks_name_the_real_images_that_theirs_start_from(tmp_path):
    (tmp_path / "style").mkdir()
    write_json(tmp_path / "style/index.json", {"all": None})
    (tmp_path / "style/all.tar").write_bytes(b"shots")
    first, *_ = run_plan(tmp_path, shots=1, image_strength=0.5)
    assert first["image_strength"] == 0.5
    assert first["starts"] == {"all": hashlib.sha256(b"shots").hexdigest()}
    assert not {"starts", "image_strength"} & run_plan(tmp_path)[0].keys()


def test_a_change_of_volume_leaves_the_blocks_it_shares(tmp_path):
    assert run_plan(tmp_path, images_per_class=6)[:2] == run_plan(tmp_path)[:2]


def test_the_papers_prompts_are_the_default(tmp_path):
    block, *_ = run_plan(tmp_path)
    assert block["prompts"] == [template_prompts("a"), template_prompts("b")]
    assert read_json(tmp_path / "names.json") == {}
    block, *_ = run_plan(tmp_path, prompts="dsi", shots="full")
    assert block["prompts"] == [[f"A {name} photo in the style of <style>"] for name in "ab"]


def test_blocks_of_the_same_prompts_differ_in_their_range_alone(tmp_path):
    first, second, _ = run_plan(tmp_path)
    assert {**first, "start": 2, "stop": 4} == second


def encode_grey(level):
    return encode_png(np.full((16, 16, 3), level, np.uint8))


def write_train(folder, levels):
    """Write four training images of either class, of these levels of grey, two shots a seed."""
    write_shard(
        folder / "train-00000.tar",
        (
            {
                "__key__": f"{name}{i}",
                "png": encode_grey(level),
                "cls": label,
                "json": {"name": f"{name}{i}"},
            }
            for label, name in enumerate("ab")
            for i, level in enumerate(levels)
        ),
    )
    rankings = [[["a0", "a1"], ["b0", "b1"]], [["a2", "a3"], ["b2", "b3"]]]
    write_json(folder / "few_shot.json", rankings)


LISTS = """
senses:
  a: [white a, black a]
fields: {place: [here, there]}
contextual: ["a {class} {place}"]
stylised: ["a small {class}"]
"""


@pytest.fixture
def with_upstream(tmp_path, upstream_folders):
    (tmp_path / "clip").symlink_to(upstream_folders / "clip")
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts/birds.yaml").write_text(LISTS)
    return tmp_path


def test_lists_give_contextual_and_stylised_prompts(with_upstream):
    block, *_ = run_plan(with_upstream, prompts="contextual")
    assert [sorted(prompts) for prompts in block["prompts"]] == [
        [f"a {name} here", f"a {name} there"] for name in "ab"
    ]
    block, *_ = run_plan(with_upstream, prompts="stylised", superclass="b")
    assert block["prompts"] == [[f"a small {name}, a type of b"] for name in "ab"]


def test_own_prompts_are_taken_as_they_stand(with_upstream):
    (with_upstream / "prompts/birds_own.json").write_text('{"b": ["one b"], "a": ["my a"]}')
    block, *_ = run_plan(with_upstream, prompts="file", prompt_file="{dataset}_own.json")
    assert block["prompts"] == [["my a"], ["one b"]]


def test_a_data_set_without_lists_is_told_how_to_make_them(tmp_path):
    assert run_plan(tmp_path, source="csv")[0]["start"] == 0  # plain prompts need none
    with pytest.raises(ValueError, match="no lists for birds .birds.yaml.; write them as docs/"):
        run_plan(tmp_path, prompts="contextual")
    (tmp_path / "prompts/birds.yaml").write_text("senses: {c: [x, y]}\n")
    with pytest.raises(ValueError, match="has no pattern below contextual"):
        run_plan(tmp_path, prompts="contextual")
    with pytest.raises(ValueError, match="gives no class of birds senses.*'class_names: plain'"):
        run_plan(tmp_path, class_names="disambiguated", shots="full")


def test_a_prompt_too_long_for_the_generator_is_refused_up_front(with_upstream):
    long = '{"a": ["a photo of a white a"], "b": ["b, a b of a b in a b and another b beside it"]}'
    (with_upstream / "prompts/own.json").write_text(long)
    with pytest.raises(ValueError, match="tokens, and the generator reads 16; shorten it, or the"):
        run_plan(with_upstream, prompts="file", prompt_file="own.json")


LONG = "a class with as many words in its name as a label of a museum has"


def test_so_is_a_class_name_that_makes_a_template_too_long(tmp_path):
    write_real(tmp_path / "real", ["a", LONG])
    with pytest.raises(ValueError, match=f"{LONG}.* has .* tokens, and the generator reads 16"):
        run_plan(tmp_path)


@pytest.mark.parametrize("prompts", ["dsi", "class_tokens"])
def test_a_learned_word_counts_as_one_token(tmp_path, prompts):
    """However its placeholder would be cut: this tokenizer makes a token of each of its signs."""
    names = ["a b", "b"] if prompts == "dsi" else ["a", LONG]
    write_real(tmp_path / "real", names)
    assert run_plan(tmp_path, prompts=prompts, shots="full")[0]["start"] == 0
    if prompts == "dsi":
        write_real(tmp_path / "real", ["a b c d e f g h i", "b"])
        with pytest.raises(ValueError, match="tokens, and the generator reads 16"):
            run_plan(tmp_path, prompts=prompts, shots="full")


def _by_shots(with_upstream, levels):
    write_real(with_upstream / "real", ["a", "b"])
    write_train(with_upstream / "real", levels)
    write_json(with_upstream / "style/index.json", {"s0": None, "s1": None})
    block, *_ = run_plan(with_upstream, class_names="disambiguated", shots=2)
    return block, read_json(with_upstream / "names.json")


def test_each_seed_chooses_names_by_its_own_shots(with_upstream):
    block, names = _by_shots(with_upstream, [255, 255, 0, 0])
    assert "prompts" not in block and set(names) == {"s0", "s1"}
    for subset in ("s0", "s1"):
        chosen = names[subset]["a"]
        assert chosen["chosen"] == max(chosen["scores"], key=chosen["scores"].__getitem__)
        prompts = block["prompts_by_subset"][subset]
        assert prompts == [template_prompts(chosen["chosen"]), template_prompts("b")]
    # s1 sees other images: its scores follow them, and those of s0 stay.
    assert names["s0"]["a"]["scores"] != names["s1"]["a"]["scores"]


def test_a_seed_sees_no_image_but_its_shots(tmp_path_factory, upstream_folders):
    found = []
    for others in (0, 128):
        folder = tmp_path_factory.mktemp("seen")
        for name in ("clip", "generator"):
            (folder / name).symlink_to(upstream_folders / name)
        (folder / "prompts").mkdir()
        (folder / "prompts/birds.yaml").write_text(LISTS)
        found.append(_by_shots(folder, [255, 200, others, others])[1])
    assert found[0]["s0"] == found[1]["s0"] and found[0]["s1"] != found[1]["s1"]


def test_all_of_train_chooses_one_name_for_all_seeds(with_upstream):
    write_real(with_upstream / "real", ["a", "b"])
    write_train(with_upstream / "real", [255, 200, 100, 0])
    # A test image in the folder decides nothing: it is not even opened.
    (with_upstream / "real/test-00000.tar").write_bytes(b"no tar")
    block, *_ = run_plan(with_upstream, class_names="disambiguated", shots="full")
    chosen = read_json(with_upstream / "names.json")["all"]["a"]["chosen"]
    assert block["prompts"][0] == template_prompts(chosen)
