"""Command `write_prompts`: a local language model writes a data set's prompts, or senses of names.

    python src write_prompts --model FOLDER --dataset mine --out data/prompts/mine_contextual.yaml
    python src write_prompts --model FOLDER --dataset mine --kind senses --out mine.yaml

No stage: what it writes is read, corrected and committed by a person, and no later run needs the
model. The file's head says what wrote it, and what was refused (docs/prompts.md).
"""

import argparse
import io
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML

from synthbridge.core.files import hash_folder, hash_value, write_text
from synthbridge.core.log import StageLog, progress, say
from synthbridge.data.real import read_dataset
from synthbridge.prompts.line_check import RULES

FEWEST_SENSES = 2  # of a name: less is no choice


@dataclass(frozen=True)
class Wish:
    """What is asked of the language model."""

    kind: str  # one of RULES
    count: int  # lines a class
    at_least: int  # lines without which a class, and so the file, is refused
    seed: int


def write_prompts(wish: Wish, *, model: Path, real: Path, out: Path) -> None:
    """Write prompts of every class, or senses of names, to the YAML file `out`.

    A class with fewer than two senses is left out of a file of senses: its name is clear.

    Raises:
        ValueError: if the model cannot be loaded, or a class has too few usable prompts.
    """
    _check(wish, real, out)
    names = read_dataset(real).class_names
    log = StageLog(
        "write_prompts", f"{wish.count} {wish.kind} lines for each of {len(names)} classes"
    )
    from synthbridge.core.processes import start_accelerator
    from synthbridge.prompts.writing import load_language_model, read_instruction, write_lines

    lines: dict[str, list[str]] = {}
    refused: Counter[str] = Counter()
    with start_accelerator() as accelerator:
        writer = load_language_model(model, accelerator.device)
        for name in progress(names, total=len(names), what="writing", unit="class"):
            written = write_lines(writer, wish.kind, name, count=wish.count, seed=wish.seed)
            refused += written.refused
            if wish.kind != "senses":
                _require(name, written.kept, written.refused, wish)
            elif len(written.kept) < FEWEST_SENSES:
                continue
            lines[name] = written.kept
    if not lines:
        raise ValueError(
            f"the language model wrote two senses of no class; {_count(refused)}; take a larger "
            "model, or write the senses by hand"
        )
    instruction = hash_value(read_instruction(wish.kind))
    write_text(out, _head(wish, model, instruction, refused) + _as_yaml(wish.kind, lines))
    say(f"  {_count(refused)}")
    log.done(f"{sum(map(len, lines.values()))} lines of {len(lines)} classes", out)


def _check(wish: Wish, real: Path, out: Path) -> None:
    """Refuse what needs no model to be seen wrong."""
    if not 1 <= wish.at_least <= wish.count:
        raise ValueError(f"--at-least is {wish.at_least}; give 1 to --count, which is {wish.count}")
    if out.suffix not in (".yaml", ".yml"):
        raise ValueError(
            f"--out is {out}; give a .yaml file, such as data/prompts/{real.name}.yaml"
        )
    if out.exists():
        raise ValueError(f"{out} is there already; remove it, or write to another file")
    if not (real / "dataset.json").is_file():
        raise ValueError(
            f"{real} holds no prepared data set, which names the classes; run "
            f"'dvc repro prepare@{real.name}' first"
        )


def _require(name: str, kept: list[str], refused: Counter[str], wish: Wish) -> None:
    if len(kept) < wish.at_least:
        raise ValueError(
            f"the language model wrote {len(kept)} usable lines for '{name}', and --at-least "
            f"{wish.at_least} are needed; {_count(refused)}; take a larger model, one that "
            "follows instructions, or write the file by hand (docs/prompts.md)"
        )


def _count(refused: Counter[str]) -> str:
    if not refused:
        return "no line was refused"
    reasons = sorted(refused.items(), key=lambda item: (-item[1], item[0]))
    return f"refused {refused.total()} lines: " + ", ".join(
        f"{count} ({reason})" for reason, count in reasons
    )


def _head(wish: Wish, model: Path, instruction: str, refused: Counter[str]) -> str:
    """Say in comments what wrote the file: all that is needed to write it again."""
    told = f"instruction {wish.kind} {instruction[:12]}, {wish.count} lines a class"
    return (
        f"# Written by a language model for this project's prompts ({wish.kind}); not yet read by\n"
        "# a person unless a line here says so.\n"
        f"# model {model.resolve().name} {hash_folder(model)[:12]}; seed {wish.seed}; {told}\n"
        f"# {_count(refused)}\n"
    )


def _as_yaml(kind: str, lines: dict[str, list[str]]) -> str:
    yaml, file = YAML(), io.StringIO()
    yaml.default_flow_style = False
    yaml.width = 1000  # a prompt stays on its line
    yaml.dump({"senses": lines} if kind == "senses" else lines, file)
    return file.getvalue()


def main(arguments: list[str] | None = None) -> None:
    """Take what to write, with what, and where."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "python src write_prompts", description=__doc__, formatter_class=formatter
    )
    parser.add_argument("--model", type=Path, required=True, help="a transformers folder")
    parser.add_argument("--dataset", required=True, help="prepared: data/real/DATASET")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--kind", choices=list(RULES), default="contextual")
    parser.add_argument("--count", type=int, default=20, help="lines a class")
    parser.add_argument("--at-least", type=int, default=10, help="usable lines a class needs")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)
    write_prompts(
        Wish(args.kind, args.count, args.at_least, args.seed),
        model=args.model,
        real=Path("data/real") / args.dataset,
        out=args.out,
    )
