import pandas as pd
import pytest
from evidence.made_runs import runs_at
from evidence.simulated import simulate_examined

from synthbridge.core.files import read_json, write_json
from synthbridge.evidence.comparisons import compare_runs
from synthbridge.evidence.costs import bytes_words, cost_rows, set_costs, work_sentences
from synthbridge.evidence.examined import read_examined

DRAWN = {"prompts": "dsi", "shots": 4, "images_per_class": 60}
FOUND = {"search": "caption", "images_per_class": 60}


@pytest.fixture
def examined(tmp_path):
    for name in ("dsi_4", "retrieved", "unknown"):
        simulate_examined(tmp_path / name)
    gap = read_json(tmp_path / "dsi_4/gap.json")
    gap["subsets"] = {f"s{seed}": gap["subsets"]["all"] for seed in range(8)}
    write_json(tmp_path / "dsi_4/gap.json", gap)
    return read_examined({name: tmp_path / name for name in ("dsi_4", "retrieved", "unknown")})


def test_images_are_counted_over_classes_and_seeds(examined):
    drawn, found = set_costs({"dsi_4": DRAWN, "retrieved": FOUND}, examined, 10, {"dsi_4": 1000.0})
    assert (drawn.num_images, drawn.num_subsets) == (4800, 8)
    assert (found.num_images, found.is_retrieved) == (60, True)  # as many as were found
    rows = cost_rows([drawn, found])
    assert rows[0] == {
        "set": "dsi_4",
        "how": "drawn",
        "images": "4,800",
        "per_class": "60",
        "subsets": "8, one a seed",
        "disk": "about 4.8 MB",
    }
    assert (rows[1]["how"], rows[1]["subsets"], rows[1]["disk"]) == (
        "found",
        "one, for all seeds",
        "",
    )


@pytest.mark.parametrize(
    ("num_bytes", "words"),
    [(900, "0.9 kB"), (3.14e6, "3.1 MB"), (27e9, "27 GB"), (5e15, "5,000 TB")],
)
def test_bytes_are_said_short(num_bytes, words):
    assert bytes_words(num_bytes) == words


def test_work_is_counted(settings):
    runs = [*runs_at(0.6), *runs_at(0.7, arm="bridged", name="dsi_4")]
    runs += runs_at(0.4, arm="clip_vanilla")
    primary = next(row for row in compare_runs(runs, settings) if row.is_primary)
    losses = pd.DataFrame(
        [[name, step] for name in ("s0", "s1") for step in range(121)],
        columns=pd.Index(["subset", "step"]),
    ).assign(set="dsi_4")
    assert work_sentences(runs, losses, primary) == [
        "2 trainings on the generator (a style token, words or a LoRA), of 120 steps each.",
        "8 final models were tested, and 4 on CLIP's features.",
        "One of bridged takes 50 gradient steps (those on drawn images alone included), one of "
        "vanilla 50.",
    ]


def test_without_tokens_and_verdict_models_are_counted(settings):
    empty = pd.DataFrame(columns=pd.Index(["set", "subset", "step"]))
    assert work_sentences(runs_at(0.6), empty, None) == ["4 final models were tested."]
