"""Dataset style inversion: ours beside the recipe of diffusers' textual-inversion example.

    python benchmarks/inversion.py           needs data/: run `dvc repro prepare upstream` first

D1  a step of ours / a step of that recipe: same weights, images, classes, batch, dtype. The recipe
    encodes each batch with the VAE, optimises the whole embedding table with AdamW and puts every
    other row back after each step, and reads the loss at each step
    (examples/textual_inversion/textual_inversion.py of diffusers).
"""

from pathlib import Path

import measure
import numpy as np
import torch
from torch.nn.functional import mse_loss

from synthbridge.data.real import read_dataset
from synthbridge.data.shards import read_square
from synthbridge.diffusion.inversion import invert_style
from synthbridge.diffusion.loading import load_text_to_image
from synthbridge.diffusion.prompts import style_prompt
from synthbridge.diffusion.schedule import noise_levels
from synthbridge.diffusion.settings import InversionSettings
from synthbridge.diffusion.style_token import add_style_token, find_initial_token, word_table
from synthbridge.diffusion.text import tokenize

GENERATOR, REAL = Path("data/upstream/generator"), Path("data/real/digits")
STEPS, BATCH, RATE, SHOTS = 100, 32, 5e-3, 4
PLACEHOLDER, INITIAL_WORD = "<style>", "style"


class Recipe:
    """The example's training loop, on our images and prompts."""

    def __init__(self, images: np.ndarray, labels: list[int], names: tuple[str, ...]):
        """Load the models and add the placeholder, as the example does."""
        self.model = load_text_to_image(GENERATOR)
        self.pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
        tokenizer, text_encoder = self.model.tokenizer, self.model.text_encoder
        initial = word_table(text_encoder)[find_initial_token(tokenizer, INITIAL_WORD)].clone()
        self.token = add_style_token(tokenizer, text_encoder, PLACEHOLDER, initial)
        prompts = [style_prompt(names[label], PLACEHOLDER) for label in labels]
        self.ids = tokenize(tokenizer, prompts)
        self.signal = noise_levels(self.model.scheduler_config)

    def run(self) -> None:
        """Take `STEPS` steps; a second call goes on where the first one ended."""
        model = self.model
        table = word_table(model.text_encoder)
        table.requires_grad_(True)
        before = table.detach().clone()
        others = torch.arange(len(table)) != self.token
        optimizer = torch.optim.AdamW([table], lr=RATE, weight_decay=1e-2)
        scale = model.vae.config["scaling_factor"]
        for _ in range(STEPS):
            chosen = torch.randint(len(self.pixels), (BATCH,))
            latents = model.vae.encode(self.pixels[chosen]).latent_dist.sample() * scale
            noise, times = torch.randn_like(latents), torch.randint(len(self.signal), (BATCH,))
            signal = self.signal[times].view(-1, 1, 1, 1)
            noisy = signal.sqrt() * latents + (1 - signal).sqrt() * noise
            text = model.text_encoder(self.ids[chosen])[0]
            loss = mse_loss(model.unet(noisy, times, text).sample, noise)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            with torch.no_grad():
                table[others] = before[others]
            loss.item()  # the example's progress bar shows it
        table.requires_grad_(False)


def main() -> None:
    """Measure, print and save."""
    rounds = measure.read_arguments(__doc__).rounds
    dataset = read_dataset(REAL)
    model = load_text_to_image(GENERATOR)
    samples = dataset.train_samples(SHOTS, 0)
    images = np.stack([read_square(sample, model.image_size) for sample in samples])
    labels = [sample.label for sample in samples]
    settings = InversionSettings(
        placeholder=PLACEHOLDER, initial_word=INITIAL_WORD, num_steps=STEPS, batch_size=BATCH,
        learning_rate=RATE, samples_per_class=1, seed=0,
    )  # fmt: skip
    recipe = Recipe(images, labels, dataset.class_names)
    seconds = measure.take_turns(
        {
            "ours": lambda: invert_style(
                model, settings, images, labels, dataset.class_names, flip=False
            ),
            "recipe": recipe.run,
        },
        rounds=rounds,
    )
    milliseconds = {name: round(1e3 * value / STEPS, 2) for name, value in seconds.items()}
    row = {
        "what": "steps a second, ours / diffusers' example recipe",
        "ratio": seconds["recipe"] / seconds["ours"],
        "wanted": 1.15,
        "milliseconds_per_step": milliseconds,
    }
    measure.save_ratios("inversion", {"D1": row})


if __name__ == "__main__":
    main()
