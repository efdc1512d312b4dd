"""dvc.yaml: read, checked, written (comments stay) and expanded into stages, here and nowhere else.

DVC's matrix does not reach into a list of dependencies, nor of outs, nor into artifacts. So the
sets that `probe`, `report` and `deliver` read, the blocks of a set, and the delivered model of each
data set stand there line by line. `fit` writes these lines; `python src sets` and
`python src profile` call it.
"""

import copy
import io
import itertools
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.representer import RoundTripRepresenter

from synthbridge.core.files import read_json
from synthbridge.core.settings import one_message, read_yaml
from synthbridge.data.distillation import Distillation, read_distillation
from synthbridge.data.synthetic import check_volume
from synthbridge.params import (
    FLUX_SCALES,
    LCM_SCALES,
    Params,
    ToldScales,
    check_primary,
    read_params,
)

Values = Mapping[str, Any]

PIPELINE = Path("dvc.yaml")
GENERATOR = Path("data/upstream/generator")  # where the stage `upstream` leaves it
RANKINGS = "few_shot.json"  # of a prepared data set: for each seed and class, names in an order
GIVEN = ("data/raw/", "data/prompts")  # put there by a person, or by git

# Dependencies that these stages have for every set, by the list of params.yaml that names
# the sets. {} is the set.
SET_DEPS = {
    "probe": {"sets": ("data/stage_one/${item.dataset}/{}",)},
    "report": {
        "sets": (
            "data/examined/${item.dataset}/{}/findings",
            "data/results/${item.dataset}/mixed/{}",
            "data/results/${item.dataset}/bridged/{}",
            "data/sets/${item.dataset}/{}/b0",
        ),
        "generated_sets": ("data/styles/${item.dataset}/{}",),
        "clip_tuning.sets": ("data/results/${item.dataset}/clip_set/{}",),
    },
    "deliver": {
        "sets": (
            "data/models/${item.dataset}/mixed/{}",
            "data/models/${item.dataset}/bridged/{}",
            "data/results/${item.dataset}/mixed/{}",
            "data/results/${item.dataset}/bridged/{}",
        ),
    },
}
DELIVERED = "data/delivered/{}"  # where the model of a data set lies
BLOCK = re.compile(r"/b\d+(?=$|\.json$)")  # ends a path of a block


# --- checking ------------------------------------------------------------------------------------


def check_params(real: Path | None = None) -> list[str]:
    """Check params.yaml, and that the pipeline holds the sets that it names and reads no other.

    A study's experiment makes some stages only: it may have sets that no stage of it reads, and no
    run that the verdict is made of.

    Args:
        real: the prepared data set of a stage, which must have as many images as `shots` says:
            training on them comes last. (Others may be of before a change, and prepared anew.)

    Returns:
        What is allowed and may not be meant, a line each.

    Raises:
        ValueError: if params.yaml is wrong or dvc.yaml does not fit it.
    """
    params = read_params()
    if "SYNTHBRIDGE_STUDY" in os.environ:
        return []
    pipeline = read_yaml(PIPELINE)
    check_blocks(params, pipeline)
    check_sets(params, pipeline)
    check_primary(params)
    if real is not None and (real / RANKINGS).is_file():
        check_shots(params, real)
    return params.notes()


def check_shots(params: Params, real: Path) -> None:
    """Check that every class of a prepared data set has as many training images as `shots` says.

    Raises:
        ValueError: naming the smallest class.
    """
    rankings = read_json(real / RANKINGS)[0]  # of one seed as of any: the first 64 of each class
    label = min(range(len(rankings)), key=lambda label: len(rankings[label]))
    fewest = len(rankings[label])
    most = max((shots for shots in params.shots if isinstance(shots, int)), default=0)
    if most > fewest:
        name = read_json(real / "dataset.json")["class_names"][label]
        raise ValueError(
            f"params.yaml: shots holds {most}, but class '{name}' of {real} has {fewest} training "
            f"images; take {most} out of shots (at most {fewest}, or full), or add images"
        )


def generator_faults() -> list[str]:
    """Say what params.yaml asks in vain of the generator that lies in data/upstream.

    Few-step models do not take every number of steps, sampler, guidance and kind of prompts, and
    transformers not every sampler and kind of prompts.
    """
    params, distillation = read_params(), read_distillation(GENERATOR)
    faults = list(params.distillation_faults(distillation))
    faults += params.told_scale_faults(told_scales(GENERATOR, distillation))
    if distillation is None and (GENERATOR / "transformer").is_dir():
        faults += params.transformer_faults()
    if faults and distillation:
        faults.append(
            "if the model was not distilled and its configurations only look so, write "
            "'distilled: false' below upstream.generator"
        )
    return faults


def told_scales(generator: Path, distillation: Distillation | None) -> ToldScales | None:
    """Return the guidance scales that the generator is told in one pass; None: it is told none."""
    if distillation is not None:
        return LCM_SCALES if distillation.guidance == "embedded" else None
    config = generator / "transformer" / "config.json"
    is_told = config.is_file() and read_json(config).get("guidance_embeds")
    return FLUX_SCALES if is_told else None


def check_generator() -> None:
    """Refuse what the generator does not take.

    Raises:
        ValueError: what `generator_faults` says.
    """
    if faults := generator_faults():
        raise ValueError(one_message(faults))


def check_blocks(params: Params, pipeline: Values) -> None:
    """Check that the blocks of dvc.yaml hold every set, and are full.

    Raises:
        ValueError: with all sets that do not fit.
    """
    num_blocks, faults = count_blocks(pipeline), []
    for name in params.sets:
        volume = params.set_settings(name).images_per_class
        try:
            check_volume(volume, params.generate.images_per_block, num_blocks)
        except ValueError as error:
            faults.append(f"params.yaml: set {name}: {error}")
    if faults:
        raise ValueError(one_message(faults))


def count_blocks(pipeline: Values) -> int:
    """Return how many blocks each set of dvc.yaml has."""
    return next(entry["num_blocks"] for entry in pipeline["vars"] if "num_blocks" in entry)


def check_sets(params: Params, pipeline: Values) -> None:
    """Check that the stages of SET_DEPS depend on the sets of `params`, and on no other.

    Raises:
        ValueError: if they do not.
    """
    for stage, lists in SET_DEPS.items():
        deps = pipeline["stages"][stage]["deps"]
        wanted = _set_deps(lists, params)
        for dep in (*wanted, *deps):
            if (name := _set_of(dep, lists)) and (dep in wanted) != (dep in deps):
                fault = "does not read" if dep in wanted else "still reads"
                raise ValueError(
                    f"stage {stage} in dvc.yaml {fault} {dep}, though params.yaml "
                    f"{'has' if dep in wanted else 'does not have'} the set {name}; "
                    "run 'python src sets', which brings the sets into dvc.yaml"
                )


def _set_deps(lists: Mapping[str, Sequence[str]], params: Params) -> list[str]:
    """List the dependencies that a stage has for the sets of `params`."""
    names = {
        "sets": params.sets,
        "generated_sets": params.generated_sets,
        "clip_tuning.sets": params.clip_tuning.sets,
    }
    return [
        path.replace("{}", name)
        for key, paths in lists.items()
        for path in paths
        for name in names[key]
    ]


def _set_of(dep: str, lists: Mapping[str, Sequence[str]]) -> str | None:
    """Return the set whose dependency this is; None: it is no set's."""
    for path in itertools.chain.from_iterable(lists.values()):
        if match := re.fullmatch(re.escape(path).replace(r"\{\}", r"(\w+)"), dep):
            return match[1]
    return None


# --- writing -------------------------------------------------------------------------------------


class _SayNull(RoundTripRepresenter):
    """Writes null as it stands in our files, not as nothing."""


_SayNull.add_representer(
    type(None), lambda writer, _: writer.represent_scalar("tag:yaml.org,2002:null", "null")
)


def _faithful_yaml() -> YAML:
    """Return a reader and writer of YAML that keeps comments, order and lines as they are."""
    yaml = YAML()
    yaml.width = 4096  # folds no line that is not folded
    yaml.Representer = _SayNull
    return yaml


def fit(text: str, params: Params, *, largest_volume: int | None = None) -> str:
    """Return dvc.yaml with the sets and data sets of `params`.

    Args:
        text: of dvc.yaml.
        params: names them.
        largest_volume: images a class that the blocks shall hold; None: the blocks stay.
    """
    yaml = _faithful_yaml()
    pipeline = yaml.load(text)
    stages = pipeline["stages"]
    for stage, lists in SET_DEPS.items():
        deps = stages[stage]["deps"]
        _replace(deps, lambda dep, lists=lists: _set_of(dep, lists), _set_deps(lists, params))
    _fit_artifacts(pipeline.get("artifacts", {}), params.datasets)
    if largest_volume is not None:
        num_blocks = math.ceil(largest_volume / params.generate.images_per_block)
        _fit_blocks(pipeline, num_blocks)
    out = io.StringIO()
    yaml.dump(pipeline, out)
    return out.getvalue()


def _fit_artifacts(artifacts: Any, datasets: Sequence[str]) -> None:
    """Register the delivered model of each data set, as one of them is; other artifacts stay."""
    ours = [name for name, found in artifacts.items() if found["path"] == DELIVERED.format(name)]
    if not ours or ours == list(datasets):
        return
    model = artifacts[ours[0]]
    for name in ours:
        del artifacts[name]
    for name in datasets:
        artifacts[name] = copy.deepcopy(model)
        artifacts[name]["path"] = DELIVERED.format(name)


def _fit_blocks(pipeline: Any, num_blocks: int) -> None:
    """Name `num_blocks` blocks wherever a stage lists a set's blocks."""
    blocks = [f"b{number}" for number in range(num_blocks)]
    next(entry for entry in pipeline["vars"] if "num_blocks" in entry)["num_blocks"] = num_blocks
    for name, stage in pipeline["stages"].items():
        if "block" in stage.get("matrix", {}):
            _replace(stage["matrix"]["block"], lambda _: True, blocks)
        for kind in ("deps", "outs"):
            paths = [path for path in stage.get(kind, []) if isinstance(path, str)]
            of_blocks = [path for path in paths if BLOCK.search(path)]
            if name == "report" or not of_blocks:  # the report shows pictures of b0 alone
                continue
            own = [BLOCK.sub(f"/{block}", of_blocks[0]) for block in blocks]
            _replace(stage[kind], lambda path: isinstance(path, str) and BLOCK.search(path), own)


def _replace(items: Any, is_old: Any, new: Sequence[str]) -> None:
    """Put `new` where the first old item of a list stands, or before the code; the old ones go."""
    old = [index for index, item in enumerate(items) if is_old(item)]
    if [items[index] for index in old] == list(new):
        return
    code = (index for index, item in enumerate(items) if str(item).startswith("src/"))
    place = old[0] if old else next(code, len(items))
    for index in reversed(old):
        del items[index]
    for offset, item in enumerate(new):
        items.insert(place + offset, item)


# --- expanding -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stage:
    """A stage of dvc.yaml with its matrix filled in."""

    name: str
    cmd: str
    params: tuple[str, ...]
    deps: tuple[str, ...]
    outs: tuple[str, ...]
    metrics: tuple[str, ...]


def value_at(params: Values, key: str) -> Any:
    """Return the value of a dotted key; None if there is none."""
    value: Any = params
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def expand(pipeline: Values, params: Values) -> dict[str, Stage]:
    """Return the stages of dvc.yaml by name, as DVC calls them.

    Args:
        pipeline: what dvc.yaml holds. Of DVC's templates `${item.name}`, `${name}` of its vars, and
            `${list}` as the items of a matrix, are known; more is not used here.
        params: what params.yaml holds.
    """
    entries = pipeline.get("vars", [])
    variables = {f"${{{key}}}": str(v) for entry in entries for key, v in entry.items()}
    stages = {}
    for name, body in pipeline["stages"].items():
        matrix = {
            key: value_at(params, items[2:-1]) if isinstance(items, str) else items
            for key, items in body.get("matrix", {}).items()
        }
        for items in itertools.product(*(values or [] for values in matrix.values())):
            full_name = f"{name}@{'-'.join(map(str, items))}" if matrix else name
            chosen = {f"${{item.{key}}}": str(v) for key, v in zip(matrix, items, strict=True)}
            stages[full_name] = _stage(full_name, body, {**variables, **chosen})
    return stages


def _stage(name: str, body: Values, fillings: Mapping[str, str]) -> Stage:
    def fill(text: str) -> str:
        for template, filling in fillings.items():
            text = text.replace(template, filling)
        return text

    def paths(kind: str) -> tuple[str, ...]:
        entries = body.get(kind, [])
        return tuple(fill(path) for entry in entries for path in _names(entry))

    outs = (*paths("outs"), *paths("metrics"), *paths("plots"))
    return Stage(name, fill(body["cmd"]), paths("params"), paths("deps"), outs, paths("metrics"))


def _names(entry: str | Values) -> list[str]:
    return [entry] if isinstance(entry, str) else list(entry)


def needed_stages(stages: Mapping[str, Stage], targets: Iterable[str]) -> list[str]:
    """List the targets and all stages above them, those above first.

    Raises:
        ValueError: if a target is no stage, or a dep under data/ is nobody's out.
    """
    makers = {out: stage.name for stage in stages.values() for out in stage.outs}
    order: list[str] = []

    def visit(name: str) -> None:
        if name in order:
            return
        if name not in stages:
            raise ValueError(f"'{name}' is no stage of dvc.yaml with these params")
        for dep in stages[name].deps:
            if dep in makers:
                visit(makers[dep])
            elif dep.startswith("data/") and not dep.startswith(GIVEN):
                raise ValueError(f"stage {name} reads {dep}, which no stage makes")
        order.append(name)

    for target in targets:
        visit(target)
    return order
