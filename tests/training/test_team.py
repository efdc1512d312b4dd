import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from timm.layers import BatchNormAct2d
from torch import nn

from synthbridge.training.team import form_team, share_batch_norm, unshare_batch_norm

SCRIPT = Path(__file__).with_name("two_processes.py")


def _launch(count, backbone, out):
    out.mkdir()
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    program = [str(SCRIPT), str(backbone), str(out)]
    command = [*launcher, f"--nproc_per_node={count}", *program]
    paths = os.pathsep.join(path for path in sys.path if path)  # src and tests among them
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    return out


def test_two_processes_train_the_same_model(backbone, tmp_path):
    """Batches of 5 and 4 over two processes: uneven shares, batch norm, mixup; norms apart."""
    one = _launch(1, backbone, tmp_path / "one")
    two = _launch(2, backbone, tmp_path / "two")
    assert [(one / "size").read_text(), (two / "size").read_text()] == ["1", "2"]
    for file in ("model.safetensors", "mixed.safetensors", "vit.safetensors"):
        weights, again = load_file(one / file), load_file(two / file)
        assert weights.keys() == again.keys()
        for name, tensor in weights.items():
            # Only the order of sums differs: a change of 1e-7 at the start grows to 4e-6 by here.
            assert torch.allclose(tensor.float(), again[name].float(), atol=1e-4), (file, name)
    curves = [[float(v) for v in (out / "curve").read_text().split()] for out in (one, two)]
    assert curves[0] == pytest.approx(curves[1], abs=1e-4)
    probabilities = [torch.load(out / "probabilities.pt", weights_only=True) for out in (one, two)]
    assert torch.allclose(*probabilities, atol=1e-4)


@pytest.fixture
def one_process_group():
    torch.distributed.init_process_group(
        "gloo", init_method="tcp://127.0.0.1:29611", rank=0, world_size=1
    )
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("make", [nn.BatchNorm2d, lambda width: BatchNormAct2d(width)])
def test_shared_batch_norm_is_batch_norm(make, one_process_group):
    torch.manual_seed(0)
    plain, shared = nn.Sequential(make(4)), nn.Sequential(make(4))
    share_batch_norm(shared)
    x = torch.randn(6, 4, 3, 3, requires_grad=True)
    y = x.detach().clone().requires_grad_()
    target = torch.randn(6, 4, 3, 3)
    for model, inputs in ((plain, x), (shared, y)):
        (model(inputs) * target).sum().backward()
    assert torch.allclose(plain(x), shared(y), atol=1e-5)
    assert torch.allclose(x.grad, y.grad, atol=1e-5)
    unshare_batch_norm(shared)
    for (name, mine), theirs in zip(
        shared.state_dict().items(), plain.state_dict().values(), strict=True
    ):
        assert torch.allclose(mine.float(), theirs.float(), atol=1e-5), name
    assert torch.allclose(plain.eval()(x), shared.eval()(x), atol=1e-5)


def test_processes_share_runs_only_where_there_are_too_few(monkeypatch):
    accelerator = Accelerator(cpu=True)
    assert form_team(accelerator, 1).size == 1
    monkeypatch.setattr(type(accelerator), "num_processes", property(lambda self: 4))
    monkeypatch.setattr(type(accelerator), "process_index", property(lambda self: 2))
    assert [form_team(accelerator, runs).size for runs in (1, 3, 4, 9)] == [4, 4, 1, 1]
    assert form_team(accelerator, 3).rank == 2 and form_team(accelerator, 4).rank == 0
