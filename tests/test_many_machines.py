"""Real stages in several processes, nodes and shares: the same bytes, and none made twice.

CPU processes and gloo stand for GPUs and NCCL; the launchers and their files are the real ones.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from scratch import Scratch, clone_working_tree

from house import ROOT
from synthbridge.core.files import hash_folder
from synthbridge.upstream.backbone import make_backbone, save_backbone

MACHINES = ROOT / "machines"
TWO_OF_EIGHT = "accelerate launch --config_file machines/eight_gpus.yaml --num_processes 2"
NUM_UNITS = 6  # two stage-one models, three seeds


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A clone with all that `bridge` reads: digits stand for the synthetic images, too."""
    scratch = clone_working_tree(tmp_path_factory.mktemp("world") / "clone")
    scratch.change(
        {
            "seeds": [0, 1, 2],
            "stage_one.plain.num_steps": 40,
            "stage_one.mixup.num_steps": 40,
        }
    )
    digits = "--dataset digits --raw data/raw/digits --out data/real/digits"
    scratch.run(sys.executable, "src", "prepare", *digits.split())
    train = next((scratch.folder / "data/real/digits").glob("train*.tar"))
    (scratch.folder / "set/b0").mkdir(parents=True)
    shutil.copyfile(train, scratch.folder / "set/b0/all-00000.tar")
    save_backbone(make_backbone("test_resnet", 24, 0), scratch.folder / "backbone")
    for file in (scratch.folder / "machines").glob("*.yaml"):  # a CPU computes bfloat16 in minutes
        file.write_text(file.read_text().replace("bf16", '"no"'))
    return scratch


class Bridge:
    """Runs of stage `bridge`, with a work folder and an out of their own."""

    def __init__(self, world: Scratch, folder: Path):
        self.world, self.out, self.work = world, folder / "out", folder / "work"

    def start(self, **environment: str) -> subprocess.Popen:
        """Start a run."""
        inputs = "--real data/real/digits --backbone backbone --blocks set --num-blocks 1 --out"
        return subprocess.Popen(
            [sys.executable, "src", "bridge", *inputs.split(), str(self.out)],
            cwd=self.world.folder,
            text=True,
            start_new_session=True,
            env=self.world.environment(SYNTHBRIDGE_WORK=str(self.work), **environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def run(self, **environment: str) -> str:
        """Run to a good end; returns what it printed."""
        run = self.start(**environment)
        printed = run.communicate(timeout=300)[0]
        assert run.returncode == 0, printed
        return printed

    def units(self) -> dict[str, int]:
        """Return the finished units of work, and when each was made."""
        folders = self.work.glob("bridge/??/*")
        return {
            path.name: path.stat().st_mtime_ns for path in folders if not path.name.startswith(".")
        }


@pytest.fixture
def bridge(world, tmp_path):
    return Bridge(world, tmp_path)


@pytest.fixture(scope="module")
def of_one_process(world, tmp_path_factory):
    bridge = Bridge(world, tmp_path_factory.mktemp("one"))
    bridge.run()
    assert len(bridge.units()) == NUM_UNITS
    return hash_folder(bridge.out)


def _wait_for_a_unit(bridge: Bridge, run: subprocess.Popen) -> None:
    deadline = time.monotonic() + 200
    while not bridge.units():
        assert time.monotonic() < deadline and run.poll() is None
        time.sleep(0.01)


def _process_of(bridge: Bridge, rank: int) -> int:
    """Find one process of a run by its environment."""
    wanted = {f"RANK={rank}".encode(), f"SYNTHBRIDGE_WORK={bridge.work}".encode()}
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if wanted <= set(path.read_bytes().split(b"\0")):
                return int(path.parent.name)
        except OSError:  # it has ended, or is another user's
            continue
    raise AssertionError(f"no process of rank {rank}")


@pytest.mark.parametrize(
    ("how", "named"),
    [
        ({"SYNTHBRIDGE_PROCESSES": "2"}, r"process 1 of 2 ended with SIGKILL"),
        ({"SYNTHBRIDGE_LAUNCHER": TWO_OF_EIGHT}, r"Root Cause[^#]*rank +: 1 [^#]*SIGKILL"),
    ],
    ids=["ours", "accelerate"],
)
def test_two_processes_lose_one_go_on_and_make_the_same_bytes(bridge, how, named, of_one_process):
    run = bridge.start(**how)
    _wait_for_a_unit(bridge, run)
    os.kill(_process_of(bridge, rank=1), signal.SIGKILL)
    printed = run.communicate(timeout=100)[0]
    assert run.returncode not in (0, None)
    assert re.search(named, printed), printed
    assert "finished work is kept, the next run resumes there" in printed
    kept = bridge.units()
    assert 1 <= len(kept) < NUM_UNITS and not bridge.out.exists()
    assert "sharing the work between 2 processes" in bridge.run(**how)
    made = bridge.units()
    assert kept.items() <= made.items() and len(made) == NUM_UNITS
    assert hash_folder(bridge.out) == of_one_process


def test_shares_fill_one_work_folder(bridge, of_one_process):
    """Runs that know nothing of each other, first and side by side; then one that collects."""
    assert "this share is made" in bridge.run(SYNTHBRIDGE_SHARE="2/3", SYNTHBRIDGE_PROCESSES="2")
    first = bridge.units()
    assert len(first) == 2
    runs = [bridge.start(SYNTHBRIDGE_SHARE=f"{number}/3") for number in (1, 3)]
    printed = [run.communicate(timeout=300)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], printed
    made = bridge.units()
    assert len(made) == NUM_UNITS and first.items() <= made.items()
    assert not bridge.out.exists()
    bridge.run()
    assert bridge.units() == made
    assert hash_folder(bridge.out) == of_one_process


@contextmanager
def _two_nodes():
    """Two network namespaces joined by a cable: their names; both call their end `cable`."""
    names = [f"synthbridge-{os.getpid()}-{number}" for number in (0, 1)]

    def ip(*words: str) -> None:
        result = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
        if result.returncode:
            pytest.skip(f"ip {' '.join(words)}: {result.stderr.strip()} (needs CAP_NET_ADMIN)")

    if shutil.which("ip") is None:
        pytest.skip("this machine has no `ip` (iproute2) to make network namespaces with")
    try:
        for name in names:
            ip("netns", "add", name)
        ip(
            "-n",
            names[0],
            "link",
            "add",
            "cable",
            "type",
            "veth",
            "peer",
            "name",
            "cable",
            "netns",
            names[1],
        )
        for number, name in enumerate(names):
            ip("-n", name, "address", "add", f"10.77.0.{number + 1}/24", "dev", "cable")
            ip("-n", name, "link", "set", "cable", "up")
            ip("-n", name, "link", "set", "lo", "up")
            ip("netns", "exec", name, "true")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], stderr=subprocess.DEVNULL, check=False)


# Stands for Slurm's: runs a command once on each node, and ends badly if one of them does.
SRUN = """#!/bin/sh
for node in 0 1; do
  SLURM_NODEID=$node ip netns exec {name}$node "$@" & nodes="$nodes $!"
done
for node in $nodes; do wait "$node" || status=$?; done
exit ${{status:-0}}
"""


def test_two_nodes_make_the_same_bytes(bridge, of_one_process, tmp_path):
    """machines/node.sh on two nodes that see each other only through a cable."""
    with _two_nodes() as names:
        srun = tmp_path / "srun"
        srun.write_text(SRUN.format(name=names[0].removesuffix("0")))
        run = bridge.start(
            SYNTHBRIDGE_LAUNCHER=f"sh {srun} sh machines/node.sh",
            HEAD_NODE="10.77.0.1",
            SLURM_NNODES="2",
            SLURM_GPUS_ON_NODE="1",
            GLOO_SOCKET_IFNAME="cable",
        )
        try:
            printed = run.communicate(timeout=300)[0]
        finally:
            if run.poll() is None:
                os.killpg(run.pid, signal.SIGKILL)
        counter = "/sys/class/net/cable/statistics/rx_bytes"
        read = ["ip", "netns", "exec", names[1], "cat", counter]
        received = subprocess.run(read, capture_output=True, text=True, check=True).stdout
    assert run.returncode == 0, printed
    assert "sharing the work between 2 processes" in printed
    assert int(received) > 2000  # an idle cable carries some hundred
    assert hash_folder(bridge.out) == of_one_process


@pytest.mark.parametrize(
    ("name", "num_machines", "num_processes"),
    [("one_gpu", 1, 1), ("eight_gpus", 1, 8), ("two_nodes", 2, 16)],
)
def test_accelerate_reads_its_files(name, num_machines, num_processes):
    config = load_config_from_file(str(MACHINES / f"{name}.yaml"))
    assert (config.num_machines, config.num_processes) == (num_machines, num_processes)
    assert config.mixed_precision == "bf16"
    kind = "NO" if num_processes == 1 else "MULTI_GPU"
    assert config.distributed_type == kind


@pytest.mark.parametrize("path", sorted(MACHINES.glob("*.s*")), ids=lambda path: path.name)
def test_shell_scripts_are_sound(path):
    subprocess.run(["bash", "-n", path], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", "--severity=warning", path], check=True)
