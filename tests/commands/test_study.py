import pytest

from house import ROOT
from synthbridge.commands import study
from synthbridge.commands.study import main


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.fixture
def nothing_known(monkeypatch):
    """As before any study ran: the points that git keeps are not looked at."""
    monkeypatch.setattr(study, "is_known", lambda _: False)


@pytest.mark.usefixtures("nothing_known")
def test_the_list_comes_with_costs_and_runs_nothing(capsys):
    main(["bridged-fig5", "bridged-table2", "--list", "--jobs", "2"])
    printed = capsys.readouterr().out
    lines = {line.split()[0]: line.split() for line in printed.splitlines()}
    # Five guidance scales and the flat lines; four are to be drawn, 60 images of ten classes each.
    assert lines["bridged-fig5"][1:4] == ["6", "6", "2,400"]
    assert lines["bridged-table2"][1:6] == ["1", "0", "0", "0", "0.0"]
    assert "at most 2,400 images" in printed and "with 2 at a time" in printed


@pytest.mark.usefixtures("nothing_known")
def test_points_of_a_model_without_a_rate_are_counted_and_said(capsys):
    main(["bridged-fig8", "--list"])
    printed = capsys.readouterr().out
    assert "and 2 points with models of no known rate" in printed and "nan" not in printed


@pytest.mark.usefixtures("nothing_known")
def test_a_shared_point_is_counted_once(capsys):
    main(["gap-fig3", "gap-fig4", "--list"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1:3] for line in lines[1:3]] == [["1", "1"], ["1", "0"]]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["bridged-fig11"], "'bridged-fig11' is no study; choose from"),
        (["bridged-fig5", "--jobs", "0"], "--jobs is 0; give a whole number above 0"),
        (
            ["bridged-fig5", "--scale", "full"],
            "--scale full, but params.yaml is the miniature one; first: git switch -c paper",
        ),
    ],
)
def test_a_fault_is_a_sentence(arguments, sentence):
    with pytest.raises(ValueError) as error:
        main(arguments)
    assert sentence in str(error.value)
