import pytest
from evidence.made_runs import runs_at

from synthbridge.evidence.advice import (
    label_sentences,
    label_steps,
    settling_sentence,
    volume_sentence,
    volume_steps,
)
from synthbridge.evidence.comparisons import compare_runs

SET = {"prompts": "dsi", "shots": 4, "guidance_scale": 1.5, "images_per_class": 60}


def vanilla(accuracy, shots, **about):
    return runs_at(accuracy, shots=shots, num_train=2 * shots, **about)


def bridged(accuracy, name="dsi_4", **about):
    return runs_at(accuracy, arm="bridged", name=name, **about)


# --- labels ---------------------------------------------------------------------------------------


def test_a_step_counts_further_images_and_compares_three_ways(settings):
    runs = [*vanilla(0.6, 4), *vanilla(0.7, 9), *bridged(0.65)]
    [step] = label_steps(runs, settings)
    assert (step.shots, step.more, step.num_images) == (4, 9, 5)
    differences = [step.labels, step.drawn, step.instead]
    assert [round(found.difference, 6) for found in differences] == [10, 5, -5]


def test_neighbouring_numbers_are_steps_in_their_order(settings):
    runs = [*vanilla(0.7, 16), *vanilla(0.5, 1), *vanilla(0.6, 4)]
    steps = label_steps(runs, settings)
    assert [(step.shots, step.more) for step in steps] == [(1, 4), (4, 16)]
    assert all(step.drawn is None and step.instead is None for step in steps)


@pytest.mark.parametrize(
    ("more", "arm", "said"),
    [
        (0.9, 0.65, "So 5 further labels a class bring more than the images of the set."),
        (0.65, 0.9, "So the images of the set bring more than 5 further labels a class."),
        (0.8, 0.8, "These runs cannot tell which of the two brings more."),
    ],
)
def test_says_which_brings_more_only_where_the_interval_does(settings, more, arm, said):
    runs = [*vanilla(0.6, 4), *vanilla(more, 9), *bridged(arm)]
    sentences = label_sentences(label_steps(runs, settings), settings.primary)
    assert sentences[-1].endswith(said)
    each = 100 * (more - 0.6) / 5
    assert f"{each:+.2f} each on average" in sentences[0]


def test_without_an_interval_nothing_is_decided(settings):
    runs = [*vanilla(0.6, 4, num_seeds=2), *vanilla(0.9, 9, num_seeds=2)]
    runs += bridged(0.65, num_seeds=2)
    said = " ".join(label_sentences(label_steps(runs, settings), settings.primary))
    assert said.count("(no interval)") == 2 and "So " not in said


def test_says_that_nothing_was_trained_with_more_images(settings):
    runs = [*vanilla(0.5, 1), *vanilla(0.6, 4), *bridged(0.65)]
    first, *others = label_sentences(label_steps(runs, settings), settings.primary)
    assert first.startswith("Not measured beyond 4 shots: add a larger number to 'shots'")
    assert others[0].startswith("From 1 shot to 4 shots, 3 further labels a class bring vanilla")


def test_one_number_of_shots_says_nothing(settings):
    steps = label_steps([*vanilla(0.6, 4), *bridged(0.7)], settings)
    [sentence] = label_sentences(steps, settings.primary)
    assert sentence.startswith("Not measured: ")


def test_without_a_primary_comparison_labels_are_still_told(settings):
    bare = settings.model_copy(update={"primary": None})
    runs = [*vanilla(0.5, 1), *vanilla(0.6, 4), *bridged(0.65)]
    [sentence] = label_sentences(label_steps(runs, bare), None)
    assert sentence.startswith("From 1 shot to 4 shots")


# --- volume ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (0.8, "it still rises there, so draw more"),
        (0.6, "a gain of 1 or more is ruled out, so draw no more"),
        (0.605, "these runs cannot tell"),
    ],
)
def test_two_volumes_of_one_set_tell_whether_to_draw_more(settings, more, said):
    made_of = {"dsi_4": SET, "dsi_more_4": {**SET, "images_per_class": 120}}
    jitter = 0 if more == 0.6 else 2
    runs = [*bridged(0.6, jitter=jitter), *bridged(more, "dsi_more_4", jitter=jitter)]
    steps = volume_steps(runs, settings, made_of)
    assert [(step.fewer, step.more) for step in steps] == [(60, 120)]
    sentence = volume_sentence(steps, settings, "dsi_4", 60)
    assert sentence.startswith("From 60 to 120 images a class") and said in sentence


def test_sets_that_differ_in_more_than_their_volume_are_no_curve(settings):
    other = {**SET, "images_per_class": 120, "guidance_scale": 3.0}
    runs = [*bridged(0.6), *bridged(0.8, "dsi_more_4")]
    steps = volume_steps(runs, settings, {"dsi_4": SET, "dsi_more_4": other})
    assert steps == []
    sentence = volume_sentence(steps, settings, "dsi_4", 60)
    assert sentence.startswith("Not measured: dsi_4 was tried in one volume (60 images a class)")


# --- seeds ----------------------------------------------------------------------------------------


def _judged(settings, with_images, num_seeds=4, **about):
    runs = [*runs_at(0.6, num_seeds=num_seeds, **about)]
    runs += runs_at(0.6, arm="vanilla_equal_steps", num_seeds=num_seeds, **about)
    runs += bridged(with_images, num_seeds=num_seeds, **about)
    return settling_sentence(runs, compare_runs(runs, settings), settings)


def test_a_verdict_that_tells_needs_nothing(settings):
    assert _judged(settings, 0.8) is None


def test_says_about_how_many_seeds_would_tell(settings):
    runs = [*runs_at(0.6, jitter=0), *runs_at(0.6, arm="vanilla_equal_steps", jitter=0)]
    runs += bridged(0.62, jitter=16)
    sentence = settling_sentence(runs, compare_runs(runs, settings), settings)
    assert sentence and sentence.startswith("If both differences stay what they are, about ")
    assert "seeds give an answer ('helps')" in sentence


def test_says_that_test_images_are_too_few(settings):
    sentence = _judged(settings, 0.65, num_test=20)
    assert sentence and "20 test images leave too much open" in sentence


def test_says_that_a_control_is_missing(settings):
    runs = [*runs_at(0.6), *bridged(0.8)]
    sentence = settling_sentence(runs, compare_runs(runs, settings), settings)
    assert sentence and sentence.startswith("Run what the verdict lacks")
