import pytest

from synthbridge.sources.named.facts import FACTS
from synthbridge.sources.named.source import READERS

# Bridged, appendix: classes, training and test images, metric; learning rates of its table 5.
PAPER = {
    "aircraft": (100, 6667, 3333, "mean_per_class", 0.1),
    "caltech101": (101, 3030, 5647, "mean_per_class", 0.003),
    "cars": (196, 8144, 8041, "top1", 0.01),
    "cub": (200, 5994, 5794, "top1", 0.01),
    "dogs": (120, 12000, 8580, "top1", 0.01),
    "dtd": (47, 3760, 1880, "top1", 0.003),
    "flowers": (102, 2040, 6149, "mean_per_class", 0.01),
    "food": (101, 75750, 25250, "top1", 0.01),
    "pets": (37, 3680, 3669, "mean_per_class", 0.003),
    "sun397": (397, 19850, 19850, "top1", 0.003),
}


def test_facts_are_the_papers():
    rows = {
        name: (f.num_classes, f.num_train, f.num_test, f.metric, f.learning_rate)
        for name, f in FACTS.items()
    }
    assert rows == PAPER and set(READERS) == set(PAPER)


@pytest.mark.parametrize("name", FACTS)
def test_counts_of_classes_add_up(name):
    facts = FACTS[name]
    for total, per_class in (
        (facts.num_train, facts.train_per_class),
        (facts.num_test, facts.test_per_class),
    ):
        assert per_class is None or per_class * facts.num_classes == total
