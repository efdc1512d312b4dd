import pytest

from synthbridge.core import log
from synthbridge.core.log import StageLog, progress, say
from synthbridge.forecast.missing_work import Forecast
from synthbridge.running import console
from synthbridge.running.console import Console


@pytest.fixture(autouse=True)
def shown(monkeypatch):
    """What is said goes to a console."""
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setattr(log, "_listener", Console())


def set_clock(monkeypatch, *seconds):
    clock = iter(seconds)
    monkeypatch.setattr(console.time, "monotonic", lambda: next(clock))


def test_a_log_gets_plain_lines_with_speed_and_time_left(capsys, monkeypatch):
    set_clock(monkeypatch, 0.0, 4.0, 12.0, 14.0, 24.0)
    items = list(progress("abcd", total=8, what="drawing", unit="image", items_each=3))
    assert items == list("abcd")
    assert capsys.readouterr().out.splitlines() == [
        "  drawing: 6/24 images, 0.5 images/s, 36 s left",
        "  drawing: 12/24 images, 0.5 images/s, 24 s left",
    ]


def test_a_line_says_how_much_of_the_estimate_is_gone(capsys, monkeypatch):
    monkeypatch.setattr(console, "forecast", lambda stage, missing: Forecast(30, "a machine"))
    set_clock(monkeypatch, 0.0, 1.0, 1.0, 13.0, 13.0, 14.0)
    stage = StageLog("draw", "four images")
    stage.expect(images=4)
    list(progress("ab", total=2, what="drawing", unit="image"))
    assert capsys.readouterr().out.splitlines() == [
        "draw: four images",
        "  about 30 s, by the speeds of a machine",
        "  drawing: 1/2 images, 0.1 images/s, 12 s left, 12 s gone of about 30 s estimated",
    ]


def test_what_no_speed_is_known_of_is_not_compared(capsys, monkeypatch):
    monkeypatch.setattr(console, "forecast", lambda stage, missing: None)
    stage = StageLog("draw", "ten images")
    stage.expect(images=10)
    stage.done("ten images", "data/x")
    first, last = capsys.readouterr().out.splitlines()
    assert first == "draw: ten images"
    assert last.startswith("made ten images in ") and last.endswith(" s: data/x")


def test_the_next_stage_does_not_compare_with_the_last_ones_estimate(capsys, monkeypatch):
    monkeypatch.setattr(console, "forecast", lambda stage, missing: Forecast(30, "a machine"))
    StageLog("first", "much").expect()
    StageLog("second", "little").done("it", "there")
    assert "estimated" not in capsys.readouterr().out


def test_only_the_first_process_speaks(capsys, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    stage = StageLog("draw", "something")
    say("a word")
    assert list(progress([1], total=1, what="w", unit="u")) == [1]
    stage.done("it", "there")
    assert capsys.readouterr().out == ""
