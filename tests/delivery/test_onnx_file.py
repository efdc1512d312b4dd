import numpy as np
import onnxruntime
import pytest
import timm
import torch

from synthbridge.delivery import onnx_file
from synthbridge.delivery.onnx_file import TOLERANCE, write_onnx
from synthbridge.training.classifier import seeded


@pytest.fixture(scope="module")
def model():
    with seeded(0):
        return timm.create_model("test_resnet", num_classes=7).eval()


@pytest.fixture(scope="module")
def written(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    write_onnx(path, [model], 24)
    return path


@pytest.mark.parametrize("count", [1, 5])
def test_any_number_of_images_is_read_as_torch_reads_them(model, written, count):
    images = torch.randn(count, 3, 24, 24, generator=torch.Generator().manual_seed(count))
    session = onnxruntime.InferenceSession(written)
    (found,) = session.run(None, {"images": images.numpy()})
    with torch.inference_mode():
        expected = model(images).softmax(1).numpy()
    assert found.shape == (count, 7) and np.abs(found - expected).max() <= TOLERANCE


def test_the_same_model_gives_the_same_bytes_and_no_path_of_this_machine(model, written, tmp_path):
    write_onnx(tmp_path / "again.onnx", [model], 24)
    content = written.read_bytes()
    assert (tmp_path / "again.onnx").read_bytes() == content
    for path in (timm.__file__, torch.__file__):
        assert path.rpartition("/site-packages")[0].encode() not in content
    assert b"stack_trace" not in content


def test_a_file_that_answers_otherwise_is_refused(model, tmp_path, monkeypatch):
    """Other weights stand for an export that went wrong."""
    with seeded(1):
        other = timm.create_model("test_resnet", num_classes=7).eval()
    export = onnx_file._export
    wrong = onnx_file._Answering([other]).eval()
    monkeypatch.setattr(onnx_file, "_export", lambda _, images: export(wrong, images))
    with pytest.raises(ValueError, match=r"model.onnx answers otherwise than torch, by 0\.\d+ of"):
        write_onnx(tmp_path / "model.onnx", [model], 24)
