"""Retrieval's settings: what each way to search the miniature's pool gives stage one.

    python benchmarks/retrieval_settings.py      needs what `dvc repro` makes of the default

Sets of 60 images a class, retrieved by the stage itself with the default's other settings, and the
default's synthetic template set. On each a stage-one model trains with four seeds and reads the
real training and validation images, which it has not seen; never test images, which `retrieve`
reads for one thing alone: to leave out their near-duplicates. Mean and sample standard deviation
over the seeds:

    accuracy    of these models, in percent
    difference  of that accuracy to the template set's and to that of caption search with 500
                candidates, seed by seed. With four seeds its mean differs from 0 (Student's t,
                95 %) where it exceeds 1.6 times its standard deviation. The sets stay the same:
                what other draws of them would give is not in it

Besides, of each retrieved set, the images that the search embeds (without the test images), and the
fraction of a class's images that show another digit, in the worst class.
"""

import os
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import measure
import torch
from accelerate import Accelerator
from judging import DATA, REAL, Judge, differences, spread

from synthbridge.clip.settings import RetrievedSettings
from synthbridge.core.files import read_json
from synthbridge.data.real import read_dataset
from synthbridge.data.shards import Sample, index_shards
from synthbridge.params import Params, read_params
from synthbridge.stages.retrieve import RetrieveParams, retrieve
from synthbridge.training.team import Team

POOL, CLIP = DATA / "upstream/pool", DATA / "upstream/clip"
TEMPLATE = DATA / "sets/digits/template/b0"
PER_CLASS, SEEDS = 60, (0, 1, 2, 3)
REFERENCES = ("template", "caption_500")  # each set is compared with both


@dataclass(frozen=True)
class Search:
    """One way to search the pool."""

    what: str
    search: str
    candidates: int | None


SEARCHES = {
    "caption_500": Search("retrieved by caption, 500 candidates", "caption", 500),
    "caption_all": Search("retrieved by caption, all as candidates", "caption", None),
    "clip_500": Search("retrieved by clip, 500 candidates a text", "clip", 500),
}


def make_set(params: Params, search: Search, folder: Path) -> tuple[list[Sample], dict[str, Any]]:
    """Retrieve a set; return its images and what the search cost and mistook."""
    settings = RetrievedSettings.model_validate(
        {
            **params.retrieved["retrieved"].model_dump(),
            "search": search.search,
            "candidates": search.candidates,
            "images_per_class": PER_CLASS,
        }
    )
    retrieve(
        RetrieveParams("retrieved", settings, PER_CLASS, params.generate.classes_per_shard),
        real=REAL,
        pool=POOL,
        clip=CLIP,
        blocks=[folder / "b0"],
        record=folder / "record",
    )
    samples = index_shards(folder / "b0")
    pool = index_shards(POOL)
    shown = {f"{sample.shard.name}/{sample.key}": sample.label for sample in pool}
    record = read_json(folder / "record/record.json")
    return samples, {
        "images_embedded": count_embedded(record),
        "other_digits": worst_fraction(samples, shown),
    }


def count_embedded(record: dict[str, Any]) -> int:
    """Count the pool's images that a search embeds: those that captions find, or all for clip."""
    if record["search"] == "clip":
        return record["pool_holds"]["images"]
    # Each image once: for its best class, while the others count it as gone to a better one.
    return sum(of["found"] - of["in_a_better_class"] for of in record["classes"])


def worst_fraction(samples: Sequence[Sample], shown: dict[str, int]) -> float:
    """Return the fraction of images that show another class than their own, where it is largest.

    Args:
        samples: of a retrieved set.
        shown: the class that each image of the pool shows, by key.
    """
    sizes = Counter(sample.label for sample in samples)
    wrong = Counter(
        sample.label for sample in samples if shown[sample.record["pool_key"]] != sample.label
    )
    return max(wrong[label] / size for label, size in sizes.items())


def measure_sets(folder: Path) -> dict[str, dict[str, Any]]:
    """Make and judge every set: a row each."""
    params = read_params()
    sets = {"template": index_shards(TEMPLATE)}
    rows: dict[str, dict[str, Any]] = {"template": {"what": "synthetic, templates"}}
    for name, search in SEARCHES.items():
        sets[name], about = make_set(params, search, folder / name)
        rows[name] = {"what": search.what, **about}
    dataset = read_dataset(REAL)
    for name, samples in sets.items():
        assert len(samples) == PER_CLASS * len(dataset.class_names), f"{name}: {len(samples)}"
    judge = Judge(params, dataset, Team(Accelerator(cpu=not torch.cuda.is_available()), 0, 1))
    found = {
        name: [judge.accuracy(samples, seed) for seed in SEEDS] for name, samples in sets.items()
    }
    return {name: {**row, **compare(found, name)} for name, row in rows.items()}


def compare(accuracies: dict[str, list[float]], name: str) -> dict[str, Any]:
    """Return a set's figures, from the accuracies of all sets, a seed each."""
    own = accuracies[name]
    accuracy = spread(own)
    return {
        "ratio": accuracy["mean"] / spread(accuracies["template"])["mean"],
        "wanted": None,
        "accuracies": own,
        "accuracy": accuracy,
        "differences": {
            other: spread(differences(own, accuracies[other]))
            for other in REFERENCES
            if other != name
        },
    }


def print_table(rows: dict[str, dict[str, Any]]) -> None:
    """Print the figures as a Markdown table."""
    print("\n| set | accuracy (%) | to templates | to caption, 500 | embedded | other digits |")
    print("|---" * 6 + "|")
    for row in rows.values():
        figures = [row["accuracy"], *(row["differences"].get(other) for other in REFERENCES)]
        cells = [f"{of['mean']:.1f} ± {of['spread']:.1f}" if of else "" for of in figures]
        cells.append(f"{row['images_embedded']:,}" if "images_embedded" in row else "")
        cells.append(f"{row['other_digits']:.0%}" if "other_digits" in row else "")
        print(f"| {row['what']} | {' | '.join(cells)} |")


def main() -> None:
    """Measure, print a table and save."""
    measure.read_arguments(__doc__)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["SYNTHBRIDGE_WORK"] = str(folder / "work")
        rows = measure_sets(folder)
    measure.save_ratios("retrieval_settings", rows)
    print_table(rows)


if __name__ == "__main__":
    main()
