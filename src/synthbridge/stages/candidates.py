"""The candidate prompts of a set: templates, lists, own files, and names that CLIP chooses."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from synthbridge.data.real import PreparedDataset
from synthbridge.data.shards import read_image
from synthbridge.data.synthetic import ALL
from synthbridge.diffusion.prompts import learned_prompts, placeholders, template_prompts
from synthbridge.diffusion.settings import LEARNED, SyntheticSettings
from synthbridge.progress import progress, say
from synthbridge.prompts.composing import compose_prompts
from synthbridge.prompts.lists import (
    PromptLists,
    find_lists,
    name_some,
    read_lists,
    read_own_prompts,
)
from synthbridge.prompts.senses import Choice, ambiguous, choose_sense

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
        from synthbridge.stages.processes import start_accelerator

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
