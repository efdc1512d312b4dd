from typing import get_args

import pytest

from synthbridge.core.settings import check_settings
from synthbridge.data.settings import DatasetSettings, Source
from synthbridge.sources.loading import SOURCES

VALUES = {"source": "folder", "flip": True, "validation_per_class": 1, "seed": 0}


def test_settings_name_every_source_that_can_be_read():
    assert sorted(get_args(Source)) == sorted(SOURCES)


@pytest.mark.parametrize("name", ["../there", "a/b", "", "two words"])
def test_an_extra_test_set_is_one_folder(name):
    assert check_settings(DatasetSettings, {**VALUES, "extra_test": "out-of_domain"}, "")
    with pytest.raises(ValueError, match="name one folder below the data set's raw folder"):
        check_settings(DatasetSettings, {**VALUES, "extra_test": name}, "")


def test_a_source_that_nothing_reads_is_refused_with_the_names():
    with pytest.raises(ValueError, match="source is 'zip'.*csv.*webdataset"):
        check_settings(DatasetSettings, {**VALUES, "source": "zip"}, "")


def test_only_folders_are_grouped_by_a_setting():
    assert check_settings(DatasetSettings, {**VALUES, "group_by": "folder"}, "").group_by
    with pytest.raises(ValueError, match="source csv has no folders of groups; name groups in its"):
        check_settings(DatasetSettings, {**VALUES, "source": "csv", "group_by": "folder"}, "")
    with pytest.raises(ValueError, match="source pets has the groups of its authors; remove"):
        check_settings(DatasetSettings, {**VALUES, "source": "pets", "group_by": "alike"}, "")
    with pytest.raises(ValueError, match="group_by is 'day'; it should be 'folder', 'regex'"):
        check_settings(DatasetSettings, {**VALUES, "group_by": "day"}, "")
    with pytest.raises(ValueError, match="source is 'zip'") as error:
        check_settings(DatasetSettings, {**VALUES, "source": "zip", "group_by": "folder"}, "")
    assert "group_by" not in str(error.value)


def test_a_regular_expression_is_checked():
    asked = {**VALUES, "group_by": "regex", "group_regex": r"(\d+)_"}
    assert check_settings(DatasetSettings, asked, "").group_regex == r"(\d+)_"
    with pytest.raises(ValueError, match="group_regex.*it is no regular expression"):
        check_settings(DatasetSettings, {**asked, "group_regex": "("}, "")
    for lone in ("group_by", "group_regex"):
        with pytest.raises(ValueError, match="go together; write both or none"):
            check_settings(DatasetSettings, {**VALUES, lone: asked[lone]}, "")
