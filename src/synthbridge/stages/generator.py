"""Train the miniature Stable Diffusion on the pool, on the frozen text tower of CLIP."""

import argparse
from pathlib import Path

from synthbridge.progress import StageLog, progress
from synthbridge.settings import read_section
from synthbridge.upstream.settings import GeneratorSettings


def generator(params: GeneratorSettings, *, pool: Path, clip: Path, out: Path) -> None:
    """Train on the shards in `pool` with the text tower in `clip`; write a pipeline to `out`."""
    from synthbridge.upstream import generator as models
    from synthbridge.upstream.clip import scale_pixels
    from synthbridge.upstream.folders import whole_folder
    from synthbridge.upstream.optimisation import use_fixed_threads
    from synthbridge.upstream.pool import read_pool

    log = StageLog(
        f"training the generator on {pool}: VAE {params.vae.num_steps} steps of "
        f"{params.vae.batch_size}, UNet {params.unet.num_steps} of {params.unet.batch_size}"
    )
    use_fixed_threads()
    captioned = read_pool(pool)
    images = scale_pixels(captioned.images)
    vae = models.make_vae(params.seed)
    steps = models.train_vae(vae, images, params.vae, params.seed)
    *_, error = progress(steps, total=params.vae.num_steps, what="training the VAE", unit="step")
    latents = models.encode_images(vae, images)
    vae.register_to_config(scaling_factor=1 / latents.std().item())
    latents = latents * vae.config["scaling_factor"]  # unit variance

    text_encoder, tokenizer = models.load_text_tower(clip)
    states, rows = models.encode_captions(text_encoder, tokenizer, captioned.captions)
    scheduler = models.make_scheduler()
    unet = models.make_unet(states.shape[-1], params.seed)
    steps = models.train_unet(
        unet, scheduler, latents, states, rows, params.unet,
        caption_dropout=params.caption_dropout, seed=params.seed,
    )  # fmt: skip
    *_, loss = progress(steps, total=params.unet.num_steps, what="training the UNet", unit="step")
    with whole_folder(out) as folder:
        models.save_generator(folder, vae, unet, scheduler, text_encoder, tokenizer)
    log.done(f"a generator (last VAE error {error:.4f}, UNet loss {loss:.3f})", out)


def main(arguments: list[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(prog="generator", description=__doc__)
    parser.add_argument("--pool", type=Path, required=True)
    parser.add_argument("--clip", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    paths = parser.parse_args(arguments)
    params = read_section(GeneratorSettings, "generator")
    generator(params, pool=paths.pool, clip=paths.clip, out=paths.out)


if __name__ == "__main__":
    main()
