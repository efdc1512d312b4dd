"""Walk the guides in clean clones, command by command: own-data.md, sharing.md, delivering.md.

    python tests/walk_guides.py                        # drawn pictures
    python tests/walk_guides.py --photos ~/flowers12   # photographs of yours, a folder a class

The hub is one on 127.0.0.1 with tiny models that know nothing, and each run is made small after
`start`, so the numbers mean nothing. What counts is that every command ends well and that the next
one finds what it left. It takes some minutes, and prints each command as the guides have it.
"""

import argparse
import csv
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import timm
from timm.models import save_for_hf

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "src")]

from scratch import Scratch  # noqa: E402

from own_data import encoded, photo  # noqa: E402
from synthbridge.core.files import read_json  # noqa: E402
from synthbridge.core.settings import read_yaml  # noqa: E402
from synthbridge.prompts.templates import TEMPLATES  # noqa: E402
from synthbridge.sources.look import find_form  # noqa: E402
from synthbridge.sources.names import readable_name  # noqa: E402
from synthbridge.upstream.clip import make_clip, save_clip  # noqa: E402
from synthbridge.upstream.generator import (  # noqa: E402
    load_text_tower,
    make_scheduler,
    make_unet,
    make_vae,
    save_generator,
)
from synthbridge.upstream.tokenizer import train_tokenizer  # noqa: E402
from upstream.hub_on_loopback import Hub, Repository, serve  # noqa: E402

BIRDS = ("crow", "jay", "rook")
SMALL = {  # what `start` chose for hours of a GPU, for seconds of a core
    "invert.num_steps": 3,
    "generate.num_steps": 2,
    "generate.images_per_block": 2,
    "real_leg.num_epochs": 1,
    "real_leg.num_epochs_few_shot": 1,
    "real_leg.learning_rates": [0.03],
    "training.image_size": 32,
    "training.resize_size": 36,
    "probe.num_epochs": 1,
}


def main() -> None:
    """Walk each guide from a clone of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, help="a folder of photographs, a folder a class")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as spare, serve() as hub:
        photos = (args.photos or draw_photos(Path(spare) / "photos")).resolve()
        walk = Walk(Path(spare), hub, photos)
        one = _labelled(photos)[0][1]
        walk.photographs(photos, one)
        walk.real_images_alone("a list", write_list(photos, Path(spare) / "listed"), one)
        walk.real_images_alone("a hub data set", write_hub_dataset(photos, hub, Path(spare)), one)
        walk.drawn_elsewhere(photos)
    print("every command ended well")


def draw_photos(folder: Path) -> Path:
    """Make 16 small pictures of each of three classes."""
    for label, name in enumerate(BIRDS):
        (folder / name).mkdir(parents=True)
        for i in range(16):
            image = photo(100 * label + i, (48, 40))
            (folder / name / f"{i:02d}.jpg").write_bytes(encoded(image))
    return folder


def write_list(photos: Path, folder: Path) -> Path:
    """Lay the images out in one folder, with a list of their labels."""
    (folder / "images").mkdir(parents=True)
    rows = [("path", "label")]
    for label, path in _labelled(photos):
        copy = folder / "images" / f"{len(rows):05d}{path.suffix}"
        copy.write_bytes(path.read_bytes())
        rows.append((copy.relative_to(folder).as_posix(), label))
    with (folder / "images.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder


def write_hub_dataset(photos: Path, hub: Hub, spare: Path) -> Path:
    """Serve the images as a data set of the hub; return a folder with the hub.yaml for it."""
    import datasets

    images = _labelled(photos)
    names = sorted({label for label, _ in images})
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=names)}
    )
    rows = {
        "image": [{"bytes": path.read_bytes(), "path": None} for _, path in images],
        "label": [names.index(label) for label, _ in images],
    }
    served, folder = spare / "served" / "birds", spare / "hub"
    (served / "data").mkdir(parents=True)
    table = datasets.Dataset.from_dict(rows, features=features)
    table.to_parquet(served / "data" / "train-00000-of-00001.parquet")
    hub.repositories["someone/birds"] = Repository(served)
    folder.mkdir()
    (folder / "hub.yaml").write_text("id: someone/birds\nimage: image\nlabel: label\n")
    return folder


def _labelled(photos: Path) -> list[tuple[str, Path]]:
    folder = find_form(photos).folder
    return [
        (path.parent.name, path)
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in (".jpg", ".jpeg", ".png")
    ]


def serve_models(hub: Hub, folder: Path, names: Iterable[str]) -> None:
    """Put tiny models under the names that profiles/photos.yaml has.

    Their 16 tokens hold a prompt, since the tokenizer has learned the templates and `names`.
    """
    clip = folder / "clip"
    words = [f"{template.format(name)} style" for name in names for template in TEMPLATES]
    save_clip(make_clip(train_tokenizer(words, clip), seed=0), clip)
    tower, tokenizer = load_text_tower(clip)
    save_generator(
        folder / "generator", make_vae(1), make_unet(64, 2), make_scheduler(), tower, tokenizer
    )
    small = {"layers": [1, 1, 1, 1], "channels": [8, 8, 16, 16]}
    model = timm.create_model("resnet50", **small)
    save_for_hf(model, str(folder / "backbone"), model_args=small, safe_serialization=True)
    hub.repositories |= {
        "openai/clip-vit-large-patch14": Repository(clip),
        "stable-diffusion-v1-5/stable-diffusion-v1-5": Repository(folder / "generator"),
        "timm/resnet50.tv_in1k": Repository(folder / "backbone"),
    }


class Walk:
    """Clones, a hub, and a store that they share."""

    def __init__(self, spare: Path, hub: Hub, photos: Path):
        """Serve the models, and make the repository that all clones come from."""
        self.spare, self.hub = spare, hub
        names = {readable_name(label, numbered=False) for label, _ in _labelled(photos)}
        serve_models(hub, spare / "models", sorted(names))
        self.origin = spare / "origin"
        _run(ROOT, f"git clone -q --bare . {self.origin}")

    def clone(self, name: str, origin: Path | None = None) -> "Clone":
        """Clone what is committed."""
        folder = self.spare / name
        _run(self.spare, f"git clone -q {origin or self.origin} {name}")
        clone = Clone(folder, self.hub.endpoint)
        clone.run("git config user.name somebody && git config user.email some@body.org")
        return clone

    def photographs(self, photos: Path, one: Path) -> None:
        """From a folder to an answer, a model and predictions; then a colleague pulls."""
        with _guide("own-data.md: two commands, then delivering.md and sharing.md"):
            mine = self.clone("mine")
            mine.run(f"python src start mine {photos} --gpu 24GB --hours 4 --no-flip --yes")
            mine.make_small()
            mine.run('git commit -qam "Start with my images"')
            mine.run("dvc repro")
            assert mine.has_report() and set(mine.summary()) >= {"verdict", "gain"}
            mine.run(f"python src predict {photos} --csv predictions.csv")
            mine.run(f"python src predict {one}")
            mine.run(f"dvc remote add -d team {self.spare / 'store'}")
            mine.run('git commit -qm "Share" .dvc/config')
            mine.run('git add dvc.lock metrics && git commit -qm "My results"')
            mine.run("dvc push -q")
            mine.run("git push -q origin HEAD:results")
        with _guide("sharing.md: a colleague pulls, and a laptop only looks"):
            colleague = self.clone("colleague")
            colleague.run("git checkout -q results")
            colleague.run("dvc pull -q")
            said = colleague.run("dvc repro")
            assert "Running stage" not in said and "up to date" in said
            laptop = self.clone("laptop")
            laptop.run("git checkout -q results")
            laptop.run("dvc pull -q deliver@mine")
            assert laptop.has_report()
            for clone in (colleague, laptop):
                clone.run(f"python src predict {photos} --csv predictions.csv")
                same = (clone.folder / "predictions.csv").read_bytes()
                assert same == (mine.folder / "predictions.csv").read_bytes()

    def real_images_alone(self, form: str, data: Path, photo: Path) -> None:
        """Without a GPU, from another form of data."""
        with _guide(f"own-data.md: {form}, without a GPU"):
            clone = self.clone(re.sub(r"\W", "-", form))
            clone.run(f"python src start mine {data} --gpu none --yes")
            clone.make_small()
            clone.run('git commit -qam "Start with my images" && dvc repro')
            assert clone.has_report() and "accuracy" in clone.summary()
            clone.run(f"python src predict {photo}")

    def drawn_elsewhere(self, photos: Path) -> None:
        """A server draws; the machine that asked trains."""
        with _guide("own-data.md: draw elsewhere and pull"):
            laptop, store = self.clone("asks"), self.spare / "drawings"
            laptop.run(f"python src start mine {photos} --gpu 24GB --hours 4 --no-flip --yes")
            laptop.make_small()
            laptop.run(f"dvc remote add -d team {store}")
            laptop.run('git commit -qam "Start with my images"')
            laptop.run("dvc push -q data/raw/mine.dvc && git push -q origin HEAD:drawings")
            server = self.clone("draws")
            server.run("git checkout -q drawings")
            server.run("dvc pull -q data/raw/mine.dvc && dvc repro generate && dvc push -q")
            server.run('git commit -qam "Draw" && git push -q')
            laptop.run("git pull -q origin drawings && dvc pull -q --with-deps generate")
            said = laptop.run("dvc repro")
            assert "Running stage 'generate" not in said and "Running stage 'bridge" in said
            assert laptop.has_report()


class Clone:
    """A clone that somebody works in."""

    def __init__(self, folder: Path, endpoint: str):
        """Let it ask the hub on loopback alone."""
        self.folder, self.scratch = folder, Scratch(folder)
        self.environment = self.scratch.environment(
            HF_ENDPOINT=endpoint, HF_HOME=str(folder.parent / f"{folder.name}-hf")
        )

    def run(self, command: str) -> str:
        """Run a command of a guide, print it, and return what it printed."""
        print(f"  {self.folder.name}$ {command}", flush=True)
        return _run(self.folder, command, self.environment)

    def make_small(self) -> None:
        """Change the settings that cost hours."""
        params = read_yaml(self.folder / "params.yaml")
        changes = dict(SMALL)
        for name in params["generated_sets"]:
            changes[f"synthetic.{name}.images_per_class"] = 2
        for name in params["stage_one"]:
            changes |= {f"stage_one.{name}.{key}": 2 for key in ("num_epochs", "images_per_class")}
        self.scratch.change(changes)

    def has_report(self) -> bool:
        """Say whether the page is there."""
        return (self.folder / "metrics/mine/report.html").is_file()

    def summary(self) -> dict:
        """Return the headline figures."""
        return read_json(self.folder / "metrics/mine/summary.json")["mine"]


@contextmanager
def _guide(name: str) -> Iterator[None]:
    print(name, flush=True)
    yield


def _run(folder: Path, command: str, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{shlex.quote(command)} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


if __name__ == "__main__":
    main()
