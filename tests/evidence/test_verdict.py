import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from evidence.simulated import Cell, simulate_runs, write_run

from synthbridge.evidence.comparisons import compare_runs, interval_words
from synthbridge.evidence.results import read_runs
from synthbridge.evidence.settings import PrimaryComparison
from synthbridge.evidence.statistics import Interval
from synthbridge.evidence.verdict import (
    VERDICTS,
    judge,
    primary_rows,
    primary_verdict,
    underfit_sentences,
    verdict_sentence,
)


def between(low, high):
    return Interval((low + high) / 2, low, high, 0.5, 8, 900, None)


# One interval for each way to lie about zero and a smallest gain of 1 point.
LARGE, SURE, SMALL = between(0.5, 5.0), between(0.1, 1.5), between(0.1, 0.9)
OPEN, NONE, WORSE = between(-2.0, 5.0), between(-0.8, 0.8), between(-3.0, -0.1)
HELPS, GAIN, LONGER, NOT, OPEN_ANSWER = VERDICTS


@pytest.mark.parametrize(
    ("reference", "answers"),
    [  # over the control: LARGE, SURE, SMALL, OPEN, NONE, WORSE
        (LARGE, (HELPS, GAIN, GAIN, OPEN_ANSWER, LONGER, LONGER)),
        (SURE, (GAIN, GAIN, GAIN, OPEN_ANSWER, LONGER, LONGER)),
        (SMALL, (GAIN, GAIN, GAIN, NOT, LONGER, LONGER)),
        (OPEN, (OPEN_ANSWER, OPEN_ANSWER, NOT, OPEN_ANSWER, NOT, NOT)),
        (NONE, (NOT,) * 6),
        (WORSE, (NOT,) * 6),
    ],
)
def test_every_cell(reference, answers):
    controls = (LARGE, SURE, SMALL, OPEN, NONE, WORSE)
    for control, answer in zip(controls, answers, strict=True):
        assert judge(reference, control, smallest_gain=1.0) == answer


def test_without_both_intervals_nothing_can_be_told():
    unknown = Interval(5.0, math.nan, math.nan, math.nan, 2, 900, None)
    for pair in itertools.product((LARGE, None, unknown), repeat=2):
        if pair != (LARGE, LARGE):
            assert judge(*pair, smallest_gain=1.0) == "cannot tell"


def write_arms(folder, gains, *, num_seeds=8, num_test=4000, spread=0.004):
    """Write vanilla, its control and bridged, whose gains over vanilla are given in fractions."""
    rng = np.random.default_rng(4)
    labels = rng.integers(10, size=num_test)
    for seed in range(num_seeds):
        right = rng.random(num_test) < 0.8
        for arm, gain in gains.items():
            method, name = ("dsi", "dsi_4") if arm == "bridged" else ("real", None)
            flips = (gain + spread * rng.standard_normal()) * num_test
            chosen = rng.permutation(np.flatnonzero(right != (flips > 0)))[: round(abs(flips))]
            correct = right.copy()
            correct[chosen] = flips > 0
            cell = Cell("digits", method, name, arm, 4, seed)
            write_run(folder / method / arm, cell, correct, labels, rng)
    return read_runs([folder], "digits")


@pytest.mark.parametrize(
    ("gains", "answer"),
    [
        ({"vanilla_equal_steps": 0.01, "bridged": 0.05}, "helps"),
        ({"vanilla_equal_steps": 0.0, "bridged": 0.008}, "small gain"),
        ({"vanilla_equal_steps": 0.03, "bridged": 0.03}, "explained by longer training"),
        ({"vanilla_equal_steps": 0.05, "bridged": 0.03}, "explained by longer training"),
        ({"vanilla_equal_steps": 0.0, "bridged": 0.0}, "does not help"),
        ({"vanilla_equal_steps": 0.0, "bridged": -0.03}, "does not help"),
        ({"vanilla_equal_steps": 0.02, "bridged": 0.027}, "cannot tell"),
    ],
)
def test_the_verdict_of_simulated_runs(gains, answer, tmp_path, settings):
    spread = 0.03 if answer == "cannot tell" else 0.002
    runs = write_arms(tmp_path, {"vanilla": 0.0, **gains}, spread=spread)
    rows = compare_runs(runs, settings)
    assert primary_verdict(rows, settings) == answer
    sentence = verdict_sentence("digits", rows, settings)
    assert sentence.startswith("With dsi images at 4 shots on digits, ")
    for row in primary_rows(rows, settings.primary):
        assert row and interval_words(row.interval) in sentence
    assert "8 seeds, 4,000 test images)" in sentence
    part = "dsi images (60 of 180 drawn a class, at random)"
    told = verdict_sentence("digits", rows, settings, images=part)
    assert told == sentence.replace("dsi images", part)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("final")
    simulate_runs(folder, shots=[4])
    return read_runs([folder], "digits")


@pytest.mark.parametrize("num_seeds", [1, 2])
def test_fewer_than_three_seeds_are_no_verdict(runs, settings, num_seeds):
    rows = compare_runs([run for run in runs if run.seed < num_seeds], settings)
    assert primary_verdict(rows, settings) == "cannot tell"
    sentence = verdict_sentence("digits", rows, settings)
    seeds = "1 seed" if num_seeds == 1 else "2 seeds"
    assert sentence.endswith(
        f"cannot tell whether bridged helps: {seeds}; at least three are needed."
    )


def test_what_is_missing_is_said(runs, settings):
    control, vanilla = "vanilla at equal gradient steps", "vanilla"
    for names, missing in (
        ({"vanilla_equal_steps"}, f"{control} has"),
        ({"vanilla"}, f"{vanilla} has"),
        ({"bridged"}, f"{vanilla} and {control} have"),
    ):
        rows = compare_runs([run for run in runs if run.arm not in names], settings)
        assert primary_verdict(rows, settings) == "cannot tell"
        sentence = verdict_sentence("digits", rows, settings)
        lacking = "no run with the same shots, seeds and, for the control, gradient steps."
        assert sentence.endswith(f": {missing} {lacking}")


def test_vanilla_with_other_steps_is_no_control(runs, settings):
    others = [
        replace(run, gradient_steps=1300) if run.arm == "vanilla_equal_steps" else run
        for run in runs
    ]
    assert primary_verdict(compare_runs(others, settings), settings) == "cannot tell"


def test_another_reference(runs, settings):
    primary = settings.primary.model_copy(update={"reference": "vanilla_fc_reinit"})
    other = settings.model_copy(update={"primary": primary})
    rows = compare_runs(runs, other)
    found = primary_rows(rows, primary)
    assert [row and row.reference for row in found] == ["vanilla_fc_reinit", "vanilla_equal_steps"]
    assert "over vanilla_fc_reinit and " in verdict_sentence("digits", rows, other)


def test_without_a_primary_comparison_there_is_no_verdict(runs, settings):
    none = settings.model_copy(update={"primary": None})
    rows = compare_runs(runs, none)
    assert primary_verdict(rows, none) is None and not any(row.is_primary for row in rows)
    assert verdict_sentence("digits", rows, none).startswith("No verdict on digits: ")


def test_an_arm_on_real_images_and_retrieved_ones_are_named_so(runs, settings):
    primary = PrimaryComparison(
        arm="vanilla_fc_reinit", method="real", shots=4, reference="vanilla"
    )
    other = settings.model_copy(update={"primary": primary})
    sentence = verdict_sentence("digits", compare_runs(runs, other), other)
    assert sentence.startswith("At 4 shots on digits, cannot tell whether vanilla_fc_reinit helps")
    sentence = verdict_sentence("digits", compare_runs(runs, settings), settings, ["dsi"])
    assert sentence.startswith("With retrieved images (dsi) at 4 shots on digits, ")


@pytest.mark.parametrize(("gain", "is_said"), [(0.03, True), (0.0, False)])
def test_a_recipe_that_underfits_is_said(gain, is_said, tmp_path, settings):
    gains = {"vanilla": 0.0, "vanilla_equal_steps": gain, "bridged": 0.05}
    rows = compare_runs(write_arms(tmp_path, gains), settings)
    sentences = underfit_sentences(rows)
    assert bool(sentences) == is_said
    if is_said:
        (row,) = [row for row in rows if row.arm == "vanilla_equal_steps"]
        assert "the epochs may be too few (real_leg.num_epochs_few_shot): 1,200 " in sentences[0]
        assert f"instead of 300 give vanilla {interval_words(row.interval)} points" in sentences[0]
