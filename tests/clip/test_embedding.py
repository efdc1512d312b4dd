import numpy as np
import pytest
import torch

from synthbridge.clip.embedding import BATCH_SIZE, load_clip
from synthbridge.upstream.clip import make_clip, save_clip
from synthbridge.upstream.pool import write_caption
from synthbridge.upstream.tokenizer import train_tokenizer

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip")
    rng = np.random.default_rng(0)
    captions = [write_caption("seven", ("bold",), style_fraction=0.5, rng=rng) for _ in range(50)]
    save_clip(make_clip(train_tokenizer(captions, path), seed=0), path)
    return path


def test_embeddings_score_as_the_model_itself_does(folder):
    clip = load_clip(folder, CPU)
    images = np.random.default_rng(1).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    texts = ["a photo of a seven", "bold"]
    ours = clip.embed_images(images) @ clip.embed_texts(texts).T * clip.temperature
    tokens = clip.tokenizer(texts, padding="max_length", return_tensors="pt").input_ids
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.inference_mode():
        theirs = clip.model(input_ids=tokens, pixel_values=pixels).logits_per_image
    np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-4)


def test_embeddings_do_not_depend_on_the_batch(folder):
    clip = load_clip(folder, CPU)
    images = np.random.default_rng(2).integers(0, 256, (BATCH_SIZE + 1, 20, 16, 3), dtype=np.uint8)
    together = clip.embed_images(iter(images))
    np.testing.assert_allclose(together[-1], clip.embed_images(images[-1:])[0], atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    assert clip.embed_images([]).shape == (0, 64)


def test_a_folder_without_clip_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"holds no CLIP"):
        load_clip(tmp_path, CPU)
