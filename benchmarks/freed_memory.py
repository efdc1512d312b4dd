"""Freed memory: training in a process that keeps it, beside one that hands it back to the system.

    python benchmarks/freed_memory.py        on a CPU: run `dvc repro upstream` first

M1  training with glibc told to keep freed memory, as `python src` does / with glibc as it is: the
    same model, images, batch, steps; a process each, on one thread, in turns.
"""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import measure
import torch
from accelerate import Accelerator
from full_size_loops import random_images
from training import BACKBONE, SETTINGS

from synthbridge.running.memory import keep_freed_memory
from synthbridge.training.classifier import load_backbone
from synthbridge.training.loop import Leg, train
from synthbridge.training.recipe import make_recipe
from synthbridge.training.team import Team

STEPS, NUM_IMAGES, NUM_CLASSES = 60, 1280, 10


def start(keeps: bool) -> None:
    """Prepare a process of the arm."""
    torch.set_num_threads(1)
    assert not keeps or keep_freed_memory(), "there is no glibc to be told here"


def train_once() -> None:
    """Take `STEPS` steps from the backbone."""
    team = Team(Accelerator(cpu=True), rank=0, size=1)
    train(
        load_backbone(BACKBONE, num_classes=NUM_CLASSES, seed=0),
        random_images(NUM_IMAGES, SETTINGS.resize_size, NUM_CLASSES, team.device),
        make_recipe(SETTINGS, BACKBONE, flip=True),
        Leg(num_steps=STEPS, learning_rate=0.01, seed=0),
        team,
    )


def main() -> None:
    """Measure, print and save."""
    rounds = measure.read_arguments(__doc__).rounds
    spawn = multiprocessing.get_context("spawn")
    with (
        ProcessPoolExecutor(1, mp_context=spawn, initializer=start, initargs=(True,)) as kept,
        ProcessPoolExecutor(1, mp_context=spawn, initializer=start, initargs=(False,)) as returned,
    ):
        seconds = measure.take_turns(
            {
                "kept": lambda: kept.submit(train_once).result(),
                "returned": lambda: returned.submit(train_once).result(),
            },
            rounds=rounds,
        )
    row = {
        "what": "training with freed memory kept / handed back",
        "ratio": seconds["returned"] / seconds["kept"],
        "wanted": None,
        "steps_per_second": measure.per_second(STEPS, seconds),
    }
    measure.save_ratios("freed_memory", {"M1": row})


if __name__ == "__main__":
    main()
