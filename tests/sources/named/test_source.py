import pytest

from synthbridge.data.settings import DatasetSettings
from synthbridge.sources.loading import SOURCES, load_dataset
from synthbridge.sources.named.facts import PUBLISHED


@pytest.mark.parametrize("name", PUBLISHED)
def test_absent_data_set_says_what_to_fetch_and_where_to_put_it(name, tmp_path):
    assert name in SOURCES
    settings = DatasetSettings(source=name, flip=True, validation_per_class=1, seed=0)
    raw = tmp_path / name
    with pytest.raises(ValueError, match="is missing: nothing downloads") as error:
        load_dataset(settings, raw)
    assert PUBLISHED[name].files in str(error.value) and str(error.value).endswith(f"into {raw}")
    assert "http" in PUBLISHED[name].files
