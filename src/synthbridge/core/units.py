"""The work folder: finished units of work, kept outside DVC under a hash of what decides them.

DVC empties a stage's outs before it runs, so a killed stage would begin at nothing. A unit of
work (a shard, a style token, a training run) is therefore made in the work folder, renamed into
place when it is whole, and skipped by whoever needs it again: the same run after a kill, a run
with more images per class, another process or machine that shares the folder.
Deleting the folder costs time, never results.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def work_folder() -> Path:
    """Return SYNTHBRIDGE_WORK, or `work/` in the repository (also from `dvc exp run --temp`)."""
    if folder := os.environ.get("SYNTHBRIDGE_WORK"):
        return Path(folder).resolve()
    here = Path.cwd()
    parts = here.parts
    # DVC runs `--temp` and `--queue` experiments in REPOSITORY/.dvc/tmp/exps/...
    root = Path(*parts[: parts.index(".dvc")]) if ".dvc" in parts else here
    return root / "work"


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
