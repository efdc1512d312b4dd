"""What experiments found becomes the rows of a study: a line, a place, a value for each seed."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from statistics import mean, stdev
from typing import Any

from synthbridge.data.run_metrics import MARK, ONCE
from synthbridge.studies.definition import UNIT, Line, Point, Study, X


@dataclass(frozen=True)
class PointResult:
    """What one experiment, or the workspace itself, has found."""

    experiment: str  # its name, or "workspace"
    commit: str
    metrics: Mapping[str, Any]  # path of a git-tracked metric -> what it holds


@dataclass(frozen=True)
class Row:
    """One value of a study with its seeds. Accuracies in percent."""

    row: str
    is_control: bool
    dataset: str
    shots: str | None  # None: a reading of probe, or CLIP as it is
    x: X | None  # None: does not vary, a flat line
    measure: str
    values: Mapping[str, float]  # seed ("s0", ...) -> value
    gradient_steps: int | None
    is_marked: bool  # its learning rate was selected on test images
    experiment: str
    commit: str
    over: Mapping[str, float] = field(default_factory=dict)  # seed -> over the row compared with

    @property
    def mean(self) -> float:
        """Return the mean over seeds."""
        return mean(self.values.values())

    @property
    def spread(self) -> float | None:
        """Return the standard deviation over seeds; None of one alone."""
        return stdev(self.values.values()) if len(self.values) > 1 else None


def collect(study: Study, points: Sequence[tuple[Point, PointResult]]) -> list[Row]:
    """Return the rows of a study, in the order of its lines.

    Args:
        study: its definition.
        points: what each point found, the reference first.

    Raises:
        ValueError: if two points give the same row at the same place.
    """
    rows: dict[tuple, Row] = {}
    for line in study.lines:
        for point, found in points:
            if point.rows is not None and line.row not in point.rows:
                continue
            for row in _rows(study, line, point, found):
                place = (row.row, row.dataset, row.shots, row.x)
                if place in rows:
                    raise ValueError(
                        f"{rows[place].experiment} and {row.experiment} both give '{row.row}' at "
                        f"{row.x} and {row.shots} shots; name the rows of each point"
                    )
                rows[place] = row
    shared = _share_seeds(list(rows.values()))
    return [_compared(row, study.rivals.get(row.row), shared) for row in shared]


def _share_seeds(rows: Sequence[Row]) -> list[Row]:
    """Keep the seeds that all rows have, so that no row of eight stands beside one of four.

    Raises:
        ValueError: if there is none.
    """
    seeds = [row.values.keys() for row in rows if ONCE not in row.values]
    shared = set(seeds[0]).intersection(*seeds[1:]) if seeds else set()
    if seeds and not shared:
        raise ValueError("no seed is in all rows; give all points of the study the same seeds")
    kept = shared | {ONCE}
    return [
        replace(row, values={seed: row.values[seed] for seed in row.values if seed in kept})
        for row in rows
    ]


def missing_lines(study: Study, rows: Sequence[Row]) -> list[str]:
    """List the lines that no point gave anything for."""
    given = {row.row for row in rows}
    return [line.row for line in study.lines if line.row not in given]


def _rows(study: Study, line: Line, point: Point, found: PointResult) -> Iterator[Row]:
    measure = line.measure or study.measure
    read = _read_arm if line.model is None else _read_model
    for path, content in found.metrics.items():
        _, dataset, folder, *names = PurePosixPath(path).with_suffix("").parts
        if folder != "runs":
            continue
        for shots, x, readings in read(line, names, content, measure):
            marked = f"{measure}{MARK}"
            seeds = {
                seed: reading
                for seed, reading in readings.items()
                if measure in reading or marked in reading
            }
            if not seeds:
                continue
            if shots == "0":  # CLIP as it is has seen no image, so no seed decides it
                shots, seeds = None, {ONCE: next(iter(seeds.values()))}
            place = shots if study.axis == "shots" else point.x if x is None else x
            steps = {reading.get("gradient_steps") for reading in seeds.values()}
            yield Row(
                row=line.row,
                is_control=line.is_control,
                dataset=dataset,
                shots=shots,
                x=place,
                measure=measure,
                values={seed: _value(reading, measure) for seed, reading in seeds.items()},
                gradient_steps=int(steps.pop() or 0) if len(steps) == 1 else None,
                is_marked=any(marked in reading for reading in seeds.values()),
                experiment=found.experiment,
                commit=found.commit,
            )


def _value(reading: Mapping[str, float], measure: str) -> float:
    return reading[measure] if measure in reading else reading[f"{measure}{MARK}"]


Readings = Iterator[tuple[str | None, X | None, dict[str, dict[str, float]]]]


def _read_arm(line: Line, names: list[str], content: Any, _: str) -> Readings:
    """Yield shots, the place that the arm stands for, and the readings by seed.

    `names` is what follows runs/: the family, and the set if it has one.
    """
    of_set = names[1] if len(names) > 1 else None
    fits = of_set in line.sets if line.sets else of_set is None
    if names == ["probe"] or not fits:
        return
    pattern = re.escape(line.arm or "").replace(re.escape(UNIT), r"(\d+)")
    found: dict[tuple[int | None, str], dict[str, dict[str, float]]] = {}
    for row in content:
        if match := re.fullmatch(pattern, row["arm"]):
            x = int(match[1]) if match.groups() else None
            found.setdefault((x, row["shots"]), {})[row["seed"]] = row
    for (x, shots), seeds in sorted(found.items(), key=lambda item: item[0][0] or 0):
        yield shots, x, seeds


def _read_model(line: Line, names: list[str], content: Any, measure: str) -> Readings:
    """Yield the readings of probe as `_read_arm` does."""
    if names != ["probe"]:
        return
    for of_set in line.sets or [None]:
        place = {"set": of_set, "model": line.model, "measure": measure}
        rows = [row for row in content if row.items() >= place.items()]
        if rows:
            yield None, None, {row["seed"]: {measure: row["value"]} for row in rows}


def _compared(row: Row, against: str | None, rows: Sequence[Row]) -> Row:
    """Add the differences, seed by seed, to the row `against` at the same place.

    A reading of something else, as of an extra test set, is compared with nothing. What no seed
    changes is compared with every seed.
    """
    if against is None:
        return row
    for other in rows:
        same = (other.row, other.dataset, other.shots) == (against, row.dataset, row.shots)
        if same and other.measure == row.measure and other.x in (row.x, None):
            base = {seed: other.values.get(seed, other.values.get(ONCE)) for seed in row.values}
            over = {
                seed: row.values[seed] - value for seed, value in base.items() if value is not None
            }
            return replace(row, over=over)
    return row
