"""What a hub answers instead of a model, as sentences with the way out."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub import constants, errors

# Every release derives its HTTP error from the base error of the HTTP library that it uses: so
# this also holds refused connections, broken proxies and time-outs. RuntimeError is xet's.
FAILURES: tuple[type, ...] = (*errors.HfHubHTTPError.__bases__, OSError, RuntimeError)


@contextmanager
def hub_sentences(where: str, repository: str) -> Iterator[None]:
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
            f"{where}: {hub} has no model {repository}, or keeps it private; correct the name, "
            "or set HF_TOKEN to a token that may read it"
        ) from None
    except errors.EntryNotFoundError as error:
        if isinstance(error, errors.LocalEntryNotFoundError):
            raise ValueError(_unreachable(where, repository, error)) from None
        raise ValueError(
            f"{where}: {hub} lists a file of {repository} that it does not have "
            f"({_address(error)}); run it again later, or without HF_ENDPOINT's mirror: files "
            "that came whole are kept"
        ) from None
    except FAILURES as error:  # pyright: ignore[reportGeneralTypeIssues]
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise
        raise ValueError(_unreachable(where, repository, error)) from None


def _unreachable(where: str, repository: str, error: Exception) -> str:
    if constants.HF_HUB_OFFLINE:
        return (
            f"{where}: {repository} is not in the work folder, and HF_HUB_OFFLINE forbids to ask "
            "the hub; unset it, or take the model from your team's remote with 'dvc pull'"
        )
    return (
        f"{where}: {constants.ENDPOINT} did not give {repository} ({_first_line(error)}); check "
        "the network, HTTPS_PROXY and HF_ENDPOINT, and run it again: files that came whole are "
        "kept"
    )


def _address(error: Exception) -> str:
    """Return what was asked for: huggingface_hub says it in words only."""
    found = re.search(r"url: (\S+)", str(error))
    return found[1].rstrip(".") if found else _first_line(error)


def _first_line(error: Exception) -> str:
    """Return what an error says first, and what kind of error it is."""
    said = str(error).strip().split("\n")[0].split(" (Request ID")[0].rstrip(" .:")
    said = re.sub(r"\?\S+", "", said)  # a signed address is a secret
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
