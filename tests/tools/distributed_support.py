"""What tests with several processes share: a tiny run, ranks started one by one, and readers of what a run leaves.

Ranks that a test starts itself have an exit code and words of their own; those of a launcher have one together.
"""

import json
import os
import pathlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import unittest

TRAIN = pathlib.Path(sys.argv[1]).resolve()
HOST = socket.gethostname()
PATIENCE = 120  # seconds, for what takes a second on an idle machine

# Eight micro-batches: 1, 2 and 4 ranks share them evenly and give the same bits.
TINY = {
    "arch_preset": "llama", "n_layer": 2, "n_head": 4, "n_kv_head": 2, "n_embd": 64, "intermediate_size": 128,
    "block_size": 32, "batch_size": 1, "gradient_accumulation_steps": 8, "max_iters": 20, "lr_decay_iters": 20,
    "warmup_iters": 3, "learning_rate": 3e-3, "grad_clip": 0.5, "eval_interval": 10, "eval_iters": 3,
    "keep_checkpoints": 0, "log_interval": 100, "tensorboard": False, "reproducible": True,
}
STRATEGIES = {"ddp": [], "zero1": ["--use_zero1=true"], "fsdp": ["--use_fsdp=true"]}
HYBRID = ["--use_fsdp=true", "--fsdp_shard_size=2"]
OF_LAUNCHERS = re.compile(r"(RANK|WORLD_SIZE|LOCAL_|MASTER_|ISOFLOP_|SLURM|OMPI_|PMI|MPI_)")


def has_gloo():
    version = subprocess.run([str(TRAIN), "--version"], text=True, capture_output=True, check=True).stdout
    return ", Gloo" in version


def environment(**variables):
    """Ours without what a launcher has set, and with these."""
    clean = {name: value for name, value in os.environ.items() if not OF_LAUNCHERS.match(name)}
    return clean | {name: str(value) for name, value in variables.items()}


def torchrun_variables(rank, size, port, address="127.0.0.1"):
    return {"RANK": rank, "WORLD_SIZE": size, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": size, "MASTER_ADDR": address,
            "MASTER_PORT": port}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(condition, what, seconds=PATIENCE, pause=0.01):
    """Polls; returns what the condition gave. `what` is a text or makes one of how things are in the end."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        result = condition()
        if result:
            return result
        time.sleep(pause)
    raise AssertionError(f"not within {seconds} s: {what() if callable(what) else what}")


def processes_in(folder):
    """Those that work in this folder: ranks that nobody has ended."""
    found = []
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink() == folder:
                found.append(int(process.name))
        except OSError:
            pass  # ended meanwhile
    return found


def rank_process(folder, rank):
    """Of a launcher's ranks in this folder; None until it has started."""
    for pid in processes_in(folder):
        try:
            variables = pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if f"RANK={rank}".encode() in variables:
            return pid
    return None


def read_safetensors(path):
    """Bytes of each tensor by name."""
    data = path.read_bytes()
    (header_bytes,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + header_bytes])
    begin = 8 + header_bytes
    tensors = {}
    for name, tensor in header.items():
        if name != "__metadata__":
            assert tensor["dtype"] == "F32", name
            first, end = tensor["data_offsets"]
            tensors[name] = data[begin + first:begin + end]
    return tensors


def read_checkpoint(folder):
    """Bytes of every whole tensor, weights and moments, for any division into slices."""
    manifest = json.loads((folder / "manifest.json").read_text())
    files = {file["name"]: read_safetensors(folder / file["name"]) for file in manifest["files"]
             if file["name"].endswith(".safetensors")}
    tensors = {}
    for tensor in manifest["tensors"]:
        slices = sorted(tensor["slices"], key=lambda part: part["first"])
        tensors[tensor["name"]] = b"".join(files[part["file"]][tensor["name"]] for part in slices)
    return tensors


class Run:
    """A run's folder."""

    def __init__(self, folder):
        self.folder = folder

    def records(self, kind):
        lines = (self.folder / "metrics.jsonl").read_text().splitlines()
        return [record for record in map(json.loads, lines) if record["type"] == kind]

    def losses(self):
        return {record["iter"]: record["loss"] for record in self.records("iteration")}

    def norms(self):
        return {record["iter"]: record["grad_norm"] for record in self.records("iteration")}

    def evaluations(self):
        return {record["iter"]: (record["train_loss"], record["val_loss"]) for record in self.records("eval")}

    def iterations(self):
        """Done so far; cheap, as tests wait for it."""
        metrics = self.folder / "metrics.jsonl"
        return metrics.read_bytes().count(b'"type":"iteration"') if metrics.exists() else 0

    def state(self):
        return read_checkpoint(self.folder / "latest")

    def partial_checkpoints(self):
        return list((self.folder / "checkpoints").glob(".step_*.writing"))


class Ranks:
    """Ranks started one by one. Their output goes to files, so that nobody has to read it for them to go on."""

    def __init__(self, folder, commands):
        """`commands`: for each rank its command line and the variables of its environment."""
        self.outputs = [folder / f"rank{rank}.txt" for rank in range(len(commands))]
        self.processes = []
        for output, (command, variables) in zip(self.outputs, commands):
            with output.open("w") as file:
                self.processes.append(subprocess.Popen([str(part) for part in command], cwd=folder, stdout=file,
                                                       stderr=file, env=environment(**variables)))

    def signal(self, rank, number):
        self.processes[rank].send_signal(number)

    def codes(self):
        return [process.poll() for process in self.processes]

    def wait(self, seconds=PATIENCE, but=()):
        """Exit codes of all ranks (except `but`) once they have ended."""
        awaited = [rank for rank in range(len(self.processes)) if rank not in but]
        wait_until(lambda: all(self.codes()[rank] is not None for rank in awaited),
                   lambda: f"all ranks end; {self.codes()}: {self.text()}", seconds)
        return self.codes()

    def words(self, rank):
        return self.outputs[rank].read_text()

    def text(self):
        return "\n".join(f"--- rank {rank}\n{self.words(rank)}" for rank in range(len(self.processes)))

    def end(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()


class DistributedTest(unittest.TestCase):
    """Runs of one class share a folder, so that they can share what they are compared with."""

    @classmethod
    def setUpClass(cls):
        if not has_gloo():
            raise unittest.SkipTest("this build has no Gloo, which processes communicate with")
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.root = pathlib.Path(folder.name).resolve()
        cls.config = cls.root / "tiny.jsonc"
        cls.config.write_text(json.dumps(TINY))

    def tearDown(self):
        left = processes_in(self.root)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        self.assertEqual(left, [], "processes are left")

    @classmethod
    def folder(cls, name):
        return Run(cls.root / "out" / name)

    @classmethod
    def command(cls, name, *arguments):
        return [str(TRAIN), *map(str, arguments), str(cls.config), f"--run_name={name}"]

    @classmethod
    def reference(cls, name, *arguments):
        """A run of one process."""
        subprocess.run(cls.command(name, *arguments), cwd=cls.root, check=True, stdout=subprocess.DEVNULL,
                       env=environment(), timeout=PATIENCE)
        return cls.folder(name)

    def run_command(self, command, code=0, **variables):
        result = subprocess.run([str(part) for part in command], cwd=self.root, text=True, capture_output=True,
                                env=environment(**variables), timeout=PATIENCE)
        self.assertEqual(result.returncode, code, result.stdout + result.stderr)
        return result

    def launch(self, name, ranks, *arguments, code=0):
        """By our own launcher."""
        return self.run_command(self.command(name, "--nproc-per-node", ranks, *arguments), code)

    def start(self, commands):
        ranks = Ranks(self.root, commands)
        self.addCleanup(ranks.end)
        return ranks

    def start_ranks(self, name, size, *arguments, of_rank=None):
        """As torchrun does. `of_rank`: arguments of single ranks."""
        port = free_port()
        return self.start([(self.command(name, *arguments, *(of_rank or {}).get(rank, [])),
                            torchrun_variables(rank, size, port)) for rank in range(size)])

    def copy_of(self, run, name):
        shutil.copytree(run.folder, self.root / "out" / name, symlinks=True)
        return self.folder(name)

    def assert_same_training(self, run, expected):
        """Bit for bit: json has all digits of a number."""
        self.assertEqual(run.losses(), expected.losses())
        self.assertEqual(run.norms(), expected.norms())
        self.assertEqual(run.evaluations(), expected.evaluations())
        self.assert_same_state(run, expected)

    def assert_same_state(self, run, expected):
        state, expected_state = run.state(), expected.state()
        self.assertEqual(sorted(state), sorted(expected_state))
        self.assertEqual([name for name in state if state[name] != expected_state[name]], [], "tensors that differ")
