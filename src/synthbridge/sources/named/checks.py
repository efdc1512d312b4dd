"""A listing is held against the table and the disk before any work is done with it."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from synthbridge.sources.named.facts import Published
from synthbridge.sources.named.listing import MAX_NAMED, Key, Listing, name_some


def check_listing(listing: Listing, raw: Path, facts: Published) -> None:
    """Refuse a listing that is not the data set of `facts`, or whose images are not in `raw`.

    Raises:
        ValueError: if a class name or an image appears twice, an image is of no class, a count
            differs from the table, or an image file is missing or empty; names the classes.
    """
    _check_names(listing, facts)
    if len(listing.classes) != facts.num_classes:
        raise ValueError(
            f"{facts.title} has {facts.num_classes} classes, but its files in {raw} list "
            f"{len(listing.classes)}; {_fetch_again(facts)}"
        )
    _check_counts(listing, listing.train, facts.num_train, facts.train_per_class, "train", facts)
    _check_counts(listing, listing.test, facts.num_test, facts.test_per_class, "test", facts)
    _check_files(listing, raw, facts)


def _check_names(listing: Listing, facts: Published) -> None:
    for name, count in Counter(listing.classes.values()).items():
        if count > 1:
            raise ValueError(
                f"{facts.title}: {count} classes are called '{name}', and a name belongs to one "
                f"class; {_fetch_again(facts)}"
            )
    seen: set[str] = set()
    for path, key in (*listing.train, *listing.test):
        if key not in listing.classes:
            raise ValueError(
                f"{facts.title}: {path} is listed under class '{key}', which is none of the "
                f"{len(listing.classes)} classes; {_fetch_again(facts)}"
            )
        if path in seen:
            raise ValueError(
                f"{facts.title}: {path} is listed twice, and an image belongs to one split, once; "
                f"{_fetch_again(facts)}"
            )
        seen.add(path)


def _check_counts(
    listing: Listing,
    images: Sequence[tuple[str, Key]],
    expected: int,
    per_class: int | None,
    split: str,
    facts: Published,
) -> None:
    counts = Counter(key for _, key in images)
    if per_class is not None:
        wrong = [key for key in listing.classes if counts[key] != per_class]
        what = f"not {per_class} as in every class"
    elif len(images) == expected:
        wrong = [key for key in listing.classes if not counts[key]]
        what = "a class without any"
    else:  # no count of each class is published: say where to look first
        is_short = len(images) < expected
        wrong = sorted(listing.classes, key=lambda key: counts[key], reverse=not is_short)
        wrong = wrong[:MAX_NAMED]
        what = f"its {'smallest' if is_short else 'largest'} classes are"
    if wrong or len(images) != expected:
        named = name_some([f"'{listing.classes[key]}' with {counts[key]}" for key in wrong])
        raise ValueError(
            f"{facts.title} has {expected} {split} images, its files list {len(images)}; {what}: "
            f"{named}; {_fetch_again(facts)}"
        )


def _check_files(listing: Listing, raw: Path, facts: Published) -> None:
    missing: dict[Key, list[str]] = defaultdict(list)
    for path, key in (*listing.train, *listing.test):
        try:
            size = (raw / path).stat().st_size
        except FileNotFoundError:
            size = 0
        if not size:
            missing[key].append(path)
    if missing:
        num_images = len(listing.train) + len(listing.test)
        named = name_some(
            [
                f"{len(paths)} of '{listing.classes[key]}' (such as {paths[0]})"
                for key, paths in missing.items()
            ]
        )
        raise ValueError(
            f"{facts.title} is unpacked in part: {sum(map(len, missing.values()))} of its "
            f"{num_images} images are missing or empty in {raw}: {named}; unpack the archives "
            f"there again, or {_fetch_again(facts)}"
        )


def _fetch_again(facts: Published) -> str:
    return f"fetch again {facts.files}"
