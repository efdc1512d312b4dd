"""How much of everything the full-size benchmark runs, on a GPU and without one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """Amounts, sizes and precision."""

    denoising_steps: int  # an image, with guidance
    inversion_steps: int
    images_per_class: int  # synthetic ones, of two classes
    classes_per_shard: int  # with the images per class it limits the batch that `generate` takes
    batches: Mapping[str, Sequence[int]]  # of each loop of a generator
    inversion_batch: int  # of the stage
    training_batch: int
    training_steps: int
    num_warm_ups: int
    num_rounds: int
    matrix_size: int  # rows and columns of the matrix product
    num_products: int  # in a row
    dtype: str  # of the generator in the timed loops, and of the product


CPU = Scale(
    denoising_steps=1,
    inversion_steps=1,
    images_per_class=1,
    classes_per_shard=1,
    batches={"invert": (1,), "generate": (1,)},
    inversion_batch=1,
    training_batch=2,
    training_steps=1,
    num_warm_ups=0,
    num_rounds=1,
    matrix_size=2048,
    num_products=5,
    dtype="float32",
)

GPU = Scale(
    denoising_steps=50,
    inversion_steps=200,
    images_per_class=32,
    classes_per_shard=2,
    batches={"invert": (1, 4, 16), "generate": (1, 8, 64)},
    inversion_batch=4,
    training_batch=64,
    training_steps=100,
    num_warm_ups=1,
    num_rounds=3,
    matrix_size=8192,
    num_products=50,
    dtype="bfloat16",
)
