"""A set's images in layouts that others read: class folders, WebDataset, Hugging Face datasets."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthbridge.core.files import write_text
from synthbridge.data.shards import Sample, read_image_bytes, write_shard

IMAGES_PER_SHARD = 1000
CLASSES_FILE = "classes.txt"


@dataclass(frozen=True)
class ImageSetCard:
    """What the card of a set says beside its images' own records."""

    name: str
    dataset: str  # whose classes they are
    origin: str  # how they were made, with what
    prompts: Sequence[str]  # or the captions and queries of a retrieved set: some, in full
    seed: int  # of the run whose images these are
    num_left_out: int  # drawn, but not trained on


def write_image_set(
    folder: Path,
    form: str,
    samples: Sequence[Sample],
    class_names: Sequence[str],
    card: ImageSetCard,
) -> None:
    """Write the images of a set, with their card and their records.

    Args:
        folder: an empty one.
        form: one of FORMS.
        samples: of the set.
        class_names: in the order of their indices.
        card: what README.md says.
    """
    FORMS[form](folder, samples, class_names)
    if form != "datasets":  # whose loader takes any file beside its images for data
        write_text(folder / CLASSES_FILE, "".join(f"{name}\n" for name in class_names))
    write_text(folder / "README.md", _card(card, form, samples, class_names))


def _write_folders(folder: Path, samples: Sequence[Sample], class_names: Sequence[str]) -> None:
    """Write CLASS/KEY.jpg, as torchvision's ImageFolder reads it, and a line a record."""
    lines, folders = [], _folder_names(class_names)
    for sample in samples:
        content = read_image_bytes(sample)
        path = Path(folders[sample.label]) / _file_name(sample, content)
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(content)
        lines.append({"file_name": path.as_posix(), **_facts(sample, class_names)})
    _write_lines(folder / "records.jsonl", lines)


def _write_shards(folder: Path, samples: Sequence[Sample], class_names: Sequence[str]) -> None:
    """Write WebDataset tars: KEY.jpg, KEY.cls, KEY.json."""
    for number, start in enumerate(range(0, len(samples), IMAGES_PER_SHARD)):
        part = samples[start : start + IMAGES_PER_SHARD]
        write_shard(folder / f"train-{number:05d}.tar", _shard_samples(part, class_names))


def _shard_samples(
    samples: Sequence[Sample], class_names: Sequence[str]
) -> Iterator[dict[str, Any]]:
    for sample in samples:
        content = read_image_bytes(sample)
        yield {
            "__key__": sample.key,
            _extension(content): content,
            "cls": sample.label,
            "json": _facts(sample, class_names),
        }


def _write_datasets(folder: Path, samples: Sequence[Sample], class_names: Sequence[str]) -> None:
    """Write train/KEY.jpg and train/metadata.jsonl, as `datasets.load_dataset` reads it."""
    train = folder / "train"
    train.mkdir()
    lines = []
    for sample in samples:
        content = read_image_bytes(sample)
        name = _file_name(sample, content)
        (train / name).write_bytes(content)
        lines.append({"file_name": name, **_facts(sample, class_names)})
    _write_lines(train / "metadata.jsonl", lines)


FORMS: Mapping[str, Callable[[Path, Sequence[Sample], Sequence[str]], None]] = {
    "imagefolder": _write_folders,
    "webdataset": _write_shards,
    "datasets": _write_datasets,
}


def _facts(sample: Sample, class_names: Sequence[str]) -> dict[str, Any]:
    """Return what is known of an image: its class, and how it was drawn or found."""
    return {
        **sample.record,
        "label": sample.label,
        "class_name": class_names[sample.label],
    }


def _file_name(sample: Sample, content: bytes) -> str:
    return f"{sample.key}.{_extension(content)}"


def _extension(content: bytes) -> str:
    """Return png or jpg, by the image's first bytes."""
    return "png" if content.startswith(b"\x89PNG") else "jpg"


def _folder_names(class_names: Sequence[str]) -> list[str]:
    """Return a folder for each class: its name, without what leads to another folder.

    Raises:
        ValueError: if two classes would share one.
    """
    names = [re.sub(r"/|^\.+$", "_", name) for name in class_names]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two classes would share the folder '{name}'; take another --form")
    return names


def _write_lines(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    write_text(
        path,
        "".join(f"{json.dumps(line, sort_keys=True, ensure_ascii=False)}\n" for line in lines),
    )


READ = {
    "imagefolder": """\
images = torchvision.datasets.ImageFolder("FOLDER")
# It numbers the classes by their names' order; classes.txt has ours.
""",
    "webdataset": """\
images = webdataset.WebDataset("FOLDER/train-{{00000..{last:05d}}}.tar").decode("pil")
""",
    "datasets": """\
images = datasets.load_dataset("FOLDER", split="train")
""",
}


def _card(
    card: ImageSetCard, form: str, samples: Sequence[Sample], class_names: Sequence[str]
) -> str:
    left_out = ""
    if card.num_left_out:
        left_out = f" {card.num_left_out} more were made; training left them out, and so does this."
    prompts = "\n".join(f"- `{prompt}`" for prompt in card.prompts)
    last = (len(samples) - 1) // IMAGES_PER_SHARD
    return f"""\
# {card.name}: images for the classes of {card.dataset}

{len(samples)} images of {len(class_names)} classes.{left_out}

{card.origin}

They are those that a run with seed {card.seed} trains on. Beside each image stands how it came
about: of a drawn one its prompt, its own seed and the hash of the generator, of a retrieved one its
caption and where it was found.

Prompts or queries, for example:

{prompts}

```python
{READ[form].format(last=last)}```
"""
