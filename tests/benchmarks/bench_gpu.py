#!/usr/bin/env python3
"""Runs the GPU benchmarks of a build and writes docs/results/<gpu>.md.

    bench_gpu.py BUILD_FOLDER [--torch PYTHON] [--quick | --smallest] [--save FOLDER] [--output FILE]
    bench_gpu.py --from FOLDER [--output FILE]
    bench_gpu.py --documents FOLDER [--torch PYTHON] --output FILE

PYTHON is an interpreter that has torch and, for the comparison with FlashAttention-2 of its authors, flash-attn; without
it the comparison is left out. --save keeps the raw figures, --from formats figures that were kept;
--documents formats what the programs wrote with their option --save, and lets PyTorch do the same. Exit codes: 0 done, 1
a benchmark failed, 2 there is no GPU (nothing is written). --smallest measures nothing: it shows that everything runs, and
writes only where --output says.
"""

import argparse
import datetime
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PROGRAMS = ("gpu_ops", "gpu_gemm", "gpu_attention", "gpu_step")
NO_GPU = 2
DIRECTIONS = ("forward", "input_gradient", "weight_gradient")


class NoGpu(Exception):
    pass


# ---- Measuring


def run_program(options, name):
    """The program's results; {"failed": ...} alone when it gave none."""
    command = [options.build / "tests/benchmarks/gpu" / f"bench_{name}", "--json"]
    command += ["--quick"] * options.quick + ["--smallest"] * options.smallest
    command += [f"--gpu={options.gpu}"] + ["--no-deterministic"] * options.no_deterministic
    if options.autotune:
        command.append(f"--autotune={options.autotune}")
    try:
        process = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    except OSError as error:
        return without_results(name, f"{error}; build target bench_{name}")
    if process.returncode == NO_GPU:
        raise NoGpu(process.stderr.strip())
    try:
        return json.loads(process.stdout)
    except ValueError:
        last = process.stderr.strip().splitlines()[-1:] or ["no output"]
        return without_results(name, f"exit code {process.returncode}: {last[0]}")


def without_results(name, reason):
    return {"benchmark": name, "rows": [], "skipped": [], "failed": [{"name": f"bench_{name}", "reason": reason}]}


def saved_documents(folder):
    """What the programs saved: one file or several with other cases each. A program without files has no results."""
    documents = {}
    for path in sorted(folder.glob("*.json")):
        document = json.loads(path.read_text())
        if document["benchmark"] not in documents:
            documents[document["benchmark"]] = document
            continue
        for kind in ("rows", "skipped", "failed"):
            documents[document["benchmark"]][kind] += document[kind]
    return {name: documents.get(name) or without_results(name, "it was not run") for name in PROGRAMS}


def run_peers(python, documents, effort, device):
    """What PyTorch and flash-attn take for the same products and attention; {"reason": ...} when that is not known."""
    request = {
        "effort": effort,
        "device": device,
        "attention": documents["gpu_attention"]["rows"],
        "gemm": documents["gpu_gemm"]["rows"],
        "step": documents["gpu_step"]["rows"],
    }
    command = [python, HERE / "peers/torch_gpu.py"]
    try:
        process = subprocess.run(command, input=json.dumps(request), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        return json.loads(process.stdout)
    except OSError as error:
        return {"reason": str(error)}
    except ValueError:
        last = process.stderr.strip().splitlines()[-1:] or ["no output"]
        return {"reason": f"{python}: {last[0]}"}


def driver_figures(gpu):
    """Driver, limits and clocks as nvidia-smi says; empty without it."""
    fields = ["driver_version", "power.limit", "clocks.max.sm", "clocks.max.memory", "ecc.mode.current", "mig.mode.current"]
    if not shutil.which("nvidia-smi"):
        return {}
    query = ["nvidia-smi", f"--id={gpu}", f"--query-gpu={','.join(fields)}", "--format=csv,noheader"]
    process = subprocess.run(query, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    values = [value.strip() for value in process.stdout.strip().split(",")]
    return dict(zip(fields, values)) if process.returncode == 0 and len(values) == len(fields) else {}


def measure(options):
    if options.documents:
        documents = saved_documents(options.documents)
    else:
        documents = {}
        for name in PROGRAMS:
            print(f"bench_{name} ...", flush=True)
            documents[name] = run_program(options, name)
    if options.torch:
        print("PyTorch ...", flush=True)
        efforts = [document["effort"] for document in documents.values() if "effort" in document]
        effort = efforts[0] if efforts else "full"
        peers = run_peers(options.torch, documents, effort, f"cuda:{options.gpu}")
    else:
        peers = {"reason": "no --torch was given"}
    return {
        "date": datetime.date.today().isoformat(),
        "arguments": " ".join(reproducing_arguments(options)),
        "driver": driver_figures(options.gpu),
        "documents": documents,
        "peers": peers,
    }


def reproducing_arguments(options):
    given = ["build/release"] + ["--torch PYTHON"] * bool(options.torch)
    given += ["--quick"] * options.quick + ["--smallest"] * options.smallest
    given += ["--no-deterministic"] * options.no_deterministic + ["--autotune FILE"] * bool(options.autotune)
    return given


# ---- Formatting


def number(value, decimals=1):
    return "-" if value is None else f"{value:.{decimals}f}"


def percent(value):
    return "-" if value is None else f"{100 * value:.1f} %"


def duration(ms):
    """Three digits or more."""
    return "-" if ms is None else f"{ms:.0f}" if ms >= 1000 else f"{ms:.4g}"


def table(titles, rows):
    lines = ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows])


def section(title, document, *parts):
    """Parts, or the word that there is nothing."""
    if not document["rows"]:
        reasons = {entry["reason"] for entry in document["failed"] + document["skipped"]}
        parts = [f"Not measured: {'; '.join(sorted(reasons)) or 'the benchmark has not been run'}."]
    return "\n\n".join([f"## {title}", *parts])


def device_table(results):
    for document in results["documents"].values():
        if "device" in document:
            break
    device, driver = document["device"], results["driver"]
    flops = device["data_sheet_flops"]
    rows = [
        ("GPU", f"{device['name']}, compute capability {device['compute_capability']}, "
                f"{device['multiprocessors']} multiprocessors, {device['memory_bytes'] / 2**30:.1f} GiB"),
        ("Software", f"{device['runtime']}, {device['libraries']}"),
        ("Driver", driver.get("driver_version", "not known (no nvidia-smi)")),
        ("Data sheet", f"bf16 {tera(flops.get('bf16'))}, tf32 {tera(flops.get('tf32'))}, "
                       f"memory {giga(device['data_sheet_bandwidth'])}"),
        ("Copy bandwidth, measured", giga(document["copy_bandwidth"])),
    ]  # fmt: skip
    for field, title in (("power.limit", "Power limit"), ("clocks.max.sm", "Highest SM clock"),
                         ("clocks.max.memory", "Highest memory clock"), ("ecc.mode.current", "ECC"),
                         ("mig.mode.current", "MIG")):  # fmt: skip
        if field in driver:
            rows.append((title, driver[field]))
    if device["sensors"]:
        rows.append(("Before the first benchmark", "{watts:.0f} W, SM {sm_megahertz:.0f} MHz, "
                     "memory {memory_megahertz:.0f} MHz".format(**device["sensors"])))  # fmt: skip
    rows.append(("Isoflop", f"{document['version']}, commit {document['commit']}, {document['compiler']}"))
    rows.append(("Date", results["date"]))
    return table(("", ""), rows)


def tera(flops):
    return "not known" if flops is None else f"{flops / 1e12:.0f} TFLOP/s"


def giga(bytes_per_second):
    return "not known" if bytes_per_second is None else f"{bytes_per_second / 1e9:.0f} GB/s"


def ops_section(document):
    rows = [
        (row["name"], duration(row["ms"]), number(row["gigabytes_per_second"]), percent(row["of_copy"]),
         number(row["watts"], 0), number(row["sm_megahertz"], 0))
        for row in document["rows"]
    ]  # fmt: skip
    text = "Bytes that must move (each operand read once, each result written once), bf16 unless the name says otherwise."
    return section("Kernels", document, text, table(("kernel", "ms", "GB/s", "of a copy", "W", "SM MHz"), rows))


def gemm_section(document, peers):
    theirs = {row["name"]: row["ms"] for row in peers.get("gemm", [])}
    layers = {}
    for row in document["rows"]:
        layers.setdefault((row["dtype"], row["model"], row["layer"]), {})[row["direction"]] = row
    rows = []
    for (dtype, model, layer), found in layers.items():
        any_row = next(iter(found.values()))
        cells = [dtype, model, layer, f"{any_row['tokens']} x {any_row['in']} x {any_row['out']}"]
        for direction in DIRECTIONS:
            row = found.get(direction)
            cells.append("-" if row is None else f"{row['teraflops']:.1f} ({percent(row['of_peak'])})")
            if theirs:
                ms = theirs.get(row["name"]) if row else None
                cells.append("-" if ms is None else f"{ms / row['ms']:.2f}x")
        rows.append(cells)
    titles = ["type", "model", "layer", "tokens x in x out"]
    for title in ("forward", "input gradient", "weight gradient"):
        titles += [title] + ["PyTorch takes"] * bool(theirs)
    text = "TFLOP/s, and of the data sheet's dense peak. Weight gradients are added to what is there; biases are included."
    if theirs:
        text += " PyTorch's products have neither; its times are in ours."
    return section("Matrix products", document, text, table(titles, rows))


def attention_section(document, peers):
    entries = [dict(row) for row in document["rows"]] + [dict(row) for row in peers.get("attention", [])]
    groups = {}
    for row in entries:
        groups.setdefault((row["head_dim"], row["causal"]), {}).setdefault(row["sequence_length"], []).append(row)
    parts = [
        "TFLOP/s count 4 B H S^2 D forward, 2.5 times that backward, half when causal. Predicted: `cost::attention_time`, "
        "for fused kernels of ours. The last column is the time, forward and backward, in that of flash_attn_2."
    ]
    titles = ("S", "backend", "forward ms", "predicted", "TFLOP/s", "backward ms", "predicted", "TFLOP/s", "both", "takes")
    for (head_dim, causal), lengths in sorted(groups.items()):
        parts.append(f"### head_dim {head_dim}, {'causal' if causal else 'full'}")
        rows = [attention_row(row, reference(rows)) for _, rows in sorted(lengths.items()) for row in rows]
        parts.append(table(titles, rows))
    if "reason" in peers:
        parts.append(f"PyTorch and the flash-attn package: not measured ({peers['reason']}).")
    elif peers:
        parts.append(f"Others: {peers['versions']}.")
        parts += [f"Not measured: {entry['name']}: {entry['reason']}." for entry in peers["skipped"]]
    return section("Attention", document, *parts)


def total_ms(row):
    return row["forward_ms"] + row["backward_ms"]


def reference(rows):
    found = [row for row in rows if row["backend"] == "flash_attn_2"]
    return total_ms(found[0]) if found else None


def attention_row(row, reference_ms):
    cells = [row["sequence_length"], row["backend"]]
    for direction in ("forward", "backward"):
        cells += [duration(row[f"{direction}_ms"]), duration(row.get(f"{direction}_predicted_ms"))]
        cells.append(number(row[f"{direction}_teraflops"]))
    cells.append(number(row["teraflops"]))
    cells.append("-" if not reference_ms else f"{total_ms(row) / reference_ms:.2f}x")
    return cells


def step_section(document, peers):
    rows = [
        (row["model"], row["backend"], f"{row['batch']} x {row['sequence_length']}", duration(row["ms"]),
         number(row["tokens_per_second"], 0), percent(row["mfu"]), percent(row["hfu"]),
         number(row["session_bytes"] / 2**30, 2), number(row["planned_arena_bytes"] / 2**30, 2),
         number(row["device_used_bytes"] / 2**30, 2), number(row["watts"], 0), number(row["sm_megahertz"], 0))
        for row in document["rows"]
    ]  # fmt: skip
    titles = ("model", "attention", "batch", "ms", "tokens/s", "MFU", "HFU", "run, GiB", "planned", "GPU in all", "W", "SM MHz")
    text = (
        "One micro-batch and one optimizer step per iteration, bf16, built-in corpus. MFU is exact model FLOPs against the data "
        "sheet's dense bf16 peak. Memory: what the run took, what its plan says, and all that is used on the GPU."
    )
    return section("Training steps", document, text, table(titles, rows), *step_peers(document, peers.get("step", [])))


def step_peers(document, theirs):
    """A table of the same models in PyTorch; "takes" is their time in that of our fastest backend."""
    if not theirs:
        return []
    fastest = {}
    for row in document["rows"]:
        key = row["model"], row["batch"]
        fastest[key] = min(row["ms"], fastest.get(key, row["ms"]))
    rows = []
    for row in theirs:
        ours = fastest.get((row["model"], row["batch"]))
        memory = number(row["peak_bytes"] / 2**30, 2) if row["peak_bytes"] else "-"
        rows.append((row["model"], row["backend"], f"{row['batch']} x {row['sequence_length']}", duration(row["ms"]),
                     number(row["tokens_per_second"], 0), memory, f"{row['ms'] / ours:.2f}x" if ours else "-"))  # fmt: skip
    text = (
        "The same sizes in PyTorch: autocast to bf16, fused AdamW, random tokens. Its GPT-2 has no biases and exact GELU. The "
        "last column is its time in that of our fastest backend."
    )
    return [text, table(("model", "contestant", "batch", "ms", "tokens/s", "peak, GiB", "takes"), rows)]


def without_section(documents):
    """Cases without figures, those with one reason in one line."""
    lines = []
    for name, document in documents.items():
        for kind in ("failed", "skipped"):
            reasons = {}
            for entry in document[kind]:
                reasons.setdefault(entry["reason"], []).append(entry["name"])
            for reason, names in reasons.items():
                lines.append(f"- {name}, {'FAILED' if kind == 'failed' else 'not measured'}: {reason}: {', '.join(names)}")
    return "\n\n".join(["## Without figures", "\n".join(lines) if lines else "None."])


def reproduce_section(results):
    commands = (
        "cmake --preset release && cmake --build --preset release\n"
        f"python3 tests/benchmarks/bench_gpu.py {results['arguments']}"
    )
    return f"## Reproduce\n\n```sh\n{commands}\n```\n\nOn an otherwise idle GPU; [benchmarks.md](../benchmarks.md) explains the figures."


def render(results):
    documents, peers = results["documents"], results["peers"]
    described = [document for document in documents.values() if "device" in document]
    if not described:
        raise ValueError("no benchmark described the GPU: " + documents["gpu_ops"]["failed"][0]["reason"])
    effort, deterministic = described[0]["effort"], described[0]["deterministic"]
    notes = []
    if effort == "smallest":
        notes.append("**No measurement: the smallest sizes, each once, to show that the benchmarks run.**")
    if effort == "quick":
        notes.append("A quick run: fewer repetitions and smaller kernels' tensors.")
    notes.append("Deterministic kernels and products." if deterministic else "Without determinism (`--no-deterministic`).")
    if described[0]["autotuned"]:
        notes.append("Algorithms of products chosen by timing (`gemm_autotune`).")
    parts = [
        f"# {described[0]['device']['name']}",
        "Written by `tests/benchmarks/bench_gpu.py`; every figure is measured unless it is called predicted. " + " ".join(notes),
        device_table(results),
        step_section(documents["gpu_step"], peers),
        attention_section(documents["gpu_attention"], peers),
        gemm_section(documents["gpu_gemm"], peers),
        ops_section(documents["gpu_ops"]),
        without_section(documents),
        reproduce_section(results),
    ]
    return "\n\n".join(parts) + "\n"


def file_name(gpu):
    """"NVIDIA H100 80GB HBM3" -> "h100_80gb_hbm3.md"."""
    words = re.findall(r"[a-z0-9]+", gpu.lower())
    return "_".join(word for word in words if word not in ("nvidia", "geforce")) + ".md"


def output_path(options, results):
    if options.output:
        return options.output
    gpus = {document["device"]["name"] for document in results["documents"].values() if "device" in document}
    return ROOT / "docs/results" / file_name(gpus.pop())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=Path, nargs="?", help="build folder with CUDA")
    parser.add_argument("--torch", metavar="PYTHON", help="an interpreter that has torch, and perhaps flash-attn")
    effort = parser.add_mutually_exclusive_group()
    effort.add_argument("--quick", action="store_true", help="a few minutes instead of many")
    effort.add_argument("--smallest", action="store_true", help="no measurement: whether everything runs")
    parser.add_argument("--gpu", type=int, default=0, help="its number")
    parser.add_argument("--no-deterministic", action="store_true", help="allow what is not the same in every run")
    parser.add_argument("--autotune", metavar="FILE", help="file of measured algorithms of products")
    parser.add_argument("--save", type=Path, metavar="FOLDER", help="keep the raw figures there")
    parser.add_argument("--from", type=Path, dest="kept", metavar="FOLDER", help="format the figures that --save kept")
    parser.add_argument("--documents", type=Path, metavar="FOLDER", help="format what the programs saved there")
    parser.add_argument("--output", type=Path, metavar="FILE", help="instead of docs/results/<gpu>.md")
    options = parser.parse_args()
    if [options.build, options.kept, options.documents].count(None) != 2:
        parser.error("give a build folder, --from FOLDER or --documents FOLDER")
    if options.smallest and not options.output:
        parser.error("--smallest measures nothing, so it needs --output FILE")
    if options.kept:
        results = json.loads((options.kept / "bench_gpu.json").read_text())
    else:
        try:
            results = measure(options)
        except NoGpu as reason:
            print(reason, file=sys.stderr)
            return NO_GPU
    if options.save:
        options.save.mkdir(parents=True, exist_ok=True)
        (options.save / "bench_gpu.json").write_text(json.dumps(results, indent=1))
    failed = [entry for document in results["documents"].values() for entry in document["failed"]]
    for entry in failed:
        print(f"FAILED {entry['name']}: {entry['reason']}", file=sys.stderr)
    try:
        text = render(results)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    path = output_path(options, results)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    print(f"written: {path}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
