"""Auxiliary norm: synthetic images pass through norms of their own.

Real and synthetic images differ in their statistics, and one batch norm for both suits neither.
So each norm gets a twin for the synthetic images, with running statistics, weight and bias of its
own, and a test uses the real images' norm alone (Diversify, arXiv:2312.02253, which takes it from
AdvProp, arXiv:1911.09665). Both twins start as copies of the pretrained norm (chosen). Diversify
trains transformers too, which have no batch norm: their layer norms, where weight and bias are all
that a twin has of its own, are separated likewise (reconstruction).
"""

import copy

import torch
from torch import Tensor, nn

NORMS = (nn.BatchNorm2d, nn.LayerNorm)  # and what derives from them, as timm's LayerNorm2d


class AuxiliaryNorm(nn.Module):
    """A norm and its twin; the first rows of a batch are real, the others synthetic."""

    def __init__(self, norm: nn.Module):
        """Take `norm` for the real images and a copy of it for the synthetic ones."""
        super().__init__()
        self.real = norm
        self.synthetic = copy.deepcopy(norm)
        # Real and synthetic rows of the coming batch: of this process, and over all of them.
        self.here: tuple[int, int] = (0, 0)
        self.in_all: tuple[int, int] = (0, 0)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, ...), each part with its own norm; in a test all with the real one.

        Raises:
            ValueError: if the rows are no images.
        """
        if not self.training:
            return self.real(x)
        if len(x) != sum(self.here):
            raise ValueError(
                "auxiliary_norm tells real images from synthetic ones by their rows, but a norm of "
                f"this backbone sees {len(x)} rows of {sum(self.here)} images, such as windows; "
                "remove auxiliary_norm, or take another backbone"
            )
        parts = x.split(self.here)
        norms = (self.real, self.synthetic)
        both = zip(norms, parts, self.in_all, strict=True)
        return torch.cat([_normalise(norm, part, num_images) for norm, part, num_images in both])


def _normalise(norm: nn.Module, part: Tensor, num_images: int) -> Tensor:
    """Normalise one source's images; `num_images` is their number over all processes.

    A layer norm knows one image at a time. In a batch norm one value a channel has no variance (one
    image of one pixel, deep in a network). It is normalised with the running statistics, which do
    not move; so are no images at all, whose gradient is 0.
    """
    if isinstance(norm, nn.LayerNorm) or num_images * part.shape[2:].numel() > 1:
        return norm(part)
    norm.eval()
    normalised = norm(part)
    norm.train()
    return normalised


def separate_norms(model: nn.Module) -> None:
    """Replace every norm of `model` that is in train mode by an AuxiliaryNorm, in place.

    Raises:
        ValueError: if there is none.
    """
    require_norms(model)
    _separate(model)


def require_norms(model: nn.Module) -> None:
    """Check that `model` has a batch or layer norm in train mode.

    Raises:
        ValueError: if it has none.
    """
    if not any(isinstance(part, NORMS) and part.training for part in model.modules()):
        raise ValueError(
            "auxiliary_norm gives synthetic images batch or layer norms of their own, but this "
            f"{type(model).__name__} has none that trains; remove auxiliary_norm, or take a "
            "backbone with such norms, as a ResNet or a ViT, and freeze fewer units"
        )


def _separate(model: nn.Module) -> None:
    for name, child in model.named_children():
        if not isinstance(child, NORMS):
            _separate(child)
        elif child.training:
            setattr(model, name, AuxiliaryNorm(child))


def route(model: nn.Module, *, here: tuple[int, int], in_all: tuple[int, int]) -> None:
    """Announce the rows of the coming batch, real ones first.

    Args:
        model: one whose norms are separate.
        here: real and synthetic rows of this process.
        in_all: of all processes, whose batch norms normalise together.
    """
    for module in model.modules():
        if isinstance(module, AuxiliaryNorm):
            module.here, module.in_all = here, in_all


def join_norms(model: nn.Module) -> None:
    """Undo `separate_norms` in place: the real images' norms stay, so a checkpoint is plain."""
    for name, child in model.named_children():
        if isinstance(child, AuxiliaryNorm):
            setattr(model, name, child.real)
        else:
            join_norms(child)
