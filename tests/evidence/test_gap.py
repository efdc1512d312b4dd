import numpy as np
import pytest
from scipy.linalg import sqrtm
from sklearn.neighbors import NearestNeighbors

from synthbridge.evidence.gap import (
    describe_gap,
    frechet_distance,
    images_for_fid,
    kernel_distance,
    mean_gap,
    neighbour_fractions,
)
from synthbridge.evidence.settings import ExamineSettings

SETTINGS = ExamineSettings(
    threshold=0.9, neighbours=3, max_images=1000, kid_subset_size=20, kid_subsets=5, seed=0
)


def draw(seed, n=200, d=6, shift=0.0, scale=1.0):
    return shift + scale * np.random.default_rng(seed).normal(size=(n, d))


def test_fid_of_two_gaussians_with_known_moments():
    """Whitened samples have mean 0 and covariance 1 exactly, so the closed form holds exactly."""
    values = draw(0)
    values -= values.mean(0)
    white = values @ np.linalg.inv(np.linalg.cholesky(np.cov(values.T))).T
    mean, spread = np.arange(6) / 2, np.arange(1, 7)
    expected = (mean**2).sum() + ((spread - 1) ** 2).sum()  # diagonal: sum of (s_r - s_s)^2
    assert frechet_distance(white, white * spread + mean) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(values, values) == pytest.approx(0, abs=1e-9)


def test_fid_agrees_with_scipys_matrix_square_root():
    real, other = draw(1), draw(2, n=150, shift=0.3) @ draw(3, n=6)
    means, covariances = zip(*((x.mean(0), np.cov(x.T)) for x in (real, other)), strict=True)
    root = sqrtm(covariances[0] @ covariances[1]).real
    expected = ((means[0] - means[1]) ** 2).sum()
    expected += np.trace(covariances[0] + covariances[1] - 2 * root)
    assert frechet_distance(real, other) == pytest.approx(expected, rel=1e-6)


def test_kid_agrees_with_its_definition_and_is_without_bias():
    real, other = draw(4, n=30), draw(5, n=30, shift=0.4)
    kernel = lambda x, y: (x @ y / 6 + 1) ** 3  # noqa: E731
    within = [
        np.mean([kernel(x, y) for i, x in enumerate(side) for j, y in enumerate(side) if i != j])
        for side in (real, other)
    ]
    across = np.mean([kernel(x, y) for x in real for y in other])
    mean, spread = kernel_distance(real, other, subset_size=30, num_subsets=1, seed=0)
    assert mean == pytest.approx(sum(within) - 2 * across, rel=1e-9) and spread == 0
    alike = [
        kernel_distance(draw(seed), draw(seed + 99), subset_size=100, num_subsets=5, seed=0)[0]
        for seed in range(30)
    ]
    assert abs(np.mean(alike)) < 3 * np.std(alike) / 30**0.5  # draws of one distribution: 0


def test_kid_is_drawn_by_its_seed_alone():
    import torch

    real, other = draw(6), draw(7)
    first = kernel_distance(real, other, subset_size=50, num_subsets=3, seed=1)
    before = torch.random.get_rng_state()
    assert kernel_distance(real, other, subset_size=50, num_subsets=3, seed=1) == first
    assert torch.equal(torch.random.get_rng_state(), before)
    assert kernel_distance(real, other, subset_size=50, num_subsets=3, seed=2) != first


def test_neighbour_fractions_agree_with_brute_force():
    real, other, k = draw(8, n=60, d=3), draw(9, n=40, d=3, shift=0.8), 3

    def inside(points, centres):
        """Tell for each point which centres have it within reach of their k-th neighbour."""
        radii = NearestNeighbors(n_neighbors=k + 1).fit(centres).kneighbors(centres)[0][:, k]
        balls = list(zip(centres, radii, strict=True))
        return [[np.linalg.norm(point - x) <= radius for x, radius in balls] for point in points]

    inside_real, inside_other = inside(other, real), inside(real, other)
    fractions = neighbour_fractions(real, other, k)
    assert fractions["precision"] == pytest.approx(np.any(inside_real, axis=1).mean())
    assert fractions["recall"] == pytest.approx(np.any(inside_other, axis=1).mean())
    assert fractions["density"] == pytest.approx(np.sum(inside_real) / (k * len(other)))
    assert fractions["coverage"] == pytest.approx(np.any(inside_real, axis=0).mean())
    assert 0 < fractions["precision"] < 1 and 0 < fractions["coverage"] < 1


def test_a_set_far_away_and_the_set_itself():
    real = draw(10)
    far = neighbour_fractions(real, draw(11, shift=50), 5)
    assert far == {"precision": 0, "recall": 0, "density": 0, "coverage": 0}
    same = neighbour_fractions(real, real, 5)
    assert same["precision"] == same["recall"] == same["coverage"] == 1
    assert same["density"] >= 1  # each image lies in its own ball too


def test_too_few_images_are_said():
    real, few = draw(12), draw(13, n=11)
    assert images_for_fid(6) == 12
    with pytest.raises(ValueError, match="FID of 6 features needs 12 images .* 200 and 11; take"):
        frechet_distance(real, few)
    with pytest.raises(ValueError, match="subsets of 12 needs as many .* 200 and 11"):
        kernel_distance(real, few, subset_size=12, num_subsets=1, seed=0)
    with pytest.raises(ValueError, match="neighbours is 11, but there are only 200 real and 11"):
        neighbour_fractions(real, few, 11)


def test_a_gap_holds_what_there_are_images_for():
    real_labels, labels = np.arange(200) % 2, np.array([0] * 25 + [1] * 3)
    gap = describe_gap(draw(14), real_labels, draw(15, n=28), labels, ["one", "two"], SETTINGS)
    assert gap["needs"] == {"fid": 12, "kid": 20, "neighbours": 4}
    assert {"fid", "kid", "precision"} <= gap.keys() and gap["num_images"] == 28
    one, two = gap["by_class"]
    assert (one["class"], one["num_real"], one["num_images"]) == ("one", 100, 25)
    assert one["fid"] == pytest.approx(frechet_distance(draw(14)[::2], draw(15, n=28)[:25]), 1e-4)
    assert two == {"class": "two", "num_real": 100, "num_images": 3}


def test_the_mean_gap_is_of_measures_that_all_subsets_have():
    gaps = [{"fid": 1.0, "kid": 0.2, "num_images": 3}, {"fid": 2.0, "num_images": 3}]
    assert mean_gap(gaps) == {"fid": 1.5}


def test_large_sets_are_thinned_for_the_neighbours():
    few = SETTINGS.model_copy(update={"max_images": 50})
    labels = np.zeros(200, int)
    gap = describe_gap(draw(16), labels, draw(17), labels, ["one"], few)
    assert gap["precision"] * 50 == pytest.approx(round(gap["precision"] * 50))
