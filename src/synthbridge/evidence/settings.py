"""Settings of the evidence: `report` and `examine` in params.yaml."""

from typing import Literal

from pydantic import Field

from synthbridge.core.settings import Settings

CONTROL = "vanilla_equal_steps"  # vanilla with as many gradient steps as the bridged arms


class PrimaryComparison(Settings):
    """`report.primary`: the one comparison that the verdict is made of."""

    arm: str
    method: str  # how its images are made: the set's name without its shots, or real
    shots: int | str  # real images a class, or full
    reference: str  # an arm on real images alone


class ReportSettings(Settings):
    """`report` in params.yaml: what is compared, and how sure the page must be."""

    primary: PrimaryComparison | None  # None: no verdict, every comparison is there to explore
    measure: Literal["top1", "mean_per_class"]  # the accuracy that is compared
    smallest_gain: float = Field(ge=0)  # points; a gain below it is called small (docs/evidence.md)
    confidence: float = Field(gt=0, lt=1)  # of the intervals, for example 0.95
    grid_classes: int = Field(ge=1)  # rows of the picture grid, spread evenly over the classes
    grid_images: int = Field(ge=1)  # pictures per class and set in the grid


class ExamineSettings(Settings):
    """`examine` in params.yaml: how a set is compared with real images, in CLIP's image space."""

    # Cosine above which an image of a set counts as a near-duplicate of a test image. Below 1, that
    # of a copy, which would not count either.
    threshold: float = Field(gt=0, lt=1)
    neighbours: int = Field(ge=1)  # k of precision, recall, density and coverage
    max_images: int = Field(ge=2)  # of either side for these four, drawn at random: they cost N^2
    kid_subset_size: int = Field(ge=2)  # images of either side in a subset
    kid_subsets: int = Field(ge=1)
    seed: int = Field(ge=0)  # draws subsets and images
