"""A small study and what two experiments found, for the tests."""

from synthbridge.core.settings import check_settings
from synthbridge.studies.collect import PointResult
from synthbridge.studies.definition import Study

STUDY = {
    "title": "T",
    "cites": "S",
    "reading": "stated",
    "question": "Q?",
    "draws": "figure",
    "axis": "guidance",
    "measure": "top1",
    "against": "vanilla",
    "lines": [
        {"row": "vanilla", "arm": "vanilla"},
        {"row": "bridged", "arm": "bridged", "sets": ["template"]},
    ],
    "miniature": {},
    "full": {},
    "paper": {"words": "W."},
}


def make_study(**changes):
    return check_settings(Study, {**STUDY, **changes}, "")


def seeds(*values, **more):
    return {
        f"s{seed}": {"top1": value, "gradient_steps": 50, **more}
        for seed, value in enumerate(values)
    }


def arms(content):
    """Return {arm: {shots: {seed: reading}}} as the rows of a file of run metrics."""
    return [
        {"arm": arm, "shots": shots, "seed": seed, **reading}
        for arm, of_arm in content.items()
        for shots, of_shots in of_arm.items()
        for seed, reading in of_shots.items()
    ]


REAL = PointResult(
    "workspace",
    "c0",
    {
        "metrics/digits/runs/real.json": arms(
            {"vanilla": {"1": seeds(60.0, 64.0), "4": seeds(80.0, 84.0)}}
        ),
    },
)
BRIDGED = "metrics/digits/runs/bridged/{}.json"
ONE = PointResult(
    "study-1", "c1", {BRIDGED.format("template"): arms({"bridged": {"1": seeds(70.0, 70.0)}})}
)
