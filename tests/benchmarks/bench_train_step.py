#!/usr/bin/env python3
"""Times whole training steps of `train` beside eager PyTorch and llm.c on the same cores and prints the ratios.

    bench_train_step.py TRAIN [--before TRAIN] [--torch PYTHON] [--llm-c FOLDER] [--rounds N] [--steps N]
                        [--threads 1 2] [--busy]

TRAIN is our binary, that of --before an older one, PYTHON an interpreter that has torch, FOLDER a checkout of
https://github.com/karpathy/llm.c. What is not given is left out. Contestants take turns, round after round, each in a
process of its own: a machine whose speed drifts treats them alike, and the ratios are medians over rounds. --busy keeps
one core occupied by another process.

Shapes: n_embd 384, n_layer 6, n_head 6, block_size 256, 4 sequences per step, tied head, fp32, AdamW included; GPT-2 and
LLaMA (intermediate_size 1024), vocabularies 50304 and 4096. Memory is the peak of anonymous pages (RssAnon), which leaves
out the libraries' code.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
N_EMBD, N_LAYER, N_HEAD, INTERMEDIATE_SIZE, BLOCK_SIZE, BATCH = 384, 6, 6, 1024, 256, 4
TOKENS = BLOCK_SIZE * BATCH
WARMUP_STEPS = 2


class Timing:
    """What one process measured of itself, and its peak memory as seen from outside."""

    def __init__(self, step_ms, peak_bytes, share_of_peak=None):
        self.tokens_per_second = 1e3 * TOKENS / statistics.median(step_ms[WARMUP_STEPS:])
        self.peak_bytes = peak_bytes
        self.share_of_peak = share_of_peak


def anonymous_bytes(pid):
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon"):
                return 1024 * int(line.split()[1])
    except OSError:
        pass
    return 0


def run(command, **environment):
    """Output of the command and the peak of its anonymous pages, looked at every 5 ms."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | environment)
    peak, done = [0], threading.Event()

    def watch():
        while not done.wait(0.005):
            peak[0] = max(peak[0], anonymous_bytes(process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    out, err = process.communicate()
    done.set()
    watcher.join()
    if process.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: exit code {process.returncode}\n{err.decode(errors='replace')}")
    return out.decode(), peak[0]


def printed_steps(command, **environment):
    out, peak = run(command, **environment)
    return Timing([float(line.split()[1]) for line in out.splitlines() if line.startswith("step ")], peak)


def ours(train, folder, preset, vocab, steps, threads):
    config = {
        "arch_preset": preset, "n_layer": N_LAYER, "n_head": N_HEAD, "n_embd": N_EMBD, "block_size": BLOCK_SIZE,
        "vocab_size": vocab, "weight_tying": True, "batch_size": BATCH, "gradient_accumulation_steps": 1,
        "max_iters": steps, "dataset": "builtin", "eval_interval": 0, "eval_iters": 1, "gradient_log_interval": 0,
        "tensorboard": False, "save_log_to_json": False, "threads": threads, "out_dir": str(folder), "run_name": "bench",
    }  # fmt: skip
    if preset == "llama":
        config["intermediate_size"] = INTERMEDIATE_SIZE
    file = folder / "bench.jsonc"
    file.write_text(json.dumps(config))
    subprocess.run(["rm", "-rf", folder / "bench"], check=True)
    _, peak = run([train, file])
    records = [json.loads(line) for line in (folder / "bench" / "metrics.jsonl").read_text().splitlines()]
    steps = [record for record in records if "time_ms" in record and "iter" in record]
    shares = [record["mfu"]["hfu"] for record in steps if isinstance(record.get("mfu"), dict)]
    return Timing([record["time_ms"] for record in steps], peak, statistics.median(shares))


def contestants(options, folder, preset, vocab, threads):
    found = {"isoflop": lambda: ours(options.train, folder, preset, vocab, options.steps, threads)}
    if options.before:
        found["before"] = lambda: ours(options.before, folder, preset, vocab, options.steps, threads)
    if options.torch:
        torch_arguments = [N_EMBD, N_LAYER, N_HEAD, INTERMEDIATE_SIZE, BLOCK_SIZE, BATCH, vocab, options.steps, threads]
        command = [options.torch, HERE / "peers/torch_step.py", preset, *map(str, torch_arguments)]
        found["PyTorch"] = lambda: printed_steps(command, OMP_NUM_THREADS=str(threads))
    if options.llm_c and preset == "gpt2":
        llm_c_arguments = [N_EMBD, N_LAYER, N_HEAD, BLOCK_SIZE, BATCH, vocab, WARMUP_STEPS + 1]
        llm_c_command = [folder / "llm_c_step", *map(str, llm_c_arguments)]
        found["llm.c"] = lambda: printed_steps(llm_c_command, OMP_NUM_THREADS=str(threads))
    return found


def build_llm_c(checkout, folder):
    flags = ["-Ofast", "-march=native", "-fopenmp", "-DOMP", "-w"]
    source = HERE / "peers/llm_c_step.c"
    subprocess.run(["cc", *flags, "-I", checkout, source, "-lm", "-o", folder / "llm_c_step"], check=True)


def compare(options, folder, preset, vocab, threads):
    entries = contestants(options, folder, preset, vocab, threads)
    timings = {name: [] for name in entries}
    for _ in range(options.rounds):
        for name, measure in entries.items():
            timings[name].append(measure())
    medians = {}
    for name, rounds in timings.items():
        medians[name] = statistics.median(round.tokens_per_second for round in rounds)
        ratio = statistics.median(a.tokens_per_second / b.tokens_per_second for a, b in zip(timings["isoflop"], rounds))
        memory = statistics.median(round.peak_bytes for round in rounds)
        memory_ratio = statistics.median(a.peak_bytes / b.peak_bytes for a, b in zip(timings["isoflop"], rounds))
        share = "" if rounds[0].share_of_peak is None else f"{100 * statistics.median(r.share_of_peak for r in rounds):.1f} %"
        print(
            f"{preset:<6} {vocab:>6} {threads:>8}  {name:<8} {medians[name]:>9.0f} {share:>9} {ratio:>9.2f}x "
            f"{memory / 2**30:>9.2f} GiB {100 * memory_ratio:>7.0f} %",
            flush=True,
        )
    return medians["isoflop"]


def start_of_first_step(train, folder):
    """Seconds from process start to the first step of a 124M model."""
    command = [train, HERE.parents[1] / "configs/train/gpt2_124m.jsonc", "--dataset=builtin", "--batch_size=1",
               "--gradient_accumulation_steps=1", "--block_size=64", f"--out_dir={folder}"]  # fmt: skip
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if line.startswith("run "):
            break
    seconds = time.perf_counter() - begin
    process.kill()
    process.wait()
    return seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path, help="our binary")
    parser.add_argument("--before", type=lambda path: Path(path).resolve(), help="an older binary of ours")
    parser.add_argument("--torch", help="an interpreter that has torch")
    parser.add_argument("--llm-c", type=Path, help="a checkout of llm.c")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=12, help="steps per process; llm.c takes 3")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--busy", action="store_true", help="another process keeps one core busy")
    options = parser.parse_args()
    options.train = options.train.resolve()
    with tempfile.TemporaryDirectory(prefix="isoflop-bench-") as name:
        folder = Path(name)
        if options.llm_c:
            build_llm_c(options.llm_c, folder)
        hog = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if options.busy else None
        print("shape   vocab  threads            tokens/s  of peak  isoflop is  peak memory  isoflop's")
        for preset in ("gpt2", "llama"):
            for vocab in (50304, 4096):
                speeds = [compare(options, folder, preset, vocab, threads) for threads in options.threads]
                if len(speeds) > 1:
                    print(f"{preset:<6} {vocab:>6}  {options.threads[-1]} threads are {speeds[-1] / speeds[0]:.2f}x {options.threads[0]}")
        if hog:
            hog.kill()
        print(f"first step of gpt2_124m begins after {start_of_first_step(options.train, folder):.2f} s")


if __name__ == "__main__":
    main()
