"""Stage `upstream`: the pool and the pretrained models that everything else starts from.

The stage first fetches the models that params.yaml takes from the hub or from a file. It makes the
others, the miniature world's, in three rounds; what stands in one line is made side by side:

    pool        its shards
    CLIP        VAE          each from the pool
    generator   backbone     a UNet for the VAE's latents and CLIP's text tower; letters alone

Every model trains in one thread of one process, so that its sums are the same on any machine. Two
small models side by side also take a third less time than two threads on one at a time.
"""

import argparse
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelerate import Accelerator

from synthbridge.core.files import hash_folder, whole_folder, write_json
from synthbridge.core.keys import unit_key
from synthbridge.core.log import StageLog, say
from synthbridge.core.processes import share_units, start_accelerator
from synthbridge.core.settings import Sections
from synthbridge.core.units import unit_path, whole_unit
from synthbridge.data.licences import licence_sentences, read_licences
from synthbridge.upstream.backbone import write_backbone
from synthbridge.upstream.clip import write_clip
from synthbridge.upstream.generator import write_generator, write_vae
from synthbridge.upstream.given_backbone import check_model, hub_repository, store_file
from synthbridge.upstream.pool import CLASS_NAMES, count_shards, read_pool, write_pool_shard
from synthbridge.upstream.settings import (
    BackboneFile,
    BackboneSettings,
    ClipSettings,
    GeneratorSettings,
    HubBackbone,
    HubGenerator,
    HubModel,
    PoolSettings,
    UpstreamSettings,
)

if TYPE_CHECKING:
    from synthbridge.upstream.hub import Wanted

WEIGHTS = "weights"  # the key below upstream.generator
TRAINED = (ClipSettings, GeneratorSettings, BackboneSettings)


@dataclass(frozen=True)
class Unit:
    """A part of the upstream that one process makes."""

    path: Path  # where it lies once it is whole
    make: Callable[[Path], object]  # writes it into an empty folder


def upstream(params: UpstreamSettings, *, out: Path) -> None:
    """Write the folders pool, clip, generator and backbone below `out`."""
    log = StageLog("upstream", "; ".join(_describe(params)))
    if isinstance(params.backbone, BackboneSettings):
        check_model(params.backbone.model)
    with start_accelerator(cpu=True) as accelerator:
        _fetch(accelerator, params, out)  # first: what cannot be had stops the run here
        if params.pool:
            _make_pool(accelerator, params.pool, out / "pool")
        models = _make_models(accelerator, params, out / "pool", log)
        if accelerator.is_main_process:
            for name, unit in models.items():
                _publish([unit.path], out / name)
    log.done("pool, CLIP, generator and backbone", out)


def _describe(params: UpstreamSettings) -> Iterator[str]:
    """Say where each part comes from."""
    trained = [name for name, value in params if isinstance(value, TRAINED)]
    for name, value in params:
        if isinstance(value, PoolSettings):
            yield f"drawing {value.num_images} captioned images"
        elif isinstance(value, HubModel | HubBackbone):
            on_top = value.weights if isinstance(value, HubGenerator) else None
            told = f" with {on_top.file} of {on_top.hub}" if on_top else ""
            yield f"{name} from the hub's {value.hub}{told}"
        elif isinstance(value, BackboneFile):
            yield f"{name} from {value.file}"
    if trained:
        yield f"training the miniature {', '.join(trained)}"


def _fetch(accelerator: Accelerator, params: UpstreamSettings, out: Path) -> None:
    """Write the parts that are not the miniature's: from the hub, from a file, or absent."""
    if accelerator.is_main_process:
        wanted = _wanted(params)
        if isinstance(params.backbone, BackboneFile):
            _publish([store_file(params.backbone)], out / "backbone")
        if wanted:
            from synthbridge.upstream.hub import fetch_models

            fetch_models(list(wanted.values()), out)
        top = wanted.pop(WEIGHTS, None)
        for name, model in wanted.items():
            parts = [model.path]
            if name == "generator":
                parts += [_whole(unit).path for unit in _on_top(params.generator, model, top)]
            _publish(parts, out / name)
            for line in licence_sentences(read_licences(out / name)):
                say(f"  {line}")
        for name, value in params:
            if value is None:  # DVC wants every out to be there
                with whole_folder(out / name) as folder:
                    write_json(folder / "absent.json", {f"upstream.{name}": None})
    accelerator.wait_for_everyone()


def _wanted(params: UpstreamSettings) -> "dict[str, Wanted]":
    """List the hub's models."""
    named = {name: value for name, value in params if isinstance(value, HubModel | HubBackbone)}
    if not named:
        return {}
    # Here, so that the miniature does not wait for the hub's library.
    from synthbridge.upstream import hub, layouts, on_top

    layout = {"generator": layouts.GENERATOR, "clip": layouts.CLIP, "backbone": layouts.BACKBONE}
    wanted = {
        name: hub.Wanted(
            f"upstream.{name}", hub_repository(value.hub), value.revision, layout[name]
        )
        for name, value in named.items()
    }
    generator = params.generator
    if not isinstance(generator, HubGenerator) or not generator.weights:
        return wanted
    where, weights = f"upstream.generator.{WEIGHTS}", generator.weights
    layout = layouts.on_top(weights.file)
    top = hub.Wanted(where, weights.hub, weights.revision, layout)
    hub.refuse_unpinned([*wanted.values(), top])
    base = on_top.base_for(wanted["generator"], top, weights.file)
    # First what goes on top: its configuration says whether it fits.
    return {WEIGHTS: top, **wanted, "generator": base}


def _on_top(generator: Any, model: "Wanted", top: "Wanted | None") -> Iterator[Unit]:
    """List what replaces files of the generator, and what is said of it."""
    from synthbridge.upstream.on_top import mark_as_plain, merge

    if top:
        weights = generator.weights
        model.layout.check(model.path, model.name)  # a model that was there already, for others
        parts = [model.path.name, top.path.name]
        inputs = (model.path, top.path, weights.file, weights.distilled)
        decides = {"parts": parts, "file": weights.file, "distilled": weights.distilled}
        yield _unit(merge, *inputs, decides=decides)
    if generator.distilled is False:
        yield _unit(mark_as_plain, decides={})


def _whole(unit: Unit) -> Unit:
    """Make a unit that is not there yet."""
    if not unit.path.is_dir():
        with whole_unit(unit.path) as folder:
            unit.make(folder)
    return unit


def _make_pool(accelerator: Accelerator, params: PoolSettings, out: Path) -> None:
    """Draw what is not there yet, and write the pool to `out`."""
    shards = [
        _unit(
            write_pool_shard, params, shard, decides={"shard": shard, "pool": params.model_dump()}
        )
        for shard in range(count_shards(params))
    ]
    _make(accelerator, shards)
    if accelerator.is_main_process:
        _publish([shard.path for shard in shards], out)
        write_json(out / "classes.json", {"names": list(CLASS_NAMES)})
    accelerator.wait_for_everyone()


def _make_models(
    accelerator: Accelerator, params: UpstreamSettings, pool: Path, log: StageLog
) -> dict[str, Unit]:
    """Make the miniature's models that are not there yet; returns their units."""
    read = cache(partial(read_pool, pool))  # once a process, and only where it is needed
    first: dict[str, Unit] = {}  # from the pool alone
    last: dict[str, Unit] = {}
    drawn = hash_folder(pool) if params.pool else None
    if isinstance(params.clip, ClipSettings):
        of_clip = params.clip.model_dump()
        first["clip"] = _unit(
            write_clip, params.clip, read, decides={"clip": of_clip, "pool": drawn}
        )
    if isinstance(params.generator, GeneratorSettings):  # then clip is the miniature's: settings.py
        of_vae = params.generator.model_dump(include={"vae", "seed"})
        first["vae"] = _unit(
            write_vae, params.generator, read, decides={"vae": of_vae, "pool": drawn}
        )
        parts = [first["vae"].path, first["clip"].path]
        of_generator = params.generator.model_dump()
        decides = {"generator": of_generator, "parts": [part.name for part in parts]}
        last["generator"] = _unit(write_generator, params.generator, read, *parts, decides=decides)
    if isinstance(params.backbone, BackboneSettings):
        of_letters = params.backbone.model_dump()
        last["backbone"] = _unit(write_backbone, params.backbone, decides={"backbone": of_letters})
    missing = [
        [name for name, unit in units.items() if not unit.path.is_dir()] for units in (first, last)
    ]
    log.expect(accelerator=accelerator, params=params, missing=missing)
    for units in (first, last):
        _make(accelerator, list(units.values()))
    first.pop("vae", None)  # a part of the generator
    return first | last


def _unit(make: Callable[..., object], *inputs: object, decides: dict[str, Any]) -> Unit:
    """Return a unit that `make(*inputs, folder)` writes, keyed by its code and by what decides."""
    return Unit(unit_path("upstream", unit_key(make=make, **decides)), partial(make, *inputs))


def _make(accelerator: Accelerator, units: Sequence[Unit]) -> None:
    """Make this process's share of the units that are not there; wait for the others'."""
    for unit in share_units(accelerator, units, lambda unit: unit.path.is_dir()):
        with whole_unit(unit.path) as folder:
            unit.make(folder)


def _publish(paths: Sequence[Path], out: Path) -> None:
    """Copy finished units out of the work folder; a later one's UNet replaces an earlier one's."""
    with whole_folder(out) as folder:
        for path in paths:
            if (path / "unet").is_dir():
                shutil.rmtree(folder / "unet", ignore_errors=True)
            shutil.copytree(path, folder, copy_function=shutil.copyfile, dirs_exist_ok=True)


def main(arguments: list[str] | None = None) -> None:
    """Take the path that dvc.yaml names."""
    parser = argparse.ArgumentParser(prog="upstream", description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(arguments)
    upstream(Sections().read(UpstreamSettings, "upstream"), **vars(args))
