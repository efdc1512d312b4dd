"""The work folder: finished units of work, kept outside DVC under a hash of what decides them.

DVC empties a stage's outs before it runs, so a killed stage would begin at nothing. A unit of
work (a shard, a style token, a training run) is therefore made in the work folder, renamed into
place when it is whole, and skipped by whoever needs it again: the same run after a kill, a run
with more images per class, another process or machine that shares the folder.
Deleting the folder costs time, never results.
"""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from synthbridge.files import hash_file, hash_value

SILENT_MODULES = (
    "settings",
    "progress",
    "params",
    "launch",
    "gpus",
    "rates",
    "costs",
    "training_counts",
)


def work_folder() -> Path:
    """Return SYNTHBRIDGE_WORK, or `work/` in the repository (also from `dvc exp run --temp`)."""
    if folder := os.environ.get("SYNTHBRIDGE_WORK"):
        return Path(folder).resolve()
    here = Path.cwd()
    parts = here.parts
    # DVC runs `--temp` and `--queue` experiments in REPOSITORY/.dvc/tmp/exps/...
    root = Path(*parts[: parts.index(".dvc")]) if ".dvc" in parts else here
    return root / "work"


def hash_code() -> str:
    """Hash the source of every loaded module of ours: the code that decides a unit's bytes.

    Modules that only check values or print are left out, as in dvc.yaml.
    """
    modules = sorted(
        (name, module.__file__)
        for name, module in sys.modules.items()
        if name.startswith("synthbridge.") and module.__file__
        if name.rpartition(".")[2] not in SILENT_MODULES
    )
    return hash_value([(name, hash_file(Path(file))) for name, file in modules])


def unit_key(**decides: Any) -> str:
    """Return the key of a unit of work: a hash of all that decides its bytes.

    Args:
        decides: settings, hashes of inputs and seeds, as values that JSON can hold. The code and
            the version of torch are added.
    """
    torch = sys.modules.get("torch")
    version = str(torch.__version__) if torch else None
    return hash_value({"decides": decides, "code": hash_code(), "torch": version})


def unit_path(stage: str, key: str) -> Path:
    """Return where the unit of `stage` with `key` lies once it is finished."""
    return work_folder() / stage / key[:2] / key


@contextmanager
def whole_unit(path: Path) -> Iterator[Path]:
    """Yield an empty folder, renamed to `path` when the block ends without an error.

    Of two processes that make the same unit, the first one to finish wins; the bytes are the same.
    """
    partial = path.with_name(f".{path.name}.{os.uname().nodename}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        try:
            partial.rename(path)
        except OSError:
            if not path.is_dir():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def copy_unit(path: Path, to: Callable[[Path], Path]) -> None:
    """Copy every file of a finished unit to `to(file)`; a link would let DVC's cache be changed."""
    for file in sorted(path.iterdir()):
        target = to(file)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
