"""Where images and weights come from, with the licence where one is known: sentences for cards."""

from collections.abc import Mapping, Sequence
from typing import Any

from synthbridge.data.keeping import part_words
from synthbridge.data.licences import Licence
from synthbridge.upstream.settings import (
    BackboneFile,
    GeneratorSettings,
    HubBackbone,
    HubGenerator,
    HubModel,
    HubWeights,
    UpstreamSettings,
)

# As the models' own pages say, for those that were fetched before the hub's word was kept; of
# others the page is named.
LICENCES = {
    "CompVis/stable-diffusion-v1-4": "CreativeML Open RAIL-M",
    "stable-diffusion-v1-5/stable-diffusion-v1-5": "CreativeML Open RAIL-M",
    "stabilityai/stable-diffusion-xl-base-1.0": "CreativeML Open RAIL++-M",
}


def set_origin(
    name: str,
    group: Mapping[str, Any],
    upstream: UpstreamSettings,
    licences: Sequence[Licence] = (),
) -> str:
    """Say how the images of a set were made.

    Args:
        name: of the set.
        group: its settings, below `synthetic` or `retrieved` in params.yaml.
        upstream: the models.
        licences: what the hub says of the generator's, if it was asked.
    """
    count = f"{group['images_per_class']} images a class"
    if "search" in group:
        found = f"Set `{name}`: {count}, retrieved by {group['search']} from"
        if group.get("pool") is None and upstream.pool is not None:
            return f"{found} the miniature's pool, which the pipeline draws itself."
        return (
            f"{found} {group.get('pool')}. They are real images and belong to their authors; no "
            "licence is recorded here."
        )
    shots = group["shots"]
    seen = "no real image" if shots is None else f"{shots} real images a class"
    generator = generator_origin(upstream, licences)
    part = part_words(group)
    return (
        f"Set `{name}`: {count}, drawn with prompts of kind `{group['prompts']}` at guidance "
        f"scale {group['guidance_scale']:g}, made from {seen}"
        f"{part and f'; {part}, train'}. {generator}"
    )


def generator_origin(upstream: UpstreamSettings, licences: Sequence[Licence] = ()) -> str:
    """Say which generator draws, and under which licences."""
    generator = upstream.generator
    if isinstance(generator, HubGenerator):
        parts = [generator, *([generator.weights] if generator.weights else [])]
        known = {licence.hub: licence for licence in licences}
        told = (f"{_hub(part)}; {_licence(part.hub, known.get(part.hub))}" for part in parts)
        return f"Generator: {', with weights on top of it: '.join(told)}."
    assert isinstance(generator, GeneratorSettings)
    return (
        "Generator: the miniature latent diffusion model that the pipeline trains itself, on "
        "pictures of letters and digits; no licence binds its images."
    )


def _licence(hub: str, licence: Licence | None) -> str:
    """Say a model's licence, by the hub's word or by ours."""
    if licence is None:
        known = LICENCES.get(hub)
        return f"its licence: {known}" if known else "its licence stands on its page"
    forbids = ", which forbids commercial use" if licence.is_non_commercial else ""
    return f"its licence: {licence}{forbids}"


def backbone_origin(upstream: UpstreamSettings, config: Mapping[str, Any]) -> str:
    """Say which weights training began with.

    Args:
        upstream: the models.
        config: what the backbone's config.json says.
    """
    backbone = upstream.backbone
    if isinstance(backbone, HubBackbone):
        told = _hub(backbone)
    elif isinstance(backbone, BackboneFile):
        told = f"{config['architecture']} of the file `{backbone.file}`"
    else:
        return f"Backbone: {config['architecture']}, trained by the pipeline on letters."
    licence = config["pretrained_cfg"].get("license")
    return f"Backbone: {told}; " + (f"its licence: {licence}." if licence else "licence unknown.")


def _hub(model: HubModel | HubBackbone | HubWeights) -> str:
    """Name a model and its commit; a repository is linked."""
    commit = (model.revision or "no commit")[:12]
    if "/" not in model.hub:
        return f"{model.hub} of timm ({commit})"
    return f"[{model.hub}](https://huggingface.co/{model.hub}) ({commit})"
