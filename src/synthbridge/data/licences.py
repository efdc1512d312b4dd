"""Licences: what a model's card on the hub says that one may do with it, kept beside its weights.

The file is not there where the hub says nothing, as of the miniature's own models.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from synthbridge.core.files import read_json, write_json

FILE = "licence.json"
# As the hub writes licences that allow no commercial use: cc-by-nc-4.0, sai-nc-community,
# flux-1-dev-non-commercial-license, stable-diffusion-xl-research.
NON_COMMERCIAL = re.compile(r"(^|[^a-z])nc([^a-z]|$)|non-?commercial|research", re.IGNORECASE)


@dataclass(frozen=True)
class Licence:
    """What the card of one repository says, in the hub's own words."""

    hub: str  # owner/name
    revision: str
    license: str | None  # an identifier ("openrail++"), or "other"
    license_name: str | None  # of others
    license_link: str | None

    @property
    def name(self) -> str:
        """What to call it."""
        return self.license_name or self.license or "unknown"

    @property
    def is_non_commercial(self) -> bool:
        """Whether its name says that it forbids commercial use."""
        return bool(NON_COMMERCIAL.search(self.name))

    def __str__(self) -> str:
        link = f" ({self.license_link})" if self.license_link else ""
        return f"{self.name}{link}"


def write_licences(folder: Path, licences: Sequence[Licence]) -> None:
    """Keep them in a model's folder; nothing where none is known."""
    if licences:
        write_json(folder / FILE, [asdict(licence) for licence in licences])


def read_licences(folder: Path) -> list[Licence]:
    """Read what a model's folder keeps; none where none is known."""
    path = folder / FILE
    return [Licence(**values) for values in read_json(path)] if path.is_file() else []


def licence_sentences(licences: Iterable[Licence]) -> list[str]:
    """Say licences, one each."""
    told = []
    for licence in licences:
        forbids = "; it forbids commercial use" if licence.is_non_commercial else ""
        told.append(f"licence of {licence.hub}: {licence}{forbids}")
    return told


def licence_record(generator: Path) -> dict[str, Any]:
    """Return what a block of images says of the licences of the generator that drew it."""
    known = [asdict(licence) for licence in read_licences(generator)]
    return {"licences": known} if known else {}


def read_set_licences(block: Path) -> list[Licence]:
    """Read what a block of a set says of the licences that its images were drawn under."""
    path = block / "index.json"
    known = read_json(path).get("licences", []) if path.is_file() else []
    return [Licence(**values) for values in known]
