"""What some tests need of the machine that they run on."""

import shutil

import pytest

needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("g++", "clang++"))), reason="torch's compiler needs a C++ compiler"
)
