"""Where the repository and its package lie, for the tests."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "synthbridge"
