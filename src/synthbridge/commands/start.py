"""Command `start`: from a folder of photographs to settings that fit them, ready for `dvc repro`.

    python src start birds ~/photos/birds                # in a terminal it asks
    python src start birds birds.zip --gpu rtx4090 --hours 4 --no-flip --yes
    python src start birds ~/photos/birds --gpu none     # real images alone, with their controls
    python src start birds ~/photos/birds --gpu 24GB --dry-run       # says it all, changes nothing
    python src start birds data/raw/birds        # the images lie in their place already

It looks at the folder, puts it below data/raw, lets DVC keep it, and writes params.yaml from
profiles/photos.yaml: held-out counts and shots that the smallest class can fill, a size that fits
the hours. params.yaml, dvc.yaml and one .dvc file change; git takes them back.
"""

import argparse
import errno
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

from synthbridge.commands.pin import find_unpinned_dataset, pin, pin_dataset
from synthbridge.commands.profile import PROFILES, refuse_to_lose, with_scale
from synthbridge.commands.sets import remove_all
from synthbridge.core.files import write_text
from synthbridge.core.log import say
from synthbridge.core.settings import check_settings
from synthbridge.data.settings import DatasetSettings
from synthbridge.editing import load, with_copy, with_items, with_only, with_value
from synthbridge.forecast.budget import SCALES, card_speeds, find_card, fit_hours, scale_of
from synthbridge.forecast.estimates import count_work, predict
from synthbridge.forecast.sizes import DatasetSize
from synthbridge.forecast.speeds import generator_name
from synthbridge.params import PARAMS, Params
from synthbridge.pipeline import PIPELINE, fit
from synthbridge.sources.hub_datasets import HUB_FILE
from synthbridge.sources.lists import LISTS
from synthbridge.sources.look import Form, Look, find_form, look, unpack
from synthbridge.sources.names import NAMES_FILE

PROFILE = PROFILES / "photos.yaml"
PLACEHOLDER = "photos"  # the profile's data set
RAW = Path("data/raw")
NUM_BLOCKS = 3  # of a set's volume: so much may it grow without a change of dvc.yaml
LARGE = 640  # pixels of the shorter side above which images are stored with
STORED = 512  # pixels, what the generator draws
LONG = 1.6  # the longer side over the shorter one, above which the centre crop cuts less
# BiT's rule for pretrained ResNets (arXiv:1912.11370): images below 96 pixels are enlarged to 160,
# of which the network sees 128. Fewer would leave its last layer, 32 times as coarse, no picture.
SMALL = 96  # pixels of the shorter side
SMALL_SIZE, SMALL_RESIZE = 128, 160  # pixels

WAYS = ("copy", "move", "link")

T = TypeVar("T")


@dataclass(frozen=True)
class Choice:
    """What a person decides."""

    put: str | None  # one of WAYS; None: the images lie in their place
    flip: bool
    gpu: str | None  # a card's name; None: real images alone
    hours: float


@dataclass(frozen=True)
class Grouping:
    """What a person says of images that belong together; None: what the folder says."""

    by: str | None = None  # a value of `group_by`
    regex: str | None = None


def start(
    name: str,
    folder: Path,
    choose: Callable[[], Choice],
    *,
    grouping: Grouping = Grouping(),
    dry_run: bool = False,
) -> None:
    """Look at `folder`, put it to data/raw/`name`, and write params.yaml and dvc.yaml for it.

    Args:
        name: of the data set.
        folder: of the images, or an archive of them; data/raw/`name` itself stays where it is.
        choose: asks, once it is said what was found.
        grouping: of images that belong together.
        dry_run: say all and change nothing.

    Raises:
        ValueError: if the data set cannot be used, is there already, or git would lose something.
    """
    place = RAW / name
    _check_name(name, folder)
    if not dry_run:
        refuse_to_lose()
    with tempfile.TemporaryDirectory(dir=".", prefix=".start-") as spare:
        form = open_form(folder.expanduser(), Path(spare))
        if is_in_place(name, folder):
            _refuse_lower(form, place)
        found = look(form, _group(form, grouping, validation_per_class=1, flip=False))
        for line in describe(folder, form, found, grouping):
            say(line)
        choice = choose()
        group = fit_group(form, found, choice.flip, grouping)
        size = _size(found, group)
        text, pipeline = compose(name, group, found, size, choice)
        for line in _what_will_run(_params(text), found, size, choice):
            say(line)
        if dry_run:
            return say("nothing is written: --dry-run")
        if choice.put is None:
            _keep_commit(form, place)
        else:
            _put(form.folder, place, choice.put)
    _write_names(found, place)
    _let_dvc_keep(place)
    write_text(PARAMS, text)
    write_text(PIPELINE, pipeline)
    _pin()
    say("next: git commit -am 'Start with my images', then dvc repro")
    say(f"to undo: git rm -qf {place}.dvc && git checkout HEAD params.yaml dvc.yaml")
    say(f"  (the images stay in {place}; after the commit, git revert takes it back)")


def is_in_place(name: str, folder: Path) -> bool:
    """Say whether a data set's folder is the one below data/raw that it is to be put to."""
    return folder.expanduser().resolve() == (RAW / name).resolve()


def _check_name(name: str, folder: Path) -> None:
    """Refuse a name that DVC cannot use, or that is taken by other images than those of `folder`.

    Raises:
        ValueError: with the rule.
    """
    if not re.fullmatch(r"[A-Za-z0-9_]+", name):
        raise ValueError(f"'{name}' is no name of a data set; use letters, digits and _")
    if is_in_place(name, folder):
        return
    for path in (RAW / name, RAW / f"{name}.dvc"):
        if path.exists():
            raise ValueError(
                f"{path} is there already; choose another name, or, if these are the images, run "
                f"'python src start {name} {RAW / name}'"
            )


def _refuse_lower(form: Form, place: Path) -> None:
    """Refuse a data set that begins a level below its place, where `prepare` does not find it.

    Raises:
        ValueError: naming both folders.
    """
    if form.folder.resolve().is_relative_to(place.resolve()) and not form.folder.samefile(place):
        raise ValueError(
            f"{place} holds the folder {form.folder.name} alone; move what lies in it up to {place}"
        )


def open_form(folder: Path, spare: Path) -> Form:
    """Find the form of a folder or an archive, and a commit for a hub data set that has none.

    Args:
        folder: of the images, or an archive of them; it stays as it is.
        spare: an empty folder, for what is unpacked or gets a commit.

    Raises:
        ValueError: if it has no form that `prepare` reads, or the hub does not say the commit.
    """
    if folder.is_file():
        unpack(folder, spare)
        folder = spare
    _refuse_bare_hub(folder)
    form = find_form(folder)
    if form.source != "huggingface" or find_unpinned_dataset(form.folder / HUB_FILE) is None:
        return form
    copy = shutil.copytree(form.folder, spare / "with_commit")
    pin_dataset(copy / HUB_FILE)
    return replace(form, folder=copy)


def _refuse_bare_hub(folder: Path) -> None:
    """Refuse a hub's name and rows of the hub's form where no hub.yaml says what to read of them.

    Raises:
        ValueError: with the line to write.
    """
    if not folder.exists() and re.fullmatch(r"[\w.-]+/[\w.-]+", str(folder)):
        raise ValueError(
            f"{folder} does not exist; name the folder of your images, or, for the hub's data set "
            f"of this name, a folder with a {HUB_FILE} that says 'id: {folder}' (docs/own-data.md "
            "shows its other lines: the columns and the test split)"
        )
    rows = sorted([*folder.glob("*.parquet"), *folder.glob("*/*.parquet")])
    others = [folder / name for name in (HUB_FILE, *LISTS)]
    if rows and not any(path.exists() for path in (*others, *folder.glob("*.tar"))):
        raise ValueError(
            f"{rows[0]} holds rows of images; write {folder / HUB_FILE} with the line 'id: .' "
            "(docs/own-data.md shows its other lines: the columns and the test split)"
        )


def _group(form: Form, grouping: Grouping, **values: Any) -> DatasetSettings:
    found = {"source": form.source, "seed": 0, "group_by": grouping.by or form.group_by, **values}
    if grouping.regex is not None:
        found["group_regex"] = grouping.regex
    return check_settings(DatasetSettings, found, "the data set")


# --- what was found ------------------------------------------------------------------------------


def describe(
    folder: Path, form: Form, found: Look, grouping: Grouping = Grouping()
) -> Iterator[str]:
    """Say in some lines what lies in a data set; `folder` is what a person named."""
    totals = {split: sum(counts) for split, counts in found.counts.items()}
    counts = found.learnable
    smallest = min(range(len(counts)), key=counts.__getitem__)
    form_of = {"folder": "a folder a class", "csv": "a list", "webdataset": "tars of samples"}
    groups = ", by folders of groups in the classes" if form.group_by else ""
    groups = f", grouped by {grouping.by}" if grouping.by else groups
    yield f"{folder}: {form_of.get(form.source, 'a hub data set')}{groups}"
    shown = ", ".join(found.names[:5]) + (", ..." if len(found.names) > 5 else "")
    yield f"  {len(found.names)} classes: {shown}"
    if found.is_split:
        parts = ", ".join(f"{total} {split}" for split, total in totals.items() if total)
        yield f"  {sum(totals.values())} images, split by you: {parts}"
    else:
        yield f"  {sum(totals.values())} images; test and held-out images are taken from them"
    if min(counts) == max(counts):
        yield f"  {min(counts)} images a class"
    else:
        yield (
            f"  {min(counts)} to {max(counts)} images a class, {median(counts):g} in the middle; "
            f"fewest: {found.names[smallest]}"
        )
    sides = [min(size) for size in found.sizes]
    if min(sides) == max(sides):
        yield f"  shorter side {min(sides)} pixels"
    else:
        middle = f"{found.short_side:g} in the middle"
        yield f"  shorter side {min(sides)} to {max(sides)} pixels, {middle}"
    if found.grey > 0:
        yield f"  {found.grey:.0%} are grey"
    if found.num_copies == 1:
        yield "  1 image is a copy of another, to the pixel; training loses it"
    elif found.num_copies:
        yield f"  {found.num_copies} images are copies of others, to the pixel; training loses them"


# --- settings that fit it ------------------------------------------------------------------------


def fit_group(
    form: Form, found: Look, flip: bool, grouping: Grouping = Grouping()
) -> DatasetSettings:
    """Choose what is held out, of what the smallest class has; what is large is stored smaller.

    Raises:
        ValueError: if a class is too small, or its groups are.
    """
    fewest = min(found.learnable)
    test = None if found.is_split else min(50, max(1, round(0.3 * fewest)))
    left = fewest - (test or 0)
    max_side = STORED if found.short_side > LARGE else None
    validation = min(20, max(1, round(0.15 * left)))
    while True:
        group = _group(
            form,
            grouping,
            flip=flip,
            validation_per_class=validation,
            test_per_class=test,
            max_side=max_side,
        )
        try:
            _size(found, group)
            return group
        except ValueError:
            if validation == 1 and test in (None, 1):
                raise
            validation, test = max(1, validation // 2), test and max(1, test // 2)


def _size(found: Look, group: DatasetSettings) -> DatasetSize:
    """Return how large the splits will be.

    Raises:
        ValueError: if the smallest class cannot fill them.
    """
    num_classes = len(found.names)
    if _left(found, group) < 1:
        fewest = min(found.learnable)
        name = found.names[found.learnable.index(fewest)]
        raise ValueError(
            f"class '{name}' has {fewest} images, and test, held-out and training images are to "
            "come from it: give each class three or more, or leave it out"
        )
    test = (
        sum(found.counts["test"]) if found.is_split else num_classes * (group.test_per_class or 0)
    )
    if found.has_validation:
        validation = sum(found.counts["validation"])
    else:
        validation = num_classes * group.validation_per_class
    taken = num_classes * (min(found.learnable) - _left(found, group))
    return DatasetSize(num_classes, sum(found.learnable) - taken, validation, test)


def _left(found: Look, group: DatasetSettings) -> int:
    """Return how many images the smallest class trains with."""
    validation = 0 if found.has_validation else group.validation_per_class
    return min(found.learnable) - (group.test_per_class or 0) - validation


def fit_shots(found: Look, group: DatasetSettings) -> list[int | str]:
    """Choose the shots: all images, and at most half of the smallest class's."""
    left = _left(found, group)
    if left < 2:
        return ["full"]
    return [min(64, 2 ** int(math.log2(left / 2))), "full"]


def fit_sizes(found: Look, training: Mapping[str, Any]) -> dict[str, int]:
    """Choose the pixels that the network sees, and those of the shorter side before the crop."""
    image, resize = training["image_size"], training["resize_size"]
    if found.short_side < SMALL:
        image, resize = SMALL_SIZE, SMALL_RESIZE
    return {"image_size": image, "resize_size": image if found.stretch > LONG else resize}


def compose(
    name: str, group: DatasetSettings, found: Look, size: DatasetSize, choice: Choice
) -> tuple[str, str]:
    """Return params.yaml and dvc.yaml for a data set.

    Args:
        name: of the data set.
        group: its settings.
        found: its images.
        size: of its splits.
        choice: what a person decided.

    Raises:
        ValueError: if nothing fits the hours.
    """
    text = PROFILE.read_text(encoding="utf-8")
    if name != PLACEHOLDER:
        text = with_only(with_copy(text, f"data.{PLACEHOLDER}", name), "data", [name])
        text = with_items(text, "datasets", [name])
    for key, value in group.model_dump(exclude_defaults=True).items():
        text = with_value(text, f"data.{name}.{key}", value)
    text = with_items(text, "shots", fit_shots(found, group))
    text = with_value(text, "training.batch_size", _batch_size(size))
    for key, value in fit_sizes(found, load(text)["training"]).items():
        text = with_value(text, f"training.{key}", value)
    if choice.gpu is None:
        text = with_items(remove_all(text, generator=False), "sets", [])
        text = with_scale(text, SCALES[-1])
    else:
        speeds = card_speeds(choice.gpu)
        scale, _ = fit_hours(load(text), {name: size}, speeds, choice.hours)
        text = with_scale(text, scale)
    params = _params(text)
    pipeline = PIPELINE.read_text(encoding="utf-8")
    volume = NUM_BLOCKS * params.generate.images_per_block
    return text, fit(pipeline, params, largest_volume=volume)


def _params(text: str) -> Params:
    return check_settings(Params, load(text), "", file=str(PROFILE))


def _batch_size(size: DatasetSize) -> int:
    """Return the paper's 64, or fewer where an epoch would have less than four steps."""
    return 64 if size.num_train >= 256 else 32 if size.num_train >= 128 else 16


def _what_will_run(params: Params, found: Look, size: DatasetSize, choice: Choice) -> Iterator[str]:
    """Say what the settings are, how long they take, and what they give up."""
    (name,) = params.datasets
    group = params.data[name]
    test = f"{group.test_per_class} for test" if group.test_per_class else "test images of your own"
    held_out = f"{group.validation_per_class} held out to choose rates on, {test}"
    yield f"of each class: {held_out}; runs see {_words(params.shots)} images a class"
    yield f"mirror images: {'yes' if group.flip else 'no'}"
    seen = params.training.image_size
    if found.short_side < seen:
        why = "fewer would be too coarse for it" if seen == SMALL_SIZE else "it was pretrained so"
        yield f"the network sees {seen} x {seen} pixels: {why}, so smaller images are enlarged"
    if choice.gpu is None:
        yield "no generator: real images alone, with their controls; docs/own-data.md says more"
        return
    speeds = card_speeds(choice.gpu)
    hours = predict(count_work(params, {name: size}), speeds).seconds / 3600
    yield f"generator {generator_name(params.upstream)}, sets {_words(params.sets)}"
    of_hours = f"about {hours:.1f} of {choice.hours:g} h"
    yield f"{of_hours} on one {speeds.device}, by {speeds.basis} speeds"
    yield (
        f"less than the paper (in brackets): {scale_of(params).gives_up()}; 20 steps of "
        "DPM-Solver++ (50 of DDPM), one arm of bridged transfer (three)"
    )


def _words(values: Sequence[Any]) -> str:
    return ", ".join("all" if value == "full" else str(value) for value in values)


# --- writing -------------------------------------------------------------------------------------


def _put(folder: Path, place: Path, put: str) -> None:
    """Bring the data set to its place, whole or not at all."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if put == "move":
        try:
            folder.rename(place)
            return
        except OSError as error:
            if error.errno != errno.EXDEV:  # another disk: copied whole, and then removed
                raise
    copy = os.link if put == "link" else shutil.copy2
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=f".{place.name}-") as half:
        whole = Path(half) / place.name
        try:
            shutil.copytree(folder, whole, copy_function=copy)
        except (shutil.Error, OSError) as error:
            hint = "; --put copy works between disks" if put == "link" else ""
            raise ValueError(f"{folder} cannot be brought to {place} ({error}){hint}") from None
        whole.rename(place)
    if put == "move":
        shutil.rmtree(folder)


def _keep_commit(form: Form, place: Path) -> None:
    """Write the commit that a hub data set got in a copy to the place where it lies already."""
    if form.source == "huggingface":
        write_text(place / HUB_FILE, (form.folder / HUB_FILE).read_text(encoding="utf-8"))


def _write_names(found: Look, raw: Path) -> None:
    """Write names.yaml where some names are no words, for a person to correct."""
    path = raw / NAMES_FILE
    odd = [name for name in found.names if not re.search(r"[^\W\d_]{2}", name)]
    if not odd or path.exists():
        return
    lines = [
        f"{_quoted(key)}: {_quoted(name)}"
        for key, name in zip(found.keys, found.names, strict=True)
    ]
    head = "# What prompts call each class: folder or label, then its name in words.\n"
    write_text(path, head + "\n".join(lines) + "\n")
    say(f"prompts would say 'a photo of a {odd[0]}': correct the names in {path} before the run")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _let_dvc_keep(raw: Path) -> None:
    """Let DVC keep the images, so that colleagues pull the same ones.

    Raises:
        ValueError: in DVC's words, with the way on from here.
    """
    for words in (f"dvc add --quiet {raw}", f"git add {raw}.dvc"):
        command = words.split()
        if command[0] == "dvc":
            command[:1] = [sys.executable, "-m", "dvc"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            said = done.stderr.strip()
            said = said.splitlines()[-1] if said.startswith("Traceback") else said
            raise ValueError(
                f"'{words}' failed ({said}); mend that, then run "
                f"'python src start {raw.name} {raw}', for the images lie there by now"
            )


def _pin() -> None:
    try:
        pin()
    except ValueError as error:  # the settings are written: the commits can wait
        say(f"not pinned yet: {error}")
        say("later: python src pin")


# --- asking --------------------------------------------------------------------------------------


def _asks(args: argparse.Namespace) -> bool:
    return sys.stdin.isatty() and not args.yes


def _check_flags(args: argparse.Namespace) -> None:
    """Refuse what the flags say in vain, before the images are looked at.

    Raises:
        ValueError: also if no flag names the GPU and nobody can be asked.
    """
    if args.hours <= 0:
        raise ValueError(f"--hours is {args.hours:g}; give a number above 0")
    if args.gpu is not None:
        _read_card(args.gpu)
    elif not _asks(args):
        raise ValueError(
            "which GPU will draw? say --gpu with its name or memory (24GB), or --gpu none for real "
            "images alone"
        )


def _choose(args: argparse.Namespace) -> Choice:
    """Take what the flags say, and ask for the rest in a terminal.

    Raises:
        ValueError: if nobody answers.
    """
    asks, flip = _asks(args), args.flip
    if is_in_place(args.name, args.folder):
        put = None
    elif args.put is None and asks:
        put = _ask("copy, move or link the images?", "copy", _one_of(WAYS))
    else:
        put = args.put or "copy"
    if flip is None and asks:
        question = "may an image be mirrored? (no if it shows writing)"
        flip = _ask(question, "yes", _one_of(("yes", "no"))) == "yes"
    if args.gpu is None:
        question = "which GPU will draw? (its name, its memory such as 24GB, or none)"
        card = _ask(question, "none", _read_card)
    else:
        card = _read_card(args.gpu)
    return Choice(put, flip is not False, card, args.hours)


def _read_card(words: str) -> str | None:
    """Return the name of a card; None: real images alone.

    Raises:
        ValueError: if no card is meant.
    """
    return None if words.lower() == "none" else find_card(words)[0]


def _one_of(choices: Sequence[str]) -> Callable[[str], str]:
    """Return what reads an answer that is one of `choices`."""

    def read(answer: str) -> str:
        if answer not in choices:
            raise ValueError(f"choose from {', '.join(choices)}")
        return answer

    return read


def _ask(question: str, default: str, read: Callable[[str], T]) -> T:
    """Ask until `read` takes the answer.

    Raises:
        ValueError: if the input ends.
    """
    while True:
        try:
            return read(input(f"{question} [{default}] ").strip().lower() or default)
        except EOFError:
            print()  # what follows shall not stand behind the question
            raise ValueError(
                "nobody answers; say --put, --flip or --no-flip, and --gpu, with --yes"
            ) from None
        except ValueError as error:
            say(str(error))


def main(arguments: list[str]) -> None:
    """Take a name, a folder and what a person decides."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "python src start", description=__doc__, formatter_class=formatter
    )
    parser.add_argument("name", help="of the data set: letters, digits and _")
    parser.add_argument("folder", type=Path, help="of the images, or a zip or tar of it")
    parser.add_argument("--put", choices=WAYS, help="link: hard links")
    parser.add_argument(
        "--flip", action=argparse.BooleanOptionalAction, help="may an image be mirrored?"
    )
    parser.add_argument(
        "--group-by",
        choices=("folder", "regex", "exif-minute", "alike"),
        help="what tells which images belong together, on one side of the split",
    )
    parser.add_argument("--group-regex", help="finds the group in an image's path")
    parser.add_argument("--gpu", help="rtx4090, l4, ...; 24GB; or none (real images alone)")
    parser.add_argument("--hours", type=float, default=4, help="of that GPU (default: 4)")
    parser.add_argument("--yes", action="store_true", help="ask nothing")
    parser.add_argument("--dry-run", action="store_true", help="say it all, change nothing")
    args = parser.parse_args(arguments)
    _check_flags(args)
    by = args.group_by or (args.group_regex and "regex")
    grouping = Grouping(by, args.group_regex)
    start(args.name, args.folder, lambda: _choose(args), grouping=grouping, dry_run=args.dry_run)
