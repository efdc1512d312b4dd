import pytest

from synthbridge.sources.named.checks import check_listing
from synthbridge.sources.named.listing import Listing

TRAIN = [(f"{key}{index}.jpg", key) for key in "abcde" for index in range(2)]
TEST = [(f"{key}9.jpg", key) for key in "abcde"]
CLASSES = {key: f"name {key}" for key in "abcde"}


@pytest.fixture
def check(tmp_path, write_images, replica_facts):
    write_images(tmp_path, [path for path, _ in TRAIN + TEST])

    def run(classes=CLASSES, train=TRAIN, test=TEST, per_class=(None, None)):
        facts = replica_facts(
            "cub", 5, 10, 5, train_per_class=per_class[0], test_per_class=per_class[1]
        )
        check_listing(Listing(classes, train, test), tmp_path, facts)

    return run


def test_whole_data_set_passes(check):
    check()
    check(per_class=(2, 1))


def test_number_of_classes_is_checked(check):
    with pytest.raises(ValueError, match="CUB-200-2011 has 5 classes, but its files in .* list 6"):
        check(classes={**CLASSES, "f": "name f"})


def test_name_of_two_classes_is_refused(check):
    with pytest.raises(ValueError, match="2 classes are called 'name a', and a name belongs"):
        check(classes={**CLASSES, "b": "name a"})


def test_image_in_both_splits_is_refused(check):
    with pytest.raises(ValueError, match=r"a0\.jpg is listed twice, and an image belongs to one"):
        check(test=[("a0.jpg", "a"), *TEST[1:]])


def test_short_split_names_its_smallest_classes(check):
    with pytest.raises(ValueError, match="list 7; its smallest classes are: 'name e' with 0, "):
        check(train=TRAIN[:7])


def test_long_split_names_its_largest_classes(check):
    with pytest.raises(ValueError, match="list 11; its largest classes are: 'name b' with 3, "):
        check(train=[*TRAIN, ("b3.jpg", "b")])


def test_class_without_an_image_is_named_though_the_total_fits(check):
    train = [*TRAIN[:8], ("a7.jpg", "a"), ("a8.jpg", "a")]
    with pytest.raises(ValueError, match="a class without any: 'name e' with 0; fetch again"):
        check(train=train)


def test_known_count_of_each_class_is_held_though_the_total_fits(check):
    train = [*TRAIN[:9], ("a7.jpg", "a")]
    with pytest.raises(ValueError, match="not 2 as in every class: 'name a' with 3, 'name e' with"):
        check(train=train, per_class=(2, None))


def test_missing_files_of_many_classes_are_counted(check, tmp_path):
    for key in "abcde":
        (tmp_path / f"{key}9.jpg").unlink()
    with pytest.raises(ValueError, match=r"5 of its 15 images .* 1 of 'name c' .*, 2 more classes"):
        check()
