"""Stage `plan`: a set's volume and prompts become one small file a block: only new ones are made.

A block's file holds `start` and `stop`, its range of image indices in every class, and unless it
is empty: `class_names`; `guidance_scale`; `styles`, each subset with its token's hash or null;
`prompts`, a list of candidate prompts for each class, of which `generate` draws one an image. A
learned style's placeholder stands in its prompts. Where class names were chosen by each seed's own
shots, `prompts_by_subset` holds such lists for each subset, in place of `prompts`.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from synthbridge.data.real import read_dataset
from synthbridge.data.synthetic import ALL, check_volume
from synthbridge.files import hash_file, read_json, write_json
from synthbridge.progress import StageLog
from synthbridge.prompts.senses import Choice
from synthbridge.stages.candidates import CandidateParams, CandidatePaths, CandidateWriter
from synthbridge.stages.params import read_params


def plan(
    params: CandidateParams,
    *,
    images_per_block: int,
    paths: CandidatePaths,
    names: Path,
    blocks: list[Path],
) -> None:
    """Write to each file of `blocks` what its block holds; blocks above the volume hold nothing.

    `names` gets the sense that was chosen for each ambiguous class name, with all scores.

    Raises:
        ValueError: if the volume is above the blocks' capacity or no whole number of blocks, if
            a prompt file is wrong, or a prompt longer than the generator reads.
    """
    volume, size = params.synthetic.images_per_class, images_per_block
    log = StageLog(f"plan: {volume} images a class, {size} a block")
    check_volume(volume, size, len(blocks))
    real = read_dataset(paths.real)
    styles = read_json(paths.style / "index.json")  # subset -> token's hash, or null
    writer = CandidateWriter(params, real, paths)
    choices = writer.choose_names(list(styles))
    prompts = {subset: writer.write(chosen) for subset, chosen in choices.items()}
    writer.check_lengths(prompts.values())
    shared = {"prompts": prompts[ALL]} if list(prompts) == [ALL] else {"prompts_by_subset": prompts}
    starts = {}  # Real Guidance: subset -> hash of the real images that its images start from
    if params.synthetic.image_strength is not None:
        hashes = {subset: hash_file(paths.style / f"{subset}.tar") for subset in styles}
        starts = {"image_strength": params.synthetic.image_strength, "starts": hashes}
    for number, path in enumerate(blocks):
        start = number * size
        if start >= volume:
            write_json(path, {"start": 0, "stop": 0})  # the same whatever else changes
            continue
        write_json(
            path,
            {
                "start": start,
                "stop": start + size,
                "class_names": list(real.class_names),
                "guidance_scale": params.synthetic.guidance_scale,
                "styles": styles,
                **shared,
                **starts,
            },
        )
    write_json(names, _record(choices, real.class_names))
    log.done(f"{len(blocks)} block plans", blocks[0].parent)


def _record(
    choices: Mapping[str, Mapping[int, Choice]], class_names: Sequence[str]
) -> dict[str, dict[str, Any]]:
    return {
        subset: {class_names[label]: asdict(choice) for label, choice in chosen.items()}
        for subset, chosen in choices.items()
        if chosen
    }


def main(arguments: list[str] | None = None) -> None:
    """Take the names and the paths that dvc.yaml names."""
    parser = argparse.ArgumentParser(prog="plan", description=__doc__)
    parser.add_argument("--dataset", required=True, help="a group below `data` in params.yaml")
    parser.add_argument("--set", required=True, help="a group below `synthetic` in params.yaml")
    for name in ("--real", "--style", "--clip", "--generator", "--prompts", "--names"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--blocks", type=Path, required=True, nargs="+")
    args = parser.parse_args(arguments)
    params = read_params()
    plan(
        CandidateParams(
            dataset=args.dataset,
            source=params.data[args.dataset].source,
            synthetic=params.synthetic[args.set],
            placeholder=params.invert.placeholder,
        ),
        images_per_block=params.generate.images_per_block,
        paths=CandidatePaths(args.real, args.style, args.clip, args.generator, args.prompts),
        names=args.names,
        blocks=args.blocks,
    )
