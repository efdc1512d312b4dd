"""Keys of units of work: a hash of all that decides a unit's bytes, its code included.

The code is the static import closure of the module that makes the unit: the module's own file, the
files that it imports anywhere, also inside functions, and so on. dvc.yaml's dependencies on code
follow from the same closure (tests/test_pipeline.py). Whoever must not decide bytes (what the
terminal shows, launchers, forecasts, commands) is outside, since nothing on the way imports it.
"""

import ast
from collections.abc import Callable, Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from synthbridge.core.files import hash_file, hash_value

PACKAGE = Path(__file__).parents[1]  # src/synthbridge


def unit_key(*, make: Callable[..., object], **decides: Any) -> str:
    """Return the key of a unit of work: 64 hex digits.

    Args:
        make: the function that makes the unit. The code of its module's import closure counts.
        decides: settings, hashes of inputs and seeds, as values that JSON can hold. The version of
            torch is added.
    """
    code = hash_code(make.__module__)
    return hash_value({"decides": decides, "code": code, "torch": version("torch")})


@cache  # once a process: code that is edited while a stage runs must not mix keys
def hash_code(module: str) -> str:
    """Hash the source of all our files that `module` needs: 64 hex digits."""
    files = sorted(import_closure(module_file(module)))
    return hash_value([(path.relative_to(PACKAGE).as_posix(), _hash_once(path)) for path in files])


_hash_once = cache(hash_file)


def import_closure(path: Path) -> frozenset[Path]:
    """List our files that `path` imports, directly and through others, itself included.

    `__init__.py` files hold no code here (a test), so they are left out.
    """
    seen: set[Path] = set()
    waiting = [path]
    while waiting:
        current = waiting.pop()
        if current not in seen:
            seen.add(current)
            waiting += imported_files(current)
    return frozenset(seen)


@cache
def imported_files(path: Path) -> tuple[Path, ...]:
    """List our files that a file itself imports, anywhere in it.

    Imports for type checkers alone (`if TYPE_CHECKING:`) never run, and are left out.
    """
    names = set(_imported_names(ast.parse(path.read_text(encoding="utf-8"))))
    return tuple(sorted(module_file(name) for name in names if _is_ours(name)))


def _imported_names(node: ast.AST) -> Iterator[str]:
    """Yield the modules that are imported, and what is imported from them, which may be modules."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0 and node.module, "write imports out from 'synthbridge.'"
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        for child in node.orelse:
            yield from _imported_names(child)
    else:
        for child in ast.iter_child_nodes(node):
            yield from _imported_names(child)


def _is_ours(name: str) -> bool:
    return name.startswith("synthbridge.") and module_file(name).is_file()


def module_file(name: str) -> Path:
    """Return the file of one of our modules; of a package or what is no module a path without."""
    return PACKAGE.joinpath(*name.split(".")[1:]).with_suffix(".py")
