import architectures as sd
import pytest
import torch
from released import FAMILIES, at_size
from small_families import SIZE, SMALL
from transformers import CLIPTokenizer

from synthbridge.diffusion.families import flux, flux2, z_image
from synthbridge.diffusion.loading import load_generator
from synthbridge.diffusion.prompts import style_prompt
from synthbridge.diffusion.style_token import check_placeholder, find_initial_token
from synthbridge.diffusion.text import tokenize
from synthbridge.prompts.templates import TEMPLATES


@pytest.mark.parametrize("name", FAMILIES)
def test_parts_have_the_released_number_of_parameters(name):
    for part in FAMILIES[name].parts.values():
        with torch.device("meta"):
            assert sd.count_parameters(part.make()) == part.num_parameters


def test_smaller_images_take_the_same_weights():
    family = at_size(FAMILIES["sdxl"], 256)
    assert family.latents == (4, 32, 32) and family.image_size == 256
    assert family.parts["unet"].config["sample_size"] == 32
    assert family.parts["vae"].config["sample_size"] == 256
    assert family.parts["text_encoder"] == FAMILIES["sdxl"].parts["text_encoder"]


@pytest.mark.parametrize("name", ["sdxl", "sd-3.5-medium"])
def test_small_families_are_read_as_the_released_ones(name, tmp_path):
    family = SMALL[name]()
    sd.write_generator(tmp_path, family, torch.bfloat16)
    model = load_generator(tmp_path)
    assert model.dtype == torch.bfloat16  # as stored
    assert model.image_size == SIZE and model.latent_shape == family.latents
    assert bool(model.vocabularies) == family.learns_words


@pytest.mark.parametrize(
    "name, module",
    [("flux.1-schnell", flux), ("flux.2-klein-4b", flux2), ("z-image-turbo", z_image)],
)
def test_prompts_of_the_other_families_are_read_by_their_tokenizers(name, module, tmp_path):
    for encoder in FAMILIES[name].text_encoders:
        write, _ = sd.TOKENIZERS[FAMILIES[name].parts[encoder].name]
        write(tmp_path / encoder.replace("text_encoder", "tokenizer"), is_second=False)
    tokens = module.load_reader(tmp_path)(["a photo of a cat", "a dog"])
    assert [len(ids) for ids in tokens] == [2] * len(tokens)


@pytest.mark.parametrize("name", sd.CLASSIFIERS)
def test_classifiers_have_timms_number_of_parameters(name):
    with torch.device("meta"):
        assert sd.count_parameters(sd.make_classifier(name)) == sd.CLASSIFIERS[name]


def test_tokenizer_serves_as_clips_does(tmp_path):
    sd.write_clip_tokenizer(tmp_path, is_second=False)
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path)
    assert len(tokenizer) == sd.NUM_WORDS
    assert find_initial_token(tokenizer, sd.INITIAL_WORD) < sd.NUM_WORDS
    check_placeholder(tokenizer, "<style>")
    tokenizer.add_tokens("<style>")
    assert tokenizer.convert_tokens_to_ids("<style>") == sd.NUM_WORDS  # a new row of the table
    prompts = [style_prompt("sea lion", "<style>"), *(t.format("sea lion") for t in TEMPLATES)]
    assert tokenize(tokenizer, prompts).shape == (len(prompts), sd.TEXT_LENGTH)
