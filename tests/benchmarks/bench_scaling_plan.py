#!/usr/bin/env python3
"""Times of scaling-plan's commands: median, least and greatest wall time and median CPU time of at least 20 runs each.

    bench_scaling_plan.py BINARY [--runs N] [--check]

With ISOFLOP_PYTHON_ORIGINAL naming the earlier system's script (dsc180_a06), its backward plan is timed beside ours.
--check ends with 1 when a single command takes 10 ms or more, or the sweep over 100,000 points a second: in CPU time,
which other programs on the machine disturb little.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]

COMMANDS = {
    "backward": ["backward", "configs/plan/hoffmann.jsonc"],
    "backward --json": ["backward", "configs/plan/hoffmann.jsonc", "--json"],
    "backward --compat": ["backward", "configs/plan/hoffmann.jsonc", "--compat", "dsc180_a06"],
    "model, dense": ["model", "configs/models/llama3_405b.jsonc"],
    "model, experts": ["model", "configs/models/deepseek_v3.jsonc"],
    "compare 4 plans": ["compare", *(f"configs/plan/{name}.jsonc" for name in ("hoffmann", "besiroglu", "auto", "flash"))],
    "laws": ["laws"],
    "gpus": ["gpus"],
    "validate": ["validate"],
    "schema markdown": ["schema", "markdown"],
}
SWEEP = ["sweep", "configs/plan/hoffmann.jsonc", "--over", "num_gpus=1..100", "--over", "available_hours=1..1000"]

COMMAND_LIMIT_SECONDS = 0.010
SWEEP_LIMIT_SECONDS = 1.0


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def seconds_of(command, runs):
    """Pairs of wall and CPU seconds."""
    times = []
    for _ in range(runs):
        begin, cpu_begin = time.perf_counter(), cpu_seconds()
        done = subprocess.run(command, cwd=SOURCE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        times.append((time.perf_counter() - begin, cpu_seconds() - cpu_begin))
        if done.returncode != 0:
            sys.exit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr.decode(errors='replace')}")
    return times


def show(name, times):
    """Prints one line; returns the median CPU seconds."""
    wall = [pair[0] for pair in times]
    cpu = statistics.median(pair[1] for pair in times)
    figures = "".join(f" {1e3 * value:10.2f}" for value in (statistics.median(wall), min(wall), max(wall), cpu))
    print(f"{name:<24}{figures} {len(times):6d}", flush=True)
    return cpu


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary")
    parser.add_argument("--runs", type=int, default=20, help="runs of each command, 20 at least")
    parser.add_argument("--check", action="store_true", help="fail when a limit is exceeded")
    options = parser.parse_args()
    runs = max(options.runs, 20)
    binary = os.path.abspath(options.binary)

    print(f"{'command':<24} {'median ms':>10} {'least ms':>10} {'most ms':>10} {'CPU ms':>10} {'runs':>6}")
    slow = []
    for name, arguments in COMMANDS.items():
        if show(name, seconds_of([binary, *arguments], runs)) >= COMMAND_LIMIT_SECONDS:
            slow.append(name)
    if show("sweep, 100,000 points", seconds_of([binary, *SWEEP], runs)) >= SWEEP_LIMIT_SECONDS:
        slow.append("sweep")

    original = os.environ.get("ISOFLOP_PYTHON_ORIGINAL")
    if original:
        config = os.environ.get("ISOFLOP_PYTHON_ORIGINAL_CONFIG", str(SOURCE / "configs/plan/hoffmann.jsonc"))
        show("Python original", seconds_of([sys.executable, original, "--backward_config", config], runs))
    else:
        print("Python original: not timed; set ISOFLOP_PYTHON_ORIGINAL to its detailed_cost_analysis.py")
    if options.check and slow:
        sys.exit("over the limit in CPU time: " + ", ".join(slow))


if __name__ == "__main__":
    main()
