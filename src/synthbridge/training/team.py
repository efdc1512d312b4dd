"""The processes that train one model together, and what they must agree on."""

from dataclasses import dataclass

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Team:
    """`size` processes that share every global batch; this one is number `rank`."""

    accelerator: Accelerator
    rank: int
    size: int

    @property
    def device(self) -> torch.device:
        """The device of this process."""
        return self.accelerator.device

    def wrap(self, model: nn.Module) -> nn.Module:
        """Move `model` to the device; in a team, average gradients and batch statistics."""
        # Convolutions are faster with the channels last, on GPUs and on CPUs.
        model.to(self.device, memory_format=torch.channels_last)  # pyright: ignore
        if self.size == 1:
            return model
        return self.accelerator.prepare_model(share_batch_norm(model))

    def gather(self, items: list) -> list:
        """Put the lists of all processes after one another, in order of rank."""
        return gather_object(items) if self.size > 1 else items


def form_team(accelerator: Accelerator, num_runs: int) -> Team:
    """Choose how the processes divide `num_runs` trainings.

    Where there is a run for every process each trains whole runs, alone, which needs no talk
    between them; with fewer runs all processes share each one.
    """
    if num_runs >= accelerator.num_processes:
        return Team(accelerator, rank=0, size=1)
    return Team(accelerator, accelerator.process_index, accelerator.num_processes)


class _SumOverTeam(torch.autograd.Function):
    """Sum a tensor over all processes; the gradient of each summand is the sum of gradients."""

    @staticmethod
    def forward(ctx, summand: Tensor) -> Tensor:
        total = summand.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:  # pyright: ignore
        total = gradient.contiguous().clone()
        torch.distributed.all_reduce(total)
        return total


def _sum_over_team(summand: Tensor) -> Tensor:
    return _SumOverTeam.apply(summand)  # pyright: ignore


class SharedBatchNorm(nn.Module):
    """Batch norm over the global batch, so that the number of processes does not matter.

    torch's SyncBatchNorm runs on GPUs only and refuses a process without images; this one sums
    the moments of all processes with a differentiable all-reduce. It wraps the original module,
    whose parameters, running statistics and activation (timm's BatchNormAct2d) it uses.
    """

    def __init__(self, norm: nn.Module):
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, C, H, W), where B may differ between processes and may be 0."""
        norm = self.norm
        if not norm.training:
            return norm(x)
        channels, wide = x.shape[1], x.float()
        count = wide.new_tensor([x.numel() // channels])
        total, count = _sum_over_team(torch.cat([wide.sum((0, 2, 3)), count])).split([channels, 1])
        mean = total / count
        # A second sum, of centred squares: E[x^2] - E[x]^2 loses small variances to rounding.
        centred = wide - mean.view(1, -1, 1, 1)
        variance = _sum_over_team(centred.square().sum((0, 2, 3))) / count
        self._track(mean.detach(), (variance * count / (count - 1)).detach())
        scale = torch.rsqrt(variance + norm.eps) * norm.weight  # pyright: ignore
        y = (centred * scale.view(1, -1, 1, 1) + norm.bias.view(1, -1, 1, 1)).to(x.dtype)  # pyright: ignore
        for name in ("drop", "act"):  # what timm's BatchNormAct2d does behind the norm
            y = getattr(norm, name, nn.Identity())(y)
        return y

    def _track(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics as torch's batch norm does."""
        norm = self.norm
        norm.running_mean.lerp_(mean, norm.momentum)  # pyright: ignore
        norm.running_var.lerp_(variance, norm.momentum)  # pyright: ignore
        norm.num_batches_tracked.add_(1)  # pyright: ignore


def share_batch_norm(model: nn.Module) -> nn.Module:
    """Wrap every batch norm of `model` in a SharedBatchNorm, in place."""
    for name, child in model.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(model, name, SharedBatchNorm(child))
        else:
            share_batch_norm(child)
    return model


def unshare_batch_norm(model: nn.Module) -> nn.Module:
    """Undo `share_batch_norm`, so that checkpoints have the same names for any number."""
    for name, child in model.named_children():
        if isinstance(child, SharedBatchNorm):
            setattr(model, name, child.norm)
        else:
            unshare_batch_norm(child)
    return model


def summed_cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the sum of the cross entropies, weighted (B,) or not, also of no image at all.

    Labels are class indices (B,), or soft (B, C).
    """
    if weights is None:
        return F.cross_entropy(logits.float(), labels, reduction="sum")
    return (F.cross_entropy(logits.float(), labels, reduction="none") * weights).sum()
