"""Counts what the attention kernels do: PTX instructions, memory sectors, bank conflicts. ptxrun executes the program's
own kernels without a GPU, once for each way to compute attention and head_dim: 1024 tokens, causal, one head, bfloat16,
forward and backward. Writes the tables of docs/attention_kernels.md.

usage: attention_counters.py GPU_TESTS PTXRUN [FILE]
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

WAYS = ("flash_attn_2", "flash_attn_2_with_atomics", "sdpa", "manual")
HEAD_DIMS = (32, 64, 96, 128, 256)
HEADER = ("kernel", "head_dim", "blocks", "mma", "thread instructions per mma", "sectors", "over the ideal",
          "extra wavefronts", "ex2", "barriers", "atomics")
RESULTS = ("d_k, d_v", "d_k", "d_v", "d_q, d_k, d_v", "d_q, d_k")  # as enum class KeyGradients
RESULTS_OF_SDPA = ("d_q, d_k, d_v", "d_q, d_k", "d_v")
OTHERS = {"query_gradient": "d_q", "row_sums": "row sums", "round": "rounding d_q", "softmax_rows": "softmax",
          "softmax_rows_backward": "softmax backward"}


def kernels_of(program, ptxrun, way, head_dim):
    """The counters of one forward and backward pass, which has to be right and without reports."""
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "counters.json"
        command = [ptxrun, program, f"--gtest_filter=*DISABLED_MatchesTheReferenceWhenLong/{way}_{head_dim}",
                   "--gtest_also_run_disabled_tests"]
        result = subprocess.run(command, text=True, capture_output=True,
                                env=dict(os.environ, PTXRUN_STRICT="1", PTXRUN_STATS=str(file)))
        if result.returncode != 0 or "[  PASSED  ] 1 test" not in result.stdout:
            sys.exit(f"{way}, head_dim {head_dim}: exit code {result.returncode}\n{result.stdout}{result.stderr}")
        return json.loads(file.read_text())["kernels"]


def title_of(name):
    """As the tables of docs/attention_kernels.md call a kernel."""
    results = re.search(r"KeyGradients\)(\d)", name)
    if results:
        return (RESULTS_OF_SDPA if "sdpa::" in name else RESULTS)[int(results.group(1))]
    function = re.search(r"(\w+?)(?:_kernel)?<", name).group(1)
    return OTHERS.get(function, function)


def row_of(kernel, head_dim):
    sectors = ideal = 0
    for counter in (kernel["global_load"], kernel["global_store"]):
        sectors += counter["sectors"]
        ideal += counter["sectors"] * counter["efficiency"]
    copies = kernel["cp_async"]
    sectors += copies["sectors"]
    ideal += copies["bytes"] / 32
    # A barrier is counted once for each of its warps.
    warps_of_a_block = kernel["threads"] // kernel["blocks"] // 32
    mma = kernel["mma"]
    return (title_of(kernel["name"]), head_dim, kernel["blocks"], mma,
            f"{kernel['thread_instructions'] / mma:.0f}" if mma else "-", sectors,
            f"{100 * (sectors / ideal - 1):.1f} %",
            kernel["shared"]["conflict_wavefronts"] + kernel["ldmatrix"]["conflict_wavefronts"],
            32 * kernel["ex2_warp_instructions"], kernel["barriers"] // warps_of_a_block, kernel["atomic_lanes"])


def tables(program, ptxrun):
    for way in WAYS:
        yield f"\n`{way}`:\n"
        yield "| " + " | ".join(HEADER) + " |"
        yield "|---" * len(HEADER) + "|"
        for head_dim in HEAD_DIMS:
            for kernel in kernels_of(program, ptxrun, way, head_dim):
                yield "| " + " | ".join(str(cell) for cell in row_of(kernel, head_dim)) + " |"


def main():
    program, ptxrun = (pathlib.Path(argument).resolve() for argument in sys.argv[1:3])
    text = "\n".join(tables(program, ptxrun)).lstrip() + "\n"
    if len(sys.argv) > 3:
        pathlib.Path(sys.argv[3]).write_text(text)
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
