import pytest
from families import FAMILIES

from synthbridge.diffusion.loading import load_generator
from synthbridge.diffusion.lora import start_lora
from synthbridge.forecast.generator_bytes import JPEG_PER_PIXEL, generator_bytes


@pytest.mark.parametrize("name", ["noise", "sdxl", "sd3", "flux", "flux2", "z-image"])
def test_a_rank_of_a_lora_takes_what_its_matrices_take(name, tmp_path):
    folder = FAMILIES[name].write(tmp_path / "model")
    lora = start_lora(load_generator(folder).denoiser, rank=3, seed=0)
    found = generator_bytes(folder)
    taken = sum(change.down.nbytes + change.up.nbytes for change in lora.values())
    assert found["lora_rank"] == taken / 3
    assert found["synthetic_image"] == JPEG_PER_PIXEL * 16**2
    weights = folder.rglob("*.safetensors")
    assert found["generator"] > sum(path.stat().st_size for path in weights)
