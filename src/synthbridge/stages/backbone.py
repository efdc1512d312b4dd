"""Train the miniature backbone on letters."""

import argparse
from pathlib import Path

from synthbridge.progress import StageLog, progress
from synthbridge.settings import read_section
from synthbridge.upstream.settings import BackboneSettings


def backbone(params: BackboneSettings, *, out: Path) -> None:
    """Draw letters, train on them, and write the model to `out` in timm's layout."""
    from synthbridge.upstream import backbone as letters
    from synthbridge.upstream.folders import whole_folder
    from synthbridge.upstream.optimisation import use_fixed_threads
    from synthbridge.upstream.pool import count_cores

    log = StageLog(
        f"training {params.model} on {params.num_images} images of letters: "
        f"{params.num_steps} steps of {params.batch_size}"
    )
    use_fixed_threads()
    model = letters.make_backbone(params.model, params.input_size, params.seed)
    images, labels = letters.draw_letters(
        params.num_images, params.input_size, params.seed, num_processes=count_cores()
    )
    steps = letters.train_backbone(model, images, labels, params)
    bar = progress(steps, total=params.num_steps, what="training the backbone", unit="step")
    *_, accuracy = bar
    with whole_folder(out) as folder:
        letters.save_backbone(model, folder)
    log.done(f"a backbone ({accuracy:.0%} of the last batch right)", out)


def main(arguments: list[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(prog="backbone", description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    paths = parser.parse_args(arguments)
    backbone(read_section(BackboneSettings, "backbone"), out=paths.out)


if __name__ == "__main__":
    main()
