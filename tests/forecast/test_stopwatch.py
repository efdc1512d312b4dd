"""What measures speeds: that more work takes more, in proportion; no figure is expected."""

import numpy as np
import pytest

from synthbridge.forecast.stopwatch import (
    least_seconds,
    seconds_of_code,
    seconds_of_command,
    seconds_of_one,
    smooth_images,
)

MATRIX = np.random.default_rng(0).normal(size=(120, 120))


def _work(count):
    for _ in range(count):
        np.linalg.svd(MATRIX)


def test_one_of_many_takes_what_one_takes():
    each, _ = seconds_of_one(_work, 2, 8)
    alone = least_seconds(lambda: _work(4)) / 4
    assert each == pytest.approx(alone, rel=0.7)


def test_the_fastest_of_the_runs_after_the_first_counts():
    pauses = iter([4, 3, 1, 2])
    one = least_seconds(lambda: _work(1))
    assert least_seconds(lambda: _work(10 * next(pauses)), rounds=3) < 25 * one


def test_a_command_that_fails_is_named():
    with pytest.raises(ValueError, match="'python -c import nothing_like_it' failed"):
        seconds_of_command(["-c", "import nothing_like_it"])


def test_images_are_smooth_and_differ():
    images = smooth_images(3, 32)
    assert images.shape == (3, 32, 32, 3) and images.dtype == np.uint8
    assert np.abs(np.diff(images.astype(int), axis=1)).mean() < 20
    assert not (images[0] == images[1]).all()


def test_code_runs_as_a_stage_and_leaves_at_once(tmp_path):
    torn_apart = tmp_path / "torn apart"
    at_exit = f"import atexit, pathlib; atexit.register(pathlib.Path({str(torn_apart)!r}).touch)"
    assert seconds_of_code(f"assert gc.get_threshold()[0] == 100_000; {at_exit}") > 0
    assert not torn_apart.exists()
    with pytest.raises(ValueError, match="failed; run it to see why"):
        seconds_of_code("raise SystemExit(2)")
