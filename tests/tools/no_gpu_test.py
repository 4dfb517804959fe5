"""train --device=cuda where no GPU can be used: exit code 2 and one line that says why.

usage: no_gpu_test.py TRAIN cuda|none   what the build has
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

TRAIN = pathlib.Path(sys.argv[1]).resolve()
BUILD_HAS_CUDA = sys.argv[2] == "cuda"
REASON = ("no NVIDIA driver is installed|no NVIDIA GPU was found.*" if BUILD_HAS_CUDA else
          r"this build has no CUDA \(install the CUDA toolkit .*\)")
TINY = ["--arch_preset=llama", "--n_layer=1", "--n_head=2", "--n_embd=16", "--vocab_size=257", "--block_size=8",
        "--batch_size=1", "--max_iters=1", "--eval_iters=1", "--dataset=builtin", "--run_name=tiny"]


class NoGpu(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        (self.root / "tiny.jsonc").write_text("{}")

    def train(self, *arguments):
        # Also a machine with a GPU has none to use then.
        return subprocess.run([TRAIN, "tiny.jsonc", *TINY, *arguments], cwd=self.root, text=True, capture_output=True,
                              env=os.environ | {"CUDA_VISIBLE_DEVICES": "-1"}, timeout=120)

    def test_asked_for_it_says_why_in_one_line(self):
        result = self.train("--device=cuda")
        self.assertEqual(result.returncode, 2)
        self.assertEqual(result.stdout, "")
        self.assertRegex(result.stderr, rf"^error: device=cuda: ({REASON})\n$")
        self.assertFalse((self.root / "out").exists())

    def test_auto_takes_the_cpu(self):
        result = self.train("--device=auto")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn('"device":"cpu"', (self.root / "out" / "tiny" / "metrics.jsonl").read_text())


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
