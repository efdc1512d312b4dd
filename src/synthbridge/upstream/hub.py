"""Hub models: a repository and a commit become a plain folder of configurations and safetensors.

We ask the hub for a model once. It then lies in the work folder, keyed by its name and commit
alone, and `upstream` copies it to its out, which `dvc push` shares with a team.
"""

import errno
import fcntl
import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha1
from pathlib import Path

from huggingface_hub import HfApi, ModelInfo, constants, errors, snapshot_download
from huggingface_hub.utils import disable_progress_bars
from safetensors import SafetensorError, safe_open

from synthbridge.core.files import existing_folder, hash_file, hash_value, require_space
from synthbridge.core.log import say
from synthbridge.core.settings import is_commit
from synthbridge.core.units import unit_path, work_folder
from synthbridge.data.licences import Licence, write_licences
from synthbridge.upstream.layouts import Layout

WEIGHT_FILE = re.compile(r"\.(bin|ckpt|h5|msgpack|onnx|pt|pth|safetensors)$")
VARIANT = re.compile(r"\.(fp16|bf16|fp8\w*)[.-]")  # of weights in less than their full precision

# Every release derives its HTTP error from the base error of the HTTP library that it uses: so
# this also holds refused connections, broken proxies and time-outs. RuntimeError is xet's.
FAILURES: tuple[type, ...] = (*errors.HfHubHTTPError.__bases__, OSError, RuntimeError)
TIMEOUT = 10  # seconds for the one question where a branch is


class UnreachableError(ValueError):
    """The hub does not answer, or must not be asked."""

    def __init__(self, where: str, repository: str, error: Exception):
        """Say it in a sentence, of which `reason` is what a caller needs for one of its own."""
        self.reason = f"{constants.ENDPOINT} did not give {repository} ({_first_line(error)})"
        way_out = (
            "check the network, HTTPS_PROXY and HF_ENDPOINT, and run it again: files that came "
            "whole are kept"
        )
        sentence = f"{where}: {self.reason}; {way_out}"
        if constants.HF_HUB_OFFLINE:
            self.reason = "HF_HUB_OFFLINE forbids to ask the hub"
            sentence = (
                f"{where}: {repository} is not in the work folder, and {self.reason}; unset it, or "
                "take the model from your team's remote with 'dvc pull'"
            )
        super().__init__(sentence)


@dataclass(frozen=True)
class Wanted:
    """A hub model that params.yaml names."""

    where: str  # the key there ("upstream.generator")
    repository: str  # owner/name
    revision: str | None  # should be a commit
    layout: Layout

    @property
    def path(self) -> Path:
        """Where it lies once it is whole; its key holds neither code nor torch's version."""
        return unit_path("hub", hash_value([self.repository, self.revision, list(self.layout.key)]))

    @property
    def downloads(self) -> Path:
        """Where files gather until all are there; a killed run leaves them to the next one."""
        return self.path.with_name(f".{self.path.name}.download")

    @property
    def name(self) -> str:
        """What sentences call it."""
        return f"{self.where}: {self.repository} at {(self.revision or '')[:7]}"


@dataclass(frozen=True)
class HubFile:
    """A file as the hub describes it."""

    name: str
    size: int  # bytes
    sha256: str | None  # of large files
    blob: str | None  # git's hash of small ones: SHA-1 over "blob SIZE\\0" and the bytes

    def is_whole(self, folder: Path) -> bool:
        """Say whether it lies in `folder` with the size and the hash that the hub names."""
        path = folder / self.name
        if not path.is_file() or path.is_symlink() or path.stat().st_size != self.size:
            return False
        if self.sha256:
            return hash_file(path) == self.sha256
        header = f"blob {self.size}\0".encode()
        return sha1(header + path.read_bytes(), usedforsecurity=False).hexdigest() == self.blob


def fetch_models(wanted: Sequence[Wanted], out: Path) -> None:
    """Download hub models to the work folder, after all of them have been checked.

    Args:
        wanted: the models; those that are there already are skipped.
        out: the folder that they will be copied to, which needs room too.

    Raises:
        ValueError: a sentence: no commit, no such model, gated, offline, pickles only, another
            kind, no room, wrong bytes.
    """
    refuse_unpinned(wanted)
    with _alone():
        wanted = [model for model in wanted if not model.path.is_dir()]
        listings = [_look_up(model) for model in wanted]
        _check_space(wanted, listings, out)
        for model, listing in zip(wanted, listings, strict=True):
            _fetch_weights(model, listing)


@contextmanager
def _alone() -> Iterator[None]:
    """Let one process of this machine download at a time; others then find what it brought."""
    if not sys.stderr.isatty():
        disable_progress_bars()  # in a log; the sizes are said before
    folder = work_folder() / "hub"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def find_commit(where: str, repository: str, revision: str | None, kind: str) -> str:
    """Ask the hub which commit a branch is at.

    Args:
        where: the key that names the repository ("upstream.generator").
        repository: owner/name.
        revision: a branch or a tag; None: the repository's own choice.
        kind: "model" or "dataset".

    Raises:
        ValueError: a sentence: no such repository or branch, gated.
        UnreachableError: the hub does not answer.
    """
    with _hub_sentences(where, repository if kind == "model" else f"datasets/{repository}"):
        try:
            found = HfApi().repo_info(
                repository, revision=revision, repo_type=kind, timeout=TIMEOUT
            )
        except errors.RevisionNotFoundError:
            raise ValueError(
                f"{where}.revision is '{revision}', which {repository} does not have; write null "
                "there to take what it has now"
            ) from None
    return str(found.sha)


def refuse_unpinned(wanted: Sequence[Wanted]) -> None:
    """Refuse models without a commit, all in one sentence."""
    faults = [
        f"{model.where}.revision is "
        + (f"'{model.revision}', which may move" if model.revision else "missing")
        for model in wanted
        if not is_commit(model.revision)
    ]
    if faults:
        raise ValueError(
            f"params.yaml: {', '.join(faults)}; run 'python src pin', which asks the hub once and "
            "writes the commits of today"
        )


def _look_up(model: Wanted) -> list[HubFile]:
    """List what we take of a model, and refuse it by its list and by its configurations."""
    with _hub_sentences(model.where, model.repository):
        try:
            info = HfApi().model_info(
                model.repository, revision=model.revision, files_metadata=True
            )
        except errors.RevisionNotFoundError:
            raise ValueError(
                f"params.yaml: {model.where}.revision is {model.revision}, which "
                f"{model.repository} does not have (any more); see what changed there, and to "
                "take what it has now write null and run 'python src pin'"
            ) from None
    files = [
        HubFile(file.rfilename, file.size or 0, file.lfs.sha256 if file.lfs else None, file.blob_id)
        for file in info.siblings or []
    ]
    configs = _described(model, files, model.layout.configs)
    model.downloads.mkdir(parents=True, exist_ok=True)
    _download(model, configs)
    weights = model.layout.check(model.downloads, model.name)
    _refuse_other_weights(model, weights, [file.name for file in files])
    write_licences(model.downloads, _licences(model, info))
    return configs + _described(model, files, weights)


def _described(model: Wanted, files: Sequence[HubFile], names: Sequence[str]) -> list[HubFile]:
    """Return those of `files` that are called so; the hub must say what their bytes are."""
    found = [file for file in files if file.name in names]
    for file in found:
        if not file.sha256 and not file.blob:
            raise ValueError(
                f"{model.name}: the hub names no checksum for {file.name}; unset HF_ENDPOINT if "
                "it is a mirror that leaves them out"
            )
    return found


def _licences(model: Wanted, info: ModelInfo) -> list[Licence]:
    """Return what the repository's card says of its licence; nothing if it says nothing."""
    card = info.card_data.to_dict() if info.card_data else {}
    tagged = [tag.removeprefix("license:") for tag in info.tags or [] if "license:" in tag]
    said = [_one_line(card.get(key)) for key in ("license", "license_name", "license_link")]
    said[0] = said[0] or next(iter(tagged), None)
    if not any(said):
        return []
    return [Licence(model.repository, str(model.revision), *said)]


def _one_line(value: object) -> str | None:
    """Return what a card says, several values (it may list licences) in one line."""
    values = value if isinstance(value, list) else [value]
    return ", ".join(" ".join(str(each).split()) for each in values if each) or None


def _refuse_other_weights(model: Wanted, wanted: Sequence[str], names: Sequence[str]) -> None:
    """Refuse a repository that lacks weights, and say what it has in their place."""
    for weights in wanted:
        if weights not in names:
            folder = weights.rpartition("/")[0]
            beside = [name for name in names if name.rpartition("/")[0] == folder]
            others = [name for name in beside if WEIGHT_FILE.search(name)]
            raise ValueError(
                f"{model.name} has no {weights}{_why_not(others)}; choose a repository or a commit "
                "with it, or convert the model once (load it where you trust it, save_pretrained) "
                "and name the repository that you upload it to"
            )


def _why_not(others: Sequence[str]) -> str:
    """Say what weights lie there instead, and why they do not do."""
    if not others:
        return ""
    tensors = [name for name in others if name.endswith(".safetensors")]
    reason = "pickles can run code when read"
    if tensors:
        halves = [name for name in tensors if VARIANT.search(name)]
        reason = "a half-precision variant, which is not enough to train on" if halves else ""
    listed = ", ".join((tensors or others)[:4])
    return f" (only {listed}{f': {reason}' if reason else ''})"


def read_shapes(model: Wanted, file: str) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor of one of a model's files, by its header alone.

    Raises:
        ValueError: a sentence: as `fetch_models`, before anything large is asked for.
    """
    if model.path.is_dir():
        with safe_open(model.path / file, framework="numpy") as weights:
            return {name: tuple(weights.get_slice(name).get_shape()) for name in weights.keys()}  # noqa: SIM118
    with _hub_sentences(model.where, model.repository):
        try:
            header = HfApi().parse_safetensors_file_metadata(
                model.repository, file, revision=model.revision
            )
        except (errors.EntryNotFoundError, errors.RevisionNotFoundError) as error:
            if isinstance(error, errors.LocalEntryNotFoundError):
                raise
            return {}  # fetch_models says what there is instead
        except errors.SafetensorsParsingError:
            raise ValueError(
                f"{model.name}: {file} is no safetensors file; choose another file"
            ) from None
    return {name: tuple(tensor.shape) for name, tensor in header.tensors.items()}


def _check_space(
    wanted: Sequence[Wanted], listings: Sequence[Sequence[HubFile]], out: Path
) -> None:
    """Refuse what the disk cannot hold: once in the work folder, and once more in `out`."""
    place, what = existing_folder(out), ", ".join(model.repository for model in wanted)
    total = sum(file.size for listing in listings for file in listing)
    missing = sum(
        file.size
        for model, listing in zip(wanted, listings, strict=True)
        for file in listing
        if not (model.downloads / file.name).is_file()
    )
    if work_folder().stat().st_dev == place.stat().st_dev:
        return require_space(missing + total, place, f"{what}, in the work folder and the out,")
    require_space(missing, work_folder(), f"{what}, in the work folder (SYNTHBRIDGE_WORK),")
    require_space(total, place, what)


def _fetch_weights(model: Wanted, listing: Sequence[HubFile]) -> None:
    """Complete a model's download, check all of it and rename it into place."""
    megabytes = sum(file.size for file in listing) / 1e6
    say(f"  {model.name}, {len(listing)} files, {megabytes:.1f} MB")
    _download(model, listing)
    for file in listing:
        if file.name.endswith(".safetensors"):
            _check_header(model, file)
    shutil.rmtree(model.downloads / ".cache", ignore_errors=True)  # huggingface_hub's own notes
    model.downloads.rename(model.path)


def _download(model: Wanted, files: Sequence[HubFile]) -> None:
    """Download `files` of a model that are not there whole, and compare them with their hashes."""
    for partial in model.downloads.glob(".cache/huggingface/download/**/*.incomplete"):
        partial.unlink()  # of a killed run: huggingface_hub 2 does not resume them
    names = [file.name for file in files]
    with _hub_sentences(model.where, model.repository):
        if names:
            snapshot_download(
                model.repository,
                revision=model.revision,
                allow_patterns=names,
                local_dir=model.downloads,
            )
    for file in files:
        if not file.is_whole(model.downloads):
            _forget(model, file)
            raise ValueError(
                f"{model.name}: {file.name} did not come as the hub describes it "
                "(size or SHA-256); it was deleted, run it again, and without HF_ENDPOINT's "
                "mirror if it stays so"
            )


def _forget(model: Wanted, file: HubFile) -> None:
    """Delete a file, and huggingface_hub's note that it is there."""
    (model.downloads / file.name).unlink(missing_ok=True)
    notes = model.downloads / ".cache" / "huggingface" / "download"
    (notes / f"{file.name}.metadata").unlink(missing_ok=True)


def _check_header(model: Wanted, file: HubFile) -> None:
    try:
        with safe_open(model.downloads / file.name, framework="numpy") as weights:
            weights.keys()
    except SafetensorError as error:
        shutil.rmtree(model.downloads)
        raise ValueError(
            f"{model.name}: {file.name} is no safetensors file ({error}); choose another repository"
        ) from None


@contextmanager
def _hub_sentences(where: str, repository: str) -> Iterator[None]:
    """Turn what huggingface_hub raises inside into a ValueError of one sentence.

    Args:
        where: the key in params.yaml ("upstream.generator").
        repository: owner/name.
    """
    hub = constants.ENDPOINT
    try:
        yield
    except errors.GatedRepoError:
        told = "HF_TOKEN is set, but may not read it" if os.environ.get("HF_TOKEN") else ""
        raise ValueError(
            f"{where}: {repository} is gated{f' ({told})' if told else ''}; accept its licence at "
            f"{hub}/{repository} and set HF_TOKEN to a token of that account"
        ) from None
    except errors.RepositoryNotFoundError:
        raise ValueError(
            f"{where}: {hub} has no {repository}, or keeps it private; correct the name, "
            "or set HF_TOKEN to a token that may read it"
        ) from None
    except errors.EntryNotFoundError as error:
        if isinstance(error, errors.LocalEntryNotFoundError):
            raise UnreachableError(where, repository, error) from None
        raise ValueError(
            f"{where}: {hub} lists a file of {repository} that it does not have "
            f"({_address(error)}); run it again later, or without HF_ENDPOINT's mirror: files "
            "that came whole are kept"
        ) from None
    except FAILURES as error:  # pyright: ignore[reportGeneralTypeIssues]
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise
        raise UnreachableError(where, repository, error) from None


def _address(error: Exception) -> str:
    """Return what was asked for: huggingface_hub says it in words only."""
    found = re.search(r"url: (\S+)", str(error))
    return found[1].rstrip(".") if found else _first_line(error)


def _first_line(error: Exception) -> str:
    """Return what an error says first, and what kind of error it is."""
    said = str(error).strip().split("\n")[0].split(" (Request ID")[0].rstrip(" .:")
    said = re.sub(r"\?\S+", "", said)  # a signed address is a secret
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
