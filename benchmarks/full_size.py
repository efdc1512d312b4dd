"""Full size: generators as they are released and the paper's classifiers at 224, random weights.

    python benchmarks/full_size.py                       SD 1.5, classifiers: 12 GB of disk, memory
    python benchmarks/full_size.py --family sdxl         7 GB of disk, 15 GB of memory
    python benchmarks/full_size.py --family sd-3.5-medium      17 GB of disk, 20 GB of memory

Models in their real layouts go through the stages invert, generate, bridge and finetune, each stage
in a process of its own, and everything that they leave is checked for numbers that are none. Then
the loops that those stages call are timed in turns with a matrix product: a line says what fraction
of the product's rate the loop reaches, its images a second and its peak of memory (a GPU's
allocator, else the process's resident set, the mapped files of weights included). On a GPU in
bfloat16; without one, a step of each in float32 on one thread, and seconds are the process's own:
what others do on the machine does not count.

Other families than Stable Diffusion 1.5 have their weights in bfloat16, and without a GPU they go
through the stages alone, in bfloat16 too: a line says what fraction of the product's rate a stage
reaches, loading included. `--size` draws smaller images with the same weights.
"""

import argparse
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import full_size_loops as loops
import full_size_stages as stages
import measure
import torch
from architectures import CLASSIFIERS, write_backbone, write_generator
from full_size_scale import CPU, GPU, Scale
from released import FAMILIES, at_size

GENERATOR_PARTS = ("invert", "generate")
PARTS = (*GENERATOR_PARTS, *CLASSIFIERS)
USUAL = "sd-1.5"
# Of a batch in a loop: what is denoised in a step, and learned from.
MAX_PIXELS = {"invert": 16 * 512**2, "generate": 64 * 512**2}
WANTED = {"invert": 0.4, "generate": 0.45}  # of a GPU's matrix rate


def run_alone(function: Callable[..., dict[str, Any] | None], *arguments: Any) -> dict[str, Any]:
    """Call `function` in a process of its own; add its seconds and its peak of memory in GB."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as process:
        return process.submit(_measure, function, arguments).result()


def _measure(function: Callable[..., dict[str, Any] | None], arguments: Any) -> dict[str, Any]:
    is_gpu = torch.cuda.is_available()
    if not is_gpu:
        torch.set_num_threads(1)  # as the stages do
    clock = time.perf_counter if is_gpu else time.process_time
    start = clock()
    found = function(*arguments) or {}
    seconds = clock() - start
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB; bytes on macOS
    resident *= 1 if sys.platform == "darwin" else 1024
    peak = torch.cuda.max_memory_allocated() if is_gpu else resident
    return {**found, "process_seconds": round(seconds, 1), "peak_gb": round(peak / 1e9, 2)}


def in_bfloat16(stage: Callable[..., None], *arguments: Any) -> None:
    """Run a stage with a generator in bfloat16, as on a GPU."""
    from synthbridge.diffusion import generator

    generator.fastest_dtype = lambda _: torch.bfloat16
    stage(*arguments)


def measure_part(
    part: str,
    loop: Callable[..., dict[str, Any] | None],
    folder: Path,
    scale: Scale,
    batch: int,
    name: str,
) -> dict[str, Any]:
    """Time a loop in a process of its own; return its row of the results."""
    found = run_alone(loop, folder, scale, batch, name)
    found["fraction"] = found["tera_operations_per_second"] / found["matrix_tera_per_second"]
    what = (
        f"of the matrix rate: {part}, batch {batch}, {found['dtype']}, "
        f"{found['images_per_second']:.3g} images/s, peak {found['peak_gb']:.1f} GB"
    )
    wanted = WANTED.get(part) if torch.cuda.is_available() else None
    return {"what": what, "ratio": found.pop("fraction"), "wanted": wanted, "batch": batch, **found}


def run_stage(
    stage: Callable[..., None], folder: Path, scale: Scale, name: str, *, is_bfloat16: bool = False
) -> dict[str, Any]:
    """Run a stage in a process of its own, and print and return its seconds and peak."""
    arguments = (stage, folder, scale, name)
    found = run_alone(in_bfloat16, *arguments) if is_bfloat16 else run_alone(*arguments)
    what = f"{stage.__name__.removeprefix('run_')} {name}"
    print(f"stage {what}: {found['process_seconds']} s, peak {found['peak_gb']} GB", flush=True)
    return found


def measure_stage(part: str, folder: Path, scale: Scale, name: str, size: int) -> dict[str, Any]:
    """Run the stage `part` of a large generator without a GPU; return its row of the results."""
    stage = {"invert": stages.run_invert, "generate": stages.run_generate}[part]
    ran = run_stage(stage, folder, scale, name, is_bfloat16=True)
    tera = loops.operations_of_stage(part, scale, name, size) / 1e12
    rate = run_alone(loops.measure_product, scale, "bfloat16")["matrix_tera_per_second"]
    what = (
        f"of the matrix rate: the stage {part}, one step, {name} at {size} pixels, bfloat16, "
        f"{tera:.1f} tera-operations in {ran['process_seconds']} s, peak {ran['peak_gb']} GB"
    )
    return {
        "what": what,
        "ratio": tera / ran["process_seconds"] / rate,
        "wanted": None,
        "image_size": size,
        "tera_operations": round(tera, 2),
        "matrix_tera_per_second": rate,
        **ran,
    }


def measure_generator(
    part: str, folder: Path, scale: Scale, name: str, size: int
) -> dict[str, dict[str, Any]]:
    """Run the stage `part` once, and time its loop at each batch: a row a batch."""
    if name != USUAL and not torch.cuda.is_available():
        return {part: measure_stage(part, folder, scale, name, size)}
    stage, loop = {
        "invert": (stages.run_invert, loops.time_inversion),
        "generate": (stages.run_generate, loops.time_generation),
    }[part]
    ran = run_stage(stage, folder, scale, name)
    return {
        f"{part} {batch}": {
            **measure_part(part, loop, folder, scale, batch, name),
            "stage": ran,
        }
        for batch in scale.batches[part]
        if batch * size**2 <= MAX_PIXELS[part]
    }


def measure_classifier(name: str, folder: Path, scale: Scale) -> dict[str, dict[str, Any]]:
    """Run the stages `bridge` and `finetune` once, and time their loop: one row."""
    if not (folder / name).is_dir():
        run_alone(write_backbone, name, folder / name)
    ran = {
        "bridge": run_stage(stages.run_bridge, folder, scale, name),
        "finetune": run_stage(stages.run_finetune, folder, scale, name),
    }
    row = measure_part(name, loops.time_training, folder, scale, scale.training_batch, name)
    return {name: {**row, "stage": ran}}


def measure_all(
    parts: Sequence[str], folder: Path, scale: Scale, name: str, size: int
) -> dict[str, dict[str, Any]]:
    """Measure `parts`, in the pipeline's order; `folder` keeps models and what stages made."""
    shutil.rmtree(folder / "work", ignore_errors=True)  # or the stages would find all done
    family = at_size(FAMILIES[name], size)
    if not (folder / "generator/model_index.json").is_file():  # written last
        dtype = torch.float32 if name == USUAL else torch.bfloat16
        run_alone(write_generator, folder / "generator", family, dtype)
    if not (folder / "real").is_dir():
        stages.write_real_images(folder, size)
    if not family.learns_words:
        run_alone(stages.run_invert, folder, scale, name)  # an index that says so
        parts = [part for part in parts if part != "invert"]
    rows = {}
    for part in parts:
        if part in CLASSIFIERS:
            rows |= measure_classifier(part, folder, scale)
        else:
            rows |= measure_generator(part, folder, scale, name, size)
    return rows


def main() -> None:
    """Build, run, measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: what is there")
    parser.add_argument("--family", choices=FAMILIES, default=USUAL, help=f"default: {USUAL}")
    parser.add_argument("--size", type=int, help="pixels a side (default: as it is released)")
    parser.add_argument("--folder", type=Path, help="keep models and data here, for another run")
    parser.add_argument(
        "--part", choices=PARTS, help="measure this part anew in --folder, keep the other figures"
    )
    args = parser.parse_args()
    assert args.folder or not args.part, "--part goes on in a --folder of a whole run"
    if args.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    assert args.device != "cuda" or torch.cuda.is_available(), "torch finds no GPU here"
    os.environ["ACCELERATE_MIXED_PRECISION"] = "bf16" if torch.cuda.is_available() else "no"
    name, size = args.family, args.size or FAMILIES[args.family].image_size
    results = "full_size" if name == USUAL else f"full_size_{name}"
    parts = PARTS if name == USUAL else GENERATOR_PARTS
    rows = measure.read_ratios(results) if args.part else {}
    with tempfile.TemporaryDirectory() as kept:
        folder = (args.folder or Path(kept)).resolve()
        os.environ["SYNTHBRIDGE_WORK"] = str(folder / "work")
        scale = GPU if torch.cuda.is_available() else CPU
        rows |= measure_all([args.part] if args.part else parts, folder, scale, name, size)
    measure.save_ratios(results, rows)


if __name__ == "__main__":
    main()
