from dataclasses import dataclass
from pathlib import Path

from accelerate import Accelerator

from synthbridge.core import log
from synthbridge.core.log import PlainListener, StageLog
from synthbridge.training.sharing import share_trainings


@dataclass(frozen=True)
class _Model:
    path: Path


class _Listener(PlainListener):
    """Keeps what is expected, and the models that are trained behind a progress bar."""

    def __init__(self):
        self.expected, self.counted = [], []

    def expect(self, stage, missing):
        self.expected.append((stage, missing["trainings"], missing["about"]))

    def progress(self, items, *, total, **_):
        self.counted.append(total)
        yield from items


def _train(models):
    accelerator = Accelerator(cpu=True)
    trained = []
    for model, team in share_trainings(
        accelerator, models, what="training", unit="model", log=StageLog("bridge", ""), about=7
    ):
        assert (team.rank, team.size) == (0, 1)
        model.path.mkdir()
        trained.append(model)
    return trained


def test_what_lies_in_the_work_folder_is_left_out(tmp_path, monkeypatch):
    listener = _Listener()
    monkeypatch.setattr(log, "_listener", listener)
    models = [_Model(tmp_path / name) for name in "abc"]
    models[1].path.mkdir()
    missing = [models[0], models[2]]
    assert _train(models) == missing
    assert listener.expected == [("bridge", missing, 7)] and listener.counted == [2]
    assert _train(models) == []
