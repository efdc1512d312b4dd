"""The stage in one process, on a tiny setting; several processes: tests/test_invariants.py."""

import pytest
import torch
from diffusers import StableDiffusionPipeline
from transformers import CLIPModel

from synthbridge.files import hash_folder
from synthbridge.stages import upstream as stage
from synthbridge.upstream.clip import scale_pixels
from synthbridge.upstream.generator import encode_images
from synthbridge.upstream.pool import read_pool
from synthbridge.upstream.settings import UpstreamSettings

SHORT = {"num_steps": 3, "batch_size": 8, "learning_rate": 2e-3}
SETTINGS = UpstreamSettings.model_validate(
    {
        "pool": {"num_images": 300, "images_per_shard": 200, "style_share": 0.7, "seed": 5},
        "clip": {**SHORT, "seed": 1},
        "generator": {"vae": SHORT, "unet": SHORT, "caption_dropout": 0.1, "seed": 4},
        "backbone": {
            **SHORT,
            "model": "test_resnet",
            "input_size": 24,
            "num_images": 52,
            "seed": 6,
        },
    }
)
MODELS = ("backbone", "clip", "generator")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder with the upstream, and the work folder that it was made in."""
    out, work = tmp_path_factory.mktemp("out"), tmp_path_factory.mktemp("work")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SYNTHBRIDGE_WORK", str(work))
        num_threads = torch.get_num_threads()
        stage.upstream(SETTINGS, out=out)
        torch.set_num_threads(num_threads)
    return out, work


def _hashes(out):
    return {name: hash_folder(out / name) for name in (*MODELS, "pool")}


def test_the_libraries_load_what_it_makes(made):
    out, _ = made
    assert len(read_pool(out / "pool").labels) == 300
    pipeline = StableDiffusionPipeline.from_pretrained(out / "generator", safety_checker=None)
    tower = CLIPModel.from_pretrained(out / "clip").text_model.state_dict()
    for name, weight in pipeline.text_encoder.state_dict().items():
        assert torch.equal(weight, tower[name.removeprefix("text_model.")]), name
    latents = encode_images(pipeline.vae, scale_pixels(read_pool(out / "pool").images))
    scaled = latents.scaled(pipeline.vae.config.scaling_factor)
    assert scaled.mean.std().item() == pytest.approx(1, abs=1e-3)


def test_it_repeats_itself_and_takes_what_is_there(made, tmp_path, monkeypatch):
    out, work = made
    torch.rand(7)  # the global generator stands elsewhere
    monkeypatch.setenv("SYNTHBRIDGE_WORK", str(tmp_path / "work"))
    stage.upstream(SETTINGS, out=tmp_path / "again")
    assert _hashes(tmp_path / "again") == _hashes(out)
    units = {path: path.stat().st_mtime_ns for path in work.glob("upstream/*/*")}
    assert len(units) == 6  # two shards, CLIP, the VAE, the generator, the backbone
    monkeypatch.setenv("SYNTHBRIDGE_WORK", str(work))
    stage.upstream(SETTINGS, out=tmp_path / "third")
    assert _hashes(tmp_path / "third") == _hashes(out)
    assert {path: path.stat().st_mtime_ns for path in work.glob("upstream/*/*")} == units


def test_an_unknown_backbone_is_refused_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setenv("SYNTHBRIDGE_WORK", str(tmp_path / "work"))
    settings = SETTINGS.model_copy(
        update={"backbone": SETTINGS.backbone.model_copy(update={"model": "resnet_of_mine"})}
    )
    with pytest.raises(ValueError, match="'resnet_of_mine', which timm does not have"):
        stage.upstream(settings, out=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
