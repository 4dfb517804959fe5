"""What the end-to-end tests of train share: the programs of the command line, and runs of a tiny model."""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

TRAIN = pathlib.Path(sys.argv[1]).resolve()
PLAN = pathlib.Path(sys.argv[2]).resolve()
SOURCE = pathlib.Path(sys.argv[3]).resolve()

TINY = {
    "arch_preset": "llama", "n_layer": 2, "n_head": 4, "n_kv_head": 2, "n_embd": 64, "intermediate_size": 128,
    "block_size": 32, "batch_size": 4, "gradient_accumulation_steps": 2, "max_iters": 30, "warmup_iters": 3,
    "learning_rate": 3e-3, "eval_interval": 10, "eval_iters": 2, "checkpoint_interval": 5, "keep_checkpoints": 2,
    "log_interval": 10,
}


class TrainTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.root = pathlib.Path(self.folder.name)
        self.config = self.root / "tiny.jsonc"
        self.config.write_text(json.dumps(TINY))

    def command(self, *arguments):
        return [str(TRAIN), *map(str, arguments)]

    def run_train(self, *arguments, code=0):
        result = subprocess.run(self.command(*arguments), cwd=self.root, text=True, capture_output=True, timeout=300)
        self.assertEqual(result.returncode, code, result.stdout + result.stderr)
        return result

    def records(self, run):
        lines = (self.root / "out" / run / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def losses(self, run):
        return {r["iter"]: r["loss"] for r in self.records(run) if r["type"] == "iteration"}

    def weights(self, run):
        return (self.root / "out" / run / "latest" / "model.safetensors").read_bytes()
