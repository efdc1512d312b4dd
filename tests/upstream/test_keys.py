"""Which edits of the source make which models of the miniature anew."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from house import ROOT
from synthbridge.upstream.backbone import write_backbone
from synthbridge.upstream.clip import write_clip
from synthbridge.upstream.generator import write_generator, write_vae
from synthbridge.upstream.pool import write_pool_shard

MAKERS = {
    "pool": write_pool_shard,
    "clip": write_clip,
    "vae": write_vae,
    "generator": write_generator,
    "backbone": write_backbone,
}
# Without the libraries that the makers import: only their modules' names count.
SCRIPT = """
import sys
from synthbridge.core.keys import unit_key

for name in sys.argv[1:]:
    def make(): ...
    make.__module__ = name
    print(unit_key(make=make))
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source in a scratch folder."""
    folder = tmp_path_factory.mktemp("scratch") / "src"
    return shutil.copytree(ROOT / "src", folder, ignore=shutil.ignore_patterns("__pycache__"))


def read_keys(source: Path) -> dict[str, str]:
    """Return the keys of the makers as they stand in `source`."""
    modules = [make.__module__ for make in MAKERS.values()]
    printed = subprocess.run(
        [sys.executable, "-c", SCRIPT, *modules],
        env={**os.environ, "PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return dict(zip(MAKERS, printed.split(), strict=True))


@pytest.fixture(scope="module")
def before(source: Path) -> dict[str, str]:
    return read_keys(source)


@pytest.mark.parametrize(
    ("file", "made_anew"),
    [
        ("upstream/clip.py", {"clip"}),
        ("upstream/tokenizer.py", {"clip"}),
        ("upstream/generator.py", {"vae", "generator"}),
        ("upstream/backbone.py", {"backbone"}),
        ("upstream/pool.py", {"pool", "clip", "vae", "generator"}),
        ("upstream/glyphs.py", set(MAKERS)),
        ("upstream/settings.py", set(MAKERS)),
        ("upstream/hub.py", set()),
        ("upstream/layouts.py", set()),
        ("upstream/given_backbone.py", set()),
        ("stages/upstream.py", set()),
        ("running/console.py", set()),
    ],
)
def test_an_edit_makes_anew_what_it_can_change(
    file: str, made_anew: set[str], source: Path, before: dict[str, str]
):
    path = source / "synthbridge" / file
    text = path.read_text()
    path.write_text(text + "\nEDITED = True\n")
    try:
        after = read_keys(source)
    finally:
        path.write_text(text)
    assert {name for name in MAKERS if after[name] != before[name]} == made_anew
