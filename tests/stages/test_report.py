"""The whole report on simulated results, through the stage."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from evidence.simulated import simulate_examined, simulate_probe, simulate_runs, simulate_style

from synthbridge.data.shards import encode_png, write_shard
from synthbridge.stages.report import main, report

TABLES = {"results", "accuracy", "differences", "probe", "convergence", "style_loss", "forecasts"}
PLOTS = {"accuracy", "differences", "convergence", "style_loss", "grid"}


def write_pictures(path, shade, **record):
    image = np.full((16, 16, 3), shade, np.uint8)
    samples = [
        {"__key__": f"x{index}", "png": encode_png(image), "cls": index % 10,
         "json": {"class_name": f"digit {index % 10}", **record}}
        for index in range(30)
    ]  # fmt: skip
    write_shard(path, samples)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    root = tmp_path_factory.mktemp("inputs")
    simulate_runs(root / "final", num_test=300)
    simulate_probe(root / "probe/digits.json")
    simulate_style(root / "styles/digits/dsi_4")
    simulate_examined(root / "examined/digits/dsi_4/findings")
    write_pictures(root / "real/digits/train-00000.tar", 10)
    record = {"prompt": "a photo of <one>", "sampler": "dpm++"}
    write_pictures(root / "synthetic/digits/dsi_4/b0/s0-00000.tar", 99, **record)
    return {
        "final": [root / "final"],
        "probe": [root / "probe"],
        "styles": [root / "styles"],
        "real": [root / "real/digits"],
        "synthetic": [root / "synthetic/digits/dsi_4/b0"],
        "examined": [root / "examined/digits/dsi_4/findings"],
    }


def files_of(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def made(inputs, settings, tmp_path_factory):
    out = tmp_path_factory.mktemp("metrics")
    report(settings, **inputs, out=out)
    return out


def test_writes_its_files_and_the_same_bytes_again(inputs, made, settings, tmp_path):
    expected = {f"{name}.csv" for name in TABLES} | {"summary.json", "report.html"}
    expected |= {f"plots/digits/{name}.png" for name in PLOTS}
    assert set(files_of(made)) == expected
    report(settings, **inputs, out=tmp_path)
    assert files_of(tmp_path) == files_of(made)


def test_the_page_needs_no_network_and_opens_with_the_verdicts(made):
    page = (made / "report.html").read_text()
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', page)
    assert "@import" not in page and "<script" not in page
    assert page.index("With dsi images on digits, ") < page.index("<svg")
    assert page.count("<svg") == 4 and page.count("data:image/png") == 2
    assert "a photo of &lt;one&gt;" in page  # a prompt is text, never markup
    assert "NaN" not in page and "nan" not in re.sub("[a-z]*nan[a-z]+", "", page)


def test_the_page_shows_leakage_gap_and_forecasts(made):
    page = (made / "report.html").read_text()
    assert page.index("do images of a set look like test images?") < page.index("The gap to real")
    assert "a cosine above 0.9 with" in page
    assert "<td>dsi_4</td><td>zero</td>" in page
    for cell in ("30 %", "5.00 %", "2.50 %", "12.3", "0.123", "1.10"):
        assert f'<td class="number">{cell}</td>' in page
    assert "Do they foretell what fine-tuning gains over vanilla?" in page
    assert "FID by class is not computed for 1 class (zero) of dsi_4: it needs 50 images" in page


def test_svg_ids_are_used_once(made):
    page = (made / "report.html").read_text()
    used = set(re.findall(r"url\(#([^)]+)\)|href=\"#([^\"]+)\"", page))
    for identifier in {name for pair in used for name in pair if name}:
        assert page.count(f'id="{identifier}"') == 1, identifier


def test_says_the_verdicts_and_where(inputs, settings, tmp_path, capsys):
    report(settings, final=inputs["final"], out=tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "report: comparing 135 runs on digits"
    assert lines[1].startswith("  With dsi images on digits, ")
    assert re.fullmatch(rf"made a report of 135 runs in .* s: {tmp_path}/report.html", lines[-1])


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
def test_missing_pieces_give_an_honest_report(reduced, settings, tmp_path):
    simulate_runs(tmp_path / "final", num_test=80, **reduced)
    report(settings, final=[tmp_path / "final"], out=tmp_path / "metrics")
    page = (tmp_path / "metrics/report.html").read_text()
    assert "nan" not in re.sub("[a-z]*nan[a-z]+", "", page)
    assert ("One seed only" in page) == (reduced.get("seeds") == [0])
    assert ("nothing to judge" in page) == (reduced.get("methods") == [])
    if reduced.get("seeds") == [0]:
        assert 'class="helps"' not in page


def test_several_data_sets_have_a_section_each(settings, tmp_path):
    for dataset in ("digits", "pets"):
        simulate_runs(tmp_path / "final", dataset=dataset, num_test=80, shots=[4], seeds=[0, 1])
        simulate_style(tmp_path / "styles" / dataset / "dsi_4", ["s0"])
    report(
        settings,
        final=[tmp_path / "final"],
        styles=[tmp_path / "styles"],
        out=tmp_path / "metrics",
    )
    page = (tmp_path / "metrics/report.html").read_text()
    assert page.index("<h2>digits</h2>") < page.index("<h2>pets</h2>")
    assert (tmp_path / "metrics/plots/pets/style_loss.png").is_file()


def test_retrieved_images_are_called_so_and_their_holes_are_shown(settings, tmp_path):
    runs, folder = tmp_path / "final", tmp_path / "sets/digits/retrieved/b0"
    simulate_runs(runs, num_test=80, methods=["dsi", "retrieved"], shots=[4], seeds=[0, 1])
    write_pictures(folder / "all-00000.tar", 40, caption="a <small> zero", search="caption")
    taken = {"zero": 60, "one": 0}
    (folder / "index.json").write_text(
        json.dumps({"num_images": 60, "retrieved": {"wanted": 60, "taken": taken}})
    )
    report(settings, final=[runs], synthetic=[folder], out=tmp_path / "metrics")
    page = (tmp_path / "metrics/report.html").read_text()
    assert "With retrieved images on digits, " in page and "<b>retrieved images</b>" in page
    assert "With dsi images on digits, " in page
    assert "<b>No image was found for one.</b>" in page
    assert "what synthetic\nimages have to beat" in page
    assert "for example: a &lt;small&gt; zero" in page


def test_main_reads_params(inputs, tmp_path, monkeypatch):
    (tmp_path / "params.yaml").write_text(
        "report: {primary_arm: bridged, measure: top1, smallest_gain: 1.0, confidence: 0.95,\n"
        " num_resamples: 100, seed: 0, grid_classes: 3, grid_images: 2}\n"
    )
    monkeypatch.chdir(tmp_path)
    main(["--final", str(inputs["final"][0]), "--out", "metrics"])
    assert (tmp_path / "metrics/summary.json").is_file()


def test_starts_without_torch():
    code = "import sys, synthbridge.stages.report as r; sys.exit('torch' in sys.modules)"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONPATH": os.pathsep.join(sys.path)}
        ).returncode
        == 0
    )
