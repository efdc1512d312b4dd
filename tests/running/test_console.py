from synthbridge.core import log as module
from synthbridge.core.log import StageLog, progress


def test_a_log_gets_plain_lines_with_rate_and_time_left(capsys, monkeypatch):
    monkeypatch.setattr(module, "SECONDS_BETWEEN_LINES", 10.0)
    clock = iter([0.0, 4.0, 12.0, 14.0, 24.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    items = list(progress("abcd", total=8, what="drawing", unit="image", items_each=3))
    assert items == list("abcd")
    assert capsys.readouterr().out.splitlines() == [
        "  drawing: 6/24 images, 0.5 images/s, 36 s left",
        "  drawing: 12/24 images, 0.5 images/s, 24 s left",
    ]


def test_a_line_says_how_much_of_the_estimate_is_gone(capsys, monkeypatch):
    clock = iter([0.0, 1.0, 1.0, 13.0, 13.0, 14.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    log = StageLog("draw: four images")
    log.expect(30, "this machine")
    list(progress("ab", total=2, what="drawing", unit="image"))
    assert capsys.readouterr().out.splitlines()[2:] == [
        "  drawing: 1/2 images, 0.1 images/s, 12 s left, 12 s gone of about 30 s estimated"
    ]


def test_the_next_stage_does_not_compare_with_the_last_ones_estimate(capsys):
    StageLog("first").expect(30, "this machine")
    StageLog("second")
    assert module._of_estimate() == ""


def test_only_the_first_process_speaks(capsys, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    log = StageLog("about to")
    assert list(progress([1], total=1, what="w", unit="u")) == [1]
    log.done("it", "there")
    assert capsys.readouterr().out == ""


def test_first_and_last_line(capsys):
    log = StageLog("draw: ten images")
    log.done("ten images", "data/x")
    first, last = capsys.readouterr().out.splitlines()
    assert first == "draw: ten images"
    assert last.startswith("made ten images in ") and last.endswith(" s: data/x")
