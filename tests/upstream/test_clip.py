from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F
from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

from synthbridge.upstream.clip import make_clip, save_clip, tokenize, train_clip
from synthbridge.upstream.pool import Pool, scale_pixels
from synthbridge.upstream.settings import ClipSettings

SETTINGS = ClipSettings(num_steps=12, batch_size=32, learning_rate=2e-3, seed=1)


def test_pixels_are_scaled_as_the_saved_processor_does(clip_folder: Path, pool: Pool):
    processor = CLIPImageProcessor.from_pretrained(clip_folder)
    expected = processor(Image.fromarray(pool.images[0]), return_tensors="pt")["pixel_values"]
    assert torch.allclose(scale_pixels(pool.images[:1]), expected, atol=1e-6)


def test_first_loss_is_the_contrastive_loss_of_the_paper(clip_folder: Path, pool: Pool):
    tokenizer = CLIPTokenizer.from_pretrained(clip_folder)
    model = make_clip(tokenizer, seed=0)
    chosen = np.random.default_rng([SETTINGS.seed, 1]).choice(300, 32, replace=False)
    with torch.no_grad():
        outputs = model(
            input_ids=tokenize(tokenizer, [pool.captions[index] for index in chosen]),
            pixel_values=scale_pixels(pool.images[chosen]),
        )
        similarity = outputs.text_embeds @ outputs.image_embeds.T * model.logit_scale.exp()
        pairs = torch.arange(32)
        expected = (F.cross_entropy(similarity, pairs) + F.cross_entropy(similarity.T, pairs)) / 2
    first = next(train_clip(model, tokenizer, pool, SETTINGS))
    assert abs(first - expected.item()) < 1e-4


def test_transformers_loads_what_is_saved(clip_folder: Path, tmp_path: Path):
    tokenizer = CLIPTokenizer.from_pretrained(clip_folder)
    trained = make_clip(tokenizer, seed=3)
    save_clip(trained, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} >= {"model.safetensors", "config.json"}
    model = CLIPModel.from_pretrained(tmp_path)
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, trained.state_dict()[name]), name
    # The end of the prompt is what is compared with images: the model must know its token.
    assert model.config.text_config.eos_token_id == tokenizer.eos_token_id
    assert model.config.text_config.max_position_embeddings == tokenizer.model_max_length
    assert CLIPImageProcessor.from_pretrained(tmp_path).size == {"shortest_edge": 16}


def test_loss_falls(clip_folder: Path, pool: Pool):
    tokenizer = CLIPTokenizer.from_pretrained(clip_folder)
    settings = ClipSettings(num_steps=40, batch_size=32, learning_rate=3e-3, seed=1)
    losses = list(train_clip(make_clip(tokenizer, seed=0), tokenizer, pool, settings))
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.3
