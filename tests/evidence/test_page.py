"""The page in a real browser, and how large it grows. Its words: tests/stages/test_report.py."""

import json
import shutil

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
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
from playwright.sync_api import sync_playwright

from synthbridge.core.files import write_json
from synthbridge.data.shards import encode_png, write_shard
from synthbridge.evidence.results import read_runs
from synthbridge.stages.report import report

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PHONE, DESKTOP = {"width": 360, "height": 740}, {"width": 1280, "height": 900}
OPEN_ALL = "document.querySelectorAll('details').forEach(part => { part.open = true })"
MADE_OF = {"dsi_4": {"shots": 4, "images_per_class": 60}}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Make a page with every part that it can have."""
    root = tmp_path_factory.mktemp("page")
    ones = {"shots": (1, 4), "seeds": (0, 1, 2)}
    simulate_runs(root / "final", **ones, num_test=120, methods=["dsi", "retrieved"])
    labels = read_runs([root / "final"], "digits")[0].labels
    simulate_clip(root / "final/clip", labels, **ones)
    simulate_probe(root / "probe.json")
    simulate_style(root / "style")
    simulate_choice(root / "delivered")
    for name in ("dsi_4", "retrieved"):
        simulate_examined(root / name / "findings")
        write_pictures(root / name / "b0/s0-00000.tar", 99, prompt="a photo", search="caption")
    write_pictures(root / "real/train-00000.tar", 10)
    shade = encode_png(np.full((16, 16, 3), 30, np.uint8))
    tests = [
        {"__key__": f"t{index}", "png": shade, "cls": label, "json": {}}
        for index, label in enumerate(labels.tolist())
    ]
    write_shard(root / "real/test-00000.tar", tests)
    report(
        SETTINGS,
        dataset="digits",
        final=[root / "final"],
        probe=root / "probe.json",
        styles={"dsi_4": root / "style"},
        real=root / "real",
        blocks={name: root / name / "b0" for name in ("dsi_4", "retrieved")},
        examined={name: root / name / "findings" for name in ("dsi_4", "retrieved")},
        delivered=root / "delivered",
        made_of=MADE_OF,
        note="A note for every reader.",
        out=root / "metrics",
    )
    return root / "metrics/report.html"


@pytest.fixture(scope="module")
def browser():
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"no browser: install one of {', '.join(BROWSERS)} to check the page in it")
    with sync_playwright() as playwright:
        # As root, as containers often are, Chromium starts without its sandbox only.
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, made):
    """Open the page on a screen; give it and the addresses that it asked for."""
    pages = []

    def open_page(screen, scheme="light"):
        page = browser.new_page(viewport=screen, color_scheme=scheme)
        pages.append(page)
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(made.as_uri())
        return page, asked

    yield open_page
    for page in pages:
        page.close()


@pytest.mark.parametrize(
    ("screen", "scheme"), [(PHONE, "light"), (DESKTOP, "dark")], ids=["phone", "dark"]
)
def test_axe_finds_nothing(visit, screen, scheme):
    page, _ = visit(screen, scheme)
    for step in ("folded", "open"):
        found = Axe().run(page).response["violations"]
        told = [(rule["id"], node["html"][:120]) for rule in found for node in rule["nodes"]]
        assert not told, step
        page.evaluate(OPEN_ALL)


@pytest.mark.parametrize("screen", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_the_page_never_scrolls_sideways(visit, screen):
    page, _ = visit(screen)
    page.evaluate(OPEN_ALL)
    assert page.evaluate("document.documentElement.scrollWidth") == screen["width"]


def test_the_page_asks_for_nothing_but_itself(visit, made):
    page, asked = visit(DESKTOP)
    page.evaluate(OPEN_ALL)
    page.wait_for_timeout(100)
    assert [address for address in asked if not address.startswith("data:")] == [made.as_uri()]


def test_the_answer_is_on_a_phones_first_screen(visit):
    page, _ = visit(PHONE)
    box = page.locator(".headline").bounding_box()
    assert box["y"] + box["height"] < PHONE["height"]


def test_every_fold_opens_by_keyboard(visit):
    page, _ = visit(DESKTOP)
    folds = page.locator("details.fold")
    titles = folds.locator("> summary").all_inner_texts()
    assert len(titles) >= 10
    opened = []
    for _ in range(200):
        page.keyboard.press("Tab")
        is_summary = "document.activeElement.matches('details.fold > summary')"
        if page.evaluate(is_summary):
            page.keyboard.press("Enter")
            opened.append(page.evaluate("document.activeElement.innerText"))
        if len(opened) == len(titles):
            break
    assert opened == titles
    assert page.locator("details.fold[open]").count() == len(titles)


def test_wide_tables_scroll_by_keyboard(visit):
    page, _ = visit(PHONE)
    page.evaluate(OPEN_ALL)
    wide = page.locator(".wide")
    assert wide.count() > 5
    for number in range(wide.count()):
        assert wide.nth(number).get_attribute("tabindex") == "0"
        assert wide.nth(number).get_attribute("aria-label")


def test_paper_shows_what_is_folded(visit):
    page, _ = visit(DESKTOP, "dark")
    hidden = "[...document.querySelectorAll('.fold p')].filter(p => !p.checkVisibility())"
    assert page.evaluate(f"{hidden}.length") > 0
    page.emulate_media(media="print")
    assert page.evaluate(f"{hidden}.length") == 0
    ink = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(ink) == "rgb(255, 255, 255)"  # no dark paper


# --- size -----------------------------------------------------------------------------------------

NUM_CLASSES, PER_CLASS = 397, 3
NUM_SETS = 10


def test_a_page_of_397_classes_and_ten_sets_is_below_ten_megabytes(tmp_path):
    """Noise is the worst that JPEG can meet, and every image flips."""
    rng = np.random.default_rng(0)
    noise = [encode_png(rng.integers(256, size=(96, 96, 3), dtype=np.uint8)) for _ in range(8)]
    names = [f"a class with a long name {number}" for number in range(NUM_CLASSES)]
    sets = [f"set{number}_4" for number in range(NUM_SETS)]
    labels = np.repeat(np.arange(NUM_CLASSES), PER_CLASS)

    def shard(path, chosen):
        samples = [
            {"__key__": f"x{n}", "png": noise[n % 8], "cls": int(label), "json": {"prompt": "a"}}
            for n, label in enumerate(chosen)
        ]
        write_shard(path, samples)

    shown = np.linspace(0, NUM_CLASSES - 1, 10).round().astype(int)
    shard(tmp_path / "real/train-00000.tar", np.repeat(shown, 6))
    shard(tmp_path / "real/test-00000.tar", labels)
    write_json(tmp_path / "real/dataset.json", {"class_names": names})
    for name in sets:
        shard(tmp_path / name / "b0/s0-00000.tar", np.repeat(shown, 6))
        _examined_with_classes(tmp_path / name / "findings", names, noise[0])
    for arm, name in (("vanilla", None), ("vanilla_equal_steps", None), ("bridged", sets[0])):
        _write_runs(tmp_path / "final", arm, name, labels)
    settings = SETTINGS.model_copy(
        update={
            "grid_images": 6,
            "primary": SETTINGS.primary.model_copy(update={"method": "set0"}),
        }
    )
    report(
        settings,
        dataset="many",
        final=[tmp_path / "final"],
        real=tmp_path / "real",
        blocks={name: tmp_path / name / "b0" for name in sets},
        examined={name: tmp_path / name / "findings" for name in sets},
        out=tmp_path / "metrics",
    )
    page = tmp_path / "metrics/report.html"
    assert page.stat().st_size < 10e6
    text = page.read_text()
    assert f"{NUM_CLASSES * NUM_SETS - 150:,} more rows stand in <code>class_gap.csv</code>" in text
    assert len((tmp_path / "metrics/class_gap.csv").read_text().splitlines()) == 3971
    assert len((tmp_path / "metrics/classes.csv").read_text().splitlines()) == 398


def _examined_with_classes(folder, names, picture):
    simulate_examined(folder)
    gap = json.loads((folder / "gap.json").read_text())
    row = gap["subsets"]["all"]["by_class"][0]
    gap["subsets"]["all"]["by_class"] = [{**row, "class": name} for name in names]
    (folder / "gap.json").write_text(json.dumps(gap))
    rng = np.random.default_rng(1)
    pairs = rng.integers(256, size=(128, 1024, 3), dtype=np.uint8)
    (folder / "pairs.png").write_bytes(encode_png(pairs))


def _write_runs(folder, arm, name, labels):
    """Write three seeds of an arm; only those with a set read everything."""
    answers = labels if name else (labels + 1) % NUM_CLASSES
    accuracy = float((answers == labels).mean())
    method = name.removesuffix("_4") if name else "real"
    for seed in range(3):
        record = {"dataset": "many", "set": name, "method": method, "arm": arm, "shots": 4}
        record |= {"seed": seed, "learning_rate": 0.1, "selection": {}, "num_train": 1588}
        record |= {"gradient_steps": 100, "top1": accuracy, "curve": {"train_accuracy": [0.5]}}
        path = folder / method / arm / f"4-s{seed}"
        write_json(path.with_suffix(".json"), record)
        probabilities = np.zeros((len(labels), NUM_CLASSES), np.float32)
        probabilities[np.arange(len(labels)), answers] = 1.0
        np.savez_compressed(path.with_suffix(".npz"), probabilities=probabilities, labels=labels)
