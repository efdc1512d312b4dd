"""Reads the source's imports, for the tests that keep the house in order."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "synthbridge"


def module_path(name: str) -> Path | None:
    """Return the file of one of our modules or packages."""
    path = ROOT / "src" / Path(*name.split("."))
    if path.with_suffix(".py").is_file():
        return path.with_suffix(".py")
    return path / "__init__.py" if (path / "__init__.py").is_file() else None


def imports(path: Path) -> set[str]:
    """List the modules that a file imports anywhere in it, also inside functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            ours = {name for name in names if name.startswith("synthbridge") and module_path(name)}
            found |= ours or {node.module}
    return found


def closure(path: Path) -> set[Path]:
    """List our files that `path` imports, directly and through others, itself included."""
    seen, waiting = set(), [path]
    while waiting:
        current = waiting.pop()
        if current in seen:
            continue
        seen.add(current)
        ours = (module_path(name) for name in imports(current) if name.startswith("synthbridge"))
        waiting += [found for found in ours if found]
    return seen
