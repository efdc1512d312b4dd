"""The stage in one process, on a tiny setting; several processes: tests/test_invariants.py."""

import shutil

import pytest
import torch
from diffusers import StableDiffusionPipeline
from scratch import Scratch, clone_working_tree
from transformers import CLIPModel

from synthbridge.core.files import hash_folder, read_json
from synthbridge.diffusion.loading import load_generator
from synthbridge.stages import upstream as stage
from synthbridge.training.classifier import load_backbone, read_normalisation
from synthbridge.upstream.generator import encode_images
from synthbridge.upstream.pool import read_pool, scale_pixels
from synthbridge.upstream.settings import UpstreamSettings
from upstream.hub_on_loopback import COMMIT, Repository, serve

SHORT = {"num_steps": 3, "batch_size": 8, "learning_rate": 2e-3}
SETTINGS = UpstreamSettings.model_validate(
    {
        "pool": {"num_images": 300, "images_per_shard": 200, "style_fraction": 0.7, "seed": 5},
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
    before = _times(work)
    monkeypatch.setenv("SYNTHBRIDGE_WORK", str(work))
    stage.upstream(SETTINGS, out=tmp_path / "third")
    assert _hashes(tmp_path / "third") == _hashes(out)
    assert _times(work) == before


def _times(work):
    """When each unit was made."""
    return {path.name: path.stat().st_mtime_ns for path in work.glob("upstream/*/*")}


@pytest.mark.parametrize("kind", ["shard", "vae", *MODELS])
def test_a_unit_that_is_gone_is_made_again_and_no_other(made, kind, tmp_path, monkeypatch):
    out, work = made
    copy = shutil.copytree(work, tmp_path / "work")
    before = _times(copy)
    (gone,) = (path for path in copy.glob("upstream/*/*") if _kind(path, out) == kind)
    shutil.rmtree(gone)
    monkeypatch.setenv("SYNTHBRIDGE_WORK", str(copy))
    stage.upstream(SETTINGS, out=tmp_path / "again")
    assert _hashes(tmp_path / "again") == _hashes(out)
    after = _times(copy)
    assert {name for name in after if after[name] != before.get(name)} == {gone.name}


def _kind(unit, out):
    """What a unit is: one of two shards, the VAE, or the model that is published."""
    if (unit / "00001.tar").exists():
        return "shard"
    published = {hash_folder(out / name): name for name in MODELS}
    of_pool = "shard 0" if (unit / "00000.tar").exists() else "vae"
    return published.get(hash_folder(unit), of_pool)


def test_what_is_null_is_absent_and_the_rest_is_made(made, tmp_path, monkeypatch):
    out, work = made
    monkeypatch.setenv("SYNTHBRIDGE_WORK", str(work))
    before = _times(work)
    nothing = {"pool": None, "clip": None, "generator": None}
    settings = UpstreamSettings.model_validate({**SETTINGS.model_dump(), **nothing})
    stage.upstream(settings, out=tmp_path / "out")
    for name in nothing:
        absent = tmp_path / "out" / name
        assert [path.name for path in absent.iterdir()] == ["absent.json"]
        assert read_json(absent / "absent.json") == {f"upstream.{name}": None}
    assert hash_folder(tmp_path / "out" / "backbone") == hash_folder(out / "backbone")
    assert _times(work) == before


def test_an_unknown_backbone_is_refused_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setenv("SYNTHBRIDGE_WORK", str(tmp_path / "work"))
    settings = SETTINGS.model_copy(
        update={"backbone": SETTINGS.backbone.model_copy(update={"model": "resnet_of_mine"})}
    )
    with pytest.raises(ValueError, match="'resnet_of_mine', which timm does not have"):
        stage.upstream(settings, out=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_hub_models_come_through_the_pipeline_and_a_colleague_asks_no_hub(made, tmp_path):
    """The miniature's own models, served by a hub, through `dvc repro`, `push` and `pull`."""
    served, _ = made
    scratch = clone_working_tree(tmp_path / "mine")
    scratch.change(
        {
            "upstream.pool": None,
            "retrieved.retrieved.pool": "data/raw/pool",  # not the upstream's, which is not there
            "upstream.clip": {"hub": "a/clip", "revision": COMMIT},
            "upstream.generator": {"hub": "a/generator", "revision": COMMIT},
            "upstream.backbone": {"hub": "resnet18.a1_in1k", "revision": COMMIT},
        }
    )
    with serve() as hub:
        hub.repositories["a/clip"] = Repository(served / "clip")
        hub.repositories["a/generator"] = Repository(served / "generator")
        hub.repositories["timm/resnet18.a1_in1k"] = Repository(served / "backbone")
        environment = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "home")}
        scratch.dvc("repro", "upstream", SYNTHBRIDGE_PROCESSES="2", **environment)
    out = scratch.folder / "data" / "upstream"
    for name in ("clip", "generator", "backbone"):
        assert hash_folder(out / name) == hash_folder(served / name)
    assert load_generator(out / "generator").image_size == 16
    assert load_backbone(out / "backbone", num_classes=10, seed=0).num_classes == 10
    assert read_normalisation(out / "backbone").mean == (0.5, 0.5, 0.5)
    assert read_json(out / "pool" / "absent.json") == {"upstream.pool": None}
    scratch.dvc("remote", "add", "-d", "team", str(tmp_path / "remote"))
    scratch.commit()
    scratch.dvc("push", "upstream")
    scratch.git("clone", "-q", str(scratch.folder), str(tmp_path / "theirs"))
    colleague = Scratch(tmp_path / "theirs")
    colleague.dvc("pull", "upstream")
    assert "Running stage" not in colleague.dvc("repro", "upstream")  # the hub is gone
    assert hash_folder(colleague.folder / "data" / "upstream") == hash_folder(out)


def test_a_refused_hub_model_stops_the_run_before_any_training(made, tmp_path, monkeypatch):
    """No hub answers here: nothing listens on port 9."""
    monkeypatch.setenv("SYNTHBRIDGE_WORK", str(tmp_path / "work"))
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    values = SETTINGS.model_dump()
    settings = UpstreamSettings.model_validate(
        {**values, "backbone": {"hub": "a/b", "revision": COMMIT}}
    )
    with pytest.raises(ValueError, match=r"upstream.backbone: http://127.0.0.1:9 did not give a/b"):
        stage.upstream(settings, out=tmp_path / "out")
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob("work/upstream/*"))
