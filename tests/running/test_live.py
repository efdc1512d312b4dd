import csv
import sys

import pytest

from synthbridge.core import log
from synthbridge.running.console import Console
from synthbridge.running.live import VARIABLE, LiveConsole, make_listener


def _points(folder, name):
    with (folder / f"plots/metrics/{name}.tsv").open(newline="") as file:
        rows = csv.DictReader(file, delimiter="\t")
        return [(int(row["step"]), float(row[name])) for row in rows]


@pytest.fixture
def live(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "live"))
    monkeypatch.setenv("DVC_STAGE", "finetune_bridged@digits-dsi_4")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(log, "_listener", make_listener())
    return tmp_path / "live/finetune_bridged@digits-dsi_4"


def test_each_training_writes_its_curves(live):
    with log.measuring("bridged-4-s0"):
        for leg in ("leg-1", "leg-2"):
            with log.measuring(leg):
                log.measure(10, train_loss=2.5, train_accuracy=0.25)
                log.measure(20, train_loss=0.5, train_accuracy=1.0)
    log.measure(30, train_loss=0.0)  # of no training
    assert sorted(path.name for path in (live / "bridged-4-s0").iterdir()) == ["leg-1", "leg-2"]
    for leg in ("leg-1", "leg-2"):
        folder = live / "bridged-4-s0" / leg
        assert _points(folder, "train_loss") == [(10, 2.5), (20, 0.5)]
        assert _points(folder, "train_accuracy") == [(10, 0.25), (20, 1.0)]


def test_a_training_that_runs_again_starts_its_curves_anew(live, monkeypatch):
    for loss in (3.0, 2.0):
        monkeypatch.setattr(log, "_listener", make_listener())  # of another process
        with log.measuring("plain-s0"):
            log.measure(5, train_loss=loss)
    assert _points(live / "plain-s0", "train_loss") == [(5, 2.0)]


def test_only_the_first_process_writes(live, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with log.measuring("plain-s0"):
        log.measure(5, train_loss=1.0)
    assert not live.exists()


def test_without_the_variable_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    listener = make_listener()
    assert type(listener) is Console and not isinstance(listener, LiveConsole)
    monkeypatch.setattr(log, "_listener", listener)
    with log.measuring("plain-s0"):
        log.measure(5, train_loss=1.0)
    assert not list(tmp_path.iterdir())


def test_without_dvclive_one_sentence(monkeypatch):
    monkeypatch.setenv(VARIABLE, "live")
    monkeypatch.setitem(sys.modules, "dvclive.live", None)
    with pytest.raises(ValueError, match="SYNTHBRIDGE_LIVE is set, which needs DVCLive; pip"):
        make_listener()
