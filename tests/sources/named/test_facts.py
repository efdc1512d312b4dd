import pytest

from synthbridge.sources.named.checks import check_listing
from synthbridge.sources.named.facts import PUBLISHED
from synthbridge.sources.named.listing import Listing
from synthbridge.sources.named.source import READERS


def test_every_data_set_has_a_reader_and_its_facts():
    assert READERS.keys() == PUBLISHED.keys()


@pytest.mark.parametrize("name", PUBLISHED)
def test_counts_of_classes_add_up(name):
    facts = PUBLISHED[name]
    for total, per_class in (
        (facts.num_train, facts.train_per_class),
        (facts.num_test, facts.test_per_class),
    ):
        assert per_class is None or per_class * facts.num_classes == total


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("name", PUBLISHED)
def test_a_listing_with_one_image_less_is_refused_with_the_number(name, split, tmp_path):
    facts = PUBLISHED[name]
    counts = {"train": facts.num_train, "test": facts.num_test}
    wanted = counts[split]
    counts[split] -= 1
    images = {
        part: [(f"{part}{index}.jpg", index % facts.num_classes) for index in range(count)]
        for part, count in counts.items()
    }
    classes = {index: f"name {index}" for index in range(facts.num_classes)}
    listing = Listing(classes, images["train"], images["test"])
    sentence = f"has {wanted} {split} images, its files list {wanted - 1};"
    with pytest.raises(ValueError, match=sentence):
        check_listing(listing, tmp_path, facts)
