"""What the tests of resumed runs share: their states, manifests and records."""

import array
import json
import shutil
import signal
import subprocess
import time

from train_support import TrainTest

DONE = ("--max_iters=10",)


def crc32c(data):
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 & -(value & 1))
    return f"{value ^ 0xFFFFFFFF:08x}"


class ResumeTest(TrainTest):
    def folder_of(self, run):
        return self.root / "out" / run

    def steps(self, run):
        return sorted(int(path.name[5:]) for path in (self.folder_of(run) / "checkpoints").glob("step_*"))

    def state(self, run, step=None):
        folder = "latest" if step is None else f"checkpoints/step_{step:08d}"
        return json.loads((self.folder_of(run) / folder / "trainer_state.json").read_text())

    def manifest(self, run, step):
        return json.loads((self.folder_of(run) / f"checkpoints/step_{step:08d}/manifest.json").read_text())

    def iterations(self, run):
        return [r for r in self.records(run) if r["type"] == "iteration"]

    def evaluations(self, run):
        return [(r["iter"], r["val_loss"]) for r in self.records(run) if r["type"] == "eval"]

    def train(self, run, *arguments, code=0):
        return self.run_train(self.config, f"--run_name={run}", *arguments, code=code)

    def resume(self, run, *arguments, code=0):
        return self.train(run, "--init_from=resume", *arguments, code=code)

    def copy(self, run, name):
        shutil.copytree(self.folder_of(run), self.folder_of(name), symlinks=True)

    def write_state(self, run, step, state, without=()):
        """Another trainer state in a checkpoint whose checksums are right; its manifest loses keys."""
        folder = self.folder_of(run) / f"checkpoints/step_{step:08d}"
        text = json.dumps(state, indent=2) + "\n"
        (folder / "trainer_state.json").write_text(text)
        manifest = (folder / "manifest.json").read_text()
        content = json.loads(manifest[:manifest.rindex(',\n  "manifest_crc32c"')] + "\n}")
        for key in without:
            del content[key]
        for file in content["files"]:
            if file["name"] == "trainer_state.json":
                file.update(bytes=len(text), crc32c=crc32c(text.encode()))
        body = json.dumps(content, indent=2)[:-len("\n}")]
        (folder / "manifest.json").write_text(f'{body},\n  "manifest_crc32c": "{crc32c(body.encode())}"\n}}\n')

    def on_ranks(self, ranks, run, *arguments, code):
        """train, by itself or as our launcher starts it."""
        launcher = ["--nproc-per-node", str(ranks)] if ranks > 1 else []
        return self.run_train(*launcher, self.config, f"--run_name={run}", *arguments, code=code)

    def start(self, run, *arguments):
        return subprocess.Popen(self.command(self.config, f"--run_name={run}", *arguments), cwd=self.root,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def stop_after(self, process, run, iterations):
        metrics = self.folder_of(run) / "metrics.jsonl"
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and not (
                metrics.exists() and metrics.read_text().count('"type":"iteration"') >= iterations):
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        output = process.communicate(timeout=120)[0]
        self.assertEqual(process.returncode, 0, output)

    def write_tokens(self, name, tokens, vocabulary=257):
        """A file as nanoGPT writes it: 16-bit tokens without a header."""
        path = self.root / name
        path.write_bytes(array.array("H", tokens).tobytes())
        return path
