"""Counts what the attention kernels do: PTX instructions, memory sectors, bank conflicts. ptxrun executes the program's
own kernels without a GPU, once for each way to compute attention and head_dim: 256 tokens, causal, one head, bfloat16,
forward and backward. Prints the table of docs/attention_kernels.md.

usage: attention_counters.py GPU_TESTS PTXRUN [FILE]
"""

import collections
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

WAYS = ("flash_attn_2", "flash_attn_2_with_atomics", "sdpa", "manual")
HEAD_DIMS = (32, 64, 96, 128, 256)
HEADER = ("kernel", "blocks", "mma", "thread instructions per mma", "sectors", "more than ideal",
          "extra wavefronts", "ex2", "barriers", "atomics")
Row = collections.namedtuple("Row", [title.replace(" ", "_") for title in HEADER])


def kernels_of(program, ptxrun, way, head_dim):
    """The counters of one forward and backward pass, which has to be right and without reports."""
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "counters.json"
        command = [ptxrun, program, f"--gtest_filter=Ways/GpuAttentionOfManyTiles.MatchesTheReference/{way}_{head_dim}"]
        result = subprocess.run(command, text=True, capture_output=True,
                                env=dict(os.environ, PTXRUN_STRICT="1", PTXRUN_STATS=str(file)))
        if result.returncode != 0 or "[  PASSED  ] 1 test" not in result.stdout:
            sys.exit(f"{way}, head_dim {head_dim}: exit code {result.returncode}\n{result.stdout}{result.stderr}")
        return json.loads(file.read_text())["kernels"]


def title_of(name):
    """flash_attn_2::forward_kernel<Config<...>>(...) -> forward; of the gradients of keys, which."""
    title = re.search(r"(\w+)_kernel\b", name).group(1).replace("_", " ")
    results = re.search(r"KeyGradients\)(\d+)|BackwardResults\)(\d+)|Gradients\)(\d+)", name)
    return title + (f" {next(group for group in results.groups() if group)}" if results else "")


def row_of(kernel):
    sectors = ideal = 0
    for counter in (kernel["global_load"], kernel["global_store"]):
        sectors += counter["sectors"]
        ideal += counter["sectors"] * counter["efficiency"]
    copies = kernel["cp_async"]
    sectors += copies["sectors"]
    ideal += copies["bytes"] / 32
    mma = kernel["mma"]
    return Row(title_of(kernel["name"]), kernel["blocks"], mma or "",
               f"{kernel['thread_instructions'] / mma:.0f}" if mma else "", sectors,
               f"{100 * (sectors / ideal - 1):.1f} %" if ideal else "",
               kernel["shared"]["conflict_wavefronts"] + kernel["ldmatrix"]["conflict_wavefronts"],
               32 * kernel["ex2_warp_instructions"], kernel["barriers"], kernel["atomic_lanes"])


def main():
    program, ptxrun = (str(pathlib.Path(argument).resolve()) for argument in sys.argv[1:3])
    lines = ["| way | head_dim | " + " | ".join(HEADER) + " |", "|---" * (2 + len(HEADER)) + "|"]
    for way in WAYS:
        for head_dim in HEAD_DIMS:
            for kernel in kernels_of(program, ptxrun, way, head_dim):
                if os.environ.get("NAMES"): print(kernel["name"], kernel["threads"], kernel["blocks"], file=sys.stderr)
                lines.append(f"| {way} | {head_dim} | " + " | ".join(str(cell) for cell in row_of(kernel)) + " |")
            print(f"{way} {head_dim}", file=sys.stderr)
    text = "\n".join(lines) + "\n"
    if len(sys.argv) > 3:
        pathlib.Path(sys.argv[3]).write_text(text)
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
