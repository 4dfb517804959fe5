"""Runs of tiny models on the GPU that ptxrun imitates, and what they are compared with.

ptxrun executes the program's own kernels on the CPU and checks every access; it exits with status 86 when it reported
anything. Its own libraries stand in for the CUDA runtime, cuBLASLt and NCCL.
"""

import json
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

from distributed_support import TRAIN, Run, environment

PTXRUN = pathlib.Path(sys.argv[2]).resolve()
PATIENCE = 900  # seconds, for what takes a few on an idle machine

# What the stand-in of cuDNN, which cannot start, says when sdpa asks it why. Our own kernels run
# then.
WITHOUT_CUDNN = "ptxrun: cudnnGetLastErrorString is not implemented\n"

# Small enough to take about a second. One backend: which is the fastest depends on the load of this
# machine.
TINY = {
    "arch_preset": "llama", "n_layer": 2, "n_head": 2, "n_kv_head": 1, "n_embd": 64, "intermediate_size": 96,
    "vocab_size": 257, "block_size": 16, "batch_size": 2, "gradient_accumulation_steps": 2, "max_iters": 3,
    "lr_decay_iters": 4, "warmup_iters": 0, "learning_rate": 1e-3, "grad_clip": 1.0, "eval_interval": 0,
    "eval_iters": 1, "checkpoint_interval": 100, "keep_checkpoints": 0, "log_interval": 1, "gradient_log_interval": 0,
    "dataset": "builtin", "tensorboard": False, "save_log_to_json": False, "threads": 1,
    "comm_timeout_s": PATIENCE, "attention_backend": "flash_attn_2",
}
DTYPES = ("bfloat16", "float16", "float32", "tf32")
STRATEGIES = {
    "ddp": [], "ddp in small buckets": ["--ddp_bucket_mb=0.01"], "zero1": ["--use_zero1=true"],
    "fsdp": ["--use_fsdp=true"], "fsdp that keeps weights": ["--use_fsdp=true", "--fsdp_reshard_after_forward=false"],
}
SEEDS = (1, 2, 3)


def tolerances(dtype):
    """Of losses and of gradient norms, relative to a CPU's float32. tf32 has as many digits as float16."""
    return (1e-4, 1e-3) if dtype == "float32" else (2e-3, 2e-2)


class PtxrunTest(unittest.TestCase):
    """Runs of one class share a folder. Runs on the CPU are made once for each set of arguments."""

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.root = pathlib.Path(folder.name).resolve()
        cls.config = cls.root / "tiny.json"
        cls.config.write_text(json.dumps(TINY))
        cls.on_cpu = {}
        cls.runs = 0

    def execute(self, command, code=0, **variables):
        result = subprocess.run([str(part) for part in command], cwd=self.root, text=True, capture_output=True,
                                env=environment(**variables), timeout=PATIENCE)
        self.assertEqual(result.returncode, code, f"{command} {variables}\n{result.stdout}{result.stderr}")
        return result

    def emulate(self, command, code=0, **variables):
        """A program under ptxrun, which has to have nothing to report."""
        result = self.execute([PTXRUN, *command], code, PTXRUN_STRICT=1, **variables)
        self.assertNotIn("ptxrun:", result.stderr.replace(WITHOUT_CUDNN, ""))
        return result

    def train_command(self, name, *arguments):
        return [TRAIN, *arguments, self.config, f"--run_name={name}"]

    @classmethod
    def folder(cls, name):
        return Run(cls.root / "out" / name)

    def gpu(self, *arguments, name=None, ranks=1, **variables):
        """Trains, and returns the run."""
        if name is None:
            type(self).runs += 1
            name = f"run{self.runs}"
        launcher = ["--nproc-per-node", ranks] if ranks > 1 else []
        run = self.folder(name)
        result = self.emulate(self.train_command(name, *launcher, "--device=cuda", *arguments),
                              PTXRUN_DEVICE_COUNT=ranks, PTXRUN_NCCL_TIMEOUT=PATIENCE, **variables)
        run.output = result.stdout
        run.header = run.records("header")[-1]
        return run

    def cpu(self, *arguments):
        key = tuple(argument for argument in arguments if not argument.startswith(NOT_FOR_CPUS))
        if key not in self.on_cpu:
            name = f"cpu{len(self.on_cpu)}"
            self.execute(self.train_command(name, "--device=cpu", *key))
            self.on_cpu[key] = self.folder(name)
        return self.on_cpu[key]

    def assert_alike(self, run, expected, dtype):
        """In each iteration and evaluation."""
        of_loss, of_norm = tolerances(dtype)
        self.assert_close(run.losses(), expected.losses(), of_loss)
        self.assert_close(run.norms(), expected.norms(), of_norm)
        self.assert_close(flat(run.evaluations()), flat(expected.evaluations()), of_loss)

    def assert_close(self, values, expected, tolerance):
        self.assertEqual(sorted(values), sorted(expected))
        for key, value in expected.items():
            self.assertAlmostEqual(values[key] / value, 1, delta=tolerance, msg=f"{key}: {values[key]}, not {value}")

    def assert_same(self, run, expected):
        """Bit for bit: json has all digits of a number."""
        self.assertEqual(run.losses(), expected.losses())
        self.assertEqual(run.norms(), expected.norms())
        self.assertEqual(run.evaluations(), expected.evaluations())

    def check(self, *arguments, dtype="bfloat16", **variables):
        """That the GPU trains as the CPU does. Returns the run."""
        with self.subTest(arguments=arguments, dtype=dtype):
            run = self.gpu(f"--dtype={dtype}", *arguments, **variables)
            self.assertEqual(run.header["metadata"]["device"], "cuda")
            self.assertEqual(run.header["metadata"]["dtype"], dtype)
            if any(argument.startswith("--attention_backend") for argument in arguments):
                self.assertEqual(run.header["used_backend"], run.header["requested_backend"])
            self.assert_alike(run, self.cpu(*arguments), dtype)
            return run

    def backends(self, dtype):
        """Those that the program has for a GPU and this type, by its own word: others it replaces."""
        offered = []
        for backend in ("flash_attn_2", "sdpa", "manual"):
            plan = self.execute(self.train_command("plan", "--dry-run", "--device=cuda", f"--dtype={dtype}",
                                                   f"--attention_backend={backend}")).stdout
            if re.search(rf"Attention backend +{backend} +as requested", plan):
                offered.append(backend)
        self.assertIn("manual", offered)
        return offered


# A CPU computes the same with and without these; leaving them out saves runs.
NOT_FOR_CPUS = ("--attention_backend", "--recompute", "--cuda_graphs", "--gemm_autotune", "--deterministic",
                "--stochastic_rounding", "--loss_chunk", "--use_", "--fsdp_", "--ddp_", "--dtype")


def flat(evaluations):
    return {(iteration, part): loss for iteration, losses in evaluations.items() for part, loss in enumerate(losses)}
