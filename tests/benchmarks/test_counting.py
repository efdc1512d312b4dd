from dataclasses import replace

import counting
import measure
import pytest
import torch
from torch import nn

from house import ROOT
from synthbridge.core.files import read_json
from synthbridge.diffusion.memory import decoding_bytes
from synthbridge.forecast.memory import VALUES_INVERTED, VALUES_INVERTED_ELSE, values_tuned
from synthbridge.forecast.speeds import read_speeds

# 2 x multiply-accumulate, of the released architectures, by hand.
STABLE_DIFFUSION = {
    "denoiser": 0.803e12,
    "denoiser_and_gradient": 1.669e12,
    "encode": 1.117e12,
    "decode": 2.515e12,
    "text": 0.0133e12,
}


def test_operations_of_stable_diffusion():
    assert counting.operations_of("sd-1.5") == pytest.approx(STABLE_DIFFUSION, rel=0.02)
    assert counting.operations_before_text() == pytest.approx(0.0408e12, rel=0.02)


def test_a_quarter_of_the_pixels_takes_a_little_less_than_a_quarter():
    """Attention grows with the square of the pixels."""
    whole, quarter = counting.operations_of("sdxl"), counting.operations_of("sdxl", 512)
    assert 0.2 < quarter["denoiser"] / whole["denoiser"] < 0.25
    assert quarter["text"] == whole["text"]


def test_operations_of_a_transformer_are_its_layers_and_attention():
    """Of FLUX.2 klein, by hand from its sizes: (multiply-adds a token of one block) x tokens."""
    width, image, text = 3072, 4096, 512
    tokens = image + text
    wide = 3 * width  # of a feed-forward block, whose first layer makes a gate as well
    double = 4 * width**2 + 3 * width * wide  # four projections; in, gate, out: each stream's own
    single = width * (3 * width + 2 * wide) + (width + wide) * width
    ends = 128 * width * image * 2 + 7680 * width * text  # in and out of the image; of the text
    layers = 5 * double * tokens + 20 * single * tokens + ends
    attention = (5 + 20) * 2 * tokens**2 * width
    found = counting.operations_of("flux.2-klein-4b")["denoiser"]
    assert found == pytest.approx(2 * (layers + attention), rel=1e-3)


def test_operations_of_inversion():
    """Two images encoded, 20 steps at batch 4, the loss read before them and ten times after."""
    expected = 2 * 1.117e12 + 4 * (20 * 1.669e12 + 11 * 0.803e12)
    assert counting.operations_of_inversion(2, 20, 4) == pytest.approx(expected, rel=0.02)


def test_operations_of_a_training_image():
    """Forward as timm's table of results has it (4.09 G multiply-accumulates), three times.

    But the first layer's input, which needs no gradient.
    """
    stem = 2 * 3 * 7 * 7 * 64 * 112 * 112
    expected = 3 * 2 * 4.09e9 - stem
    assert counting.operations_of_a_training_image("resnet50") == pytest.approx(expected, rel=0.02)


def test_live_bytes_are_those_of_what_still_lives():
    with counting.LiveBytes() as live:
        first = torch.zeros(1000)  # 4 kB
        view = first[:10]
        second = first + 1
        assert live.live == live.peak == 8000
        del first
        assert live.live == 8000  # the view keeps it
        del view, second
        assert live.live == 0 and live.peak == 8000


def test_live_bytes_hold_what_a_gradient_needs():
    layers = nn.Sequential(*(nn.Sigmoid() for _ in range(5)))  # each keeps its output
    x = torch.zeros(1000, requires_grad=True)
    with counting.LiveBytes() as live:
        loss = layers(x).sum()
        assert live.live == 5 * 4000 + 4
        loss.backward()
    with counting.LiveBytes() as live, torch.no_grad():
        layers(x)
    assert live.peak == 2 * 4000


def test_weights_that_are_only_looked_at_are_counted_once():
    layer = nn.Linear(100, 10, bias=False)
    live = counting.LiveBytes()
    live.add(layer.weight.untyped_storage())
    with live, torch.no_grad():
        layer.weight.t()
    assert live.live == live.peak == 4000


def test_inversion_and_generation_fit_in_12_gb_in_bfloat16():
    with counting.fake_models(counting.FAMILIES["sd-1.5"], torch.bfloat16) as models:
        assert counting.memory_of_inversion(models, 8) < 9e9
        assert counting.memory_of_encoding(models, 16) < 8e9
        assert counting.memory_of_denoising(models, 32) < 7e9
        assert counting.memory_of_decoding(models, 32) < 9e9


def counted():
    """Return what counting.py has left."""
    return read_json(measure.RESULTS / "counted/full_size.json")["families"]


@pytest.mark.parametrize("name", counting.FAMILIES)
def test_a_generator_is_refused_by_what_was_counted(name):
    """What `forecast.memory` says a family takes beside its weights is what was counted, or a
    little more."""
    family, found = counting.FAMILIES[name], counted()[name]["gigabytes"]
    widths = family.parts["vae"].config.get("block_out_channels", (128,))
    size, weights = family.image_size, sum(found["weights"].values())
    told = decoding_bytes({"block_out_channels": widths}, size, torch.bfloat16) / 1e9
    assert told * found["at_once"]["decode"] == pytest.approx(
        found["peak"]["decode"] - weights, 0.1
    )
    others = [found["peak"][step] - weights for step in ("denoise", "prompts", "encode")]
    assert max(others) < told * found["at_once"]["decode"]
    if family.learns_words:
        values = VALUES_INVERTED.get(family.pipeline, VALUES_INVERTED_ELSE)
        told = values * size**2 * found["at_once"]["invert"] * 2 / 1e9
        assert 0.9 < told / (found["peak"]["invert"] - weights) < 1.15


@pytest.mark.parametrize("name", counting.FAMILIES)
def test_an_image_that_a_lora_learns_from_is_refused_by_what_was_counted(name):
    family, found = counting.FAMILIES[name], counted()[name]["gigabytes"]
    of_one = found["peak"]["tune"] - found["peak_of_one"]["tune"]
    config = family.parts[family.denoiser].config
    told = values_tuned(family.pipeline, config) * family.image_size**2 * 2 / 1e9
    assert told == pytest.approx(of_one, rel=0.05)


def test_tuning_a_larger_transformer_takes_as_much_more_as_its_blocks_say():
    """FLUX.2-klein-9B, whose figure is in no table."""
    family = counting.FAMILIES["flux.2-klein-4b"]
    part, vae = family.parts["transformer"], family.parts["vae"]
    larger = {"num_layers": 8, "num_single_layers": 24, "num_attention_heads": 32}
    config = {**part.config, **larger, "joint_attention_dim": 12288}
    parts = {"transformer": replace(part, config=config), "vae": vae}
    with counting.fake_models(replace(family, parts=parts), torch.bfloat16) as models:
        one, two = (counting.memory_of_tuning(models, batch) for batch in (1, 2))
    told = values_tuned(family.pipeline, config) * family.image_size**2 * 2
    assert told == pytest.approx(two - one, rel=0.05)


def test_tuning_is_counted_as_it_was_when_the_table_was_made():
    """At full size, of the family whose layers are fewest; its text encoder takes no part."""
    name = "flux.2-klein-4b"
    whole = counting.FAMILIES[name]
    parts = {part: whole.parts[part] for part in ("transformer", "vae")}
    with counting.fake_models(replace(whole, parts=parts), torch.bfloat16) as models:
        one, two = (counting.memory_of_tuning(models, batch) / 1e9 for batch in (1, 2))
    found = counted()[name]["gigabytes"]
    assert two - one == pytest.approx(
        found["peak"]["tune"] - found["peak_of_one"]["tune"], abs=0.02
    )
    assert one == pytest.approx(found["peak_of_one"]["tune"] - found["weights"]["text"], abs=0.02)


def test_a_lora_has_two_matrices_for_each_projection_and_no_other_layer():
    """A single projection of 2 numbers to 3, at rank 16, by hand."""
    lora = counting.make_lora(_Attention(), counting.LORA_RANK)
    assert {name: change.up.shape for name, change in lora.items()} == {"attn.to_q": (3, 16)}
    assert lora["attn.to_q"].down.shape == (16, 2)


class _Attention(nn.Module):
    """A denoiser of one projection, and a layer that is none."""

    def __init__(self):
        super().__init__()
        self.attn = nn.ModuleDict({"to_q": nn.Linear(2, 3), "other": nn.Linear(2, 3)})


def test_the_table_of_families_says_what_was_counted():
    lines = (ROOT / "docs/planning.md").read_text(encoding="utf-8").splitlines()
    for name, row in counted().items():
        assert counting.family_row(row) in lines, f"docs/planning.md: {counting.family_row(row)}"
        assert row["released"] == counting.FAMILIES[name].released


@pytest.mark.parametrize("name", counting.FAMILIES)
def test_predicted_speeds_are_the_counts_at_a_fraction_of_the_matrix_rate(name):
    """790 TFLOP/s on an H200: learning at 40 % of them, the rest at 45 %."""
    speeds, count = read_speeds()["h200"], counted()[name]["operations"]
    kinds = speeds.generators[counting.FAMILIES[name].released]
    learning = count.get("denoiser_and_gradient", 2 * count["denoiser"])
    expected = {
        "encoded_image": count["encode"] / 0.45,
        "denoised_row": count["denoiser"] / 0.45,
        "drawn_image": count["decode"] / 0.45,
        "inverted_row": learning / 0.40,
    }
    seconds = {kind: operations / 790e12 for kind, operations in expected.items()}
    assert {kind: kinds[kind] for kind in seconds} == pytest.approx(seconds, rel=0.02)
    sizes = speeds.bytes[counting.FAMILIES[name].released]
    weights = sum(counted()[name]["parameters"].values())
    each = 4 if counting.FAMILIES[name].learns_words else 2  # bytes
    assert sizes["generator"] == pytest.approx(each * weights, rel=0.04)  # and buffers
    assert sizes["lora_rank"] > 0
