"""Readings beside the runs: probe's rows, style tokens' losses, what retrieved sets lack."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from synthbridge.data.licences import licence_sentences, read_set_licences
from synthbridge.evidence.results import WAY_OUT, list_files, read_whole_json

PROBE_COLUMNS = ["dataset", "set", "method", "model", "measure", "seed", "value"]
LOSS_COLUMNS = ["dataset", "set", "subset", "step", "loss", "fixed_noise_loss"]


def read_probes(paths: Iterable[Path], dataset: str) -> pd.DataFrame:
    """Read the rows of probe below `paths`, accuracies in percent.

    Returns:
        Columns PROBE_COLUMNS; set is None for the upstream model.

    Raises:
        ValueError: if a file is broken or of another data set, or a value is no number.
    """
    rows = []
    for path in list_files(paths, "*.json"):
        try:
            for row in read_whole_json(path):
                if row["dataset"] != dataset:
                    raise ValueError(
                        f"{path} probes {row['dataset']}, but this report is of {dataset}; give it "
                        f"the probe of {dataset} alone"
                    )
                value = row["value"]
                if not math.isfinite(value):
                    raise ValueError(
                        f"{path}: {row['measure']} of '{row['model']}' is {value}; {WAY_OUT}"
                    )
                scale = 100 if row["measure"].endswith("_accuracy") else 1
                rows.append([*(row[name] for name in PROBE_COLUMNS[:-1]), scale * value])
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path} is not a list of probe rows ({error!r}); {WAY_OUT}") from None
    table = pd.DataFrame(rows, columns=pd.Index(PROBE_COLUMNS))
    return table.astype({"set": object, "method": object})


def read_style_losses(folders: Mapping[str, Path], dataset: str) -> pd.DataFrame:
    """Read the loss curves <subset>.csv (step, loss) of every set.

    A file may also hold `fixed_noise_loss`, read at some steps only.

    Args:
        folders: of invert, by set.
        dataset: goes into every row.

    Returns:
        Columns LOSS_COLUMNS.

    Raises:
        ValueError: if a folder or a column is missing, or a loss is no number.
    """
    curves = []
    files = {name: list_files([folders[name]], "*.csv") for name in sorted(folders)}
    for name, path in ((name, path) for name, paths in files.items() for path in paths):
        try:
            curve = pd.read_csv(path)
            curve = curve.reindex(columns=[*curve.columns.union(["fixed_noise_loss"], sort=False)])
            steps, losses = curve["step"].to_numpy(int), curve["loss"].to_numpy(float)
        except (KeyError, ValueError) as error:
            raise ValueError(
                f"{path} needs numbers of step and loss ({error}); {WAY_OUT}"
            ) from None
        # Step 0 has no loss, only a reading at fixed noise.
        if not np.isfinite(losses[steps > 0]).all():
            raise ValueError(f"{path}: a loss is NaN; lower the style token's learning rate")
        curve = curve.assign(dataset=dataset, set=name, subset=path.stem)
        curves.append(curve[LOSS_COLUMNS])
    return pd.concat(curves, ignore_index=True) if curves else pd.DataFrame(columns=LOSS_COLUMNS)


def read_retrieved(blocks: Mapping[str, Path]) -> dict[str, str]:
    """Tell which sets are retrieved, and what they lack.

    Args:
        blocks: a block of each set; a retrieved set's index.json says what was found for each
            class.

    Returns:
        For each retrieved set a sentence on the classes that have no image or too few, or "".
    """
    lacks = {}
    for name, block in blocks.items():
        index = block / "index.json"
        about = read_whole_json(index).get("retrieved") if index.is_file() else None
        if about:
            taken, wanted = about["taken"], about["wanted"]
            empty = [word for word, count in taken.items() if not count]
            fewer = [f"{word} {count}" for word, count in taken.items() if 0 < count < wanted]
            parts = [f"no image was found for {', '.join(empty)}"] if empty else []
            parts += [f"fewer than {wanted} for {', '.join(fewer)}"] if fewer else []
            words = "; ".join(parts)
            lacks[name] = f"{words[0].upper()}{words[1:]}." if words else ""
    return lacks


def read_licences(blocks: Mapping[str, Path]) -> list[str]:
    """Say under which licences the images of sets were drawn, a sentence a repository.

    Args:
        blocks: a block of each set; its index.json keeps what the generator's card said.
    """
    known = [licence for block in blocks.values() for licence in read_set_licences(block)]
    return licence_sentences(dict.fromkeys(known))
