import pytest

from synthbridge.clip.settings import RetrievedSettings
from synthbridge.core.settings import check_settings

VALUES = {
    "search": "clip",
    "candidates": 500,
    "keep_fraction": 0.3,
    "cap": 10_000,
    "duplicates_above": 0.9,
    "images_per_class": 100,
}


def test_a_search_by_clip_needs_a_number_of_candidates():
    assert check_settings(RetrievedSettings, VALUES, "").candidates == 500
    by_caption = {**VALUES, "search": "caption", "candidates": None}
    assert check_settings(RetrievedSettings, by_caption, "").candidates is None
    with pytest.raises(ValueError, match="candidates is null, but every image of a pool resembles"):
        check_settings(RetrievedSettings, {**VALUES, "candidates": None}, "")


@pytest.mark.parametrize("name", ["keep_fraction", "duplicates_above"])
@pytest.mark.parametrize("value", [0, 1.01])
def test_fractions_and_cosines_lie_above_nought_and_up_to_one(name, value):
    with pytest.raises(ValueError, match=f"{name} is {value}"):
        check_settings(RetrievedSettings, {**VALUES, name: value}, "")


def test_a_retrieved_set_sees_no_labelled_image():
    assert check_settings(RetrievedSettings, VALUES, "").shots is None
