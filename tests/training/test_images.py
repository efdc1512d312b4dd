import numpy as np
import pytest
import torch
from torchvision.transforms import functional as tv

from quarters import make_images, write_images
from synthbridge.data.shards import encode_png, index_shard, write_shard
from synthbridge.training.crops import Augmentation, centre_crop
from synthbridge.training.images import (
    DecodedOnDemand,
    ImageSet,
    Normalisation,
    WholeImages,
    decoding_threads,
    hard_labels,
    load_images,
    load_samples,
    measure_normalisation,
)


@pytest.fixture
def images():
    return torch.randint(0, 256, (6, 3, 20, 20), generator=torch.Generator().manual_seed(0)).to(
        torch.uint8
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
    assert torch.equal(lazy.at(index), kept.at(index))
    assert kept.at(index)[:, 0, 0, 0].tolist() == [7, 0, 3]


def test_soft_labels_stand_beside_hard_ones(tmp_path):
    soft = {"soft_label": {"0": 0.25, "2": 0.75}, "num_classes": 3}
    samples = [
        {"__key__": f"k{i}", "png": encode_png(np.zeros((4, 4, 3), np.uint8)), "cls": i, "json": {}}
        for i in range(3)
    ]
    write_shard(tmp_path / "hard.tar", samples)
    write_shard(tmp_path / "soft.tar", [{**samples[2], "json": soft}])
    hard, mixed = (index_shard(tmp_path / f"{name}.tar") for name in ("hard", "soft"))
    device = torch.device("cpu")
    assert torch.equal(load_samples(hard, 4, device).labels, torch.arange(3))
    both = load_samples([*hard, *mixed], 4, device).labels
    expected = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.25, 0, 0.75]])
    assert torch.equal(both, expected)
    assert hard_labels(both).tolist() == [0, 1, 2, 2]


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
        assert tail.at(index)[:, 0, 0, 0].tolist() == [5, 8]
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
    sides = np.full((9, 2), 4)
    on_demand = DecodedOnDemand(pixels, lambda image, _: image, 4, num_threads, sides)
    decoded = on_demand.decode(np.arange(9), torch.device("cpu")).squares(np.arange(9))
    assert np.array_equal(decoded.numpy(), pixels.transpose(0, 3, 1, 2))


SHAPES = [(8, 8), (8, 12), (20, 8), (8, 24), (9, 8)]  # heights and widths


def _uneven(memory_limit):
    rng = np.random.default_rng(0)
    pixels = [rng.integers(0, 256, (*sides, 3), dtype=np.uint8) for sides in SHAPES]
    loaded = load_images(
        pixels,
        range(5),
        lambda image, _: image,
        size=8,
        device=torch.device("cpu"),
        memory_limit=memory_limit,
        sides=np.array(SHAPES),
    )
    return pixels, loaded


@pytest.mark.parametrize(("memory_limit", "kind"), [(10**6, WholeImages), (0, DecodedOnDemand)])
def test_images_of_any_shape_are_cropped_whole_as_torchvision_crops(memory_limit, kind):
    pixels, images = _uneven(memory_limit)
    assert isinstance(images.images, kind)
    batch = np.array([3, 0, 2, 1, 4, 3, 1])
    sides = images.sides(batch)
    assert sides.tolist() == [list(SHAPES[place]) for place in batch]
    boxes = Augmentation(0.08, 4 / 3, flip=True).draw(sides, np.random.default_rng(3))
    assert 0 < boxes[:, 1, 2].sum() < len(batch)  # mirrored ones
    cut = images.crops(batch, boxes, 6)
    for place, box, mine in zip(batch, boxes.astype(int), cut, strict=True):
        (top, height, _), (left, width, mirrored) = box
        whole = torch.from_numpy(pixels[place]).permute(2, 0, 1).float()
        theirs = tv.resized_crop(whole, top, left, height, width, [6, 6], antialias=True)
        assert torch.allclose(mine, tv.hflip(theirs) if mirrored else theirs, atol=1e-3)


@pytest.mark.parametrize("memory_limit", [10**6, 0])
def test_what_else_looks_at_them_sees_their_centres(memory_limit):
    pixels, images = _uneven(memory_limit)
    squares = images.tail(1).at(torch.tensor([3, 0, 1]))
    for place, square in zip([4, 1, 2], squares, strict=True):
        top, left = ((side - 8) // 2 for side in SHAPES[place])
        centre = pixels[place][top : top + 8, left : left + 8]
        assert np.array_equal(square.permute(1, 2, 0).numpy(), centre)
    centred = [square.numpy() for square in images.at(torch.arange(5))]
    expected = np.mean(centred, axis=(0, 2, 3)) / 255
    assert np.allclose(measure_normalisation(images, 8).mean, expected, atol=1e-9)


def test_samples_keep_their_shapes_where_they_are_loaded_whole(tmp_path):
    rng = np.random.default_rng(0)
    shapes = [(30, 20), (16, 100), (40, 40)]
    samples = [
        {
            "__key__": f"{number}",
            "png": encode_png(rng.integers(0, 256, (*sides, 3), dtype=np.uint8)),
            "cls": number,
            "json": {},
        }
        for number, sides in enumerate(shapes)
    ]
    write_shard(tmp_path / "train.tar", samples)
    found = index_shard(tmp_path / "train.tar")
    whole = load_samples(found, 16, torch.device("cpu"), whole=True)
    # 100 x 16 is a panorama: three times its shorter side is kept.
    assert whole.sides(np.arange(3)).tolist() == [[24, 16], [16, 48], [16, 16]]
    squares = load_samples(found, 16, torch.device("cpu"))
    assert isinstance(squares.images, torch.Tensor)
    assert torch.equal(whole.at(torch.arange(3)), squares.images)
    only_square = load_samples(found[2:], 16, torch.device("cpu"), whole=True)
    assert isinstance(only_square.images, torch.Tensor)  # in one block, for the fastest crops
