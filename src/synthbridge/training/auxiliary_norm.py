"""Auxiliary batch norm: synthetic images pass through batch norms of their own.

Real and synthetic images differ in their statistics, and one batch norm for both suits neither.
So each norm gets a twin for the synthetic images, with running statistics, weight and bias of its
own, and a test uses the real images' norm alone (Diversify, arXiv:2312.02253, which takes it from
AdvProp, arXiv:1911.09665). Both twins start as copies of the pretrained norm (chosen).
"""

import copy

import torch
from torch import Tensor, nn


class AuxiliaryNorm(nn.Module):
    """A batch norm and its twin; the first rows of a batch are real, the others synthetic."""

    def __init__(self, norm: nn.Module):
        """Take `norm` for the real images and a copy of it for the synthetic ones."""
        super().__init__()
        self.real = norm
        self.synthetic = copy.deepcopy(norm)
        self.num_real = 0  # rows of the coming batch, of this process
        # Real and synthetic rows of the batch over all processes.
        self.in_all: tuple[int, int] = (0, 0)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, C, H, W), each part with its own norm; in a test all with the real one."""
        if not self.training:
            return self.real(x)
        parts = x.split([self.num_real, len(x) - self.num_real])
        norms = (self.real, self.synthetic)
        both = zip(norms, parts, self.in_all, strict=True)
        return torch.cat([_normalise(norm, part, num_images) for norm, part, num_images in both])


def _normalise(norm: nn.Module, part: Tensor, num_images: int) -> Tensor:
    """Normalise one source's images; `num_images` is their number over all processes.

    One value a channel has no variance (one image of one pixel, deep in a network). It is
    normalised with the running statistics, which do not move; so are no images at all, whose
    gradient is 0.
    """
    if num_images * part.shape[2:].numel() > 1:
        return norm(part)
    norm.eval()
    normalised = norm(part)
    norm.train()
    return normalised


def separate_norms(model: nn.Module) -> None:
    """Replace every batch norm of `model` that is in train mode by an AuxiliaryNorm, in place.

    Raises:
        ValueError: if there is none.
    """
    require_norms(model)
    _separate(model)


def require_norms(model: nn.Module) -> None:
    """Check that `model` has a batch norm in train mode.

    Raises:
        ValueError: if it has none.
    """
    if not any(isinstance(part, nn.BatchNorm2d) and part.training for part in model.modules()):
        raise ValueError(
            "auxiliary_norm gives synthetic images batch norms of their own, but this "
            f"{type(model).__name__} has none that trains; remove auxiliary_norm, or take a "
            "backbone with batch norms, such as a ResNet, and freeze fewer units"
        )


def _separate(model: nn.Module) -> None:
    for name, child in model.named_children():
        if not isinstance(child, nn.BatchNorm2d):
            _separate(child)
        elif child.training:
            setattr(model, name, AuxiliaryNorm(child))


def route(model: nn.Module, *, num_real: int, in_all: tuple[int, int]) -> None:
    """Announce the rows of the coming batch, real ones first.

    Args:
        model: one whose norms are separate.
        num_real: real rows of this process; the others are synthetic.
        in_all: real and synthetic rows over all processes, which normalise together.
    """
    for module in model.modules():
        if isinstance(module, AuxiliaryNorm):
            module.num_real, module.in_all = num_real, in_all


def join_norms(model: nn.Module) -> None:
    """Undo `separate_norms` in place: the real images' norms stay, so a checkpoint is plain."""
    for name, child in model.named_children():
        if isinstance(child, AuxiliaryNorm):
            setattr(model, name, child.real)
        else:
            join_norms(child)
