from synthbridge.core import log
from synthbridge.core.log import StageLog, progress, say


def test_without_a_listener_lines_are_plain(capsys):
    stage = StageLog("draw", "two images")
    stage.expect(anything="at all")
    say("  a word")
    assert list(progress("ab", total=2, what="drawing", unit="image")) == ["a", "b"]
    stage.done("two images", "data/x")
    assert capsys.readouterr().out.splitlines() == [
        "draw: two images",
        "  a word",
        "made two images: data/x",
    ]


def test_a_listener_hears_which_stage_misses_what(monkeypatch):
    heard = []

    class Listener(log.PlainListener):
        def expect(self, stage, missing):
            heard.append((stage, missing))

    monkeypatch.setattr(log, "_listener", Listener())
    StageLog("draw", "two images").expect(images=2)
    assert heard == [("draw", {"images": 2})]


def test_measures_are_told_under_the_name_of_their_training(monkeypatch):
    heard = []

    class Listener(log.PlainListener):
        def measure(self, training, step, values):
            heard.append((training, step, dict(values)))

    monkeypatch.setattr(log, "_listener", Listener())
    log.measure(1, loss=9.0)  # of no training
    with log.measuring("all"):
        with log.measuring("class-0003"):
            log.measure(2, loss=1.5)
        log.measure(3, loss=1.0)
    assert heard == [("all/class-0003", 2, {"loss": 1.5}), ("all", 3, {"loss": 1.0})]
