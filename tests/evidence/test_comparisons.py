import numpy as np
import pytest
from evidence.simulated import GAINS, REAL_GAINS, simulate_clip, simulate_runs

from synthbridge.evidence.comparisons import (
    compare_runs,
    images_words,
    interval_words,
    shots_words,
    verdict_sentence,
)
from synthbridge.evidence.results import read_runs
from synthbridge.evidence.statistics import Interval


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("final")
    simulate_runs(folder)
    return read_runs([folder], "digits")


def test_pairs_every_arm_with_vanilla_and_the_primary_one_with_its_control(runs, settings):
    comparisons = compare_runs(runs, settings)
    own = {("real", arm, "vanilla") for arm in REAL_GAINS if arm != "vanilla"}
    for method in ("dsi", "template"):
        own |= {(method, arm, "vanilla") for arm in GAINS}
        own.add((method, settings.primary_arm, "vanilla_equal_steps"))
    expected = [(*pair, shots) for pair in own for shots in (1, 4, "full")]
    found = [(row.method, row.arm, row.reference, row.shots) for row in comparisons]
    assert len(found) == len(expected) and set(found) == set(expected)


def test_arms_on_clip_are_compared_with_clip_alone_and_change_no_other(runs, settings, tmp_path):
    simulate_clip(tmp_path, runs[0].labels, shots=(1, "full"), seeds=(0, 1))
    both = [*runs, *read_runs([tmp_path], "digits")]
    comparisons = compare_runs(both, settings)
    on_clip = [row for row in comparisons if row.arm.startswith("clip_")]
    assert {(row.arm, row.reference) for row in on_clip} == {("clip_mixed", "clip_vanilla")}
    assert [row for row in comparisons if row not in on_clip] == compare_runs(runs, settings)


def test_a_difference_is_that_of_the_means(runs, settings):
    for row in compare_runs(runs, settings):
        means = [
            np.mean([run.top1 for run in runs if (run.method, run.arm, run.shots) == cell])
            for cell in ((row.method, row.arm, row.shots), ("real", row.reference, row.shots))
        ]
        assert row.interval.difference == pytest.approx(means[0] - means[1])
        assert row.arm_accuracy == pytest.approx(means[0])
        assert row.reference_accuracy == pytest.approx(means[1])
        assert row.interval.low <= row.interval.difference <= row.interval.high


def test_the_measure_may_be_mean_per_class(runs, settings):
    other = settings.model_copy(update={"measure": "mean_per_class"})
    row = compare_runs(runs, other)[0]
    assert row.interval.difference == pytest.approx(row.arm_accuracy - row.reference_accuracy)


def test_only_common_seeds_are_paired(runs, settings):
    kept = [run for run in runs if run.arm != "vanilla" or run.seed != 2]
    comparisons = compare_runs(kept, settings)
    seeds = {row.reference: row.interval.num_seeds for row in comparisons}
    assert seeds == {"vanilla": 2, "vanilla_equal_steps": 3}


def test_the_sentence_names_verdict_interval_and_control(runs, settings):
    comparisons = compare_runs(runs, settings)
    sentence = verdict_sentence("digits", "dsi", comparisons, settings)
    assert sentence.startswith("With dsi images on digits, bridged ")
    assert "over vanilla at equal gradient steps: " in sentence
    assert "(points over vanilla [95 % interval])." in sentence
    for row in comparisons:
        if (row.method, row.arm) == ("dsi", "bridged"):
            assert f"{interval_words(row.interval)} at {shots_words(row.shots)}" in sentence


def test_the_sentence_is_honest_about_what_is_missing(runs, settings):
    without_control = [run for run in runs if run.arm != "vanilla_equal_steps"]
    comparisons = compare_runs(without_control, settings)
    sentence = verdict_sentence("digits", "dsi", comparisons, settings)
    assert "vanilla at equal gradient steps was not run" in sentence

    without_vanilla = [run for run in runs if run.arm != "vanilla"]
    comparisons = compare_runs(without_vanilla, settings)
    sentence = verdict_sentence("digits", "dsi", comparisons, settings)
    assert "cannot tell, because bridged (the primary arm) and vanilla were not run" in sentence

    one_seed = [run for run in runs if run.seed == 0]
    sentence = verdict_sentence("digits", "dsi", compare_runs(one_seed, settings), settings)
    assert "cannot tell at this size whether bridged helps: " in sentence
    assert "from one seed" in sentence
    assert "bridged helps: +" not in sentence.replace("whether bridged helps", "")


def test_words():
    assert [shots_words(shots) for shots in (1, 4, "full")] == ["1 shot", "4 shots", "full data"]
    words = interval_words(Interval(-0.04, -1.26, 12.3, 3, 900))
    assert words == "+0.0 [\N{MINUS SIGN}1.3,\N{NO-BREAK SPACE}+12.3]"


def test_retrieved_images_are_called_so(runs, settings):
    assert images_words("dsi", ["retrieved"]) == "dsi images"
    assert images_words("retrieved", ["retrieved"]) == "retrieved images"
    assert images_words("pool", {"pool": ""}) == "retrieved images (pool)"
    comparisons = compare_runs(runs, settings)
    sentence = verdict_sentence("digits", "dsi", comparisons, settings, ["dsi"])
    assert sentence.startswith("With retrieved images (dsi) on digits, ")
