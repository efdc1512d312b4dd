import counting
import measure
import pytest
import scales
import torch


@pytest.mark.parametrize(
    "is_gpu, usual, names",
    [
        (False, "miniature", {"miniature": "generation", "full": "generation_full"}),
        (True, "full", {"miniature": "generation_miniature", "full": "generation"}),
    ],
)
def test_the_device_chooses_the_scale_and_no_other_takes_its_place(
    monkeypatch, is_gpu, usual, names
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: is_gpu)
    monkeypatch.setattr("sys.argv", ["generation.py"])
    assert measure.read_arguments("", has_scales=True).scale == usual
    assert {scale: measure.result_name("generation", scale) for scale in names} == names


def test_the_amounts_follow_scale_and_device(monkeypatch):
    amounts = {"miniature": 1, "full": 2, "trial": 3}
    monkeypatch.setattr(scales, "DEVICE", torch.device("cuda"))
    assert [scales.choose(scale, **amounts) for scale in measure.SCALES] == [1, 2]
    monkeypatch.setattr(scales, "DEVICE", torch.device("cpu"))
    assert [scales.choose(scale, **amounts) for scale in measure.SCALES] == [1, 3]


def test_a_product_counts_two_operations_a_multiply_accumulate():
    product = scales.Product(size=3, number=2)
    assert product.operations == 2 * 2 * 27
    assert counting.count_operations(product.prepare(torch.float32)) == product.operations
