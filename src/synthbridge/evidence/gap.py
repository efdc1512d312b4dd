"""Gap metrics: how far a set's images lie from real ones, in the features of a stated network.

Two distances between the sets as a whole, from torchmetrics:

    FID  |mu_r - mu_s|^2 + tr(C_r + C_s - 2 (C_r C_s)^(1/2))      (arXiv:1706.08500)
    KID  the squared MMD with the kernel (x y / D + 1)^3, without bias  (arXiv:1801.01401)

And four fractions, which tell fidelity from diversity, from the balls around every image that reach
to its k-th neighbour in its own set:

    precision  of the set's images, those inside a real ball       (arXiv:1904.06991)
    recall     of the real images, those inside a ball of the set  (arXiv:1904.06991)
    density    mean over the set's images of (real balls around it) / k   (arXiv:2002.09797)
    coverage   of the real images, those with an image of the set in their ball (arXiv:2002.09797)

FID grows where images are few; KID does not, but spreads.
"""

import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from synthbridge.evidence.settings import ExamineSettings

MEASURES = ("fid", "kid", "precision", "recall", "density", "coverage")
ROWS = 2048  # rows of distances computed at once

# FID needs covariances of full rank. Chosen: twice as many images as features, of either side.
IMAGES_PER_FEATURE = 2


def images_for_fid(num_features: int) -> int:
    """Return the fewest images that we compute an FID from."""
    return IMAGES_PER_FEATURE * num_features


def frechet_distance(real: np.ndarray, other: np.ndarray) -> float:
    """Return the FID between features (N, D) and (M, D), in float64.

    Raises:
        ValueError: if either has too few images for its features.
    """
    needed = images_for_fid(real.shape[1])
    if min(len(real), len(other)) < needed:
        raise ValueError(
            f"FID of {real.shape[1]} features needs {needed} images of either side, but there are "
            f"{len(real)} and {len(other)}; take more images, or KID"
        )
    import torch
    from torchmetrics.image.fid import FrechetInceptionDistance

    features = torch.nn.Identity()
    features.num_features = real.shape[1]  # pyright: ignore[reportArgumentType]
    metric = FrechetInceptionDistance(features)
    metric.update(torch.from_numpy(np.asarray(real, np.float64)), real=True)
    metric.update(torch.from_numpy(np.asarray(other, np.float64)), real=False)
    return max(0.0, float(metric.compute()))  # of the same images it is 0 to 1e-12


def kernel_distance(
    real: np.ndarray, other: np.ndarray, *, subset_size: int, num_subsets: int, seed: int
) -> tuple[float, float]:
    """Return the KID between features (N, D) and (M, D): mean and spread over random subsets.

    Args:
        real: features.
        other: features.
        subset_size: images of either side in a subset.
        num_subsets: subsets drawn.
        seed: draws them.

    Raises:
        ValueError: if either side has fewer images than a subset.
    """
    if min(len(real), len(other)) < subset_size:
        raise ValueError(
            f"KID with subsets of {subset_size} needs as many images of either side, but there are "
            f"{len(real)} and {len(other)}; take more images or smaller subsets"
        )
    import torch
    from torchmetrics.image.kid import KernelInceptionDistance

    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore", UserWarning)  # that it keeps all features in memory
        torch.manual_seed(seed)
        metric = KernelInceptionDistance(
            torch.nn.Identity(), subset_size=subset_size, subsets=num_subsets
        )
        metric.update(torch.from_numpy(np.asarray(real, np.float64)), real=True)
        metric.update(torch.from_numpy(np.asarray(other, np.float64)), real=False)
        mean, spread = metric.compute()
    return float(mean), float(spread)


def neighbour_fractions(real: np.ndarray, other: np.ndarray, k: int) -> dict[str, float]:
    """Return precision, recall, density and coverage of `other` against `real`.

    Args:
        real: features (N, D).
        other: features (M, D).
        k: the neighbour that a ball reaches to, the image itself not counted.

    Raises:
        ValueError: if either side has no k neighbours.
    """
    if min(len(real), len(other)) <= k:
        raise ValueError(
            f"neighbours is {k}, but there are only {len(real)} real and {len(other)} other "
            "images; choose fewer neighbours"
        )
    real, other = (np.asarray(features, np.float64) for features in (real, other))
    real_radii = _by_rows(real, real, lambda near: np.partition(near, k, axis=1)[:, k])
    other_radii = _by_rows(other, other, lambda near: np.partition(near, k, axis=1)[:, k])
    balls = _by_rows(other, real, lambda near: (near <= real_radii).sum(axis=1))
    is_recalled = _by_rows(real, other, lambda near: (near <= other_radii).any(axis=1))
    nearest = _by_rows(real, other, lambda near: near.min(axis=1))
    return {
        "precision": float((balls > 0).mean()),
        "recall": float(is_recalled.mean()),
        "density": float(balls.mean() / k),
        "coverage": float((nearest <= real_radii).mean()),
    }


def _by_rows(
    left: np.ndarray, right: np.ndarray, reduce: Callable[[np.ndarray], Any]
) -> np.ndarray:
    """Apply `reduce` to squared distances (rows, M), a few rows of `left` at a time: (N,)."""
    squares = (right**2).sum(axis=1)
    parts = []
    for start in range(0, len(left), ROWS):
        rows = left[start : start + ROWS]
        near = (rows**2).sum(axis=1)[:, None] + squares - 2 * rows @ right.T
        parts.append(reduce(near))
    return np.concatenate(parts)


def describe_gap(
    real: np.ndarray,
    real_labels: np.ndarray,
    other: np.ndarray,
    labels: np.ndarray,
    class_names: Sequence[str],
    settings: ExamineSettings,
) -> dict[str, Any]:
    """Measure the gap of a set, as a whole and by class.

    Args:
        real: features (N, D).
        real_labels: their classes (N,).
        other: the set's features (M, D).
        labels: their classes (M,).
        class_names: of all classes.
        settings: of `examine`.

    Returns:
        The images counted, the measures by name, under `needs` the images of either side that a
        measure needs, and the same of each class. A measure with fewer is not there.
    """
    by_class = []
    for label, name in enumerate(class_names):
        own_real, own = real[real_labels == label], other[labels == label]
        by_class.append({"class": name, **_measures(own_real, own, settings)})
    return {
        **_measures(real, other, settings),
        "needs": _needs(real.shape[1], settings),
        "by_class": by_class,
    }


def _needs(num_features: int, settings: ExamineSettings) -> dict[str, int]:
    return {
        "fid": images_for_fid(num_features),
        "kid": settings.kid_subset_size,
        "neighbours": settings.neighbours + 1,
    }


def _measures(real: np.ndarray, other: np.ndarray, settings: ExamineSettings) -> dict[str, Any]:
    """Take the measures that there are images enough for."""
    needs, fewest = _needs(real.shape[1], settings), min(len(real), len(other))
    found: dict[str, float] = {}
    if fewest >= needs["fid"]:
        found["fid"] = frechet_distance(real, other)
    if fewest >= needs["kid"]:
        found["kid"], found["kid_spread"] = kernel_distance(
            real,
            other,
            subset_size=settings.kid_subset_size,
            num_subsets=settings.kid_subsets,
            seed=settings.seed,
        )
    if fewest >= needs["neighbours"]:
        rng = np.random.default_rng(settings.seed)
        some = _draw(real, settings.max_images, rng), _draw(other, settings.max_images, rng)
        found |= neighbour_fractions(some[0], some[1], settings.neighbours)
    rounded = {name: round(value, 5) for name, value in found.items()}
    return {"num_real": len(real), "num_images": len(other), **rounded}


def _draw(features: np.ndarray, number: int, rng: np.random.Generator) -> np.ndarray:
    if len(features) <= number:
        return features
    return features[np.sort(rng.choice(len(features), number, replace=False))]


def mean_gap(gaps: Iterable[dict[str, Any]]) -> dict[str, float]:
    """Return the mean over subsets of the measures that all of them have."""
    gaps = list(gaps)
    return {
        name: round(float(np.mean([gap[name] for gap in gaps])), 5)
        for name in MEASURES
        if all(name in gap for gap in gaps)
    }
