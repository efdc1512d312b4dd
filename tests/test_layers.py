"""The rooms of the house: who may import whom, of our modules and of foreign libraries."""

import ast
import sys
from functools import cache

import pytest

from house import PACKAGE, ROOT
from synthbridge.core.keys import imported_files
from synthbridge.core.settings import read_yaml

FLOOR = {"core", "data"}  # anyone's
WINGS = {"clip", "diffusion", "evidence", "prompts", "training", "upstream"}  # not one another's
SETTINGS = "settings.py"  # of any room: light, and params.py reads them all

# Which rooms each room may import, besides itself. Files beside the rooms are rooms of their own.
MAY = {
    "core": set(),
    "data": {"core"},
    "sources": FLOOR,
    **{wing: FLOOR for wing in WINGS},
    "delivery": {*FLOOR, "training"},  # what leaves the house
    "stages": {*FLOOR, *WINGS, "delivery", "sources"},
    "params.py": FLOOR,  # and every room's settings
    "pipeline.py": {*FLOOR, "params.py"},
    "editing.py": set(),
    # It measures and counts what the wings do.
    "forecast": {*FLOOR, *WINGS - {"prompts"}, "params.py", "sources", "running"},
    "running": {"core", "forecast"},
    "studies": {*FLOOR, "pipeline.py"},
    "commands": {
        *FLOOR,
        *("delivery", "editing.py", "forecast", "params.py", "pipeline.py", "prompts", "running"),
        *("sources", "studies", "training"),
    },
    "__main__.py": {"core", "pipeline.py", "running"},  # stages and commands by name
}
# The doors between rooms that have none otherwise: file -> what it takes there, and why.
DOORS = {
    "upstream/pool.py": {
        "diffusion/prompts.py",  # the miniature's captions are written like the prompts
        "prompts/templates.py",
    },
    "running/console.py": {"forecast/missing_work.py"},  # shows how long the rest will take
    "forecast/speeds.py": {"running/gpus.py"},  # which device this is
    "studies/drawing.py": {"evidence/figures.py"},  # one look for every plot
    # A page that lays what was measured beside what training shows, and trains heads itself.
    "studies/analysis.py": {
        *(f"evidence/{name}.py" for name in ("comparisons", "figures", "ranks", "results")),
        *(f"training/{name}.py" for name in ("classifier", "features", "images", "recipe")),
        "training/settings.py",
    },
    "studies/differences.py": {"evidence/statistics.py"},  # one Student's t
    "studies/harm.py": {"training/influence.py"},
    "commands/study.py": {"evidence/figures.py"},
    # It asks the hub for commits alone.
    "commands/pin.py": {
        *("upstream/given_backbone.py", "upstream/hub.py", "upstream/settings.py"),
    },
    "delivery/origins.py": {"upstream/settings.py"},  # which generator and backbone, for a card
    "commands/export.py": {"upstream/settings.py"},
}
# Rooms whose one door the list above names.
BY_DOOR = {("running", "forecast"), ("forecast", "running")}

# The foreign libraries that only these rooms may know.
OWNERS = {
    "accelerate": {"core", "forecast", "stages", "training"},
    "argparse": {"commands", "stages"},
    "datasets": {"sources"},
    "diffusers": {"diffusion", "upstream"},
    "faiss": {"clip"},
    "huggingface_hub": {"upstream"},
    "jinja2": {"evidence"},
    "pandas": {"evidence"},
    "ruamel": {"commands", "core", "editing.py", "forecast", "pipeline.py", "prompts", "sources"},
    "sklearn": {"sources"},
    "timm": {"delivery", "training", "upstream"},
    "tokenizers": {"upstream"},
    "torchmetrics": {"evidence"},
    "tqdm": {"running"},
    "transformers": {"clip", "diffusion", "prompts", "upstream"},
    "webdataset": {"data"},
}

FILES = sorted(PACKAGE.rglob("*.py"))
PATHS = [path.relative_to(PACKAGE).as_posix() for path in FILES]


def _room(path: str) -> str:
    return path.split("/")[0]


@cache
def _imports() -> dict[str, set[str]]:
    """Return the files of ours that each file imports, anywhere in it."""
    return {
        path: {other.relative_to(PACKAGE).as_posix() for other in imported_files(file)}
        for path, file in zip(PATHS, FILES, strict=True)
    }


@cache
def _libraries(path: str) -> set[str]:
    """Return the libraries that a file imports anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse((PACKAGE / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found - {"synthbridge"}


def test_every_room_has_its_walls():
    assert {_room(path) for path in PATHS} - {"__init__.py"} == set(MAY)


@pytest.mark.parametrize("path", PATHS)
def test_file_keeps_the_walls(path):
    if path == "__init__.py":
        assert not _imports()[path]
        return
    room = _room(path)
    for other in _imports()[path] - DOORS.get(path, set()):
        there = _room(other)
        if there == room and room != "stages":
            continue
        if room == "params.py" and other.endswith(f"/{SETTINGS}"):
            continue
        allowed = there in MAY[room] and (room, there) not in BY_DOOR and there != room
        assert allowed, f"{path} imports {other}"


def test_every_door_is_used():
    """A door that nobody passes any more is walled up: take it from the list."""
    for path, others in DOORS.items():
        assert others <= _imports()[path], path
    for room, rooms in MAY.items():
        if room in ("stages", "commands", "forecast", "running"):
            used = {_room(o) for p, found in _imports().items() if _room(p) == room for o in found}
            assert rooms <= used, f"{room} imports nothing of {rooms - used}"


def test_nobody_imports_stages_or_commands():
    """The entry runs them by name; a command may call another."""
    for path, found in _imports().items():
        barred = {"stages"} if _room(path) == "commands" else {"stages", "commands"}
        assert not {other for other in found if _room(other) in barred}, path


def test_no_circle_of_files():
    """Imports inside functions count too: what needs them is two rooms in one."""
    done, under_way = set(), []

    def visit(path):
        assert path not in under_way, " -> ".join([*under_way, path])
        if path not in done:
            under_way.append(path)
            for other in _imports()[path]:
                visit(other)
            done.add(under_way.pop())

    for path in PATHS:
        visit(path)


@pytest.mark.parametrize("path", PATHS)
def test_file_takes_only_its_rooms_libraries(path):
    for library in _libraries(path):
        owners = OWNERS.get(library, {_room(path)})
        assert _room(path) in owners, f"{path} imports {library}, which is {owners}'s"


def test_every_owner_uses_its_library():
    for library, rooms in OWNERS.items():
        used = {_room(path) for path in PATHS if library in _libraries(path)}
        assert rooms == used, library


@pytest.mark.parametrize("path", [path for path in PATHS if path.endswith(SETTINGS)])
def test_settings_import_no_heavy_library(path):
    """Checking params.yaml takes no second; so do the settings that settings take."""
    waiting, seen = [path], set()
    while waiting:
        current = waiting.pop()
        if current not in seen:
            seen.add(current)
            waiting += _imports()[current]
            heavy = _libraries(current) - sys.stdlib_module_names
            assert heavy <= {"pydantic", "pydantic_core", "ruamel"}, current


@pytest.mark.parametrize("path", [path for path in PATHS if path.endswith("__init__.py")])
def test_packages_hold_a_docstring_alone(path):
    """So that importing one module never runs another's code, and no key has to look there."""
    tree = ast.parse((PACKAGE / path).read_text(encoding="utf-8"))
    assert len(tree.body) == 1 and ast.get_docstring(tree)


def test_stages_holds_the_stages_of_the_pipeline():
    commands = (stage["cmd"] for stage in read_yaml(ROOT / "dvc.yaml")["stages"].values())
    modules = {command.split()[2] for command in commands}
    files = {path.stem for path in (PACKAGE / "stages").iterdir() if path.suffix == ".py"}
    assert files - {"__init__"} == modules
