"""What `pip install .` installs: every file of the package, and an entry point that starts."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from house import PACKAGE, ROOT

BUILT_FROM = ("LICENSE", "README.md", "pyproject.toml")
MADE_BY_PYTHON = ("__pycache__", "*.egg-info")


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Build the working tree's wheel in a copy, and install it alone, without its dependencies."""
    tree, wheels, target = (tmp_path_factory.mktemp(name) for name in ("tree", "wheels", "target"))
    for name in BUILT_FROM:
        shutil.copyfile(ROOT / name, tree / name)
    shutil.copytree(ROOT / "src", tree / "src", ignore=shutil.ignore_patterns(*MADE_BY_PYTHON))
    offline = ("--quiet", "--no-index", "--no-deps")
    _run("-m", "pip", "wheel", *offline, "--no-build-isolation", "-w", wheels, tree, cwd=tree)
    _run("-m", "pip", "install", *offline, "--target", target, *wheels.glob("*.whl"), cwd=tree)
    return target


@pytest.fixture
def run_installed(installed, tmp_path):
    """Return a function that runs Python in an empty folder, with the installed package first."""
    environment = {**os.environ, "PYTHONPATH": str(installed), "PYTHONDONTWRITEBYTECODE": "1"}
    return lambda *arguments: _run(*arguments, cwd=tmp_path, env=environment)


def _run(*arguments: str | Path, **options) -> str:
    result = subprocess.run(
        [sys.executable, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        **options,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


def _files(package: Path) -> set[str]:
    paths = (path.relative_to(package) for path in package.rglob("*") if path.is_file())
    return {path.as_posix() for path in paths if "__pycache__" not in path.parts}


def test_the_wheel_holds_every_file_of_the_package(installed):
    assert _files(installed / "synthbridge") == _files(PACKAGE)


def test_the_wheel_installs_nothing_beside_the_package(installed):
    names = {path.name for path in installed.iterdir() if path.suffix != ".dist-info"}
    assert names == {"bin", "synthbridge"}
    assert [path.name for path in (installed / "bin").iterdir()] == ["synthbridge"]


def _names(room: str) -> set[str]:
    return {path.stem for path in (PACKAGE / room).glob("*.py") if path.stem != "__init__"}


@pytest.mark.parametrize("how", ["synthbridge", "python -m synthbridge"])
def test_the_entry_point_lists_stages_and_commands(installed, run_installed, how):
    start = [installed / "bin" / how] if how == "synthbridge" else ["-m", "synthbridge"]
    printed = run_installed(*start, "--help")
    assert _names("stages") | _names("commands") <= set(printed.split())


READ_FROM_THE_PACKAGE = """
import json
from importlib.resources import files

import synthbridge
from synthbridge.forecast.speeds import read_speeds
from synthbridge.prompts.writing import RULES, read_instruction

evidence = files("synthbridge.evidence")
assert "</html>" in evidence.joinpath("report.html.j2").read_text(encoding="utf-8")
for name in ("evidence.html.j2", "macros.html.j2", "page.css"):
    assert evidence.joinpath(name).read_text(encoding="utf-8")
assert read_speeds()
assert all("{class}" in read_instruction(kind) for kind in RULES)
for name in ("plot_curve.json", "plot_epochs.json", "plot_shots.json"):
    assert "$schema" in json.loads(evidence.joinpath(name).read_text(encoding="utf-8"))
print(synthbridge.__file__)
"""


def test_the_package_reads_its_own_templates_speeds_and_instructions(installed, run_installed):
    printed = run_installed("-c", READ_FROM_THE_PACKAGE)
    assert Path(printed.strip()) == installed / "synthbridge" / "__init__.py"


def _pins(name: str) -> dict[str, set[str]]:
    """Return the versions that a file of requirements pins, by package."""
    pins: dict[str, set[str]] = {}
    for package, version in re.findall(
        r"^([\w.-]+)==(\S+)", (ROOT / name).read_text(), re.MULTILINE
    ):
        pins.setdefault(package, set()).add(version)
    return pins


def test_what_remotes_need_is_pinned_and_fits_the_rest():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")  # Python 3.10 has no tomllib
    wanted = set(re.findall(r"^\w+ = \[\"(dvc-\w+)", text, re.MULTILINE))
    ours, remotes = _pins("requirements.txt"), _pins("requirements-remotes.txt")
    assert {"dvc-s3", "dvc-ssh", "dvc-gs"} <= wanted <= set(remotes)
    assert all(remotes[package] <= ours[package] for package in set(remotes) & set(ours))
    guide = (ROOT / "docs/sharing.md").read_text(encoding="utf-8")
    assert all(f"pip install -c requirements-remotes.txt {package}`" in guide for package in wanted)
