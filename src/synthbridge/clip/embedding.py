"""CLIP as a measure: texts and images become unit vectors of one space (arXiv:2103.00020)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer
from transformers.utils import logging

BATCH_SIZE = 256  # texts or images embedded at once


@dataclass(frozen=True)
class Clip:
    """A CLIP on its device."""

    model: CLIPModel
    tokenizer: CLIPTokenizer
    processor: CLIPImageProcessor

    @property
    def temperature(self) -> float:
        """What cosines are multiplied with before a softmax, as CLIP was trained."""
        return float(self.model.logit_scale.detach().exp())

    @torch.inference_mode()
    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Embed `texts` as unit vectors (N, D) float32; longer ones are cut as CLIP cuts them."""
        parts = []
        for start in range(0, len(texts), BATCH_SIZE):
            tokens = self.tokenizer(
                list(texts[start : start + BATCH_SIZE]),
                padding="max_length",
                truncation=True,
                return_tensors="pt",
            )["input_ids"]
            pooled = self.model.text_model(input_ids=tokens.to(self.model.device)).pooler_output
            parts.append(_unit(self.model.text_projection(pooled)))
        return np.concatenate(parts)

    @torch.inference_mode()
    def embed_images(self, images: Iterable[np.ndarray]) -> np.ndarray:
        """Embed `images`, each (H, W, 3) uint8 of any size, as unit vectors (N, D) float32.

        Takes BATCH_SIZE images at a time, so that an iterator over a large set needs no memory.
        """
        parts, batch = [], []
        for image in images:
            batch.append(image)
            if len(batch) == BATCH_SIZE:
                parts.append(self._embed_batch(batch))
                batch = []
        if batch:
            parts.append(self._embed_batch(batch))
        width = int(self.model.config.projection_dim or 0)
        return np.concatenate(parts) if parts else np.empty((0, width), np.float32)

    def _embed_batch(self, images: list[np.ndarray]) -> np.ndarray:
        pixels = self.processor(
            [np.array(image) for image in images],  # copies: torch warns of what it cannot write
            return_tensors="pt",
            input_data_format="channels_last",
        )
        pixels = pixels["pixel_values"].to(self.model.device)
        pooled = self.model.vision_model(pixel_values=pixels).pooler_output
        return _unit(self.model.visual_projection(pooled))


def _unit(embeddings: Tensor) -> np.ndarray:
    return torch.nn.functional.normalize(embeddings.float(), dim=-1).cpu().numpy()


def load_clip(folder: Path, device: torch.device) -> Clip:
    """Load the CLIP in a transformers folder; weights are read from safetensors alone.

    Raises:
        ValueError: if there is none.
    """
    if not (folder / "model.safetensors").is_file():
        raise ValueError(
            f"{folder} holds no CLIP (model.safetensors); name one below upstream.clip "
            "in params.yaml"
        )
    logging.disable_progress_bar()
    model = CLIPModel.from_pretrained(folder, use_safetensors=True, local_files_only=True)
    return Clip(
        model.to(device).eval(),  # pyright: ignore[reportArgumentType]
        CLIPTokenizer.from_pretrained(folder, local_files_only=True),
        CLIPImageProcessor.from_pretrained(folder, local_files_only=True),
    )
