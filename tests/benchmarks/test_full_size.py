from dataclasses import replace

import full_size
import full_size_stages as stages
import numpy as np
import pytest
import torch
from architectures import write_backbone
from full_size_scale import CPU
from PIL import Image
from released import FAMILIES
from safetensors.torch import save_file
from small_families import SMALL

from synthbridge.data.real import read_dataset
from synthbridge.diffusion import generator as generators

TINY = replace(CPU, matrix_size=64, num_products=1)


def test_the_small_data_set_has_an_image_a_class_in_every_split(tmp_path):
    stages.write_real_images(tmp_path, 64)
    dataset = read_dataset(tmp_path / "real")
    assert dataset.class_names == stages.CLASS_NAMES
    for split in ("train", "validation", "test"):
        assert [sample.label for sample in dataset.samples(split)] == [0, 1]
    assert len(dataset.train_samples(1, 0)) == 2


def _write(folder, value):
    """Write `value` into a file of every kind that stages leave."""
    folder.mkdir()
    save_file({"weight": torch.tensor([1.0, value])}, folder / "a.safetensors")
    np.savez(folder / "b.npz", probabilities=np.array([1.0, value]))
    (folder / "c.csv").write_text(f"step,loss\n0,\n1,{value}\n")
    (folder / "d.json").write_text(f'{{"curve": [{str(value).replace("nan", "NaN")}]}}')
    pixels = np.zeros((4, 4, 3), np.uint8) if np.isnan(value) else np.arange(48).reshape(4, 4, 3)
    Image.fromarray(pixels.astype(np.uint8)).save(folder / "e.png")


def test_finite_numbers_pass(tmp_path):
    _write(tmp_path / "good", 2.0)
    stages.check_finite(tmp_path / "good")


@pytest.mark.parametrize("name", ["a.safetensors", "b.npz", "c.csv", "d.json", "e.png"])
def test_what_is_no_number_is_found_in_every_kind_of_file(tmp_path, name):
    _write(tmp_path / "bad", float("nan"))
    for path in (tmp_path / "bad").iterdir():
        if path.name != name:
            path.unlink()
    with pytest.raises(ValueError, match=name):
        stages.check_finite(tmp_path / "bad")


def test_every_stage_takes_what_the_benchmark_hands_it(world, tmp_path, monkeypatch):
    """With tiny models of Stable Diffusion's kind, and the real ResNet-18 at batch 2."""
    monkeypatch.setenv("SYNTHBRIDGE_WORK", str(tmp_path / "work"))
    for name, path in (("generator", world.generator), ("real", world.real)):
        (tmp_path / name).symlink_to(path)
    write_backbone("resnet18", tmp_path / "resnet18")
    stages.run_invert(tmp_path, CPU, "sd-1.5")
    stages.run_generate(tmp_path, CPU, "sd-1.5")
    stages.run_bridge(tmp_path, CPU, "resnet18")
    stages.run_finetune(tmp_path, CPU, "resnet18")
    assert len(list((tmp_path / "models/resnet18").rglob("*.safetensors"))) == 1


@pytest.mark.parametrize("name", SMALL)
def test_a_large_family_goes_through_its_stages_in_bfloat16(name, tmp_path, monkeypatch):
    """As `full_size.py --family` runs it, with the small one in the place of the released one."""
    monkeypatch.setenv("SYNTHBRIDGE_WORK", str(tmp_path / "work"))
    monkeypatch.setitem(FAMILIES, name, SMALL[name]())
    monkeypatch.setattr(full_size, "run_alone", run_here)
    rows = full_size.measure_all(full_size.GENERATOR_PARTS, tmp_path, TINY, name, 64)
    learns = FAMILIES[name].learns_words
    assert list(rows) == (["invert", "generate"] if learns else ["generate"])
    assert all(row["ratio"] > 0 for row in rows.values())
    assert (tmp_path / "styles/all.safetensors").is_file() is False
    assert len(list((tmp_path / "styles").glob("s0*.safetensors"))) == (2 if learns else 0)
    assert len(list((tmp_path / "block").rglob("*.tar"))) == 2  # a class a shard


def run_here(function, *arguments):
    """Do as `run_alone` in this process, and let the next stage compute as it likes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generators, "fastest_dtype", generators.fastest_dtype)
        return full_size._measure(function, arguments)
