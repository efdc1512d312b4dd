import numpy as np
import pytest
import torch
from torchvision.transforms import functional as tv

from quarters import make_images, write_images
from synthbridge.data.shards import index_shard
from synthbridge.training.images import (
    Augmentation,
    DecodedOnDemand,
    ImageSet,
    Normalisation,
    WholeView,
    centre_crop,
    crop,
    decoding_threads,
    load_images,
    load_samples,
    measure_normalisation,
)


@pytest.fixture
def images():
    return torch.randint(0, 256, (6, 3, 20, 20), generator=torch.Generator().manual_seed(0)).to(
        torch.uint8
    )


def test_crop_is_torchvisions_resized_crop(images):
    """Where the box is no larger than the output nothing is averaged away: the same bilinear."""
    boxes = Augmentation(0.2, 1.3, flip=True).draw(6, 20, np.random.default_rng(0))
    mine = crop(images, boxes, 24)
    for image, box, cropped in zip(images, boxes, mine, strict=True):
        top, left, height, width, mirrored = (int(value) for value in box)
        theirs = tv.resized_crop(image.float(), top, left, height, width, [24, 24], antialias=False)
        theirs = tv.hflip(theirs) if mirrored else theirs
        inner = (slice(None), slice(3, -3), slice(3, -3))  # the border may look past the box
        assert torch.allclose(cropped[inner], theirs[inner], atol=0.05)


def test_boxes_lie_inside_with_the_area_asked_for():
    boxes = Augmentation(0.25, 4 / 3, flip=True).draw(5000, 64, np.random.default_rng(1))
    top, left, height, width, mirrored = boxes.T
    assert (top >= 0).all() and (left >= 0).all()
    assert (top + height <= 64).all() and (left + width <= 64).all()
    share = height * width / 64**2
    assert share.min() > 0.23 and share.max() <= 1
    assert abs(share.mean() - 0.62) < 0.02
    assert abs(mirrored.mean() - 0.5) < 0.03
    assert (
        not Augmentation(0.25, 1.0, flip=False).draw(50, 64, np.random.default_rng(1))[:, 4].any()
    )


def test_normalisation_and_centre_crop(images):
    normalise = Normalisation(mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
    mine = normalise(centre_crop(images, 16))
    theirs = tv.normalize(
        tv.center_crop(images, [16, 16]).float() / 255, [0.5, 0.4, 0.3], [0.2, 0.3, 0.4]
    )
    assert torch.allclose(mine, theirs, atol=1e-5)


def test_on_demand_gives_the_same_values_as_decoded():
    def read(number, size):
        return np.full((size, size, 3), number, np.uint8)

    kept = load_images(
        range(9), [0] * 9, read, size=4, device=torch.device("cpu"), memory_limit=10**6
    )
    lazy = load_images(range(9), [0] * 9, read, size=4, device=torch.device("cpu"), memory_limit=9)
    assert isinstance(lazy.images, DecodedOnDemand) and isinstance(kept.images, torch.Tensor)
    index = torch.tensor([7, 0, 3])
    assert torch.equal(lazy.images[index], kept.images[index])
    assert lazy.images.shape == kept.images.shape
    assert kept.images[index][:, 0, 0, 0].tolist() == [7, 0, 3]


def test_no_augmentation_is_the_centre_crop(images):
    boxes = WholeView(14).draw(6, 20, np.random.default_rng(0))
    assert torch.allclose(crop(images, boxes, 14), centre_crop(images, 14), atol=1e-3)


def test_measured_statistics_are_numpys(images):
    images = (images * torch.tensor([1.0, 0.5, 0.1]).view(3, 1, 1)).to(torch.uint8)
    many = ImageSet(images.repeat(60, 1, 1, 1), torch.zeros(360, dtype=torch.int64))
    measured = measure_normalisation(many, 16)
    values = images[:, :, 2:18, 2:18].numpy() / 255
    assert np.allclose(measured.mean, values.mean((0, 2, 3)), atol=1e-9)
    assert np.allclose(measured.std, values.std((0, 2, 3)), atol=1e-9)
    inputs = measured(centre_crop(images, 16))
    assert torch.allclose(inputs.mean((0, 2, 3)), torch.zeros(3), atol=1e-4)
    assert torch.allclose(inputs.std((0, 2, 3), correction=0), torch.ones(3), atol=1e-4)


def test_constant_images_are_normalised_to_zero():
    flat = ImageSet(torch.full((2, 3, 4, 4), 255, dtype=torch.uint8), torch.zeros(2))
    inputs = measure_normalisation(flat, 4)(flat.images.float())
    assert torch.isfinite(inputs).all() and inputs.abs().max() < 1e-2


def test_the_tail_is_a_view():
    def read(number, size):
        return np.full((size, size, 3), number, np.uint8)

    limits = {"size": 4, "device": torch.device("cpu")}
    kept = load_images(range(9), list(range(9)), read, memory_limit=10**6, **limits)
    lazy = load_images(range(9), list(range(9)), read, memory_limit=9, **limits)
    index = torch.tensor([0, 3])
    for images in (kept, lazy):
        tail = images.tail(5)
        assert len(tail) == 4 and tail.labels.tolist() == [5, 6, 7, 8]
        assert tail.images[index][:, 0, 0, 0].tolist() == [5, 8]
        assert tail.images.shape[0] == 4
    assert kept.tail(5).images.data_ptr() == kept.images[5:].data_ptr()


def test_images_at_an_index_are_those_of_indexing():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)

    def load(limit):
        return load_images(
            list(pixels),
            [0] * 5,
            lambda image, _: image,
            size=8,
            device=torch.device("cpu"),
            memory_limit=limit,
        )

    index = torch.tensor([4, 0, 4])
    whole, on_demand = load(10**6), load(0)
    assert isinstance(on_demand.images, DecodedOnDemand)
    assert torch.equal(whole.at(index), whole.images[index])
    assert torch.equal(on_demand.at(index), whole.at(index))


def test_samples_above_the_cache_stay_in_their_shard(tmp_path, monkeypatch):
    images = make_images(6)
    write_images(tmp_path / "train.tar", images)
    samples = index_shard(tmp_path / "train.tar")
    whole = load_samples(samples, 16, torch.device("cpu"))
    assert torch.equal(whole.images, images.images) and torch.equal(whole.labels, images.labels)
    monkeypatch.setenv("SYNTHBRIDGE_CACHE_GIB", "0")
    in_shard = load_samples(samples, 16, torch.device("cpu"))
    assert isinstance(in_shard.images, DecodedOnDemand)
    assert torch.equal(in_shard.at(torch.arange(6)), images.images)


def test_a_process_beside_a_gpu_decodes_with_its_part_of_the_cores(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(16))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    assert decoding_threads(torch.device("cuda")) == 2
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "32")
    assert decoding_threads(torch.device("cuda")) == 1
    monkeypatch.delenv("LOCAL_WORLD_SIZE")
    assert decoding_threads(torch.device("cuda")) == 16
    assert decoding_threads(torch.device("cpu")) == 1


@pytest.mark.parametrize("num_threads", [1, 2, 5, 20])
def test_any_number_of_threads_decodes_in_order(num_threads):
    pixels = np.random.default_rng(0).integers(0, 256, (9, 4, 4, 3), dtype=np.uint8)
    on_demand = DecodedOnDemand(pixels, lambda image, _: image, 4, num_threads)
    assert np.array_equal(on_demand.decode_all().numpy(), pixels.transpose(0, 3, 1, 2))
