"""To the device: tensors from the CPU, where all that is random is drawn, without waiting."""

import torch


def send(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Copy a CPU tensor to `device`, in its turn: the CPU goes on while a GPU is still at work."""
    if device.type == "cuda":  # from pageable memory the copy would wait for all work before it
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
