"""The whole report on simulated results, through the stage: also of evidence/page.py."""

import contextlib
import csv
import io
import json
import os
import re
import subprocess
import sys

import pytest
from evidence.reading_pages import Page
from evidence.simulated import (
    SETTINGS,
    simulate_choice,
    simulate_clip,
    simulate_examined,
    simulate_probe,
    simulate_runs,
    simulate_style,
    write_pictures,
)

from synthbridge.core.files import write_json
from synthbridge.evidence.comparisons import compare_runs
from synthbridge.evidence.decision import HEADLINES
from synthbridge.evidence.results import read_runs
from synthbridge.evidence.verdict import VERDICTS, underfit_sentences, verdict_sentence
from synthbridge.stages.report import main, report

TABLES = {"results", "accuracy", "differences", "convergence", "classes", "class_gap"}
TABLES |= {"probe", "transferability", "style_loss"}
# Each plot, and the heading that it stands under on the page.
PLOTS = {
    "accuracy": "Accuracy against shots",
    "differences": "Paired differences",
    "primary_arm": "Paired differences",
    "convergence": "Convergence",
    "style_loss": "Style inversion",
    "grid": "Pictures of every set",
}
CLEAR_ANSWERS = set(VERDICTS) - {"cannot tell"}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Fill the folders that dvc.yaml names, of one set."""
    root = tmp_path_factory.mktemp("inputs")
    simulate_runs(root / "final", num_test=300)
    simulate_probe(root / "probe.json")
    simulate_style(root / "styles/dsi_4")
    simulate_examined(root / "examined/dsi_4/findings")
    write_pictures(root / "real/train-00000.tar", 10)
    record = {"prompt": "a photo of <one>", "sampler": "dpm++"}
    write_pictures(root / "sets/dsi_4/b0/s0-00000.tar", 99, **record)
    return {
        "dataset": "digits",
        "final": [root / "final"],
        "probe": root / "probe.json",
        "styles": {"dsi_4": root / "styles/dsi_4"},
        "real": root / "real",
        "blocks": {"dsi_4": root / "sets/dsi_4/b0"},
        "examined": {"dsi_4": root / "examined/dsi_4/findings"},
    }


def files_of(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def made(inputs, tmp_path_factory):
    out = tmp_path_factory.mktemp("metrics")
    report(SETTINGS, **inputs, out=out)
    return out


@pytest.fixture(scope="module")
def bare(inputs, tmp_path_factory):
    """Report on the runs alone; return the folder and what was printed."""
    out, printed = tmp_path_factory.mktemp("bare"), io.StringIO()
    with contextlib.redirect_stdout(printed):
        report(SETTINGS, dataset="digits", final=inputs["final"], out=out)
    return out, printed.getvalue()


@pytest.fixture(scope="module")
def page(made):
    return Page(made / "report.html")


def assert_no_nan(page):
    assert "nan" not in re.sub("[a-z]*nan[a-z]+", "", page.text.lower())


def test_writes_its_files_and_the_same_bytes_again(inputs, made, tmp_path):
    expected = {f"{name}.csv" for name in TABLES} | {"summary.json", "report.html"}
    expected |= {f"plots/{name}.png" for name in PLOTS}
    assert set(files_of(made)) == expected
    report(SETTINGS, **inputs, out=tmp_path)
    assert files_of(tmp_path) == files_of(made)


def test_the_page_needs_no_network(page):
    assert page.addresses
    assert all(address.startswith(("data:", "#")) for address in page.addresses)
    assert "@import" not in page.source
    assert not page.tags & {"script", "link", "iframe"}


def test_each_link_meets_one_id(page):
    used = set(re.findall(r"url\(#([^)]+)\)", page.source))
    used |= {address[1:] for address in page.addresses if address.startswith("#")}
    assert used and all(page.ids.count(name) == 1 for name in used)


def test_the_page_opens_with_the_verdict(page):
    assert page.headings[0] == "Do synthetic images help on digits?"
    assert len(page.answers) == 1 and set(page.answers) <= set(VERDICTS)
    first = page.text_below(page.headings[0])
    assert first.startswith(tuple(HEADLINES.values())) and "With dsi images, bridged reads" in first
    top = ["What to do now", "Real and drawn", "Classes that won and lost", "What it cost"]
    shown = [heading for heading in page.headings if heading in [*top, "The evidence"]]
    assert shown == [*top, "The evidence"]
    folded = page.headings[page.headings.index("The evidence") + 1 :]
    assert {*PLOTS.values(), "Controls", "How the verdict was made"} <= set(folded)
    assert "With dsi images at 4 shots on digits" in page.text_below("How the verdict was made")
    assert "a photo of &lt;one&gt;" in page.source  # a prompt is text, never markup
    assert_no_nan(page)


def test_every_plot_has_its_figure_under_its_heading(made, page):
    written = {path.stem for path in (made / "plots").glob("*.png")}
    below = {figure.heading for figure in page.figures}
    assert {PLOTS[name] for name in written} <= below
    for figure in page.figures:
        assert figure.title


def test_without_styles_and_pictures_there_is_no_such_figure(bare):
    out, _ = bare
    headings = {figure.heading for figure in Page(out / "report.html").figures}
    names = {"accuracy", "differences", "primary_arm", "convergence"}
    assert headings == {"Label more?", *(PLOTS[name] for name in names)}  # one at the top
    assert {path.stem for path in (out / "plots").glob("*.png")} == names


def test_the_page_shows_leakage(page):
    [row] = page.table("Leakage").records()
    assert row["set"] == "dsi_4" and row["kept to train"] == "30 %"
    assert row["fraction"] == "5.00 %" and row["fraction of real training images"] == "2.50 %"
    assert "a cosine above 0.9 with" in page.text_below("Leakage")


def test_the_page_shows_the_gap(page):
    of_sets, of_classes = (
        table for table in page.tables if table.heading == "The gap to real images"
    )
    [row] = of_sets.records()
    assert (row["set"], row["FID"], row["KID"], row["density"]) == (
        "dsi_4",
        "12.3",
        "0.123",
        "1.10",
    )
    [row] = of_classes.records()
    assert (row["set"], row["class"], row["precision"]) == ("dsi_4", "zero", "1.00")
    hole = "FID by class is not computed for 1 class (zero) of dsi_4: it needs 50 images"
    assert hole in page.text_below("The gap")


def test_the_page_shows_probes_and_their_transferability(page):
    probes, transferability = (
        table for table in page.tables if table.heading == "LEEP, LogME and fixed features"
    )
    of_models = {(row["model"], row["set"]): row["LEEP"] for row in probes.records()}
    assert of_models["upstream", "\N{EN DASH}"] == "\N{MINUS SIGN}1.90"
    assert of_models["plain", "dsi_4"] == "\N{MINUS SIGN}0.89 ± 0.01"
    arms = {row["arm"] for row in transferability.records()}
    assert arms == {"bridged", "bridged_fc_reinit", "bridged_pp"}


def test_says_the_verdict_and_where(inputs, bare):
    out, printed = bare
    first, *said, last = printed.splitlines()
    runs = read_runs(inputs["final"], "digits")
    comparisons = compare_runs(runs, SETTINGS)
    assert str(len(runs)) in first and "digits" in first
    assert [line.strip() for line in said] == [
        verdict_sentence("digits", comparisons, SETTINGS),
        *underfit_sentences(comparisons),
    ]
    assert str(len(runs)) in last and last.endswith(f"{out}/report.html")


@pytest.mark.parametrize(
    "reduced",
    [
        {"methods": ["template"]},
        {"methods": []},
        {"shots": [4]},
        {"seeds": [0]},
        {"seeds": [0], "shots": ["full"], "methods": ["dsi"]},
    ],
    ids=str,
)
def test_missing_pieces_give_an_honest_report(reduced, tmp_path):
    simulate_runs(tmp_path / "final", num_test=80, **reduced)
    report(SETTINGS, dataset="digits", final=[tmp_path / "final"], out=tmp_path / "metrics")
    page = Page(tmp_path / "metrics/report.html")
    assert_no_nan(page)
    no_sets = reduced.get("methods") == []
    opening = page.text_below(page.headings[0])
    assert ("nothing to judge" in opening) == no_sets == (not page.answers)
    if reduced == {"seeds": [0]}:
        assert "1 seed: an interval needs 3." in opening
    if reduced.get("seeds") == [0]:
        assert not CLEAR_ANSWERS & set(page.answers)
        assert all("no interval" in cell for cell in page.cells_of("difference [95 %]"))


def _report_text(folder, settings=SETTINGS, *, real=None, **record):
    """Report on simulated runs, and return the words of the page by heading."""
    simulate_runs(folder / "final", shots=[4], methods=["dsi"], num_test=200, **record)
    given = {"dataset": "digits", "final": [folder / "final"], "real": real}
    report(settings, **given, out=folder / "metrics")
    return Page(folder / "metrics/report.html")


def test_the_page_says_which_rule_sets_a_number_bold(page):
    assert "a number bold, where that p-value" in page.text_below("Paired differences")
    table = next(table for table in page.tables if table.heading == "Paired differences")
    assert table.column("p (Holm)").count("primary") == 2
    bold = re.findall(r'<td class="number sure">([^<]+)</td>', page.source)
    assert bold and len(bold) < len(table.rows)


def test_the_page_tells_of_groups(tmp_path):
    real = tmp_path / "real"
    write_pictures(real / "train-00000.tar", 10)
    write_json(real / "dataset.json", {"group_note": "guessed"})
    page = _report_text(tmp_path / "a", real=real, num_groups=20)
    grouped = page.text_below("The evidence")
    assert "200 real images of 10 classes in 20 groups, seeds 0, 1, 2." in grouped
    assert "intervals count groups, not images. The groups are guessed." in grouped
    assert "3 seeds, 200 test images in 20 groups." in page.text_below(page.headings[0])
    plain = _report_text(tmp_path / "b").text_below("The evidence")
    assert "No group of test images is known." in plain and "groups are" not in plain


def test_the_page_says_which_labels_chose_the_rate(tmp_path):
    real = tmp_path / "real"
    write_pictures(real / "train-00000.tar", 10)
    splits = {"train": ["a"], "validation": [str(number) for number in range(150)]}
    write_json(real / "manifest.json", {"splits": splits})
    heading = "What was trained"
    known = _report_text(tmp_path / "a", real=real).text_below(heading)
    assert "Learning rates were selected on 150 held-out labelled training images" in known
    unknown = _report_text(tmp_path / "b").text_below(heading)
    assert "Learning rates were selected on held-out labelled training images" in unknown
    nothing = _report_text(tmp_path / "c", selected_on="nothing")
    words = nothing.text_below(heading)
    assert "No label chose the learning rate" in words and "held-out" not in words
    assert "select_on: test" not in nothing.text


def test_without_a_primary_comparison_there_is_no_verdict(tmp_path):
    settings = SETTINGS.model_copy(update={"primary": None})
    page = _report_text(tmp_path, settings)
    assert page.answers == []
    said = "No verdict on digits: report.primary names no comparison."
    assert said in page.text_below(page.headings[0])
    summary = json.loads((tmp_path / "metrics/summary.json").read_text())["digits"]
    assert set(summary) == {"accuracy"}
    assert not (tmp_path / "metrics/plots/primary_arm.png").exists()


def test_two_data_sets_are_two_reports(tmp_path):
    for dataset in ("digits", "pets"):
        own = tmp_path / dataset
        simulate_runs(own / "final", dataset=dataset, num_test=80, shots=[4], seeds=[0, 1])
        simulate_style(own / "dsi_4", ["s0"])
        folders = {"final": [own / "final"], "styles": {"dsi_4": own / "dsi_4"}}
        report(SETTINGS, dataset=dataset, **folders, out=own / "metrics")
        assert (
            Page(own / "metrics/report.html").headings[0]
            == f"Do synthetic images help on {dataset}?"
        )
        assert list(json.loads((own / "metrics/summary.json").read_text())) == [dataset]
        with (own / "metrics/style_loss.csv").open(newline="") as file:
            assert {row["dataset"] for row in csv.DictReader(file)} == {dataset}
        assert (own / "metrics/plots/style_loss.png").is_file()


def test_runs_of_another_data_set_are_refused(tmp_path):
    for dataset in ("digits", "pets"):
        simulate_runs(tmp_path / "final", dataset=dataset, num_test=80, shots=[4], seeds=[0])
    with pytest.raises(ValueError, match="was run on pets, but this report is of digits"):
        report(SETTINGS, dataset="digits", final=[tmp_path / "final"], out=tmp_path / "metrics")
    assert not (tmp_path / "metrics").exists()


def test_retrieved_images_are_called_so_and_their_holes_are_shown(tmp_path):
    runs, block = tmp_path / "final", tmp_path / "b0"
    simulate_runs(runs, num_test=80, methods=["dsi", "retrieved"], shots=[4], seeds=[0, 1])
    write_pictures(block / "all-00000.tar", 40, caption="a <small> zero", search="caption")
    about = {"wanted": 60, "taken": {"zero": 60, "one": 0}}
    write_json(block / "index.json", {"num_images": 60, "retrieved": about})
    blocks = {"retrieved": block}
    report(SETTINGS, dataset="digits", final=[runs], blocks=blocks, out=tmp_path / "metrics")
    page = Page(tmp_path / "metrics/report.html")
    assert "Retrieved images: No image was found for one." in page.text_below(page.headings[0])
    assert "what synthetic images have to beat" in page.text_below("The evidence")
    assert "for example: a <small> zero" in page.text_below("What was trained")


def test_arms_on_clip_stand_apart(tmp_path):
    ones = {"shots": (1, "full"), "seeds": (1, 2)}
    simulate_runs(tmp_path / "final", **ones, num_test=80)
    labels = read_runs([tmp_path / "final"], "digits")[0].labels
    simulate_clip(tmp_path / "final/clip", labels, **ones)
    report(SETTINGS, dataset="digits", final=[tmp_path / "final"], out=tmp_path / "metrics")
    page = Page(tmp_path / "metrics/report.html")
    on_clip = {"clip_zero_shot", "clip_vanilla", "clip_mixed"}
    assert set(page.table("CLIP, another model").column("arm")) == on_clip
    assert not on_clip & set(page.table("Accuracy against shots").column("arm"))
    assert "seeds 1, 2." in page.text_below("The evidence")  # not the 0 of zero-shot CLIP
    beside = page.table("Other test images")
    assert set(beside.column("arm")) == on_clip
    assert all(cell.startswith("25.0") for cell in beside.column("extra test set, top-1"))
    with (tmp_path / "metrics/accuracy.csv").open(newline="") as file:
        extra = [(row["arm"], row["shots"], row["extra_top1"]) for row in csv.DictReader(file)]
    assert {("clip_vanilla", "1", "25"), ("clip_vanilla", "full", "25")} <= set(extra)
    assert {value for arm, _, value in extra if arm == "vanilla"} == {""}


def test_without_clip_there_is_no_table_of_it(tmp_path):
    """upstream.clip is null: the stage leaves an index without runs."""
    simulate_runs(tmp_path / "final", shots=(1, "full"), seeds=(1, 2), num_test=80)
    write_json(tmp_path / "clip/index.json", {"dataset": "digits", "num_runs": 0})
    final = [tmp_path / "final", tmp_path / "clip"]
    report(SETTINGS, dataset="digits", final=final, out=tmp_path / "metrics")
    page = Page(tmp_path / "metrics/report.html")
    assert "CLIP" not in page.text
    assert not [name for name in page.headings if "CLIP" in name]


def test_long_tailed_data_are_told_by_frequency(tmp_path):
    simulate_runs(tmp_path / "final", shots=(1, "full"), seeds=(1, 2), num_test=80)
    counts = [75, 58, 45, 35, 27, 21, 16, 13, 10, 8]
    write_json(tmp_path / "real/manifest.json", {"train_counts": counts})
    write_pictures(tmp_path / "real/train-00000.tar", 10)
    given = {"final": [tmp_path / "final"], "real": tmp_path / "real"}
    report(SETTINGS, dataset="digits", **given, out=tmp_path / "metrics")
    with (tmp_path / "metrics/accuracy.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["arm"] == "vanilla"]
    assert [row["shots"] for row in rows if row["accuracy_few"]] == ["full"]
    table = Page(tmp_path / "metrics/report.html").table("Other test images")
    assert table.header[-3:] == ["frequent classes", "middling classes", "rare classes"]
    assert set(table.column("shots")) == {"full data"}


def test_main_reads_params_and_names_the_folders_of_each_set(inputs, tmp_path, monkeypatch):
    root = inputs["final"][0].parent
    (tmp_path / "results/clip").mkdir(parents=True)
    (tmp_path / "results/real").symlink_to(root / "final/digits/real")
    for family in ("mixed", "bridged"):
        (tmp_path / "results" / family / "dsi_4").mkdir(parents=True)
    write_pictures(tmp_path / "sets/dsi_4/b0/s0-00000.tar", 99)
    (tmp_path / "params.yaml").write_text(
        "report: {measure: top1, smallest_gain: 1.0, confidence: 0.95,\n"
        " primary: {arm: bridged, method: dsi, shots: 4, reference: vanilla},\n"
        " grid_classes: 3, grid_images: 2}\n"
        "sets: [dsi_4]\ngenerated_sets: [dsi_4]\nclip_tuning: {sets: []}\n"
        "data: {digits: {source: digits}}\nupstream: {generator: {unet: {num_steps: 9}}}\n"
        "synthetic: {dsi_4: {shots: 4, images_per_class: 60}}\nretrieved: {}\n"
    )
    simulate_choice(tmp_path / "delivered")
    monkeypatch.chdir(tmp_path)
    folders = {
        "--real": inputs["real"],
        "--probe": inputs["probe"],
        "--results": "results",
        "--styles": root / "styles",
        "--sets": "sets",
        "--examined": root / "examined",
        "--delivered": "delivered",
        "--out": "metrics",
    }
    main(["--dataset", "digits", *(str(word) for pair in folders.items() for word in pair)])
    page = Page(tmp_path / "metrics/report.html")
    assert page.table("Leakage").column("set") == ["dsi_4"]
    assert {figure.heading for figure in page.figures} >= {PLOTS["style_loss"], PLOTS["grid"]}
    assert "draws the digits 0 to 9 and nothing else" in page.text_below(page.headings[0])
    assert "bridged, dsi_4, 4 shots" in page.text_below("Use the model")
    assert page.table("What it cost").records()[0]["images"] == "600"


def test_a_model_that_is_not_there_is_named(inputs, tmp_path):
    with pytest.raises(ValueError, match="choice.json does not exist; run 'dvc repro'"):
        report(
            SETTINGS,
            dataset="digits",
            final=inputs["final"],
            delivered=tmp_path,
            out=tmp_path / "metrics",
        )


def test_starts_without_torch():
    code = "import sys, synthbridge.stages.report as r; sys.exit('torch' in sys.modules)"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONPATH": os.pathsep.join(sys.path)}
        ).returncode
        == 0
    )
