"""Stage `plan`: a set's volume and prompts become one small file a block: only new ones are made.

A block's file holds `start` and `stop`, its range of image indices in every class, and unless it
is empty: `class_names`; `guidance_scale`; `styles`, each subset with its token's hash or null;
`prompts`, a list of candidate prompts for each class, of which `generate` draws one an image. A
learned style's placeholder stands in its prompts. Where class names were chosen by each seed's own
shots, `prompts_by_subset` holds such lists for each subset, in place of `prompts`.
"""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synthbridge.core.files import hash_file, read_json, write_json
from synthbridge.core.log import StageLog, progress, say
from synthbridge.core.settings import Sections
from synthbridge.data.real import PreparedDataset, read_dataset
from synthbridge.data.shards import read_image
from synthbridge.data.synthetic import ALL, check_volume
from synthbridge.diffusion.prompts import learned_prompts, placeholders
from synthbridge.diffusion.settings import LEARNED, SyntheticSettings
from synthbridge.prompts.composing import compose_prompts
from synthbridge.prompts.lists import (
    PromptLists,
    find_lists,
    name_some,
    read_lists,
    read_own_prompts,
)
from synthbridge.prompts.senses import Choice, ambiguous, choose_sense
from synthbridge.prompts.templates import template_prompts

if TYPE_CHECKING:
    from synthbridge.clip.embedding import Clip

Chosen = dict[int, Choice]  # by label, of the classes whose names are ambiguous
COMPOSED = ("contextual", "stylised")  # prompts of the data set's lists


@dataclass(frozen=True, kw_only=True)
class CandidateParams:
    """What params.yaml says of a set's prompts."""

    dataset: str
    source: str  # of the data set: its lists serve where its own name has none
    synthetic: SyntheticSettings
    placeholder: str  # stands for the style token; of it the words of classes are made


@dataclass(frozen=True)
class CandidatePaths:
    """What other stages made, and the folder of prompt files."""

    real: Path
    style: Path
    clip: Path
    generator: Path
    prompts: Path


class CandidateWriter:
    """Writes the candidate prompts of a set's classes, from lists that are read once."""

    def __init__(self, params: CandidateParams, real: PreparedDataset, paths: CandidatePaths):
        """Read and check the prompt file that the set needs."""
        self.params, self.settings, self.paths = params, params.synthetic, paths
        self.real, self.class_names = real, real.class_names
        self.lists, self.own = PromptLists(), None
        if self.settings.prompt_file is not None:
            name = self.settings.prompt_file.replace("{dataset}", params.dataset)
            self.own = read_own_prompts(paths.prompts / name, self.class_names)
        if self.settings.prompts in COMPOSED or self.settings.class_names == "disambiguated":
            self.lists = self._read_lists()

    def _read_lists(self) -> PromptLists:
        """Read the data set's lists.

        Raises:
            ValueError: if there are none, or none of the kind that is asked for.
        """
        dataset, kind = self.params.dataset, self.settings.prompts
        path = find_lists(self.paths.prompts, dataset, self.params.source)
        lists = read_lists(path)
        if kind in COMPOSED and not getattr(lists, kind):
            raise ValueError(f"{path} has no pattern below {kind}; docs/prompts.md shows some")
        chooses = self.settings.class_names == "disambiguated"
        if chooses and not ambiguous(lists.senses, self.class_names):
            raise ValueError(
                f"{path} gives no class of {dataset} senses to choose from; add some, or write "
                "'class_names: plain'"
            )
        if unknown := lists.unknown_classes(self.class_names):
            say(f"  {path} also names {name_some(unknown)}, no class of {dataset}")
        return lists

    def choose_names(self, subsets: Sequence[str]) -> dict[str, Chosen]:
        """Choose the sense of each ambiguous name, once a subset.

        A subset sees what its runs may see: the k shots of its seed, or all of train; never a
        validation or test image. Plain names are the same for all subsets: nothing is chosen.
        """
        if self.settings.class_names == "plain":
            return {ALL: {}}
        from synthbridge.clip.embedding import load_clip
        from synthbridge.core.processes import start_accelerator

        with_seeds = {name: 0 if name == ALL else int(name[1:]) for name in subsets}
        with start_accelerator() as accelerator:
            clip = load_clip(self.paths.clip, accelerator.device)
            return {subset: self._choose(clip, seed) for subset, seed in with_seeds.items()}

    def _choose(self, clip: "Clip", seed: int) -> Chosen:
        """Choose senses by the training images that a run with `seed` may see."""
        labels = ambiguous(self.lists.senses, self.class_names)
        assert self.settings.shots is not None
        seen = self.real.train_samples(self.settings.shots, seed)
        shown = [sample for sample in seen if sample.label in labels]
        reading = progress(shown, total=len(shown), what="reading real images", unit="image")
        images = clip.embed_images(np.asarray(read_image(sample)) for sample in reading)
        shown_labels = np.array([sample.label for sample in shown])
        return {
            label: choose_sense(
                images[shown_labels == label],
                {
                    sense: clip.embed_texts(template_prompts(sense))
                    for sense in self.lists.senses[self.class_names[label]]
                },
            )
            for label in labels
        }

    def write(self, chosen: Mapping[int, Choice]) -> list[list[str]]:
        """Return the candidate prompts of every class; `chosen` renames some."""
        if self.own is not None:
            return self.own
        if self.settings.prompts in LEARNED:
            source, names = self.settings.prompts, self.class_names
            words = placeholders(source, self.params.placeholder, len(names))
            return [[prompt] for prompt in learned_prompts(source, names, words)]
        return [
            self._write_class(name, chosen[label].chosen if label in chosen else name)
            for label, name in enumerate(self.class_names)
        ]

    def _write_class(self, name: str, called: str) -> list[str]:
        superclass = self.settings.superclass
        if self.settings.prompts == "template":
            kind = "" if superclass is None else f", a type of {superclass}"
            return template_prompts(called + kind)
        return compose_prompts(
            self.lists, self.settings.prompts, name, called=called, superclass=superclass
        )

    def check_lengths(self, prompts: Iterable[list[list[str]]]) -> None:
        """Check that the generator reads every prompt whole, before an hour has gone into others.

        The paper's own prompts are left to `generate`, which says the same: the tokenizer would
        cost every run some seconds.

        Raises:
            ValueError: if one is too long.
        """
        is_usual = (
            self.settings.prompts in ("template", *LEARNED) and self.settings.superclass is None
        )
        if is_usual and self.settings.class_names == "plain":
            return
        from synthbridge.diffusion.text import load_tokenizer, tokenize

        tokenizer = load_tokenizer(self.paths.generator)
        for per_class in prompts:
            tokenize(tokenizer, [prompt for candidates in per_class for prompt in candidates])


def plan(
    params: CandidateParams,
    *,
    images_per_block: int,
    paths: CandidatePaths,
    names: Path,
    blocks: list[Path],
) -> None:
    """Write to each file of `blocks` what its block holds; blocks above the volume hold nothing.

    `names` gets the sense that was chosen for each ambiguous class name, with all scores.

    Raises:
        ValueError: if the volume is above the blocks' capacity or no whole number of blocks, if
            a prompt file is wrong, or a prompt longer than the generator reads.
    """
    volume, size = params.synthetic.images_per_class, images_per_block
    log = StageLog("plan", f"{volume} images a class, {size} a block")
    check_volume(volume, size, len(blocks))
    real = read_dataset(paths.real)
    styles = read_json(paths.style / "index.json")  # subset -> token's hash, or null
    writer = CandidateWriter(params, real, paths)
    choices = writer.choose_names(list(styles))
    prompts = {subset: writer.write(chosen) for subset, chosen in choices.items()}
    writer.check_lengths(prompts.values())
    shared = {"prompts": prompts[ALL]} if list(prompts) == [ALL] else {"prompts_by_subset": prompts}
    starts = {}  # Real Guidance: subset -> hash of the real images that its images start from
    if params.synthetic.image_strength is not None:
        hashes = {subset: hash_file(paths.style / f"{subset}.tar") for subset in styles}
        starts = {"image_strength": params.synthetic.image_strength, "starts": hashes}
    for number, path in enumerate(blocks):
        start = number * size
        if start >= volume:
            write_json(path, {"start": 0, "stop": 0})  # the same whatever else changes
            continue
        write_json(
            path,
            {
                "start": start,
                "stop": start + size,
                "class_names": list(real.class_names),
                "guidance_scale": params.synthetic.guidance_scale,
                "styles": styles,
                **shared,
                **starts,
            },
        )
    write_json(names, _record(choices, real.class_names))
    log.done(f"{len(blocks)} block plans", blocks[0].parent)


def _record(
    choices: Mapping[str, Mapping[int, Choice]], class_names: Sequence[str]
) -> dict[str, dict[str, Any]]:
    return {
        subset: {class_names[label]: asdict(choice) for label, choice in chosen.items()}
        for subset, chosen in choices.items()
        if chosen
    }


def main(arguments: list[str] | None = None) -> None:
    """Take the names and the paths that dvc.yaml names."""
    parser = argparse.ArgumentParser(prog="plan", description=__doc__)
    parser.add_argument("--dataset", required=True, help="a group below `data` in params.yaml")
    parser.add_argument("--set", required=True, help="a group below `synthetic` in params.yaml")
    for name in ("--real", "--style", "--clip", "--generator", "--prompts"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="for names.json, b0.json, ...")
    parser.add_argument("--num-blocks", type=int, required=True)
    args = parser.parse_args(arguments)
    sections = Sections()
    plan(
        CandidateParams(
            dataset=args.dataset,
            source=sections.read(str, f"data.{args.dataset}.source"),
            synthetic=sections.read(SyntheticSettings, f"synthetic.{args.set}"),
            placeholder=sections.read(str, "invert.placeholder"),
        ),
        images_per_block=sections.read(int, "generate.images_per_block"),
        paths=CandidatePaths(args.real, args.style, args.clip, args.generator, args.prompts),
        names=args.out / "names.json",
        blocks=[args.out / f"b{number}.json" for number in range(args.num_blocks)],
    )
