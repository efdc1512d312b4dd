"""The same model for ONNX runtimes: exported, checked against torch, the same bytes each time."""

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

FILE = "model.onnx"
OPSET = 18  # chosen: what torch 2.11 to 2.15 export without a conversion
TOLERANCE = 1e-4  # of a probability, in absolute terms; float32 sums in another order differ
INPUT, OUTPUT = "images", "probabilities"


class _Answering(nn.Module):
    """Classifiers that answer together, with the mean of their probabilities."""

    def __init__(self, members: Sequence[nn.Module]):
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        answers = [member(images).softmax(1) for member in self.members]
        return answers[0] if len(answers) == 1 else torch.stack(answers).mean(0)


def write_onnx(path: Path, members: Sequence[nn.Module], image_size: int) -> float:
    """Export classifiers and compare what they answer together.

    Args:
        path: the file to write; it holds the weights too.
        members: one, or those of an ensemble.
        image_size: pixels.

    Returns:
        The largest difference of a probability between torch and ONNX Runtime.

    Raises:
        ValueError: if it exceeds TOLERANCE.
    """
    answering = _Answering(members).cpu().eval()
    images = torch.randn(3, 3, image_size, image_size, generator=torch.Generator().manual_seed(0))
    path.write_bytes(_export(answering, images))
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run([OUTPUT], {INPUT: images.numpy()})
    with torch.inference_mode():
        expected = answering(images).numpy()
    difference = float(np.abs(found - expected).max())
    if not difference <= TOLERANCE:
        raise ValueError(
            f"{path.name} answers otherwise than torch, by {difference:.2g} of a probability "
            f"(at most {TOLERANCE:g} is allowed)"
        )
    return difference


def _export(model: nn.Module, images: torch.Tensor) -> bytes:
    """Return the file: for any number of images, without a trace of this machine."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own, of which a user can do nothing
        program = torch.onnx.export(
            model,
            (images,),
            dynamo=True,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None
    found: onnx.ModelProto = program.model_proto
    graph = found.graph
    # Where in which file each node was traced, by absolute paths.
    values = (*graph.value_info, *graph.initializer, *graph.input, *graph.output)
    for part in (found, graph, *graph.node, *values):
        del part.metadata_props[:]
    return found.SerializeToString(deterministic=True)
