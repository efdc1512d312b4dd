"""Groups of images that belong together, found by their names, times or looks (`group_by`)."""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

from synthbridge.core.log import progress, say
from synthbridge.data.encoding import read_look, when_taken
from synthbridge.data.looks import find_alike
from synthbridge.data.settings import DatasetSettings

Readers = Mapping[str, Callable[[], bytes]]  # by the image's name

SAME_SERIES = timedelta(seconds=60)  # between one picture and the next


def name_groups(images: Readers, settings: DatasetSettings) -> dict[str, str]:
    """Return the group of each image, by its name; one that stands alone is a group of its own.

    Raises:
        ValueError: if the images do not say what is asked of them.
    """
    if settings.group_by == "regex":
        assert settings.group_regex is not None
        found = _by_name(images, settings.group_regex)
    else:
        found = _by_minute(images) if settings.group_by == "exif-minute" else _by_look(images)
    count = len(set(found.values()))
    say(f"  group_by {settings.group_by}: {len(found)} images in {count} groups")
    return found


def _by_name(names: Iterable[str], regex: str) -> dict[str, str]:
    """Take what `regex` finds in a name: its first (...) that matched, or all."""
    names = list(names)
    matches = {name: match for name in names if (match := re.search(regex, name))}
    if not matches:
        raise ValueError(
            f"group_regex is '{regex}', which finds nothing in any image's path ('{names[0]}', "
            "...); correct it, or choose another group_by"
        )
    alone = [name for name in names if name not in matches]
    if alone:
        say(f"  group_regex finds nothing in {len(alone)} images, which stand alone ('{alone[0]}')")
    found = {
        name: next((part for part in match.groups() if part is not None), match[0])
        for name, match in matches.items()
    }
    return {name: found.get(name, name) for name in names}


def _by_minute(images: Readers) -> dict[str, str]:
    """Join what one camera took with pauses of a minute at most, as its EXIF says."""
    taken = _read_all(images, when_taken, "reading times")
    without = [name for name, time in taken.items() if time is None]
    if len(without) == len(taken):
        raise ValueError(
            "group_by is exif-minute, but no image says in its EXIF when it was taken; choose "
            "another group_by, or remove the line"
        )
    if without:
        say(f"  {len(without)} images say no time and stand alone ('{without[0]}', ...)")
    groups = {name: name for name in without}
    times = sorted((time, name) for name, time in taken.items() if time is not None)
    last: tuple[str, datetime, str] | None = None  # camera, time, group
    for (camera, time), name in times:
        is_new = last is None or camera != last[0] or time - last[1] > SAME_SERIES
        group = name if is_new or last is None else last[2]
        groups[name], last = group, (camera, time, group)
    return groups


def _by_look(images: Readers) -> dict[str, str]:
    """Join images that look alike, and what looks like one of these."""
    looks = {
        name: look
        for name, look in _read_all(images, read_look, "comparing").items()
        if look is not None
    }
    names = list(looks)
    first = {name: name for name in images}  # of the images joined so far; itself where it is that

    def root(name: str) -> str:
        while first[name] != name:
            name = first[name]
        return name

    for pair in find_alike(list(looks.values())):
        one, other = sorted((root(names[pair.first]), root(names[pair.second])))
        first[other] = one
    return {name: root(name) for name in images}


def _read_all(images: Readers, read: Callable, what: str) -> dict:
    """Read something of every image, on every core."""
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        found = threads.map(lambda name: read(images[name](), name), images)
        counted = progress(found, total=len(images), what=what, unit="image")
        return dict(zip(images, counted, strict=True))
