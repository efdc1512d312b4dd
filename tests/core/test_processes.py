import pytest
from accelerate import Accelerator

from synthbridge.core import processes
from synthbridge.running.launch import ShareMade


@pytest.fixture
def accelerator():
    return Accelerator(cpu=True)


def test_units_seen_late_are_waited_for(accelerator, monkeypatch):
    """As of a network file system, which denies for a while what another machine has made."""
    looks = []

    def is_done(unit):
        looks.append(unit)
        return len(looks) > 2

    processes.wait_for_units(accelerator, ["a"], is_done)
    assert looks == ["a"] * 3
    monkeypatch.setattr(processes, "SECONDS_UNTIL_SEEN", 0)
    processes.wait_for_units(accelerator, ["a"], lambda unit: False)  # its reader will name it


def test_a_share_is_of_all_units_whether_done_or_not(accelerator, monkeypatch):
    """A run that begins when others have made some must not shift what is its own."""
    units = list(range(10))
    shares = []
    for number in (1, 2, 3):
        monkeypatch.setenv("SYNTHBRIDGE_SHARE", f"{number}/3")
        own = processes.missing_units(accelerator, units, lambda unit: False)
        late = processes.missing_units(accelerator, units, lambda unit: unit < 5)
        assert late == [unit for unit in own if unit >= 5]
        with pytest.raises(ShareMade):
            list(processes.share_units(accelerator, units, lambda unit: True))
        shares += own
    assert sorted(shares) == units
