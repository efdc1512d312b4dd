"""Stage `plan`: a set's volume becomes one small file a block, so that only new blocks are made."""

import argparse
from pathlib import Path

from synthbridge.data.real import read_dataset
from synthbridge.diffusion.settings import SyntheticSettings
from synthbridge.files import hash_file, read_json, write_json
from synthbridge.progress import StageLog
from synthbridge.stages.params import read_params


def plan(
    params: SyntheticSettings,
    *,
    images_per_block: int,
    real: Path,
    style: Path,
    blocks: list[Path],
) -> None:
    """Write to each file of `blocks` what its block holds; blocks above the volume hold nothing.

    Raises:
        ValueError: if the volume is above the blocks' capacity, or no whole number of blocks.
    """
    log = StageLog(f"plan: {params.images_per_class} images a class, {images_per_block} a block")
    check_volume(params.images_per_class, images_per_block, len(blocks))
    class_names = list(read_dataset(real).class_names)
    styles = read_json(style / "index.json")  # subset -> hash of its learned words, or null
    starts = {}  # Real Guidance: subset -> hash of the real images that its images start from
    if params.image_strength is not None:
        hashes = {subset: hash_file(style / f"{subset}.tar") for subset in styles}
        starts = {"image_strength": params.image_strength, "starts": hashes}
    for number, path in enumerate(blocks):
        start = number * images_per_block
        if start >= params.images_per_class:
            write_json(path, {"start": 0, "stop": 0})  # the same whatever else changes
            continue
        write_json(
            path,
            {
                "start": start,
                "stop": start + images_per_block,
                "class_names": class_names,
                "prompts": params.prompts,
                "guidance_scale": params.guidance_scale,
                "styles": styles,
                **starts,
            },
        )
    log.done(f"{len(blocks)} block plans", blocks[0].parent)


def check_volume(images_per_class: int, images_per_block: int, num_blocks: int) -> None:
    """Refuse a volume that the blocks cannot hold.

    Raises:
        ValueError: with the rule and the way out.
    """
    capacity = images_per_block * num_blocks
    if images_per_class > capacity:
        raise ValueError(
            f"images_per_class is {images_per_class}, but {num_blocks} blocks of "
            f"{images_per_block} hold {capacity}; raise generate.images_per_block, "
            "or add blocks to dvc.yaml"
        )
    if images_per_class % images_per_block:
        raise ValueError(
            f"images_per_class is {images_per_class}, which is no multiple of "
            f"generate.images_per_block ({images_per_block}); round it, so that a later change "
            "of volume keeps every image"
        )


def main(arguments: list[str] | None = None) -> None:
    """Take the set's name and the paths that dvc.yaml names."""
    parser = argparse.ArgumentParser(prog="plan", description=__doc__)
    parser.add_argument("--set", required=True, help="a group below `synthetic` in params.yaml")
    parser.add_argument("--real", type=Path, required=True)
    parser.add_argument("--style", type=Path, required=True)
    parser.add_argument("--blocks", type=Path, required=True, nargs="+")
    args = parser.parse_args(arguments)
    params = read_params()
    plan(
        params.synthetic[args.set],
        images_per_block=params.generate.images_per_block,
        real=args.real,
        style=args.style,
        blocks=args.blocks,
    )
