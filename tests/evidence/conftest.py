"""What the tests of the evidence share."""

import pytest

from synthbridge.evidence.settings import ReportSettings


@pytest.fixture(scope="session")
def settings() -> ReportSettings:
    return ReportSettings(
        primary_arm="bridged",
        measure="top1",
        smallest_gain=1.0,
        confidence=0.95,
        num_resamples=200,
        seed=0,
        grid_classes=10,
        grid_images=3,
    )
