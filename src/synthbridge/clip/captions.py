"""Captions: a pool's images in one SQLite file, found by the words of their captions (FTS5)."""

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path

from synthbridge.clip.pool import PoolImage

# The texts stand once, in `images`; the full-text index points to them. A word is what unicode61
# takes for one: a run of letters and digits, whatever its case and accents.
TABLES = """
CREATE TABLE images (
    row INTEGER PRIMARY KEY, key TEXT UNIQUE, caption TEXT, file TEXT, offset INTEGER, size INTEGER
);
CREATE VIRTUAL TABLE captions USING fts5 (
    caption, content = 'images', content_rowid = 'row', tokenize = 'unicode61'
);
"""


def write_catalogue(path: Path, images: Iterable[PoolImage]) -> None:
    """Write the catalogue of a pool; its rows count from 0 in the order of `images`."""
    with closing(sqlite3.connect(path)) as database, database:
        database.executescript(TABLES)
        database.executemany(
            "INSERT INTO images VALUES (?, ?, ?, ?, ?, ?)",
            ((row, *image) for row, image in enumerate(images)),
        )
        database.execute("INSERT INTO captions (captions) VALUES ('rebuild')")


class Catalogue:
    """A pool's images by row, and the rows by words."""

    def __init__(self, path: Path):
        """Open a file that `write_catalogue` wrote."""
        self.database = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)

    def __len__(self) -> int:
        """Count the images."""
        return self.database.execute("SELECT count(*) FROM images").fetchone()[0]

    def num_captions(self) -> int:
        """Count the images that have a caption."""
        (number,) = self.database.execute(
            "SELECT count(*) FROM images WHERE caption != ''"
        ).fetchone()
        return number

    def image(self, row: int) -> PoolImage:
        """Return one image."""
        found = self.database.execute("SELECT * FROM images WHERE row = ?", (row,)).fetchone()
        return PoolImage(*found[1:])

    def find(self, phrases: Sequence[str], limit: int | None) -> dict[int, str]:
        """Find the images whose caption holds one of `phrases`: its words, side by side.

        Args:
            phrases: what to look for; each is a phrase, with no syntax of its own.
            limit: images that one phrase may find, those first in which it weighs most (BM25: rare
                words in short captions); None for all.

        Returns:
            The phrase that found it, by row; the first of several.
        """
        found: dict[int, str] = {}
        for phrase in phrases:
            quoted = '"{}"'.format(phrase.replace('"', '""'))
            rows = self.database.execute(
                "SELECT rowid FROM captions WHERE captions MATCH ? ORDER BY rank, rowid LIMIT ?",
                (quoted, -1 if limit is None else limit),
            )
            for (row,) in rows:
                found.setdefault(row, phrase)
        return found
