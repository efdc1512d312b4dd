import pytest

from delivered_model import run_deliver, write_study


@pytest.fixture(scope="session")
def study(tmp_path_factory):
    """Final models with a crop in their test: the folder, and what `deliver` is run with."""
    root = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SYNTHBRIDGE_WORK", str(root / "work"))
        return root, write_study(root, resize_size=20)


@pytest.fixture(scope="session")
def delivered(study, tmp_path_factory):
    """The folder that is delivered of it."""
    return run_deliver(*study, tmp_path_factory.mktemp("delivered") / "quarters")
