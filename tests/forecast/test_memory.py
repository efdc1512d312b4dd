import json

import pytest
import torch
from families import FAMILIES
from safetensors.torch import save_file

from synthbridge.diffusion.loading import load_generator
from synthbridge.forecast import memory
from synthbridge.forecast.memory import Job, check_memory, read_needs

CPU, GPU = torch.device("cpu"), torch.device("cuda")
SIZE = 512  # pixels a side
NUM_TEXT, NUM_REST = 3_000, 5_000  # weights


@pytest.fixture
def generator(tmp_path):
    """The folder of a Stable Diffusion of few weights; those of the UNet come in two pieces."""
    parts = {
        "model_index.json": {"_class_name": "StableDiffusionPipeline"},
        "scheduler/scheduler_config.json": {},
        "text_encoder/config.json": {},
        "unet/config.json": {
            "in_channels": 4,
            "sample_size": SIZE // 8,
            "cross_attention_dim": 768,
        },
        "vae/config.json": {"latent_channels": 4, "block_out_channels": [128, 256, 512, 512]},
        "unet/diffusion_pytorch_model.safetensors.index.json": {
            "weight_map": {"a": "first.safetensors", "b": "second.safetensors"}
        },
    }
    (tmp_path / "tokenizer").mkdir()
    for name, values in parts.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps(values))
    weights = {
        "text_encoder/model": {"a": torch.zeros(30, 100)},
        "unet/first": {"a": torch.zeros(3_000, dtype=torch.float16)},  # counted, not weighed
        "unet/second": {"b": torch.zeros(10, 100)},
        "vae/diffusion_pytorch_model": {"a": torch.zeros(500), "b": torch.zeros(500)},
    }
    for name, tensors in weights.items():
        save_file(tensors, tmp_path / f"{name}.safetensors")
    return tmp_path


def test_weights_are_counted_from_the_files_heads_in_the_precision_of_the_device(generator):
    needs = read_needs(generator, torch.float32)
    assert (needs.text, needs.rest) == (4 * NUM_TEXT, 4 * NUM_REST)
    needs = read_needs(generator, torch.bfloat16)
    assert (needs.text, needs.rest) == (4 * NUM_TEXT, 2 * NUM_REST)  # a style token's gradient


def test_drawing_takes_most_where_images_are_decoded(generator):
    needs = read_needs(generator, torch.bfloat16)
    assert needs.num_decoded == 16
    of_one = 6 * 128 * SIZE**2 * 2  # bytes
    assert needs.drawing(0) == round(1.05 * (4 * NUM_TEXT + 2 * NUM_REST + 16 * of_one))
    assert needs.drawing_in_turns(0, 1) == round(1.05 * (2 * NUM_REST + of_one))


def test_encoded_prompts_are_kept_and_copied_once_when_joined(generator):
    needs = read_needs(generator, torch.bfloat16)
    of_one = 77 * 768 * 2  # bytes
    assert needs.prompt == of_one
    kept = 500 * of_one
    images = 16 * 6 * 128 * SIZE**2 * 2
    weights = 4 * NUM_TEXT + 2 * NUM_REST
    assert needs.drawing(500) == round(1.05 * (weights + kept + images))
    many = 10**6
    assert needs.drawing(many) == round(1.05 * (weights + 2 * many * of_one))
    assert needs.drawing_in_turns(many) == round(1.05 * (4 * NUM_TEXT + 2 * many * of_one))


@pytest.mark.parametrize("name", ["noise", "sdxl", "sd3", "flux", "flux-dev", "flux2", "z-image"])
def test_a_prompt_takes_what_the_family_encodes_it_to(name, tmp_path, monkeypatch):
    """The tiny CLIPs read 24 tokens, or 77, and the tiny models of language as many as the real."""
    folder = FAMILIES[name].write(tmp_path / "model")
    model = load_generator(folder)
    sequence = model.encode(model.tokenize(["a photo of a cat"])).sequence
    if (folder / "unet").is_dir():
        monkeypatch.setattr(memory, "CLIP_TOKENS", sequence.shape[1])
    elif name == "sd3":
        monkeypatch.setattr(memory, "CLIP_TOKENS", model.tokenize(["a"])[0].shape[1])
    assert read_needs(folder, torch.float32).prompt == sequence.nbytes


def test_a_generator_that_fits_is_taken(generator):
    check_memory(generator, CPU, Job(10, learns_from=4), free=20_000_000_000)
    check_memory(generator, CPU, Job(10, learns_from=4))  # whatever this machine has


@pytest.mark.parametrize(
    "gigabytes, way_out",
    [
        (10, "set SYNTHBRIDGE_IMAGES_AT_ONCE=11 in the environment, or "),  # 0.85 GB each
        (0.5, ""),
    ],
)
def test_what_does_not_fit_is_refused_with_what_would(generator, gigabytes, way_out):
    told = r"takes about 13.5 GB to draw with \(0.0 GB of weights, float32\), and this machine has"
    else_ = "take a machine with more, or a GPU, where it takes 6.8 GB in bfloat16, or choose"
    with pytest.raises(ValueError, match=rf"{told} {gigabytes:.1f} GB free; {way_out}{else_}"):
        check_memory(generator, CPU, Job(0), free=int(gigabytes * 1e9))


def test_fewer_at_once_fit(generator, monkeypatch):
    monkeypatch.setenv("SYNTHBRIDGE_IMAGES_AT_ONCE", "11")
    check_memory(generator, CPU, Job(0), free=10_000_000_000)
    with pytest.raises(ValueError, match="ONCE=5 in the environment"):
        check_memory(generator, CPU, Job(0), free=5_000_000_000)


@pytest.mark.parametrize(
    "job, takes, fits",
    [
        # 1,500 values for each of 262,144 pixels: 1.65 GB an image in float32
        (Job(0, learns_from=32), "52.8", "lower invert.batch_size to 12,"),
        (Job(0, learns_from=32, tunes=True), "72.2", "lower tune.batch_size to 8,"),  # 2,050
    ],
)
def test_learning_asks_for_smaller_batches(generator, job, takes, fits):
    with pytest.raises(ValueError, match=f"{takes} GB to learn with.*{fits}"):
        check_memory(generator, CPU, job, free=20_000_000_000)


def test_many_prompts_are_named_and_a_way_to_have_fewer(generator):
    with pytest.raises(ValueError) as refusal:
        check_memory(generator, CPU, Job(100_000), free=20_000_000_000)  # 77 x 768 x 4 bytes each
    assert "float32, 23.7 GB for 100,000 encoded prompts)" in str(refusal.value)
    assert "lower generate.images_per_block" in str(refusal.value)


@pytest.fixture
def large_text(generator, monkeypatch):
    """A generator whose text encoders take 8 GB, and a GPU with bfloat16."""
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    monkeypatch.setattr(memory, "_count_values", lambda _, name: NUM_LARGE * ("text" in name))
    return generator


NUM_LARGE = 2_000_000_000


def test_a_gpu_needs_not_hold_the_text_encoders_beside_the_rest(large_text):
    free = 8_500_000_000  # 6.76 GB to decode, then 8 GB of text encoders
    check_memory(large_text, GPU, Job(0), free=free)
    told = r"weights, bfloat16; all of them stay on the GPU while it learns\), and the GPU has 8.5"
    with pytest.raises(ValueError, match=f"{told} GB free; take a GPU with more memory, or choose"):
        check_memory(large_text, GPU, Job(0, learns_from=1), free=free)


def test_the_refusal_to_draw_says_that_the_parts_take_turns_already(large_text, monkeypatch):
    monkeypatch.setattr(memory, "_count_values", lambda _, name: NUM_LARGE // 10)
    turns = "; the text encoders, 0.8 GB, wait on the CPU while images are drawn"
    way_out = "set SYNTHBRIDGE_IMAGES_AT_ONCE=9 in the environment, or take a GPU with more memory"
    with pytest.raises(ValueError, match=f"{turns}.*the GPU has 5.0 GB free; {way_out}, or choose"):
        check_memory(large_text, GPU, Job(0), free=5_000_000_000)
