"""Train the miniature CLIP on the pool."""

import argparse
from pathlib import Path

from synthbridge.progress import StageLog, progress
from synthbridge.settings import read_section
from synthbridge.upstream.settings import ClipSettings


def clip(params: ClipSettings, *, pool: Path, out: Path) -> None:
    """Train on the shards in `pool`; write model, tokenizer and image processor to `out`."""
    from synthbridge.upstream.clip import make_clip, make_image_processor, train_clip
    from synthbridge.upstream.folders import whole_folder
    from synthbridge.upstream.optimisation import use_fixed_threads
    from synthbridge.upstream.pool import read_pool
    from synthbridge.upstream.tokenizer import train_tokenizer

    log = StageLog(f"training CLIP on {pool}: {params.num_steps} steps of {params.batch_size}")
    use_fixed_threads()
    images = read_pool(pool)
    with whole_folder(out) as folder:
        tokenizer = train_tokenizer(images.captions, folder)
        model = make_clip(tokenizer, params.seed)
        steps = train_clip(model, tokenizer, images, params)
        bar = progress(steps, total=params.num_steps, what="training CLIP", unit="step")
        *_, loss = bar
        model.save_pretrained(folder)
        make_image_processor().save_pretrained(folder)
    log.done(f"a CLIP model (last loss {loss:.2f})", out)


def main(arguments: list[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(prog="clip", description=__doc__)
    parser.add_argument("--pool", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    paths = parser.parse_args(arguments)
    clip(read_section(ClipSettings, "clip"), pool=paths.pool, out=paths.out)


if __name__ == "__main__":
    main()
