#!/usr/bin/env python3
"""Tokens per second of the strategies on two ranks, against one rank, one thread each.

    bench_distributed.py TRAIN [--rounds N] [--iterations N]

A 10M-parameter LLaMA, 8 accumulation steps of 4 sequences of 256 tokens per rank; ddp, zero1, and fsdp with weights
gathered twice per micro-batch or kept until the update. Contestants take turns, round after round; ratios are medians over
rounds. `two alone` is two runs of one rank side by side, each with data of its own: the same cores and caches as two
ranks, without communication. Communication is the time that the first rank's communication thread was at work, of which
`exposed` made computation wait.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

CONFIG = {
    "arch_preset": "llama", "n_layer": 8, "n_head": 4, "n_embd": 256, "intermediate_size": 768, "vocab_size": 8192,
    "weight_tying": True, "block_size": 256, "batch_size": 4, "dataset": "builtin", "eval_interval": 0, "eval_iters": 1,
    "warmup_iters": 0, "gradient_log_interval": 0, "tensorboard": False, "save_log_to_json": False, "threads": 1,
}  # fmt: skip
ACCUMULATION = 8
WARMUP_ITERATIONS = 2
STRATEGIES = {
    "ddp": [], "zero1": ["--use_zero1=true"], "fsdp": ["--use_fsdp=true"],
    "fsdp, kept": ["--use_fsdp=true", "--fsdp_reshard_after_forward=false"],
}  # fmt: skip


class Runner:
    def __init__(self, train, folder, iterations):
        self.train, self.folder, self.iterations, self.count = train, folder, iterations, 0
        self.config = folder / "config.jsonc"
        self.config.write_text(json.dumps(CONFIG | {"out_dir": str(folder), "max_iters": iterations}))

    def start(self, ranks, *overrides):
        self.count += 1
        name = f"run{self.count}"
        launch = ["--nproc-per-node", str(ranks)] if ranks > 1 else []
        accumulation = f"--gradient_accumulation_steps={ACCUMULATION * ranks}"
        command = [self.train, *launch, self.config, f"--run_name={name}", accumulation, *overrides]
        return name, subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def finish(self, started):
        """Records of the iterations after the warm-up."""
        name, process = started
        _, err = process.communicate()
        if process.returncode != 0:
            sys.exit(f"{name}: exit code {process.returncode}\n{err.decode(errors='replace')}")
        lines = map(json.loads, (self.folder / name / "metrics.jsonl").read_text().splitlines())
        return [line for line in lines if "time_ms" in line][WARMUP_ITERATIONS:]


def tokens_per_second(records, ranks):
    tokens = ACCUMULATION * ranks * CONFIG["batch_size"] * CONFIG["block_size"]
    return 1e3 * tokens / statistics.median(record["time_ms"] for record in records)


def share(records, key):
    return sum(record["communication"][key] for record in records) / sum(record["time_ms"] for record in records)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path, help="our binary")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--iterations", type=int, default=6)
    options = parser.parse_args()
    speeds, communication, exposed = {}, {}, {}
    with tempfile.TemporaryDirectory(prefix="isoflop-bench-") as folder:
        runner = Runner(options.train.resolve(), Path(folder), options.iterations)
        for _ in range(options.rounds):
            speeds.setdefault("one rank", []).append(tokens_per_second(runner.finish(runner.start(1)), 1))
            pair = [runner.start(1), runner.start(1)]
            speeds.setdefault("two alone", []).append(sum(tokens_per_second(runner.finish(run), 1) for run in pair))
            for name, overrides in STRATEGIES.items():
                records = runner.finish(runner.start(2, *overrides))
                speeds.setdefault(name, []).append(tokens_per_second(records, 2))
                communication.setdefault(name, []).append(share(records, "ms"))
                exposed.setdefault(name, []).append(share(records, "exposed_ms"))
    print("                tokens/s  of one rank  of two alone  of ddp   communication  exposed, of the step")
    for name, values in speeds.items():
        def ratio(other):
            return statistics.median(a / b for a, b in zip(values, speeds[other]))

        line = f"{name:<12} {statistics.median(values):>11.0f} {ratio('one rank'):>11.2f}x {100 * ratio('two alone'):>11.1f} %"
        if name in STRATEGIES:
            line += f" {100 * ratio('ddp'):>6.1f} % {100 * statistics.median(communication[name]):>13.1f} %"
            line += f" {100 * statistics.median(exposed[name]):>8.1f} %"
        print(line)


if __name__ == "__main__":
    main()
