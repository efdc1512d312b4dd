"""The benchmarks are scripts: their folder is put on the path as Python puts a script's."""

import sys

from house import ROOT

sys.path.append(str(ROOT / "benchmarks"))
