import pytest

from own_data import settings
from synthbridge.data.settings import Source
from synthbridge.sources.loading import SOURCES


def test_settings_name_every_source():
    assert sorted(Source.__args__) == sorted(SOURCES)


@pytest.mark.parametrize("source", sorted(set(SOURCES) - {"digits"}))
def test_every_source_refuses_a_folder_that_is_not_there(source, tmp_path):
    with pytest.raises(ValueError, match="mine"):
        SOURCES[source](settings(source=source), tmp_path / "mine")
