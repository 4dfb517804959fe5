#!/usr/bin/env python3
"""tests/benchmarks/bench_gpu.py on made-up figures and on programs that only pretend."""
import copy
import importlib.util
import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

TOOL = Path(__file__).resolve().parents[1] / "benchmarks/bench_gpu.py"
spec = importlib.util.spec_from_file_location("bench_gpu", TOOL)
bench = importlib.util.module_from_spec(spec)
spec.loader.exec_module(bench)

TIMING = {"watts": 397.6, "sm_megahertz": 1410.0}
HEADER = {
    "effort": "full",
    "deterministic": True,
    "autotuned": False,
    "version": "0.1.0",
    "commit": "abc1234",
    "compiler": "GNU 12.2.0",
    "device": {
        "name": "NVIDIA A100-SXM4-80GB",
        "compute_capability": "8.0",
        "multiprocessors": 108,
        "memory_bytes": 85899345920,
        "runtime": "CUDA 13.0",
        "libraries": "driver for CUDA 13.0, cuBLASLt 13.1.0",
        "sensors": {"watts": 61.2, "sm_megahertz": 210.0, "memory_megahertz": 1593.0},
        "table_name": "A100-80GB-SXM",
        "data_sheet_bandwidth": 2.039e12,
        "data_sheet_flops": {"bf16": 312e12, "tf32": 156e12},
    },
    "copy_bandwidth": 1.75e12,
    "skipped": [],
    "failed": [],
}


def document(name, rows, **others):
    return {"benchmark": name, **HEADER, "rows": rows, **others}


def attention_row(backend, length, forward_ms, backward_ms, predicted=None):
    return {
        "name": f"{backend}/64/causal/{length}", "backend": backend, "head_dim": 64, "causal": True,
        "sequence_length": length, "batch": 16384 // length, "heads": 32,
        "forward_ms": forward_ms, "forward_teraflops": 160.25, "forward_predicted_ms": predicted,
        "backward_ms": backward_ms, "backward_teraflops": 120.5, "backward_predicted_ms": predicted,
        "teraflops": 130.75,
    }  # fmt: skip


def gemm_row(direction, ms, of_peak):
    return {
        "name": f"llama_1b/qkv/{direction}/bf16", "model": "llama_1b", "layer": "qkv", "direction": direction,
        "dtype": "bf16", "tokens": 16384, "in": 2048, "out": 3072, "bias": False, "teraflops": 250.04, "of_peak": of_peak,
        "ms": ms, **TIMING,
    }  # fmt: skip


def canned():
    ops = [{"name": "add", "ms": 0.2377, "gigabytes_per_second": 1694.2, "of_copy": 0.9681, **TIMING},
           {"name": "fill", "ms": 12.5, "gigabytes_per_second": 1500.0, "of_copy": 0.857, "watts": None,
            "sm_megahertz": None}]  # fmt: skip
    step = {
        "model": "llama_1b", "backend": "flash_attn_2", "batch": 4, "sequence_length": 4096, "parameters": 1235814400,
        "dtype": "bf16", "ms": 812.35, "tokens_per_second": 20168.4, "mfu": 0.5512, "hfu": 0.6001,
        "planned_arena_bytes": 61 * 2**30, "planned_bytes": 62 * 2**30, "session_bytes": 61 * 2**30 + 2**29,
        "device_used_bytes": 63 * 2**30, **TIMING,
    }  # fmt: skip
    no_sdpa = [{"name": f"sdpa/64/causal/{length}", "reason": "no CUDA kernel yet"} for length in (512, 1024)]
    return {
        "date": "2026-11-24",
        "arguments": "build/release",
        "driver": {"driver_version": "580.95.05", "power.limit": "400.00 W", "ecc.mode.current": "Enabled"},
        "documents": {
            "gpu_ops": document("gpu_ops", ops),
            "gpu_gemm": document("gpu_gemm", [gemm_row("forward", 0.8, 0.8014), gemm_row("weight_gradient", 0.9, None)]),
            "gpu_attention": document(
                "gpu_attention",
                [attention_row("flash_attn_2", 1024, 2.0, 6.0, 1.9), attention_row("flash_attn_2", 512, 1.0, 3.0)],
                skipped=no_sdpa,
            ),
            "gpu_step": document("gpu_step", [step]),
        },
        "peers": {"reason": "no --torch was given"},
    }


def line_with(text, *words):
    return next((line for line in text.splitlines() if all(word in line for word in words)), None)


class Formatting(unittest.TestCase):
    def test_says_what_was_measured_on(self):
        text = bench.render(canned())
        self.assertTrue(text.startswith("# NVIDIA A100-SXM4-80GB\n"))
        for part in ("108 multiprocessors, 80.0 GiB", "cuBLASLt 13.1.0", "| Driver | 580.95.05 |", "400.00 W",
                     "bf16 312 TFLOP/s, tf32 156 TFLOP/s, memory 2039 GB/s", "| Copy bandwidth, measured | 1750 GB/s |",
                     "61 W, SM 210 MHz, memory 1593 MHz", "commit abc1234", "2026-11-24",
                     "bench_gpu.py build/release\n"):  # fmt: skip
            self.assertIn(part, text)

    def test_kernels(self):
        text = bench.render(canned())
        self.assertIn("| add | 0.2377 | 1694.2 | 96.8 % | 398 | 1410 |", text)
        self.assertIn("| fill | 12.5 | 1500.0 | 85.7 % | - | - |", text)

    def test_products_in_one_line_per_layer(self):
        text = bench.render(canned())
        self.assertIn("| bf16 | llama_1b | qkv | 16384 x 2048 x 3072 | 250.0 (80.1 %) | - | 250.0 (-) |", text)

    def test_attention_by_length_beside_its_prediction(self):
        lines = bench.render(canned()).splitlines()
        short = lines.index("| 512 | flash_attn_2 | 1 | - | 160.2 | 3 | - | 120.5 | 130.8 | 1.00x |")
        self.assertEqual(lines[short + 1], "| 1024 | flash_attn_2 | 2 | 1.9 | 160.2 | 6 | 1.9 | 120.5 | 130.8 | 1.00x |")

    def test_steps(self):
        line = "| llama_1b | flash_attn_2 | 4 x 4096 | 812.4 | 20168 | 55.1 % | 60.0 % | 61.50 | 61.00 | 63.00 | 398 | 1410 |"
        self.assertIn(line, bench.render(canned()))

    def test_what_has_no_figure_is_named_with_its_reason(self):
        text = bench.render(canned())
        self.assertIn("- gpu_attention, not measured: no CUDA kernel yet: sdpa/64/causal/512, sdpa/64/causal/1024", text)
        self.assertIn("PyTorch and the flash-attn package: not measured (no --torch was given).", text)

    def test_a_benchmark_without_results_is_not_measured(self):
        results = canned()
        results["documents"]["gpu_step"] = bench.without_results("gpu_step", "exit code 1: broken")
        text = bench.render(results)
        self.assertIn("## Training steps\n\nNot measured: exit code 1: broken.", text)
        self.assertIn("- gpu_step, FAILED: exit code 1: broken: bench_gpu_step", text)

    def test_peers_stand_beside_ours(self):
        results = canned()
        theirs = attention_row("flash-attn", 1024, 1.5, 4.5)
        del theirs["forward_predicted_ms"], theirs["backward_predicted_ms"]
        results["peers"] = {
            "versions": "PyTorch 2.9, flash-attn 2.8.3",
            "attention": [theirs],
            "gemm": [{"name": "llama_1b/qkv/forward/bf16", "ms": 1.0}],
            "step": [{"model": "llama_1b", "backend": "PyTorch eager", "batch": 4, "sequence_length": 4096, "ms": 1218.525,
                      "tokens_per_second": 13445.6, "peak_bytes": 2**36}],
            "skipped": [{"name": "PyTorch cuDNN", "reason": "no backend"}],
        }
        text = bench.render(results)
        self.assertIn("| 1024 | flash-attn | 1.5 | - | 160.2 | 4.5 | - | 120.5 | 130.8 | 0.75x |", text)
        self.assertIn("| 250.0 (80.1 %) | 1.25x | - | - | 250.0 (-) | - |", text)
        self.assertIn("| llama_1b | PyTorch eager | 4 x 4096 | 1219 | 13446 | 64.00 | 1.50x |", text)
        self.assertIn("Others: PyTorch 2.9, flash-attn 2.8.3.", text)
        self.assertIn("Not measured: PyTorch cuDNN: no backend.", text)

    def test_a_gpu_that_the_table_does_not_know(self):
        results = canned()
        for each in results["documents"].values():
            each["device"] = copy.deepcopy(each["device"]) | {"data_sheet_flops": {}, "data_sheet_bandwidth": None, "sensors": None}
        results["driver"] = {}
        text = bench.render(results)
        self.assertIn("bf16 not known, tf32 not known, memory not known", text)
        self.assertIn("| Driver | not known (no nvidia-smi) |", text)

    def test_the_smallest_sizes_are_called_no_measurement(self):
        results = canned()
        for each in results["documents"].values():
            each["effort"] = "smallest"
        self.assertIn("**No measurement", bench.render(results))
        self.assertNotIn("**No measurement", bench.render(canned()))

    def test_tables_have_as_many_cells_as_titles(self):
        columns = 0
        for line in bench.render(canned()).splitlines():
            cells = line.count("|") if line.startswith("|") else 0
            self.assertTrue(cells == columns or 0 in (cells, columns), line)
            columns = cells

    def test_names_of_files(self):
        self.assertEqual(bench.file_name("NVIDIA A100-SXM4-80GB"), "a100_sxm4_80gb.md")
        self.assertEqual(bench.file_name("NVIDIA GeForce RTX 4090"), "rtx_4090.md")


class Script(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def pretend(self, script):
        """A build folder whose programs are this shell script; $name is the benchmark."""
        programs = self.folder / "tests/benchmarks/gpu"
        programs.mkdir(parents=True)
        for name in bench.PROGRAMS:
            (self.folder / f"{name}.json").write_text(json.dumps(canned()["documents"][name]))
            (programs / f"bench_{name}").write_text(f"#!/bin/sh\nname={name} folder={self.folder}\n{script}\n")
            (programs / f"bench_{name}").chmod(0o755)

    def run_tool(self, *arguments):
        self.output = self.folder / "out.md"
        command = [sys.executable, TOOL, *arguments, f"--output={self.output}"]
        return subprocess.run(command, capture_output=True, text=True)

    def test_without_a_gpu_it_says_why_and_writes_nothing(self):
        self.pretend("echo nothing measured: no NVIDIA driver is installed >&2; exit 2")
        done = self.run_tool(self.folder)
        self.assertEqual((done.returncode, done.stderr), (2, "nothing measured: no NVIDIA driver is installed\n"))
        self.assertFalse(self.output.exists())

    def test_figures_that_were_kept_give_the_same_file(self):
        self.pretend("cat $folder/$name.json")
        done = self.run_tool(self.folder, f"--save={self.folder}/kept")
        self.assertEqual(done.returncode, 0, done.stderr)
        written = self.output.read_text()
        self.assertIn("| llama_1b | flash_attn_2 | 4 x 4096 |", written)
        self.assertEqual(self.run_tool(f"--from={self.folder}/kept").returncode, 0)
        self.assertEqual(self.output.read_text(), written)

    def test_files_that_programs_saved(self):
        """Several of one program become one table; programs without files are named."""
        documents = canned()["documents"]
        del documents["gpu_attention"]
        (self.folder / "saved").mkdir()
        for name, document in documents.items():
            (self.folder / f"saved/{name}.json").write_text(json.dumps(document))
        more = documents["gpu_step"] | {"rows": [documents["gpu_step"]["rows"][0] | {"batch": 8}]}
        (self.folder / "saved/gpu_step_more.json").write_text(json.dumps(more))
        done = self.run_tool("--documents", self.folder / "saved")
        self.assertEqual((done.returncode, done.stderr), (1, "FAILED bench_gpu_attention: it was not run\n"))
        text = self.output.read_text()
        self.assertIn("| llama_1b | flash_attn_2 | 4 x 4096 |", text)
        self.assertIn("| llama_1b | flash_attn_2 | 8 x 4096 |", text)

    def test_arguments_reach_the_programs(self):
        self.pretend('echo "$@" >> $folder/arguments; cat $folder/$name.json')
        self.run_tool(self.folder, "--quick", "--gpu=3", "--no-deterministic", "--autotune=cache")
        called = (self.folder / "arguments").read_text().splitlines()
        self.assertEqual(called, ["--json --quick --gpu=3 --no-deterministic --autotune=cache"] * 4)

    def test_a_program_that_fails_fails_the_script_but_not_the_others(self):
        self.pretend("[ $name = gpu_gemm ] && { echo broken >&2; exit 1; }\ncat $folder/$name.json")
        done = self.run_tool(self.folder)
        self.assertEqual((done.returncode, done.stderr), (1, "FAILED bench_gpu_gemm: exit code 1: broken\n"))
        self.assertIn("| add | 0.2377", self.output.read_text())
        self.assertIn("Not measured: exit code 1: broken.", self.output.read_text())

    def test_a_build_without_the_programs(self):
        done = self.run_tool(self.folder)
        self.assertEqual(done.returncode, 1)
        self.assertIn("build target bench_gpu_ops", done.stderr)

    def test_an_interpreter_without_torch_is_a_reason(self):
        self.pretend("cat $folder/$name.json")
        broken = self.folder / "python"
        broken.write_text("#!/bin/sh\necho \"ModuleNotFoundError: No module named 'torch'\" >&2; exit 1\n")
        broken.chmod(0o755)
        self.assertEqual(self.run_tool(self.folder, f"--torch={broken}").returncode, 0)
        self.assertIn("No module named 'torch').", self.output.read_text())

    def test_the_smallest_sizes_are_not_written_among_results(self):
        done = subprocess.run([sys.executable, TOOL, self.folder, "--smallest"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 2)
        self.assertIn("needs --output", done.stderr)


if __name__ == "__main__":
    unittest.main()
