"""Command `pin`: asks the hub where its models and data sets are today, and writes the commits.

    python src pin              # every missing revision of params.yaml and of hub.yaml files
    python src pin --dry-run    # asks and says what it would write

A model or data set of the hub is taken at one commit, so that a later run gets the same bytes.
Comments and everything else stay as they are. A revision that is a commit already stays too.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from synthbridge.core.files import write_text
from synthbridge.core.log import say
from synthbridge.core.settings import is_commit, one_message
from synthbridge.editing import with_value
from synthbridge.params import PARAMS, Params, read_params
from synthbridge.sources.hub_datasets import HUB_FILE, read_hub_file
from synthbridge.upstream.settings import HubBackbone, HubGenerator, HubModel

RAW = Path("data/raw")


@dataclass(frozen=True)
class Unpinned:
    """A repository of the hub that is named without a commit."""

    file: Path
    group: str  # the dotted key of its group in the file; "": the file itself
    repository: str  # owner/name
    revision: str | None  # a branch or a tag
    kind: str  # as huggingface_hub calls it: "model" or "dataset"

    @property
    def key(self) -> str:
        """The key that the commit is written to."""
        return f"{self.group}.revision" if self.group else "revision"

    def __str__(self) -> str:
        what = "data set" if self.kind == "dataset" else self.kind
        branch = f" at {self.revision}" if self.revision else ""
        return f"{self.file}: {self.key} for the {what} {self.repository}{branch}"


def pin(*, dry_run: bool = False) -> None:
    """Write the commit of every repository that has none, once all of them are known.

    Raises:
        ValueError: if one cannot be had; then no file changes.
    """
    missing = find_unpinned(read_params())
    if not missing:
        return say("nothing to pin: every model and data set of the hub has its commit")
    commits = _ask(missing)
    for unpinned, commit in zip(missing, commits, strict=True):
        say(f"{unpinned}: {commit}")
        if not dry_run:
            _write(unpinned, commit)
    if dry_run:
        return say("nothing is written: --dry-run")
    for file in dict.fromkeys(unpinned.file for unpinned in missing):
        if Path(f"{file.parent}.dvc").is_file():
            say(f"DVC keeps {file.parent}: run 'dvc add {file.parent}' and commit its .dvc file")


def pin_dataset(path: Path) -> None:
    """Write the commit of a hub.yaml that has none.

    Raises:
        ValueError: if it cannot be had.
    """
    if unpinned := find_unpinned_dataset(path):
        (commit,) = _ask([unpinned])
        say(f"the data set {unpinned.repository}: {commit}")
        _write(unpinned, commit)


def _write(unpinned: Unpinned, commit: str) -> None:
    text = unpinned.file.read_text(encoding="utf-8")
    write_text(unpinned.file, with_value(text, unpinned.key, commit))


def find_unpinned(params: Params) -> list[Unpinned]:
    """List what `params` takes from the hub without a commit."""
    return [*_models(params), *_datasets(params)]


def _models(params: Params) -> Iterator[Unpinned]:
    for name, model in params.upstream:
        if isinstance(model, HubModel | HubBackbone) and not is_commit(model.revision):
            repository = model.hub
            if "/" not in repository:
                from synthbridge.upstream.given_backbone import hub_repository  # timm takes seconds

                repository = hub_repository(repository)
            yield Unpinned(PARAMS, f"upstream.{name}", repository, model.revision, "model")
        weights = model.weights if isinstance(model, HubGenerator) else None
        if weights and not is_commit(weights.revision):
            group = f"upstream.{name}.weights"
            yield Unpinned(PARAMS, group, weights.hub, weights.revision, "model")


def _datasets(params: Params) -> Iterator[Unpinned]:
    for name in params.datasets:
        path = RAW / name / HUB_FILE
        if params.data[name].source != "huggingface" or not path.is_file():
            continue
        if unpinned := find_unpinned_dataset(path):
            yield unpinned


def find_unpinned_dataset(path: Path) -> Unpinned | None:
    """Return what a hub.yaml takes from the hub without a commit, if it does."""
    hub = read_hub_file(path)
    if is_commit(hub.revision) or (path.parent / hub.id).is_dir():
        return None
    return Unpinned(path, "", hub.id, hub.revision, "dataset")


def _ask(missing: Sequence[Unpinned]) -> list[str]:
    """Return the commit of each.

    Raises:
        ValueError: what is wrong with any of them, or what the hub would have been asked.
    """
    from synthbridge.upstream.hub import UnreachableError, find_commit

    commits, faults = [], []
    for unpinned in missing:
        where = unpinned.group or str(unpinned.file)
        try:
            commits.append(
                find_commit(where, unpinned.repository, unpinned.revision, unpinned.kind)
            )
        except UnreachableError as error:
            wanted = "".join(f"\n  {each}" for each in missing)
            raise ValueError(
                f"{error.reason}; run it where the hub can be reached, or write the commits (40 "
                f"hex digits) by hand. It would have asked for:{wanted}"
            ) from None
        except ValueError as error:
            faults.append(str(error))
    if faults:
        raise ValueError(one_message(faults))
    return commits


def main(arguments: list[str]) -> None:
    """Take whether to write."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "python src pin", description=__doc__, formatter_class=formatter
    )
    parser.add_argument("--dry-run", action="store_true", help="say what it would write")
    pin(dry_run=parser.parse_args(arguments).dry_run)
