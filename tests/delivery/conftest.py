import pytest

from delivered_model import make_study, run_deliver


@pytest.fixture(scope="session")
def study(tmp_path_factory):
    """Final models with a crop in their test: the folder, and what `deliver` is run with."""
    return make_study(tmp_path_factory, resize_size=20)


@pytest.fixture(scope="session")
def delivered(study, tmp_path_factory):
    """The folder that is delivered of it."""
    return run_deliver(*study, tmp_path_factory.mktemp("delivered") / "quarters")
