import pytest

from synthbridge.running.console import Console
from synthbridge.running.spent import FILE, note_time, spent_sentence


@pytest.fixture
def work(tmp_path, monkeypatch):
    monkeypatch.setenv("SYNTHBRIDGE_WORK", str(tmp_path))
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    return tmp_path


def _note(monkeypatch, stage, seconds):
    monkeypatch.setenv("DVC_STAGE", stage)
    note_time(seconds)


def test_the_stages_that_took_longest_are_named(work, monkeypatch):
    assert spent_sentence() is None
    for stage, seconds in (
        ("generate@digits-template-b0", 2000),
        ("generate@digits-template-b1", 1600),
        ("bridge@digits-template", 80.4),
        ("report@digits", 9),
        ("probe@digits", 10),
    ):
        _note(monkeypatch, stage, seconds)
    assert spent_sentence() == (
        "stages took 62 min here so far, most of it generate 60 min, bridge 80 s, probe 10 s; "
        f"see {work / FILE}"
    )


def test_gpu_hours_count_every_process(work, monkeypatch):
    (work / FILE).write_text("generate@a,3600.0,4,GPU\nreport@a,36.0,1,CPU\n")
    assert "stages took 61 min here so far (4.00 GPU-hours), most of it" in spent_sentence()
    (work / FILE).write_text("generate@a,7200.0,1,GPU\n")
    assert "stages took 2.0 h here so far (2.00 GPU-hours)" in spent_sentence()


def test_what_dvc_does_not_run_is_not_counted(work, monkeypatch):
    monkeypatch.delenv("DVC_STAGE", raising=False)
    note_time(5)
    assert not list(work.iterdir())


def test_the_report_ends_with_what_all_stages_took(work, monkeypatch, capsys):
    monkeypatch.setenv("DVC_STAGE", "report@digits")
    console = Console()
    console.begin("report: comparing 2 runs")
    console.done("a report of 2 runs", work / "report.html")
    assert "stages took 0 s here so far, most of it report 0 s" in capsys.readouterr().out
    console.begin("probe: all models")
    console.done("readings", work)
    assert "so far" not in capsys.readouterr().out
