import architectures as sd
import pytest
import torch
from transformers import CLIPTokenizer

from synthbridge.diffusion.prompts import style_prompt
from synthbridge.diffusion.style_token import check_placeholder, find_initial_token
from synthbridge.diffusion.text import tokenize
from synthbridge.prompts.templates import TEMPLATES


@pytest.mark.parametrize("part", sd.PARTS)
def test_stable_diffusion_has_the_released_number_of_parameters(part):
    with torch.device("meta"):
        assert sd.count_parameters(sd.PARTS[part]()) == sd.NUM_PARAMETERS[part]


@pytest.mark.parametrize("name", sd.CLASSIFIERS)
def test_classifiers_have_timms_number_of_parameters(name):
    with torch.device("meta"):
        assert sd.count_parameters(sd.make_classifier(name)) == sd.CLASSIFIERS[name]


def test_tokenizer_serves_as_clips_does(tmp_path):
    sd.write_tokenizer(tmp_path)
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path)
    assert len(tokenizer) == sd.NUM_WORDS
    assert find_initial_token(tokenizer, sd.INITIAL_WORD) < sd.NUM_WORDS
    check_placeholder(tokenizer, "<style>")
    tokenizer.add_tokens("<style>")
    assert tokenizer.convert_tokens_to_ids("<style>") == sd.NUM_WORDS  # a new row of the table
    prompts = [style_prompt("sea lion", "<style>"), *(t.format("sea lion") for t in TEMPLATES)]
    assert tokenize(tokenizer, prompts).shape == (len(prompts), sd.TEXT_LENGTH)
