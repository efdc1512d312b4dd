"""SYNTHBRIDGE_SHARE=3/8: a run that makes only the third of eight shares of a stage's units."""

import os
import re
import sys
import zlib


class ShareMade(Exception):  # noqa: N818  (no error: the run ends well)
    """A run that makes a share of a stage's units has made it; others make the rest."""


def read_share() -> tuple[int, int]:
    """Return where this run's share of a stage's units begins, and how far apart its units are.

    (0, 1) is all of them. 3/8 begins at any of the first eight, as the stage's command decides:
    else the first shares would have more to do than the last, stage after stage.

    Raises:
        ValueError: if SYNTHBRIDGE_SHARE is none of 1/8, 2/8, ... 8/8.
    """
    text = os.environ.get("SYNTHBRIDGE_SHARE", "1/1")
    number, count = (int(part) for part in text.split("/")) if _is_share(text) else (0, 0)
    if not 1 <= number <= count:
        raise ValueError(
            f"SYNTHBRIDGE_SHARE is '{text}'; name one share of so many, counted from 1: 3/8"
        )
    return (number + zlib.crc32(repr(sys.argv[1:]).encode())) % count, count


def _is_share(text: str) -> bool:
    return re.fullmatch(r"[0-9]+/[0-9]+", text) is not None


def end_share() -> None:
    """End a run that makes a share of the units before it publishes what it has no whole of.

    Raises:
        ShareMade: if this run is one.
    """
    if "SYNTHBRIDGE_SHARE" in os.environ:
        raise ShareMade
