"""What the tests of the evidence share."""

import pytest
from evidence.simulated import SETTINGS

from synthbridge.evidence.settings import ReportSettings


@pytest.fixture(scope="session")
def settings() -> ReportSettings:
    return SETTINGS
