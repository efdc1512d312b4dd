"""The command from a model's folder to a file that `plan` takes."""

import pytest

from language_models import COUNT, make_random, make_taught
from synthbridge.commands.write_prompts import Wish, write_prompts
from synthbridge.core.files import write_json
from synthbridge.prompts.lists import read_own_prompts

WISH = Wish(kind="contextual", count=COUNT, at_least=2, seed=0)


@pytest.fixture(scope="module")
def random_model(tmp_path_factory):
    return make_random(tmp_path_factory.mktemp("random"))


@pytest.fixture(scope="module")
def taught_model(tmp_path_factory):
    return make_taught(tmp_path_factory.mktemp("taught"))


@pytest.fixture
def real(tmp_path):
    folder = tmp_path / "real" / "pets"
    facts = {"class_names": ["cat", "dog"], "image_size": 16, "flip": False, "counts": {}}
    write_json(folder / "dataset.json", facts)
    write_json(folder / "few_shot.json", [])
    return folder


def test_a_file_says_what_wrote_it_and_serves_as_prompts(taught_model, real, tmp_path):
    out = tmp_path / "pets_contextual.yaml"
    write_prompts(WISH, model=taught_model, real=real, out=out)
    prompts = read_own_prompts(out, ["cat", "dog"])
    assert [len(lines) for lines in prompts] == [COUNT, COUNT]
    assert all("cat" in line for line in prompts[0])
    text = out.read_text()
    assert "# Written by a language model" in text and "(talks about the task)" in text
    assert str(tmp_path) not in text
    first = out.read_bytes()
    out.unlink()
    write_prompts(WISH, model=taught_model, real=real, out=out)
    assert out.read_bytes() == first


def test_a_model_of_nonsense_writes_no_file(random_model, real, tmp_path):
    out = tmp_path / "pets.yaml"
    sentence = r"wrote 0 usable lines for 'cat'.*refused \d+ lines: \d+ \(does not name the class\)"
    with pytest.raises(ValueError, match=sentence):
        write_prompts(WISH, model=random_model, real=real, out=out)
    with pytest.raises(ValueError, match=r"two senses of no class; refused \d+ lines"):
        write_prompts(Wish("senses", 1, 1, 0), model=random_model, real=real, out=out)
    assert not out.exists()


def test_what_needs_no_model_is_refused_first(real, tmp_path):
    def refused(wish=WISH, real=real, out="pets.yaml"):
        with pytest.raises(ValueError) as error:
            write_prompts(wish, model=tmp_path / "none", real=real, out=tmp_path / out)
        return str(error.value)

    assert "run 'dvc repro prepare@birds' first" in refused(real=tmp_path / "birds")
    assert "give a .yaml file, such as data/prompts/pets.yaml" in refused(out="pets.txt")
    assert "--at-least is 5; give 1 to --count, which is 4" in refused(
        Wish("contextual", COUNT, 5, 0)
    )
    (tmp_path / "pets.yaml").write_text("a: [b]\n")
    assert "is there already; remove it" in refused()
    assert "holds no language model in safetensors" in refused(out="new.yaml")
