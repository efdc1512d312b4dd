"""How much the generation benchmark draws, and how: on the miniature, at full size, as a trial."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from released import Family
from scales import Product

from synthbridge.diffusion.generator import Generator

NOTHING_WANTED: dict[str, float | None] = dict.fromkeys(
    ("G1", "G1c", "G1b", "G2", "G3", "G4", "G5", "G6")
)


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much is drawn and how, how often it is timed, and what is wanted."""

    num_images: int
    num_compared: int  # of them, with the pipeline's
    batch: int
    batch_of_the_script: int
    num_steps: int  # of DPM-Solver++, all guided
    fast_steps: int  # of DPM-Solver++, the first 60 % guided
    full_steps: int  # of DDPM, all guided
    guidance: float
    product: Product
    num_warm_ups: int
    num_rounds: int
    wanted: Mapping[str, float | None]

    def setting(self, name: str, generator: Generator) -> dict[str, Any]:
        """Return how the arm `name` samples with a generator."""
        sampler = "euler" if generator.prediction == "flow" else "dpm++"
        guidance = 1.0 if generator.guidance == "none" else self.guidance
        plain = {"sampler": sampler, "num_steps": self.num_steps, "guidance_scale": guidance}
        fast = {"num_steps": self.fast_steps, "guided_fraction": 0.6}
        full = {"sampler": "ddpm", "num_steps": self.full_steps}
        few = {"num_steps": 1, "guidance_scale": 1.0}
        return {**plain, **{"ours": {}, "fast": fast, "full": full, "few": few}[name]}


MINIATURE = Scale(
    num_images=200,
    num_compared=20,
    batch=100,
    batch_of_the_script=10,
    num_steps=15,
    fast_steps=20,
    full_steps=50,
    guidance=1.5,
    product=Product(1024, 50),
    num_warm_ups=1,
    num_rounds=5,
    wanted={**NOTHING_WANTED, "G1": 1.05, "G3": 1.5, "G4": 0.95, "G5": 2.5},
)
FULL = Scale(
    num_images=64,
    num_compared=2,
    batch=32,
    batch_of_the_script=10,
    num_steps=20,
    fast_steps=20,
    full_steps=50,
    guidance=3.5,
    product=Product(8192, 50),
    num_warm_ups=1,
    num_rounds=3,
    wanted={
        **NOTHING_WANTED,
        "G1": 1.3,
        "G1c": 1.5,
        "G2": 0.45,
        "G3": 2.0,
        "G4": 0.97,
        "G5": 2.9,
    },
)
TRIAL = Scale(
    num_images=1,
    num_compared=1,
    batch=1,
    batch_of_the_script=1,
    num_steps=1,
    fast_steps=1,
    full_steps=1,
    guidance=3.5,
    product=Product(2048, 1),
    num_warm_ups=0,
    num_rounds=1,
    wanted=NOTHING_WANTED,
)


def of_family(scale: Scale, family: Family) -> Scale:
    """Return the scale for a family other than the usual one: nothing is wanted of it yet."""
    at_once = max(1, 32 * 512**2 // family.image_size**2)  # what `generate` denoises at once
    most = scale.num_steps if family.rows_per_step == 2 else family.num_steps
    return replace(
        scale,
        num_images=min(scale.num_images, 2 * at_once, 40),
        num_compared=min(scale.num_compared, 2),
        batch=min(scale.batch, at_once, 20),
        num_steps=min(scale.num_steps, most),
        wanted=NOTHING_WANTED,
    )
