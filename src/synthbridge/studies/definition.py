"""Definitions of studies: studies/<name>.yaml, small enough to read before it runs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from synthbridge.core.settings import Settings, check_settings, read_yaml

FOLDER = Path("studies")
UNIT = "{N}"  # in the names of arms: a number of units, one arm for each

ScaleName = Literal["miniature", "full"]
X = int | float | str  # a place on the axis
Measure = Literal[
    "accuracy",  # top1 or mean_per_class, as params.yaml's report.measure says
    "top1",
    "mean_per_class",
    "extra_top1",
    "extra_mean_per_class",
    "leep",
    "leep_random_head",
    "fixed_feature_accuracy",
    "texture_accuracy",
    "shape_accuracy",
]
# stated: the paper's caption or text says what is compared, and we compare the same.
# reconstruction: the paper does this, but its text does not say how; this is our reading.
# ours: a question of ours, which no figure or table of a paper shows.
Reading = Literal["stated", "reconstruction", "ours"]


class Line(Settings):
    """A line of the figure, or a row of the table: an arm's results, or a reading of `probe`."""

    row: str  # what it is called, the paper's word where it has one
    arm: str | None = None  # with {N}: an arm for each number of units, which is its place
    model: str | None = None  # of probe: a stage-one model, or upstream
    sets: list[str] = Field(default=[])  # the sets that it uses; none: it needs none
    measure: Measure | None = None  # where it is another than the study's
    is_control: bool = False
    against: str | None = None  # the row that it is compared with; None: the study's

    @model_validator(mode="after")
    def _arm_or_model(self) -> "Line":
        if (self.arm is None) == (self.model is None):
            raise ValueError(f"row '{self.row}' names either an arm or a model of probe")
        return self


class Point(Settings):
    """One experiment: what it sets otherwise than params.yaml, and which stages it makes."""

    x: X | None = None  # its place on the axis, where the axis is not shots or arms
    # Dotted key of params.yaml -> its whole new value.
    overrides: dict[str, Any] = Field(default={})
    targets: list[str] | None = None  # stages of dvc.yaml, {dataset} for each; None: the scale's
    rows: list[str] | None = None  # the lines that it gives; None: all that it has


class Scale(Settings):
    """How large a study is: on the embedded default, or on the real upstream."""

    prepare: str | None = None  # what to do before, once
    targets: list[str] = Field(default=[])
    # Of every point, the reference too.
    overrides: dict[str, Any] = Field(default={})
    # Overrides hold a key with {N} once for each number of units from 1 to this one.
    num_units: int | None = Field(default=None, ge=1)
    reference: Point | None = None  # does not vary: flat lines
    points: list[Point] = Field(default=[])  # none: the workspace's own results

    @model_validator(mode="before")
    @classmethod
    def _write_out_units(cls, values: Any) -> Any:
        number = values.get("num_units") if isinstance(values, Mapping) else None
        return _write_out(values, range(1, number + 1) if isinstance(number, int) else range(0))


def _write_out(values: Any, units: range) -> Any:
    """Repeat each key that has {N}, with each number of units for {N} in key and value.

    Raises:
        ValueError: if there is such a key, and the numbers are not known.
    """
    if isinstance(values, list):
        return [_write_out(item, units) for item in values]
    if not isinstance(values, Mapping):
        return units.start if values == UNIT else values
    written = {}
    for key, value in values.items():
        if UNIT in key and not units:
            raise ValueError(f"'{key}' stands for several numbers of units; give num_units")
        for number in units if UNIT in key else ():
            one = range(number, number + 1)
            written[key.replace(UNIT, str(number))] = _write_out(value, one)
        if UNIT not in key:
            written[key] = _write_out(value, units)
    return written


class Paper(Settings):
    """What the paper reports."""

    words: str
    scale: str = "full"
    columns: dict[str, dict[str, float]] = Field(default={})  # column -> row -> value
    curves: dict[str, dict[X, float]] = Field(default={})  # line -> x -> value
    axis: str | None = None  # of the curves


class Study(Settings):
    """studies/<name>.yaml."""

    title: str
    cites: str  # paper and figure or table
    reading: Reading
    question: str
    draws: Literal["table", "figure", "curves", "pictures", "sizes", "analysis"]
    axis: str | None = None  # the axis in words; "shots" takes it from the runs
    measure: Measure = "accuracy"
    # The row that differences are taken from, seed by seed, where a line names no other.
    against: str | None = None
    # Rows through which a line is fitted, over the logarithm of how many times fewer real images
    # there are than all; only over shots.
    fits: list[str] = Field(default=[])
    lines: list[Line] = Field(default=[])
    notes: list[str] = Field(default=[])  # what differs from the paper, what is our reconstruction
    miniature: Scale
    full: Scale
    paper: Paper

    @model_validator(mode="after")
    def _rows_fit(self) -> "Study":
        rows = [line.row for line in self.lines]
        if len(set(rows)) < len(rows):
            raise ValueError(f"lines are {', '.join(rows)}; give each a name of its own")
        if self.draws in ("table", "figure") and not rows:
            raise ValueError(f"a {self.draws} needs lines")
        if self.draws == "figure" and self.axis is None:
            raise ValueError("a figure needs an axis")
        for other in (self.against, *(line.against for line in self.lines)):
            if other is not None and other not in rows:
                raise ValueError(f"against is '{other}'; choose from {', '.join(rows)}")
        for row in self.fits:
            if row not in rows or self.axis != "shots":
                raise ValueError(f"fits has '{row}'; name rows of a figure over shots")
        for scale in (self.miniature, self.full):
            for point in scale.points:
                for row in point.rows or []:
                    if row not in rows:
                        raise ValueError(f"a point has row '{row}'; choose from {', '.join(rows)}")
        return self

    @property
    def rivals(self) -> dict[str, str]:
        """Return which row each row is compared with."""
        pairs = {line.row: line.against or self.against for line in self.lines}
        return {row: other for row, other in pairs.items() if other not in (None, row)}

    def with_accuracy(self, measure: Measure) -> "Study":
        """Return the study with this accuracy where it says `accuracy`."""
        return self.model_copy(update={"measure": measure}) if self.measure == "accuracy" else self

    def at(self, scale: ScaleName) -> Scale:
        """Return the study's settings at a scale."""
        return self.miniature if scale == "miniature" else self.full


def list_studies(folder: Path = FOLDER) -> list[str]:
    """List the names of all studies: by paper, tables before figures, numbers in their order."""
    return sorted((path.stem for path in folder.glob("*.yaml")), key=_order)


def _order(name: str) -> tuple[int, str, int, str]:
    paper, _, what = name.partition("-")
    word = what.rstrip("0123456789")
    papers = ("bridged", "gap", "retrieval", "diversify")
    rank = papers.index(paper) if paper in papers else len(papers)
    return rank, {"table": "0", "fig": "1"}.get(word, word), int(what[len(word) :] or 0), name


def read_study(name: str, folder: Path = FOLDER) -> Study:
    """Read the definition of a study.

    Raises:
        ValueError: if there is no such study, or its definition is wrong.
    """
    path = folder / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(list_studies(folder))
        raise ValueError(f"'{name}' is no study; choose from {known}, or all")
    return check_settings(Study, read_yaml(path), "", file=str(path))
