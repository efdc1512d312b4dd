"""Command `export`: a set's images or the delivered model, in a layout that others read.

    python src export images dsi_4 --to FOLDER --form imagefolder   # or webdataset, datasets
    python src export model --to FOLDER

Images come with their card and, each, with how it was drawn or found. They are those that a run
trains on: what `examine` left out for its likeness to a test image is not among them.
"""

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from synthbridge.core.files import whole_folder
from synthbridge.core.log import say
from synthbridge.core.settings import Sections, read_yaml
from synthbridge.data.licences import read_set_licences
from synthbridge.data.real import read_dataset
from synthbridge.data.shards import Sample
from synthbridge.data.synthetic import block_folders, synthetic_samples
from synthbridge.delivery.image_sets import FORMS, ImageSetCard, write_image_set
from synthbridge.delivery.model import delivered_folder, only_dataset, read_model
from synthbridge.delivery.origins import set_origin
from synthbridge.pipeline import PIPELINE, count_blocks
from synthbridge.upstream.settings import UpstreamSettings

DATA = Path("data")  # where dvc.yaml has the stages leave everything
PROMPTS_SHOWN = 10


def export_images(name: str, *, form: str, seed: int, dataset: str, to: Path) -> None:
    """Write the images of a set.

    Args:
        name: of the set.
        form: one of FORMS.
        seed: of the run whose images they are; a set that sees no shots has the same for all.
        dataset: whose classes they are.
        to: the folder to make.

    Raises:
        ValueError: if there is no such set, its images are not here, or `to` holds something.
    """
    _refuse_full(to)
    sections = Sections()
    groups = {**sections.values["synthetic"], **sections.values["retrieved"]}
    if name not in sections.read(list[str], "sets"):
        raise ValueError(f"'{name}' is no set; choose from {', '.join(sections.values['sets'])}")
    samples, kept = _read_set(name, seed, dataset)
    card = ImageSetCard(
        name=name,
        dataset=dataset,
        origin=set_origin(
            name,
            groups[name],
            sections.read(UpstreamSettings, "upstream"),
            read_set_licences(DATA / "sets" / dataset / name / "b0"),
        ),
        prompts=_some_prompts(kept),
        seed=seed,
        num_left_out=len(samples) - len(kept),
    )
    class_names = read_dataset(DATA / "real" / dataset).class_names
    with whole_folder(to) as folder:
        write_image_set(folder, form, kept, class_names, card)
    say(f"{len(kept)} images of {name}: {to} (README.md says how to read them)")


def _read_set(name: str, seed: int, dataset: str) -> tuple[list[Sample], list[Sample]]:
    """List the images of a set, and those of them that train."""
    blocks = block_folders(DATA / "sets" / dataset / name, count_blocks(read_yaml(PIPELINE)))
    kept = DATA / "examined" / dataset / name / "kept.json"
    if not kept.is_file():
        raise ValueError(
            f"{kept} is not here; run 'dvc repro examine@{dataset}-{name}', or 'dvc pull'"
        )
    return synthetic_samples(blocks, seed), synthetic_samples(blocks, seed, kept)


def _some_prompts(samples: Sequence[Sample]) -> list[str]:
    """Return the first few different prompts, or queries of retrieved images."""
    texts: dict[str, Any] = {}
    for sample in samples:
        texts.setdefault(sample.record.get("prompt") or sample.record["query"])
    return list(texts)[:PROMPTS_SHOWN]


def export_model(dataset: str, *, to: Path) -> None:
    """Copy the delivered model.

    Raises:
        ValueError: if there is none, or `to` holds something.
    """
    _refuse_full(to)
    source = delivered_folder(dataset)
    read_model(source)
    shutil.copytree(source, to, dirs_exist_ok=True)
    say(f"the model of {dataset}: {to} (README.md says how to use it)")


def _refuse_full(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} is there already; name a folder that is new or empty")


def main(arguments: list[str]) -> None:
    """Take what to export and where to."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "python src export", description=__doc__, formatter_class=formatter
    )
    kinds = parser.add_subparsers(dest="what", required=True)
    images = kinds.add_parser("images", help="the images of a set")
    images.add_argument("set", help="one of `sets` in params.yaml")
    images.add_argument("--form", choices=list(FORMS), default="imagefolder")
    images.add_argument("--seed", type=int, default=0, help="of a set made from shots (default: 0)")
    for kind in (images, kinds.add_parser("model", help="the delivered model")):
        kind.add_argument("--to", type=Path, required=True, help="a new folder")
        kind.add_argument("--dataset", help="default: the only one in params.yaml")
    args = parser.parse_args(arguments)
    dataset = args.dataset or only_dataset()
    if args.what == "images":
        export_images(args.set, form=args.form, seed=args.seed, dataset=dataset, to=args.to)
    else:
        export_model(dataset, to=args.to)
