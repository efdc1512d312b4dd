"""Keys of units: which code counts, told by what is imported, wherever it is imported."""

import shutil
import subprocess
import sys

import pytest

from synthbridge.core import keys
from synthbridge.core.keys import PACKAGE, import_closure, module_file, unit_key

OUTSIDE = (
    "__main__.py",
    "commands/study.py",
    "forecast/amounts.py",
    "params.py",
    "pipeline.py",
    "running/console.py",
    "running/launch.py",
    "running/memory.py",
)


def closure_names(module):
    return {path.relative_to(PACKAGE).as_posix() for path in import_closure(module_file(module))}


@pytest.fixture
def package(tmp_path):
    """A copy of the package, to edit."""
    shutil.copytree(PACKAGE, tmp_path / "synthbridge", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "synthbridge"


def key_in(package, maker):
    """The key that the package's own code gives a unit of `maker` (module:name), elsewhere."""
    module, name = maker.split(":")
    program = (
        f"from synthbridge.core.keys import unit_key\nfrom {module} import {name}\n"
        f"print(unit_key(make={name}, seed=1))"
    )
    command = [sys.executable, "-c", program]
    environment = {"PYTHONPATH": str(package.parent), "PATH": ""}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    return result.stdout.strip()


def edit(path, old, new):
    text = path.read_text()
    assert text.count(old) == 1, path
    path.write_text(text.replace(old, new))


def test_key_follows_what_decides():
    key = unit_key(make=import_closure, a=1, b=2)
    assert key == unit_key(make=import_closure, b=2, a=1)
    assert key != unit_key(make=import_closure, a=1, b=3)
    assert key != unit_key(make=keys.hash_file, a=1, b=2)


def test_key_does_not_hang_on_what_happens_to_be_loaded():
    before = unit_key(make=import_closure, a=1)
    keys.hash_code.cache_clear()
    sys.modules.setdefault("synthbridge.of_a_test", sys)
    try:
        assert unit_key(make=import_closure, a=1) == before
    finally:
        del sys.modules["synthbridge.of_a_test"]


def test_imports_inside_functions_count_and_those_for_type_checkers_do_not(tmp_path, monkeypatch):
    monkeypatch.setattr(keys, "PACKAGE", tmp_path)
    (tmp_path / "a.py").write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from synthbridge import c\nelse:\n    import synthbridge.d\n"
        "def late():\n    from synthbridge.b import value\n"
    )
    for name in "bcd":
        (tmp_path / f"{name}.py").write_text("value = 1\n")
    found = {path.name for path in import_closure(tmp_path / "a.py")}
    assert found == {"a.py", "b.py", "d.py"}


@pytest.mark.parametrize("module", ["generate", "invert", "bridge", "finetune", "retrieve"])
def test_what_cannot_decide_bytes_is_outside(module):
    names = closure_names(f"synthbridge.stages.{module}")
    rooms = {name.partition("/")[0] for name in names}
    assert not rooms & {"running", "forecast", "commands", "studies", "params.py", "pipeline.py"}
    assert {f"stages/{module}.py", "core/keys.py", "core/settings.py"} <= names


def test_a_function_that_is_imported_late_changes_the_key(package):
    maker = "synthbridge.stages.generate:_make_shards"
    before = key_in(package, maker)
    path = package / "diffusion/style_token.py"
    path.write_text(path.read_text() + "\n# another\n")
    assert key_in(package, maker) != before


def test_a_default_in_a_settings_class_changes_the_key(package):
    maker = "synthbridge.stages.bridge:StageOneTrainer"
    before = key_in(package, maker)
    settings = package / "training/settings.py"
    edit(settings, "mixup: float = Field(default=0.0, ge=0)", "mixup: float = Field(default=0.1)")
    assert key_in(package, maker) != before


def test_what_shows_and_launches_changes_no_key(package):
    makers = (
        "synthbridge.stages.generate:_make_shards",
        "synthbridge.upstream.pool:write_pool_shard",
    )
    before = [key_in(package, maker) for maker in makers]
    for name in OUTSIDE:
        path = package / name
        path.write_text(path.read_text() + "\n# another\n")
    assert [key_in(package, maker) for maker in makers] == before


def test_packages_hold_no_code():
    """So their `__init__.py` may be left out of keys."""
    for path in PACKAGE.rglob("__init__.py"):
        assert "import" not in path.read_text() and "=" not in path.read_text(), path
