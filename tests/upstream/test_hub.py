"""Hub models over HTTP: huggingface_hub as it is, against a hub on loopback."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from house import ROOT
from synthbridge.core.files import hash_folder
from synthbridge.data.licences import Licence, read_licences
from synthbridge.upstream import layouts
from synthbridge.upstream.generator import (
    load_text_tower,
    make_scheduler,
    make_unet,
    make_vae,
    save_generator,
)
from synthbridge.upstream.hub import Wanted, fetch_models
from upstream.hub_on_loopback import COMMIT, Hub, Repository, serve

NAME = "someone/tiny-diffusion"
UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serve() as hub:
        yield hub


@pytest.fixture(scope="module")
def generator(clip_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served") / "generator"
    text_encoder, tokenizer = load_text_tower(clip_folder)
    save_generator(folder, make_vae(1), make_unet(64, 2), make_scheduler(), text_encoder, tokenizer)
    return folder


@pytest.fixture
def copy(generator: Path, tmp_path: Path) -> Path:
    """The generator, to be changed."""
    return shutil.copytree(generator, tmp_path / "served")


class Fetcher:
    """Starts processes that fetch, all with one work folder."""

    def __init__(self, hub: Hub, folder: Path):
        self.folder = folder
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("HF_")},
            "HF_ENDPOINT": hub.endpoint,
            "HF_HOME": str(folder / "home"),
            "PYTHONPATH": str(ROOT / "src"),
            "SYNTHBRIDGE_WORK": str(folder / "work"),
        }

    def start(self, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
        command = [sys.executable, str(Path(__file__).with_name("fetch.py")), *arguments]
        return subprocess.Popen(
            [*command, str(self.folder / "out")],
            env={**self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(
        self, part: str = "generator", name: str = NAME, revision: str = COMMIT, **environment: str
    ) -> Path:
        """Fetch a model and return where it lies."""
        process = self.start(part, name, revision, **environment)
        printed, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        return Path(printed.splitlines()[-1])

    def refused(
        self, part: str = "generator", name: str = NAME, revision: str = COMMIT, **environment: str
    ) -> str:
        """Fetch a model in vain: return the sentence; nothing may look finished."""
        process = self.start(part, name, revision, **environment)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 1 and "Traceback" not in errors, errors
        assert not self.finished()
        return errors.strip().splitlines()[-1]

    def finished(self) -> list[Path]:
        places = (self.folder / "work" / "hub").glob("??/*")
        return [place for place in places if not place.name.startswith(".")]


@pytest.fixture
def fetch(hub: Hub, tmp_path: Path) -> Fetcher:
    return Fetcher(hub, tmp_path)


def test_what_is_fetched_is_what_was_served(hub: Hub, fetch: Fetcher, copy: Path, generator: Path):
    for extra in (
        "README.md",
        "v1-5.ckpt",
        "unet/diffusion_pytorch_model.bin",
        "pipeline.py",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "safety_checker/model.safetensors",
    ):
        (copy / extra).parent.mkdir(exist_ok=True)
        (copy / extra).write_text("not for us")
    hub.repositories[NAME] = Repository(copy)
    folder = fetch()
    assert hash_folder(folder) == hash_folder(generator)
    assert not any(path.is_symlink() for path in folder.rglob("*"))
    assert [place.name for place in folder.parent.iterdir()] == [folder.name]
    asked = len(hub.asked)
    assert fetch(HF_HUB_OFFLINE="1") == folder  # asked once
    assert len(hub.asked) == asked


def test_a_cut_download_resumes_where_it_broke(hub: Hub, fetch: Fetcher, copy: Path):
    save_file({"weight": torch.arange(3_000_000.0)}, copy / UNET)  # 12 MB: pieces are of 10 MiB
    hub.repositories[NAME] = Repository(copy, cut_once={UNET: 11_000_000})
    assert hash_folder(fetch()) == hash_folder(copy)
    starts = [asked for asked in hub.asked if UNET in asked]
    assert starts == [f"{NAME} {UNET} 0", f"{NAME} {UNET} {10 * 2**20}"]


def test_a_killed_download_resumes(hub: Hub, fetch: Fetcher, generator: Path):
    hub.repositories[NAME] = Repository(generator, stalls={UNET})
    process = fetch.start("generator", NAME, COMMIT)
    assert hub.stalling.wait(60)
    text_encoder = "text_encoder/model.safetensors"
    downloads = fetch.folder / "work" / "hub"
    while not list(downloads.glob(f"??/.*/{text_encoder}")):
        assert process.poll() is None
    process.kill()
    process.wait()
    assert not fetch.finished()
    hub.repositories[NAME].stalls.clear()
    hub.asked.clear()
    folder = fetch()
    assert hash_folder(folder) == hash_folder(generator)
    assert any(UNET in asked for asked in hub.asked)
    assert not any("config.json" in asked or text_encoder in asked for asked in hub.asked)
    assert [place.name for place in folder.parent.iterdir()] == [folder.name]


def test_wrong_bytes_are_refused_and_not_kept(hub: Hub, fetch: Fetcher, generator: Path):
    right = (generator / UNET).read_bytes()
    wrong = right[:-1] + bytes([right[-1] ^ 1])
    hub.repositories[NAME] = Repository(generator, wrong={UNET: wrong})
    assert f"{UNET} did not come as the hub describes it (size or SHA-256)" in fetch.refused()
    assert f"{UNET} did not come" in fetch.refused()
    hub.repositories[NAME].wrong.clear()
    assert hash_folder(fetch()) == hash_folder(generator)


def test_a_wrong_configuration_is_refused(hub: Hub, fetch: Fetcher, generator: Path):
    text = (generator / "unet" / "config.json").read_bytes()
    hub.repositories[NAME] = Repository(
        generator, wrong={"unet/config.json": text.replace(b"32", b"64")}
    )
    assert "unet/config.json did not come as the hub describes it" in fetch.refused()


def test_a_file_that_is_missing_is_named(hub: Hub, fetch: Fetcher, generator: Path):
    hub.repositories[NAME] = Repository(generator, lost={UNET})
    sentence = fetch.refused()
    assert f"upstream.generator: {hub.endpoint} lists a file of {NAME} that it does not" in sentence
    assert f"/{UNET}); run it again later" in sentence
    hub.repositories[NAME].lost.clear()
    assert hash_folder(fetch()) == hash_folder(generator)


def test_a_gated_repository_wants_a_token(hub: Hub, fetch: Fetcher, generator: Path):
    hub.repositories[NAME] = Repository(generator, token="hf_right")
    sentence = fetch.refused()
    assert f"{NAME} is gated; accept its licence at {hub.endpoint}/{NAME}" in sentence
    assert "set HF_TOKEN" in sentence
    assert "HF_TOKEN is set, but may not read it" in fetch.refused(HF_TOKEN="hf_wrong")
    assert hash_folder(fetch(HF_TOKEN="hf_right")) == hash_folder(generator)


def test_an_unknown_repository_is_refused(hub: Hub, fetch: Fetcher):
    assert f"{hub.endpoint} has no {NAME}, or keeps it private; correct" in fetch.refused()


def test_offline_mode_is_kept(hub: Hub, fetch: Fetcher, generator: Path):
    hub.repositories[NAME] = Repository(generator)
    sentence = fetch.refused(HF_HUB_OFFLINE="1")
    assert f"{NAME} is not in the work folder, and HF_HUB_OFFLINE forbids to ask" in sentence
    assert "dvc pull" in sentence and not hub.asked


def test_no_network_is_a_sentence(fetch: Fetcher):
    sentence = fetch.refused(HF_ENDPOINT="http://127.0.0.1:9")
    assert f"http://127.0.0.1:9 did not give {NAME} (ConnectError" in sentence
    assert "HTTPS_PROXY and HF_ENDPOINT" in sentence


def test_a_proxy_is_used(hub: Hub, fetch: Fetcher):
    sentence = fetch.refused(
        HF_ENDPOINT="http://nowhere.invalid",
        HTTP_PROXY="http://127.0.0.1:9",
        http_proxy="http://127.0.0.1:9",
        no_proxy="",
        NO_PROXY="",
    )
    assert "http://nowhere.invalid did not give" in sentence and "refused" in sentence.lower()


@pytest.mark.parametrize(
    ("revision", "sentence"),
    [
        ("", "params.yaml: upstream.generator.revision is missing; run 'python src pin', which"),
        ("main", "upstream.generator.revision is 'main', which may move; run 'python src pin'"),
        ("f" * 40, f"upstream.generator.revision is {'f' * 40}, which {NAME} does not have (any"),
    ],
)
def test_a_model_without_a_commit_is_refused(
    revision: str, sentence: str, hub: Hub, fetch: Fetcher, generator: Path
):
    hub.repositories[NAME] = Repository(generator)
    assert sentence in fetch.refused(revision=revision)
    assert not hub.asked


def test_all_models_without_a_commit_are_in_one_sentence(tmp_path: Path):
    wanted = [
        Wanted(f"upstream.{part}", NAME, revision, layouts.CLIP)
        for part, revision in (("clip", None), ("generator", COMMIT), ("backbone", "main"))
    ]
    with pytest.raises(ValueError) as error:
        fetch_models(wanted, tmp_path)
    assert str(error.value).startswith(
        "params.yaml: upstream.clip.revision is missing, upstream.backbone.revision is 'main', "
        "which may move; run 'python src pin'"
    )


def test_the_cards_licence_is_kept_beside_the_weights(
    hub: Hub, fetch: Fetcher, generator: Path, copy: Path
):
    card = {"license": "other", "license_name": "sai-nc", "license_link": "https://a/LICENSE.md"}
    hub.repositories[NAME] = Repository(copy, card=card)
    folder = fetch()
    assert read_licences(folder) == [Licence(NAME, COMMIT, *card.values())]
    (folder / "licence.json").unlink()
    assert hash_folder(folder) == hash_folder(generator)


def test_a_half_precision_variant_is_not_enough(hub: Hub, fetch: Fetcher, copy: Path):
    (copy / UNET).rename(copy / UNET.replace(".safetensors", ".fp16.safetensors"))
    hub.repositories[NAME] = Repository(copy)
    sentence = fetch.refused()
    assert "(only unet/diffusion_pytorch_model.fp16.safetensors: a half-precision" in sentence
    assert "which is not enough to train on); choose a repository or a commit with" in sentence


def test_pickles_are_refused_before_they_are_asked_for(hub: Hub, fetch: Fetcher, copy: Path):
    (copy / UNET).rename((copy / UNET).with_suffix(".bin"))
    hub.repositories[NAME] = Repository(copy)
    sentence = fetch.refused()
    assert f"has no {UNET} (only unet/diffusion_pytorch_model.bin: pickles can run" in sentence
    assert "convert the model once" in sentence
    assert not any(".bin" in asked or ".safetensors" in asked for asked in hub.asked)


def test_a_pickle_by_another_name_is_refused(hub: Hub, fetch: Fetcher, copy: Path):
    (copy / UNET).write_bytes(b"\x80\x04\x95 not safetensors at all")
    hub.repositories[NAME] = Repository(copy)
    assert f"{UNET} is no safetensors file" in fetch.refused()


@pytest.mark.parametrize(
    ("config", "changes", "sentence"),
    [
        (
            "model_index.json",
            {"_class_name": "StableDiffusionUpscalePipeline"},
            "is a StableDiffusionUpscalePipeline, which diffusers has and we do not; choose a gen",
        ),
        (
            "model_index.json",
            {"_class_name": "StableDiffusionXLPipeline"},
            "is no whole StableDiffusionXLPipeline in diffusers' layout: it has no tokenizer_2",
        ),
        (
            "scheduler/scheduler_config.json",
            {"prediction_type": "sample"},
            "predicts sample, which is not supported; choose one that predicts the noise",
        ),
        (
            "unet/config.json",
            {"in_channels": 9},
            "draws from 9 channels and its VAE gives 4: it needs more than a prompt",
        ),
    ],
)
def test_other_generators_are_refused_by_name(
    config: str, changes: dict, sentence: str, hub: Hub, fetch: Fetcher, copy: Path
):
    values = json.loads((copy / config).read_text())
    (copy / config).write_text(json.dumps({**values, **changes}))
    hub.repositories[NAME] = Repository(copy)
    assert f"upstream.generator: {NAME} at 0123456 {sentence}" in fetch.refused()
    assert not any(".safetensors" in asked for asked in hub.asked)


def test_a_disk_that_will_not_hold_it_is_named(hub: Hub, fetch: Fetcher, generator: Path):
    hub.repositories[NAME] = Repository(generator, sizes={UNET: 10**17})
    sentence = fetch.refused()
    assert "in the work folder and the out, need about" in sentence
    assert not any(".safetensors" in asked for asked in hub.asked)


def test_a_mirror_without_checksums_is_refused(hub: Hub, fetch: Fetcher, generator: Path):
    hub.repositories[NAME] = Repository(generator, has_checksums=False)
    assert "names no checksum for" in fetch.refused()


def test_two_at_once_download_once(hub: Hub, fetch: Fetcher, generator: Path):
    hub.repositories[NAME] = Repository(generator)
    processes = [fetch.start("generator", NAME, COMMIT) for _ in range(2)]
    places = {process.communicate(timeout=60)[0].splitlines()[-1] for process in processes}
    assert len(places) == 1
    assert len([asked for asked in hub.asked if UNET in asked]) == 1


def test_clip_comes_too(hub: Hub, fetch: Fetcher, clip_folder: Path):
    hub.repositories["a/clip"] = Repository(clip_folder)
    assert hash_folder(fetch("clip", "a/clip")) == hash_folder(clip_folder)


def test_another_model_as_clip_is_refused(hub: Hub, fetch: Fetcher, tmp_path: Path):
    (tmp_path / "config.json").write_text('{"model_type": "siglip"}')
    hub.repositories["a/model"] = Repository(tmp_path)
    sentence = fetch.refused("clip", "a/model")
    assert "upstream.clip: a/model at 0123456 is a siglip; choose a CLIP" in sentence
