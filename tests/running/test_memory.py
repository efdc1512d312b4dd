import subprocess
import sys

import pytest

from house import ROOT

FAULTS_OF_TEN_PIECES = """
import resource, sys
sys.path.insert(0, "src")
from synthbridge.running.memory import keep_freed_memory
if {keeps}:
    assert keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
bytearray(2**24)
before = faults()
for _ in range(10):
    piece = bytearray(2**24)
    piece[::4096] = b"x" * 4096
    del piece
print(faults() - before)
"""


def _faults(keeps):
    code = FAULTS_OF_TEN_PIECES.format(keeps=keeps)
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return int(ran.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc is on Linux")
def test_freed_memory_is_given_to_the_next_piece():
    assert _faults(keeps=True) < _faults(keeps=False) / 5
