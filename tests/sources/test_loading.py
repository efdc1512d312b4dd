import shutil

import pytest

from own_data import class_folders, fill, settings
from synthbridge.sources.loading import SOURCES, load_dataset


@pytest.mark.parametrize("source", sorted(set(SOURCES) - {"digits"}))
def test_every_source_refuses_a_folder_that_is_not_there(source, tmp_path):
    with pytest.raises(ValueError, match="mine"):
        SOURCES[source](settings(source=source), tmp_path / "mine")


@pytest.fixture
def raw(tmp_path):
    raw = tmp_path / "mine"
    class_folders(raw / "train", 3)
    class_folders(raw / "test", 2, 2000)
    class_folders(raw / "sketches", 2, 4000)
    return raw


def test_images_of_an_extra_test_set_have_the_labels_of_the_own_classes(raw):
    dataset = load_dataset(settings(extra_test="sketches"), raw)
    assert [image.label for image in dataset.extra_test] == [0, 0, 1, 1, 2, 2]
    assert dataset.extra_test[2].name == "extra_test:sketches/house_sparrow/0.jpg"
    shutil.rmtree(raw / "sketches")
    without = load_dataset(settings(), raw)
    assert [image.name for image in without.train] == [image.name for image in dataset.train]
    assert without.extra_test is None


def test_a_class_of_an_extra_test_set_may_be_missing_or_called_by_its_name(raw, capsys):
    (raw / "sketches" / "house_sparrow").rename(raw / "sketches" / "house sparrow")
    shutil.rmtree(raw / "sketches" / "rook")
    dataset = load_dataset(settings(extra_test="sketches"), raw)
    assert [image.label for image in dataset.extra_test] == [0, 0, 1, 1]
    assert "extra_test 'sketches' has 2 of 3 classes" in capsys.readouterr().out


def test_an_unknown_class_of_an_extra_test_set_is_named(raw):
    fill(raw / "sketches" / "unicorn", 1)
    with pytest.raises(ValueError, match=r"sketches/unicorn is no class of .*AmericanCrow, house"):
        load_dataset(settings(extra_test="sketches"), raw)


def test_an_extra_test_set_that_is_not_there_is_named(raw):
    shutil.rmtree(raw / "sketches")
    with pytest.raises(ValueError, match=r"data\.mine\.extra_test is 'paintings', but .* does not"):
        load_dataset(settings(extra_test="paintings"), raw)
