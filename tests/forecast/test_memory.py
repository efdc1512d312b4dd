import json

import pytest
import torch
from safetensors.torch import save_file

from synthbridge.forecast.memory import check_memory, read_needs

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
        "unet/config.json": {"in_channels": 4, "sample_size": SIZE // 8},
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
    assert needs.drawing() == round(1.05 * (4 * NUM_TEXT + 2 * NUM_REST + 16 * of_one))
    assert needs.drawing_in_turns(1) == round(1.05 * (2 * NUM_REST + of_one))


def test_a_generator_that_fits_is_taken(generator):
    check_memory(generator, CPU, learns_from=4, free=20_000_000_000)
    check_memory(generator, CPU, learns_from=4)  # whatever this machine has, or does not know


@pytest.mark.parametrize(
    "gigabytes, way_out",
    [
        (10, "set SYNTHBRIDGE_IMAGES_AT_ONCE=11 in the environment"),  # 0.85 GB each
        (0.5, r"take a machine with more, or a GPU, where it takes 6.8 GB in bfloat16"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_would(generator, gigabytes, way_out):
    told = r"takes about 13.5 GB to draw with \(0.0 GB of weights, float32\), and this machine has"
    with pytest.raises(ValueError, match=rf"{told} {gigabytes:.1f} GB free; {way_out}, or choose"):
        check_memory(generator, CPU, learns_from=None, free=int(gigabytes * 1e9))


def test_fewer_at_once_fit(generator, monkeypatch):
    monkeypatch.setenv("SYNTHBRIDGE_IMAGES_AT_ONCE", "11")
    check_memory(generator, CPU, learns_from=None, free=10_000_000_000)
    with pytest.raises(ValueError, match="ONCE=5 in the environment"):
        check_memory(generator, CPU, learns_from=None, free=5_000_000_000)


def test_learning_asks_for_smaller_batches(generator):
    # 1,500 values for each of 262,144 pixels: 1.65 GB an image in float32
    for setting in ("invert.batch_size", "tune.batch_size"):
        with pytest.raises(ValueError, match=rf"52.8 GB to learn with.*lower {setting} to 12"):
            check_memory(generator, CPU, learns_from=32, setting=setting, free=20_000_000_000)


def test_a_gpu_needs_not_hold_the_text_encoders_beside_the_rest(generator, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    save_file({"a": torch.zeros(20_000, 1_000)}, generator / "text_encoder/model.safetensors")
    free = 6_800_000_000  # 6.76 GB to decode, 0.08 GB of text encoders
    check_memory(generator, GPU, learns_from=None, free=free)
    with pytest.raises(ValueError, match=r"weights, bfloat16\), and the GPU has 6.8 GB free"):
        check_memory(generator, GPU, learns_from=1, free=free)
