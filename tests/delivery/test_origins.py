import pytest

from delivered_model import MINIATURE
from synthbridge.data.licences import Licence
from synthbridge.delivery.origins import backbone_origin, set_origin
from synthbridge.upstream.settings import UpstreamSettings

DRAWN = {"prompts": "dsi", "shots": 4, "guidance_scale": 3.5, "images_per_class": 60}
FOUND = {"search": "clip", "pool": None, "images_per_class": 60}
CONFIG = {"architecture": "resnet50", "pretrained_cfg": {"license": "apache-2.0"}}
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def _upstream(**changes):
    return UpstreamSettings.model_validate({**MINIATURE, **changes})


@pytest.mark.parametrize(
    ("hub", "told"),
    [
        ("stable-diffusion-v1-5/stable-diffusion-v1-5", "its licence: CreativeML Open RAIL-M."),
        ("owner/name", "its licence stands on its page."),
    ],
)
def test_a_hub_generator_is_linked_with_its_commit_and_licence(hub, told):
    origin = set_origin("dsi_4", DRAWN, _upstream(generator={"hub": hub, "revision": COMMIT}))
    assert "kind `dsi` at guidance scale 3.5, made from 4 real images a class" in origin
    assert f"[{hub}](https://huggingface.co/{hub}) (0123456789ab); {told}" in origin


def test_the_part_of_a_set_that_trains_is_told():
    generator = {"hub": "owner/name", "revision": COMMIT}
    hard = {**DRAWN, "images_per_class": 180, "cap": 60, "select": "entropy"}
    told = set_origin("hard_4", hard, _upstream(generator=generator))
    assert "a class; 60 of 180 drawn a class, of highest entropy, train. Generator" in told


def test_the_hubs_word_on_licences_is_told():
    turbo = Licence("a/turbo", COMMIT, "other", "sai-nc-community", "https://a/LICENSE.md")
    sd = {"hub": "CompVis/stable-diffusion-v1-4", "revision": COMMIT}
    weights = {"hub": "a/turbo", "revision": COMMIT, "file": "x.safetensors", "distilled": "lcm"}
    upstream = _upstream(generator={**sd, "weights": weights})
    told = set_origin("s", DRAWN, upstream, [Licence(sd["hub"], COMMIT, "mit", None, None), turbo])
    assert "stable-diffusion-v1-4) (0123456789ab); its licence: mit, with weights on top" in told
    assert told.endswith(
        "(0123456789ab); its licence: sai-nc-community (https://a/LICENSE.md), which forbids "
        "commercial use."
    )


def test_retrieved_images_belong_to_others_unless_the_pipeline_drew_them():
    pool = {"num_images": 10, "images_per_shard": 10, "style_fraction": 0.5, "seed": 0}
    assert "which the pipeline draws itself" in set_origin("r", FOUND, _upstream(pool=pool))
    given = set_origin("r", {**FOUND, "pool": "data/raw/photos"}, _upstream(pool=pool))
    assert "from data/raw/photos. They are real images and belong to their authors" in given


@pytest.mark.parametrize(
    ("backbone", "told"),
    [
        (MINIATURE["backbone"], "resnet50, trained by the pipeline on letters."),
        ({"hub": "resnet50.a1_in1k", "revision": COMMIT}, "its licence: apache-2.0."),
        ({"hub": "owner/name", "revision": COMMIT}, "https://huggingface.co/owner/name"),
    ],
)
def test_a_backbone_is_named(backbone, told):
    assert told in backbone_origin(_upstream(backbone=backbone), CONFIG)
