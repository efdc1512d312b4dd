"""A budget: the largest scale whose forecast fits the hours, on the card that was meant."""

import pytest
from ruamel.yaml import YAML

from house import ROOT
from synthbridge.commands.profile import with_scale
from synthbridge.forecast.budget import (
    SCALES,
    at_scale,
    card_speeds,
    find_card,
    fit_hours,
    scale_of,
)
from synthbridge.forecast.estimates import count_work, predict
from synthbridge.forecast.sizes import DatasetSize
from synthbridge.forecast.speeds import ON_THE_CARD, read_speeds

TEXT = (ROOT / "profiles" / "photos.yaml").read_text(encoding="utf-8")
PHOTOS = YAML(typ="safe").load(TEXT)
SIZES = {"photos": DatasetSize(10, 300, 20, 100)}


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("rtx4090", "rtx4090"),
        ("4090", "rtx4090"),
        ("RTX 3090", "rtx3090"),
        ("NVIDIA A100", "a100"),
        ("24GB", "rtx3090"),  # the slowest with so much
        ("24", "rtx3090"),
        ("16gb", "t4"),
        ("30GB", "rtx3090"),
        ("80GB", "h100"),
    ],
)
def test_a_card_by_name_or_memory(words, name):
    assert find_card(words)[0] == name


@pytest.mark.parametrize("words", ["8GB", "gtx9999", "4009", ""])
def test_an_unknown_card_is_refused(words):
    with pytest.raises(ValueError, match=r"--gpu is .*; choose from t4 \(16GB\), .*24GB"):
        find_card(words)


@pytest.mark.parametrize("hours", [0.5, 1, 4, 12])
@pytest.mark.parametrize("card", ["l4", "rtx4090", "h100"])
def test_the_scale_is_the_largest_that_fits(hours, card):
    speeds = card_speeds(card)

    def taken(scale):
        return predict(count_work(at_scale(PHOTOS, scale), SIZES), speeds).seconds / 3600

    fitting = [scale for scale in SCALES if taken(scale) <= hours]
    if not fitting:
        with pytest.raises(ValueError, match="give it more hours or a faster GPU"):
            fit_hours(PHOTOS, SIZES, speeds, hours)
        return
    scale, told = fit_hours(PHOTOS, SIZES, speeds, hours)
    assert scale == fitting[0] and told == pytest.approx(taken(scale)) and told <= hours


@pytest.mark.parametrize("scale", SCALES)
def test_a_scale_is_written_whole(scale):
    params = at_scale(PHOTOS, scale)
    assert scale_of(params) == scale
    assert params.generate.images_per_block == scale.images_per_class
    assert {s.images_per_class for s in params.synthetic.values()} == {scale.images_per_class}


def test_a_profile_keeps_its_comments_at_another_scale():
    scaled = with_scale(TEXT, SCALES[2])
    assert scale_of(at_scale(YAML(typ="safe").load(scaled), SCALES[2])) == SCALES[2]
    assert [line.partition("#")[2] for line in scaled.splitlines() if "#" in line] == [
        line.partition("#")[2] for line in TEXT.splitlines() if "#" in line
    ]


def test_scales_fall():
    works = [
        predict(count_work(at_scale(PHOTOS, scale), SIZES), card_speeds("l4")).seconds
        for scale in SCALES
    ]
    assert works == sorted(works, reverse=True) and len(set(works)) == len(works)


def test_what_a_card_computes_follows_its_data_sheet():
    speeds = read_speeds()
    h200, l4 = speeds["h200"], speeds["l4"]
    assert l4.basis == "predicted" and speeds["h200"].basis == "predicted"
    for model, seconds in h200.generators.items():
        for kind, value in seconds.items():
            factor = 989 / 121 if kind in ON_THE_CARD else 1
            assert l4.generators[model][kind] == pytest.approx(value * factor)
