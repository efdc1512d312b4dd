"""What is known of the data sets by name: sizes, where their files come from, metric, rate."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Published:
    """The sizes of one data set, and where its files come from."""

    title: str
    num_classes: int
    num_train: int  # images, our validation images among them
    num_test: int
    train_per_class: int | None = None  # images; None: it differs from class to class
    test_per_class: int | None = None
    files: str  # what to fetch, and where: a phrase that follows "fetch"


@dataclass(frozen=True, kw_only=True)
class Facts(Published):
    """One of the ten data sets, with its row in Bridged's tables."""

    metric: Literal["mean_per_class", "top1"]  # the headline number; both are always reported
    learning_rate: float  # Bridged, table 5: ResNet-18, chosen there for maximum performance


# Classes, images and metrics: Bridged, appendix, but for the classes of Cars, which it misprints.
FACTS = {
    "aircraft": Facts(
        title="FGVC-Aircraft",
        num_classes=100,
        num_train=6667,
        num_test=3333,
        metric="mean_per_class",
        learning_rate=0.1,
        files="fgvc-aircraft-2013b.tar.gz from https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft",
    ),
    "caltech101": Facts(
        title="Caltech-101",
        num_classes=101,
        num_train=3030,
        num_test=5647,
        train_per_class=30,
        metric="mean_per_class",
        learning_rate=0.003,
        files="caltech-101.zip from https://data.caltech.edu/records/mzrjq-6wc02, of which only "
        "101_ObjectCategories.tar.gz is needed",
    ),
    "cars": Facts(
        title="Stanford Cars",
        num_classes=196,
        num_train=8144,
        num_test=8041,
        metric="top1",
        learning_rate=0.01,
        files="car_devkit.tgz, cars_train.tgz, cars_test.tgz and cars_test_annos_withlabels.mat "
        "from a copy (the authors' page is gone; https://github.com/pytorch/vision/issues/7545 "
        "lists copies)",
    ),
    "cub": Facts(
        title="CUB-200-2011",
        num_classes=200,
        num_train=5994,
        num_test=5794,
        metric="top1",
        learning_rate=0.01,
        files="CUB_200_2011.tgz from https://www.vision.caltech.edu/datasets/cub_200_2011",
    ),
    "dogs": Facts(
        title="Stanford Dogs",
        num_classes=120,
        num_train=12000,
        num_test=8580,
        train_per_class=100,
        metric="top1",
        learning_rate=0.01,
        files="images.tar and lists.tar from http://vision.stanford.edu/aditya86/ImageNetDogs",
    ),
    "dtd": Facts(
        title="DTD",
        num_classes=47,
        num_train=3760,
        num_test=1880,
        train_per_class=80,
        test_per_class=40,
        metric="top1",
        learning_rate=0.003,
        files="dtd-r1.0.1.tar.gz from https://www.robots.ox.ac.uk/~vgg/data/dtd",
    ),
    "flowers": Facts(
        title="Flowers-102",
        num_classes=102,
        num_train=2040,
        num_test=6149,
        train_per_class=20,
        metric="mean_per_class",
        learning_rate=0.01,
        files="102flowers.tgz, imagelabels.mat and setid.mat from "
        "https://www.robots.ox.ac.uk/~vgg/data/flowers/102",
    ),
    "food": Facts(
        title="Food-101",
        num_classes=101,
        num_train=75750,
        num_test=25250,
        train_per_class=750,
        test_per_class=250,
        metric="top1",
        learning_rate=0.01,
        files="food-101.tar.gz from https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101",
    ),
    "pets": Facts(
        title="Oxford-IIIT Pets",
        num_classes=37,
        num_train=3680,
        num_test=3669,
        metric="mean_per_class",
        learning_rate=0.003,
        files="images.tar.gz and annotations.tar.gz from https://www.robots.ox.ac.uk/~vgg/data/pets",
    ),
    "sun397": Facts(
        title="SUN397",
        num_classes=397,
        num_train=19850,
        num_test=19850,
        train_per_class=50,
        test_per_class=50,
        metric="top1",
        learning_rate=0.003,
        files="SUN397.tar.gz and Partitions.zip (into a folder of its own, Partitions) from "
        "https://vision.princeton.edu/projects/2010/SUN",
    ),
}

# Bridged does not use it: it has no row in its tables.
IMAGENET_100 = Published(
    title="ImageNet-100",
    num_classes=100,
    num_train=126_689,
    num_test=5000,
    test_per_class=50,
    files="the training and validation images of ILSVRC 2012 from https://www.image-net.org, in "
    "class folders, train/n01558993/... and val/n01558993/...",
)

PUBLISHED: dict[str, Published] = {**FACTS, "imagenet_100": IMAGENET_100}
