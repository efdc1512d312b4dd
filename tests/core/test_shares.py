import sys

import pytest

from synthbridge.core.shares import read_share


def _shares(monkeypatch, command, count):
    monkeypatch.setattr(sys, "argv", ["src", *command])
    for number in range(1, count + 1):
        monkeypatch.setenv("SYNTHBRIDGE_SHARE", f"{number}/{count}")
        first, step = read_share()
        yield list(range(10))[first::step]


@pytest.mark.parametrize("count", [1, 3, 4, 12])
def test_shares_are_disjoint_and_make_the_whole(monkeypatch, count):
    shares = list(_shares(monkeypatch, ["bridge", "--out", "x"], count))
    assert sorted(unit for share in shares for unit in share) == list(range(10))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_the_longest_share_is_not_always_the_first(monkeypatch):
    """Three shards over eight tasks, command after command: all eight must get some."""
    firsts = set()
    for block in range(40):
        shares = list(_shares(monkeypatch, ["generate", "--out", f"b{block}"], 8))
        firsts.add([0 in share for share in shares].index(True))
    assert firsts == set(range(8))
