"""Manifests: which image belongs to which split, and which are the k shots of a seed."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

Shots = int | str  # a number of images per class, or "full"

MAX_SHOTS = 64  # the length of a ranking; more shots than that are no longer few
NUM_FEW_SHOT_SEEDS = 10
GROUP_ORDERS = 20  # tried before groups are said not to fill a split


def rank_by_hash(names: Sequence[str], salt: str) -> list[str]:
    """Order `names` by a salted hash: a shuffle that does not move when names come or go."""
    return sorted(names, key=lambda name: hashlib.sha256(f"{salt}:{name}".encode()).digest())


def hold_out(names_by_class: list[list[str]], per_class: int, seed: int) -> set[str]:
    """Choose `per_class` names of every class for validation.

    Raises:
        ValueError: if a class would keep no training image.
    """
    for label, names in enumerate(names_by_class):
        if len(names) <= per_class:
            raise ValueError(
                f"validation_per_class is {per_class}, but class {label} has only {len(names)} "
                "training images and must keep one; lower validation_per_class"
            )
    return {
        name
        for names in names_by_class
        for name in rank_by_hash(names, f"validation-{seed}")[:per_class]
    }


def hold_out_groups(
    groups_by_class: list[list[str]], per_class: int, keep: int, salt: str
) -> set[str] | None:
    """Choose whole groups of images that hold `per_class` images or more of every class.

    Groups are taken in the order of a salted hash, each that a class still needs. A class gets
    more than it asks for where its last group is larger than what was missing.

    Args:
        groups_by_class: the group of each image, class by class.
        per_class: images that each class needs.
        keep: images of each class that must stay outside.
        salt: of the hash.

    Returns:
        The groups; None if no order that was tried gives such a choice.
    """
    counts: dict[str, Counter[int]] = defaultdict(Counter)  # images of a group by class
    for label, groups in enumerate(groups_by_class):
        for group in groups:
            counts[group][label] += 1
    sizes = [len(groups) for groups in groups_by_class]
    for order in range(GROUP_ORDERS):  # one order may run into a corner where another does not
        ranked = rank_by_hash(list(counts), f"{salt}-{order}")
        chosen = _take_groups({group: counts[group] for group in ranked}, sizes, per_class, keep)
        if chosen is not None:
            return chosen
    return None


def _take_groups(
    counts: Mapping[str, Counter[int]], sizes: Sequence[int], per_class: int, keep: int
) -> set[str] | None:
    """Take the groups in their order, each that a class still needs and all can spare."""
    taken: set[str] = set()
    have: Counter[int] = Counter()
    for group, of_class in counts.items():
        is_needed = any(have[label] < per_class for label in of_class)
        is_spared = all(sizes[c] - have[c] - count >= keep for c, count in of_class.items())
        if is_needed and is_spared:
            taken.add(group)
            have += of_class
    return taken if all(have[label] >= per_class for label in range(len(sizes))) else None


def imbalanced_counts(counts: Sequence[int], imbalance: float) -> list[int]:
    """Return how many images each class keeps: n_i = n_max * imbalance ** (-i / (C - 1)), rounded.

    The exponential profile of long-tailed CIFAR (arXiv:1906.07413): class 0 is the largest, and
    class C - 1 keeps 1/imbalance of it. n_max is the largest that every class can fill, so that the
    profile holds whatever the classes had.

    Args:
        counts: of the classes' images, in the order of their indices.
        imbalance: the largest class's images to the smallest one's; 1 or more.

    Raises:
        ValueError: if the last class would keep none.
    """
    exponents = [index / max(1, len(counts) - 1) for index in range(len(counts))]
    largest = min(n * imbalance**e for n, e in zip(counts, exponents, strict=True))  # n_max
    kept = [min(n, round(largest * imbalance**-e)) for n, e in zip(counts, exponents, strict=True)]
    if min(kept) < 1:
        raise ValueError(
            f"imbalance is {imbalance:g}, which leaves the last class none of its {counts[-1]} "
            f"training images; choose at most {min(counts)}"
        )
    return kept


def trim_to_imbalance(
    names_by_class: list[list[str]], imbalance: float, seed: int
) -> list[list[str]]:
    """Keep of every class what `imbalanced_counts` says, chosen by a salted hash; order stays.

    Raises:
        ValueError: if a class would keep no image.
    """
    counts = imbalanced_counts([len(names) for names in names_by_class], imbalance)
    kept = []
    for names, count in zip(names_by_class, counts, strict=True):
        chosen = set(rank_by_hash(names, f"imbalance-{seed}")[:count])
        kept.append([name for name in names if name in chosen])
    return kept


def few_shot_rankings(names_by_class: list[list[str]], seed: int) -> list[list[list[str]]]:
    """Rank the training images of every class once a few-shot seed.

    The k shots of a seed are the first k of each class, so that subsets are nested over k.

    Returns:
        For each few-shot seed, for each class, up to 64 names.
    """
    return [
        [
            rank_by_hash(names, f"shots-{seed}-{few_shot_seed}")[:MAX_SHOTS]
            for names in names_by_class
        ]
        for few_shot_seed in range(NUM_FEW_SHOT_SEEDS)
    ]


def choose_shots(
    rankings: list[list[list[str]]], class_names: Sequence[str], shots: int, seed: int
) -> set[str]:
    """Return the names of the `shots` images per class that few-shot seed `seed` may see.

    Raises:
        ValueError: if a class has fewer images, or the seed has no ranking.
    """
    if seed >= len(rankings):
        raise ValueError(f"seed {seed} has no few-shot ranking; choose one below {len(rankings)}")
    for class_name, ranking in zip(class_names, rankings[seed], strict=True):
        if len(ranking) < shots:
            raise ValueError(
                f"shots is {shots}, but class '{class_name}' has only {len(ranking)} training "
                "images; lower shots or add images"
            )
    return {name for ranking in rankings[seed] for name in ranking[:shots]}
