"""Coverage: how often each interval holds the true difference, on simulated results.

    python benchmarks/interval_coverage.py       two minutes on one core, and nothing to download

A trial is a matrix of differences between two models, -1, 0 or 1 for each seed and test image, with
a true mean of 2.5 points. Seeds, images and, where there are some, groups of images have effects
of their own; the models disagree on 12 % of the images or more. The spread of the effects is that
of the default's results on digits. Each setting is simulated 1,000 times (a coverage of 95 % is
then known to within 1.4 points), and each interval is one at 95 %:

    ours         evidence/statistics.py: seeds and groups of test images, Cochran's t
    satterthwaite  the same variance, Student's t with Satterthwaite's degrees of freedom
    subtracted   ours less the residual that it counts twice (Cameron, Gelbach and Miller)
    ungrouped    ours, without being told of the groups
    seeds        Student's paired t over the seeds, which takes the test images for fixed
    images       the normal interval over the images, which takes the seeds for fixed
    bootstrap    of seeds and images, percentiles stretched by Student's t for few seeds; it needs
                 draws (here 300), so it ran on few images alone
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import measure
import numpy as np
from scipy.special import ndtri, stdtrit

from synthbridge.evidence.statistics import Axis, half_width, seeds_and_groups

CONFIDENCE, NUM_TRIALS = 0.95, 1000
GAIN = 2.5  # points, in truth
DISAGREEMENT = 12.0  # points: how often the two models answer differently, at least
IMAGE_SPREAD = 8.0  # points: of the images' own differences
NUM_DRAWS, DRAWN_IMAGES = 300, 1000  # of the bootstrap, and up to how many images it runs on
Bounds = tuple[float, float]


@dataclass(frozen=True)
class Setting:
    """What is simulated."""

    num_seeds: int
    num_images: int
    seed_spread: float  # points: standard deviation of a seed's own difference
    law: Literal["normal", "exponential"] = "normal"  # of the seeds' differences
    num_groups: int | None = None
    group_spread: float = 0.0  # points
    unequal: bool = False  # groups of sizes 1 : 2 : ... : G

    @property
    def words(self) -> str:
        """Say the setting."""
        unequal = " unequal" if self.unequal else ""
        groups = "" if self.num_groups is None else f" in {self.num_groups}{unequal} groups"
        law = "" if self.law == "normal" else f", {self.law}"
        seeds = f"{self.num_seeds} seeds ± {self.seed_spread:g}{law}"
        return f"{seeds}; {self.num_images:,} images{groups}"


SETTINGS = [
    *(Setting(seeds, 900, 2.0) for seeds in (2, 3, 4, 6, 8, 10)),
    *(Setting(seeds, 300, 0.0) for seeds in (3, 8)),
    *(Setting(seeds, 900, 7.0) for seeds in (3, 8)),
    *(Setting(seeds, images, 2.0) for seeds in (3, 8) for images in (300, 5000)),
    *(Setting(seeds, 25000, 2.0) for seeds in (3, 8)),
    *(Setting(seeds, 900, 2.0, "exponential") for seeds in (3, 5, 8, 10)),
    *(Setting(seeds, 900, 7.0, "exponential") for seeds in (3, 8)),
    *(Setting(seeds, 900, 2.0, "normal", groups, 2.5) for groups in (7, 50) for seeds in (3, 8)),
    *(Setting(8, 900, 2.0, "normal", groups, 2.5, True) for groups in (7, 50)),
    *(Setting(8, 5000, 2.0, "exponential", groups, 2.5) for groups in (7, 50)),
]


def draw_groups(setting: Setting) -> np.ndarray | None:
    """Return each image's group, (N,)."""
    if setting.num_groups is None:
        return None
    sizes = np.ones(setting.num_groups)
    if setting.unequal:
        sizes = np.arange(1, setting.num_groups + 1)
    ends = np.cumsum(sizes) / sizes.sum()
    return np.searchsorted(ends, (np.arange(setting.num_images) + 0.5) / setting.num_images)


def draw_differences(
    rng: np.random.Generator, setting: Setting, groups: np.ndarray | None
) -> np.ndarray:
    """Draw a matrix (S, N) of -1, 0 and 1 with mean GAIN points over all draws."""
    law = {
        "normal": lambda size: rng.standard_normal(size),
        "exponential": lambda size: rng.exponential(size=size) - 1,
    }[setting.law]
    of_seed = setting.seed_spread * law((setting.num_seeds, 1))
    of_image = IMAGE_SPREAD * rng.choice([-1.0, 1.0], size=setting.num_images)
    if groups is not None:
        of_image += setting.group_spread * rng.standard_normal(groups.max() + 1)[groups]
    truth = (GAIN + of_seed + of_image) / 100
    # A model that is better by `truth` on average, and otherwise as often better as worse.
    differing = np.maximum(DISAGREEMENT / 100, np.abs(truth))
    chance = rng.random(truth.shape, dtype=np.float32)
    better, worse = (differing + truth) / 2, (differing - truth) / 2
    return (chance < better).astype(np.float64) - (chance > 1 - worse)


def _axes(differences: np.ndarray, groups: np.ndarray | None) -> list[Axis]:
    return seeds_and_groups(differences, np.ones(differences.shape[1]), groups)


def _about(differences: np.ndarray, axes: list[Axis]) -> Bounds:
    mean, half = differences.mean(), half_width(axes, 1 - CONFIDENCE)
    return mean - half, mean + half


def _ours(differences: np.ndarray, groups: np.ndarray | None) -> Bounds:
    return _about(differences, _axes(differences, groups))


def _satterthwaite(differences: np.ndarray, groups: np.ndarray | None) -> Bounds:
    axes = _axes(differences, groups)
    total = sum(axis.variance for axis in axes)
    freedom = total**2 / sum(axis.variance**2 / axis.freedom for axis in axes)
    return _about(differences, [Axis(total, freedom)])


def _subtracted(differences: np.ndarray, groups: np.ndarray | None) -> Bounds:
    """Take out once what the seeds' variance and the groups' both hold."""
    num_seeds, num_images = differences.shape
    rows = differences.mean(axis=1, keepdims=True)
    left = differences - rows - differences.mean(axis=0) + differences.mean()
    if groups is not None:
        left = np.stack([np.bincount(groups, row) for row in left])
    num_groups = left.shape[1]
    correction = num_seeds / (num_seeds - 1) * num_groups / (num_groups - 1)
    both = correction * (left**2).sum() / (num_seeds * num_images) ** 2
    seeds, images = _axes(differences, groups)
    images = Axis(max(0.0, images.variance - both), images.freedom)
    return _about(differences, [seeds, images])


def _seeds(differences: np.ndarray, _: np.ndarray | None) -> Bounds:
    return _about(differences, _axes(differences, None)[:1])


def _images(differences: np.ndarray, _: np.ndarray | None) -> Bounds:
    columns = differences.mean(axis=0)
    half = ndtri((1 + CONFIDENCE) / 2) * columns.std(ddof=1) / np.sqrt(len(columns))
    return columns.mean() - half, columns.mean() + half


def _bootstrap(rng: np.random.Generator, differences: np.ndarray) -> Bounds:
    """Draw seeds and images with replacement; stretch the percentiles for few seeds."""
    num_seeds, num_images = differences.shape
    seeds = rng.multinomial(num_seeds, [1 / num_seeds] * num_seeds, size=NUM_DRAWS)
    drawn = rng.integers(num_images, size=(NUM_DRAWS, num_images))
    drawn += num_images * np.arange(NUM_DRAWS)[:, None]
    images = np.bincount(drawn.ravel(), minlength=NUM_DRAWS * num_images).astype(np.float64)
    by_seed = images.reshape(NUM_DRAWS, num_images) @ differences.T
    means = (seeds * by_seed).sum(axis=1) / differences.size
    mean, tail = differences.mean(), (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    stretch = _stretch(differences)
    return mean + stretch * (low - mean), mean + stretch * (high - mean)


def _stretch(differences: np.ndarray) -> float:
    """Return the factor that undoes what a resample of few seeds loses."""
    num_seeds, num_images = differences.shape
    over_seeds = differences.mean(axis=1).var(ddof=1) / num_seeds
    over_images = differences.mean(axis=0).var(ddof=1) / num_images
    total = over_seeds + over_images
    freedom = total**2 / (over_seeds**2 / (num_seeds - 1) + over_images**2 / (num_images - 1))
    lost = total / (over_seeds * (num_seeds - 1) / num_seeds + over_images)
    tail = (1 + CONFIDENCE) / 2
    return float(np.sqrt(lost) * stdtrit(freedom, tail) / ndtri(tail))


INTERVALS: dict[str, Callable[[np.ndarray, np.ndarray | None], Bounds]] = {
    "ours": _ours,
    "satterthwaite": _satterthwaite,
    "subtracted": _subtracted,
    "ungrouped": lambda differences, _: _ours(differences, None),
    "seeds": _seeds,
    "images": _images,
}


def measure_setting(setting: Setting, num_trials: int, seed: int = 0) -> dict[str, Any]:
    """Return the coverage of each interval in percent, and the median width of ours in points."""
    rng = np.random.default_rng(seed)
    groups = draw_groups(setting)
    held: dict[str, list[bool]] = {}
    widths = []
    for _ in range(num_trials):
        differences = draw_differences(rng, setting, groups)
        bounds = {name: make(differences, groups) for name, make in INTERVALS.items()}
        if groups is None:
            del bounds["ungrouped"]
        if setting.num_images <= DRAWN_IMAGES:
            bounds["bootstrap"] = _bootstrap(rng, differences)
        for name, (low, high) in bounds.items():
            held.setdefault(name, []).append(100 * low <= GAIN <= 100 * high)
        widths.append(100 * (bounds["ours"][1] - bounds["ours"][0]))
    return {
        "coverage": {name: round(100 * float(np.mean(values)), 1) for name, values in held.items()},
        "width": round(float(np.median(widths)), 2),
    }


def table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the figures as a Markdown table: coverage in percent, and the width of ours."""
    names = [*INTERVALS, "bootstrap"]
    lines = [f"| results | {' | '.join(names)} | points |", "|---" * (2 + len(names)) + "|"]
    for name in sorted(rows, key=int):
        row = rows[name]
        cells = [f"{row['coverage'][of]:.1f}" if of in row["coverage"] else "" for of in names]
        lines.append(f"| {row['what']} | {' | '.join(cells)} | {row['width']:.1f} |")
    return "\n".join(lines)


def main() -> None:
    """Simulate, print a table and save."""
    measure.read_arguments(__doc__)
    rows = {}
    for number, setting in enumerate(SETTINGS):
        found = measure_setting(setting, NUM_TRIALS)
        ratio = found["coverage"]["ours"] / (100 * CONFIDENCE)
        rows[str(number)] = {"what": setting.words, "ratio": ratio, "wanted": None, **found}
    measure.save_ratios("interval_coverage", rows)
    print(f"\n{table(rows)}")


if __name__ == "__main__":
    main()
