"""Settings: what fits is taken as it stands, what does not gets one clear sentence."""

from typing import Any

import pytest

from synthbridge.core.settings import check_settings
from synthbridge.diffusion.settings import (
    InversionSettings,
    SamplingSettings,
    SyntheticSettings,
    TuneSettings,
    count_steps,
)

INVERT = {
    "placeholder": "<style>",
    "initial_word": "style",
    "num_steps": 1000,
    "batch_size": 32,
    "learning_rate": 5e-3,
    "samples_per_class": 4,
    "seed": 0,
}
TUNE = {
    "rank": 16,
    "alpha": 16,
    "steps_per_class": 400,
    "batch_size": 8,
    "learning_rate": 1e-4,
    "seed": 0,
}
GENERATE = {
    "sampler": "dpm++",
    "num_steps": 15,
    "guided_fraction": 0.6,
    "jpeg_quality": 95,
    "images_per_block": 50,
    "classes_per_shard": 5,
    "seed": 0,
}
DSI = {"prompts": "dsi", "shots": 4, "guidance_scale": 3.5, "images_per_class": 100}
TEMPLATE = {**DSI, "prompts": "template", "shots": None}


@pytest.mark.parametrize(
    ("cls", "values"),
    [
        (InversionSettings, INVERT),
        (SamplingSettings, GENERATE),
        (SyntheticSettings, DSI),
        (SyntheticSettings, {**DSI, "shots": "full", "guidance_scale": 3}),
        (SyntheticSettings, TEMPLATE),
        (SyntheticSettings, {**TEMPLATE, "class_names": "disambiguated", "shots": 4}),
        (SyntheticSettings, {**TEMPLATE, "prompts": "contextual", "superclass": "pet"}),
        (SyntheticSettings, {**TEMPLATE, "prompts": "file", "prompt_file": "{dataset}_own.json"}),
        (SyntheticSettings, {**DSI, "prompts": "class_tokens"}),
        (SyntheticSettings, {**DSI, "prompts": "oracle", "shots": "full"}),
        (SyntheticSettings, {**TEMPLATE, "shots": 4, "image_strength": 0.35}),
        (SyntheticSettings, {**DSI, "image_strength": 1.0}),
        (SyntheticSettings, {**TEMPLATE, "shots": 4, "tuned": "class"}),
        (SyntheticSettings, {**TEMPLATE, "shots": "full", "tuned": "dataset"}),
        (SyntheticSettings, {**DSI, "image_strength": 0.7, "mix_gamma": 0.8}),
        (TuneSettings, TUNE),
        (SyntheticSettings, {**DSI, "keep_fraction": 0.5, "select": "random"}),
        (SyntheticSettings, {**DSI, "cap": 9, "select": "entropy", "scored_by": "plain"}),
    ],
)
def test_what_fits_is_taken(cls: Any, values: dict):
    assert check_settings(cls, values, "here").model_dump(exclude_unset=True) == values


@pytest.mark.parametrize(
    ("cls", "values", "sentence"),
    [
        (
            InversionSettings,
            {**INVERT, "placeholder": "S*"},
            "params.yaml: here.placeholder is 'S*'; "
            "it should look like <style>: small letters, digits and hyphens between < and >",
        ),
        (
            InversionSettings,
            {**INVERT, "learning_rate": 0.0},
            "params.yaml: here.learning_rate is 0.0; it should be greater than 0",
        ),
        (
            InversionSettings,
            {**INVERT, "num_steps": 10.0},
            "params.yaml: here.num_steps is 10.0; it should be a valid integer",
        ),
        (
            SamplingSettings,
            {**GENERATE, "sampler": "ddim"},
            "params.yaml: here.sampler is 'ddim'; it should be 'ddpm', 'dpm++', 'euler', "
            "'euler_ancestral' or 'lcm'",
        ),
        (
            SamplingSettings,
            {**GENERATE, "guided_fraction": 60.0},
            "params.yaml: here.guided_fraction is 60.0; it should be less than or equal to 1",
        ),
        (
            SamplingSettings,
            {**GENERATE, "jpeg_quality": 101},
            "params.yaml: here.jpeg_quality is 101; it should be less than or equal to 100",
        ),
        (
            SyntheticSettings,
            {**DSI, "guidance_scale": 0.5},
            "params.yaml: here.guidance_scale is 0.5; it should be greater than or equal to 1",
        ),
        (
            SyntheticSettings,
            {**DSI, "prompts": "dsl"},
            "params.yaml: here.prompts is 'dsl'; it should be 'template', 'dsi', 'class_tokens', "
            "'oracle', 'contextual', 'stylised' or 'file'",
        ),
        (
            SyntheticSettings,
            {**TEMPLATE, "shots": 4},
            "params.yaml: here.shots is 4; "
            "a template set sees no real image; write null, 'prompts: dsi', 'tuned: dataset', or "
            "an image_strength",
        ),
        (
            SyntheticSettings,
            {**TEMPLATE, "tuned": "dataset"},
            "params.yaml: here.shots is None; it should be the real images a class that the "
            "generator is tuned on; write a number above 0, or full",
        ),
        (
            SyntheticSettings,
            {**TEMPLATE, "shots": 4, "tuned": "class", "image_strength": 0.35},
            "params.yaml: here.image_strength is 0.35; a tuned generator draws from noise alone; "
            "leave out image_strength, or tuned",
        ),
        (
            SyntheticSettings,
            {**DSI, "mix_gamma": 0.8},
            "params.yaml: here.mix_gamma is 0.8; it mixes classes by the real images of others "
            "that images start from; give an image_strength, or leave it out",
        ),
        (
            SyntheticSettings,
            {**DSI, "tuned": "class"},
            "params.yaml: here.tuned is 'class'; dsi prompts hold words that are learned for the "
            "generator as it came; leave one of the two out, or choose prompts from template, "
            "contextual, stylised, file",
        ),
        (
            SyntheticSettings,
            {**TEMPLATE, "shots": 4, "tuned": "images"},
            "params.yaml: here.tuned is 'images'; it should be 'dataset' or 'class'",
        ),
        (
            TuneSettings,
            {**TUNE, "rank": 0},
            "params.yaml: here.rank is 0; it should be greater than 0",
        ),
        (
            SyntheticSettings,
            {**TEMPLATE, "image_strength": 0.5},
            "params.yaml: here.shots is None; with image_strength it should be the real images a "
            "class that images start from; write a number above 0, or leave image_strength out",
        ),
        *(
            (
                SyntheticSettings,
                {**DSI, "image_strength": strength},
                f"params.yaml: here.image_strength is {strength}; it should be {rule}",
            )
            for strength, rule in ((0.0, "greater than 0"), (1.5, "less than or equal to 1"))
        ),
        (
            SyntheticSettings,
            {**TEMPLATE, "class_names": "disambiguated"},
            "params.yaml: here.shots is None; it should be the real images a class that class "
            "names are disambiguated by; write a number above 0, or full",
        ),
        (
            SyntheticSettings,
            {**DSI, "superclass": "pet"},
            "params.yaml: here.superclass is 'pet'; dsi prompts take class names as they are; "
            "leave it out, or choose prompts from template, contextual, stylised",
        ),
        (
            SyntheticSettings,
            {**TEMPLATE, "prompts": "file"},
            "params.yaml: here.prompt_file is None; with 'prompts: file', and only there, it "
            "names the file of prompts; give its name",
        ),
        (
            SyntheticSettings,
            {**TEMPLATE, "prompt_file": "mine.yaml"},
            "params.yaml: here.prompt_file is 'mine.yaml'; with 'prompts: file', and only there, "
            "it names the file of prompts; leave it out",
        ),
        (
            SyntheticSettings,
            {**TEMPLATE, "prompts": "file", "prompt_file": "../mine.yaml"},
            "params.yaml: here.prompt_file is '../mine.yaml'; it should be the name of a file in "
            "data/prompts, where DVC sees its changes: mine.yaml or mine.json",
        ),
        *(
            (
                SyntheticSettings,
                {**DSI, "shots": shots},
                f"params.yaml: here.shots is {shots!r}; it should be the real images a class that "
                "the set's words are learned from; write a number above 0, or full",
            )
            for shots in (None, 0, True, "all", 1.5)
        ),
    ],
)
def test_what_does_not_fit_gets_one_sentence(cls: Any, values: dict, sentence: str):
    with pytest.raises(ValueError) as refusal:
        check_settings(cls, values, "here")
    assert str(refusal.value) == sentence


def test_steps_from_a_real_image_are_whole_and_one_at_least():
    assert count_steps(50, None) == 50 and count_steps(50, 1.0) == 50
    assert [count_steps(50, s) for s in (0.15, 0.20, 0.35, 0.40, 0.50)] == [7, 10, 17, 20, 25]
    with pytest.raises(ValueError, match=r"image_strength 0.15 of 5 denoising steps leaves none"):
        count_steps(5, 0.15)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"select": "entropy", "scored_by": "plain"}, "select is entropy, .* keep_fraction is 1"),
        ({"select": "random"}, "select is random, .* lower keep_fraction, or give a cap"),
        ({"select": "entropy", "cap": 9}, "scored_by names the group .* write scored_by: plain"),
        ({"select": "random", "cap": 9, "scored_by": "plain"}, "only there, .* leave it out"),
        ({"scored_by": "plain"}, "only there, .* leave it out"),
        ({"select": "hard"}, "select is 'hard'; it should be 'clip', 'entropy' or 'random'"),
    ],
)
def test_a_selection_has_what_it_needs(values, sentence):
    with pytest.raises(ValueError, match=sentence):
        check_settings(SyntheticSettings, {**DSI, **values}, "here")
