"""A real, tiny language model writes; nonsense is caught and counted, good lines come through."""

import pytest
import torch

from language_models import COUNT, TAUGHT, make_random, make_taught
from synthbridge.prompts.line_check import clean_line
from synthbridge.prompts.writing import NUM_ROUNDS, load_language_model, write_lines

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def random_model(tmp_path_factory):
    return make_random(tmp_path_factory.mktemp("random"))


@pytest.fixture(scope="module")
def taught_model(tmp_path_factory):
    return make_taught(tmp_path_factory.mktemp("taught"))


def _write(folder, name, count=COUNT, seed=0):
    return write_lines(load_language_model(folder, CPU), "contextual", name, count=count, seed=seed)


@pytest.mark.parametrize("name", ["cat", "dog"])
def test_good_lines_are_kept_and_bad_ones_counted(taught_model, name):
    written = _write(taught_model, name)
    good = {clean_line(line) for line in TAUGHT[name]}
    assert len(written.kept) == COUNT
    assert len(good & set(written.kept)) >= COUNT - 1  # it is sampled: a line may come otherwise
    reason = {"cat": "does not name the class", "dog": "talks about the task"}[name]
    assert written.refused[reason] >= 1


def test_the_same_seed_writes_the_same(taught_model):
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first = _write(taught_model, "cat", seed=3)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(2)
    assert _write(taught_model, "cat", seed=3) == first


def test_nonsense_is_refused_and_counted(random_model):
    written = _write(random_model, "cat")
    assert written.kept == []
    assert written.refused.total() >= NUM_ROUNDS
    assert written.refused["does not name the class"] > 0


def test_a_folder_without_safetensors_is_refused(tmp_path):
    (tmp_path / "pytorch_model.bin").write_bytes(b"cos\nsystem\n")
    with pytest.raises(ValueError, match="holds no language model in safetensors"):
        load_language_model(tmp_path, CPU)


def test_a_model_with_code_of_its_own_is_refused(random_model, tmp_path):
    import json
    import shutil

    folder = tmp_path / "model"
    shutil.copytree(random_model, folder)
    config = json.loads((folder / "config.json").read_text())
    config["model_type"] = "own"
    config["auto_map"] = {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(ValueError, match="without running its code"):
        load_language_model(folder, CPU)
    assert not (tmp_path / "ran").exists()


def test_an_instruction_longer_than_the_model_reads_is_refused(random_model):
    with pytest.raises(ValueError, match="reads 640 tokens, and the instruction alone takes"):
        _write(random_model, "cat " * 300)
