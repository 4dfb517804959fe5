#!/usr/bin/env python3
"""tools/ptxas_gate.py on output of ptxas that was kept, and on occupancies that NVIDIA's calculator gives."""
import importlib.util
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

TOOL = Path(__file__).resolve().parents[2] / "tools/ptxas_gate.py"
spec = importlib.util.spec_from_file_location("ptxas_gate", TOOL)
gate = importlib.util.module_from_spec(spec)
sys.modules["ptxas_gate"] = gate
spec.loader.exec_module(gate)

OUTPUT = """\
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '_ZN7isoflop3ops4cuda5probeIfEEvPT_l' for 'sm_80'
ptxas info    : Function properties for _ZN7isoflop3ops4cuda5probeIfEEvPT_l
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 22 registers, used 1 barriers, 128 bytes smem, 368 bytes cmem[0]
ptxas info    : Compile time = 9.421 ms
ptxas info    : Compiling entry function '_ZN7isoflop4fatKiEv' for 'sm_90a'
ptxas info    : Function properties for _ZN7isoflop4fatKiEv
    64 bytes stack frame, 40 bytes spill stores, 24 bytes spill loads
ptxas info    : Used 255 registers, used 0 barriers, 64 bytes cumulative stack size
ptxas info    : Function properties for __internal_trig_reduction
    40 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
"""


def kernel(registers, shared=0, architecture="80", **others):
    return gate.Kernel("k", architecture, registers=registers, shared_bytes=shared, is_entry=True, name="k", **others)


class Parser(unittest.TestCase):
    def test_every_kernel_with_its_figures(self):
        probe, fat, called = gate.parse(OUTPUT)
        self.assertEqual((probe.symbol, probe.architecture, probe.registers, probe.shared_bytes, probe.spilled_bytes),
                         ("_ZN7isoflop3ops4cuda5probeIfEEvPT_l", "80", 22, 128, 0))
        self.assertEqual((fat.architecture, fat.registers, fat.stack_bytes, fat.spill_stores, fat.spill_loads),
                         ("90", 255, 64, 40, 24))
        self.assertEqual((called.is_entry, called.stack_bytes), (False, 40))

    def test_registers_are_the_kernels_when_those_of_a_called_function_come_between(self):
        lines = OUTPUT.splitlines()
        mixed = "\n".join([*lines[1:4], *lines[-2:], lines[4]])
        probe, called = gate.parse(mixed)
        self.assertEqual((probe.registers, probe.shared_bytes, probe.stack_bytes), (22, 128, 0))
        self.assertEqual((called.registers, called.stack_bytes), (0, 40))

    def test_output_without_figures_is_no_success(self):
        with self.assertRaises(ValueError):
            gate.parse("\n".join(OUTPUT.splitlines()[:4]))
        with self.assertRaises(ValueError):
            gate.parse("ptxas info    : Used 22 registers")
        self.assertEqual(gate.parse("ptxas info    : 0 bytes gmem"), [])

    def test_names(self):
        for demangled, short in (
                ("void isoflop::ops::cuda::(anonymous namespace)::probe<isoflop::simt::Bfloat16, (int)4>(T1 *, long)",
                 "probe<Bfloat16, (int)4>"),
                ("void isoflop::attention::tiles::forward<isoflop::attention::tiles::Shape<64, (isoflop::Kind)1> >(long)",
                 "forward<Shape<64, (Kind)1> >"),
                ("__internal_trig_reduction", "__internal_trig_reduction")):
            self.assertEqual(gate.short_name(demangled), short)


class Occupancy(unittest.TestCase):
    def test_is_what_the_calculator_gives(self):
        for architecture, registers, threads, shared, expected in (
                ("80", 32, 256, 0, 1.0), ("80", 33, 256, 0, 0.75), ("80", 64, 256, 0, 0.5), ("80", 255, 128, 0, 0.125),
                ("80", 32, 1024, 0, 1.0), ("80", 128, 128, 40 * 1024, 0.25), ("90", 128, 128, 72 * 1024, 3 * 4 / 64),
                ("80", 16, 32, 0, 0.5), ("86", 40, 256, 0, 1.0), ("90", 32, 256, 228 * 1024, 0.0)):
            with self.subTest(architecture=architecture, registers=registers, threads=threads, shared=shared):
                limit = gate.Limit(threads=threads, dynamic_shared=shared)
                self.assertAlmostEqual(gate.occupancy(kernel(registers, architecture=architecture), limit), expected)

    def test_static_shared_memory_counts(self):
        self.assertEqual(gate.occupancy(kernel(32, shared=80 * 1024), gate.Limit(threads=256)), 2 * 8 / 64)


class Limits(unittest.TestCase):
    def test_spills_stack_and_low_occupancy_fail(self):
        limit = gate.Limit()
        self.assertEqual(gate.complaints(kernel(32), limit), [])
        self.assertIn("spills 4", gate.complaints(kernel(32, spill_stores=4, spill_loads=8), limit)[0])
        self.assertIn("stack frame of 8", gate.complaints(kernel(32, stack_bytes=8), limit)[0])
        self.assertIn("occupies 25%", gate.complaints(kernel(128), limit)[0])

    def test_an_entry_may_allow_them(self):
        floors = gate.Floors({"default": {"occupancy": 0.5}, "kernels": [
            {"pattern": "^attention_.*<128", "threads": 128, "occupancy": 0.1, "spill_bytes": 256,
             "architectures": ["80"], "why": "32 rows a warp"}]})
        allowed = floors.of("attention_forward<128>", "80")
        big = kernel(255, spill_stores=100, spill_loads=100, stack_bytes=96)
        self.assertEqual(gate.complaints(big, allowed), [])
        self.assertNotEqual(gate.complaints(kernel(255, spill_stores=200, spill_loads=100), allowed), [])
        self.assertEqual(floors.of("attention_forward<128>", "90"), floors.default)
        self.assertEqual(floors.of("swiglu<float>", "80"), floors.default)

    def test_an_unknown_field_is_an_error(self):
        with self.assertRaises(TypeError):
            gate.Floors({"kernels": [{"pattern": "x", "occupanzy": 0.5}]})

    def test_the_shipped_table_is_readable(self):
        gate.Floors(gate.json.loads((TOOL.parent / "ptxas_floors.json").read_text(encoding="utf-8")))


    def test_a_build_for_several_architectures_reports_a_kernel_for_each(self):
        entry = OUTPUT.splitlines()[1:5]
        both = gate.parse("\n".join([*entry, *[line.replace("sm_80", "sm_90") for line in entry]]))
        self.assertEqual([kernel.architecture for kernel in both], ["80", "90"])
        self.assertEqual([kernel.architecture for kernel in gate.wanted(both, ("90",))], ["90"])
        self.assertEqual(gate.wanted(both, ("120",)), both)


class BuildLogs(unittest.TestCase):
    def run_launcher(self, folder, status):
        talker = Path(folder) / "nvcc"
        talker.write_text(f"#!/bin/sh\ncat >&2 <<'END'\n{OUTPUT}a warning\nEND\nexit {status}\n", encoding="utf-8")
        talker.chmod(0o755)
        launcher = TOOL.parent.parent / "cmake/log_ptxas.sh"
        return subprocess.run([launcher, talker, "-c", "-o", f"{folder}/probe.o"], capture_output=True, text=True,
                              check=False)

    def test_the_launcher_keeps_what_the_assembler_says_and_prints_the_rest(self):
        with tempfile.TemporaryDirectory() as folder:
            result = self.run_launcher(folder, 0)
            self.assertEqual((result.returncode, result.stdout), (0, "a warning\n"), result.stderr)
            text = (Path(folder) / "probe.o.ptxas.txt").read_text(encoding="utf-8")
            self.assertEqual(len(gate.parse(text)), 3)

    def test_the_launcher_prints_all_of_a_failed_command_and_keeps_nothing(self):
        with tempfile.TemporaryDirectory() as folder:
            result = self.run_launcher(folder, 3)
            self.assertEqual(result.returncode, 3)
            self.assertIn("Compiling entry function", result.stdout)
            self.assertFalse((Path(folder) / "probe.o.ptxas.txt").exists())

    def test_a_source_without_a_log_is_an_error(self):
        with tempfile.TemporaryDirectory() as folder, self.assertRaises(RuntimeError):
            gate.logs_of(Path(folder), [gate.ROOT / "src/ops/rms_norm_cuda.cu"])


class CommandLine(unittest.TestCase):
    def run_tool(self, *arguments):
        return subprocess.run([sys.executable, str(TOOL), *arguments], capture_output=True, text=True, check=False)

    def test_without_nvcc_it_is_skipped(self):
        result = self.run_tool("--nvcc", "/nowhere/nvcc")
        self.assertEqual(result.returncode, gate.SKIPPED, result.stderr)
        self.assertIn("Skipped", result.stdout)

    def test_table_and_failure_with_a_compiler_that_only_talks(self):
        with tempfile.TemporaryDirectory() as folder:
            talker = Path(folder) / "nvcc"
            text = OUTPUT.replace("sm_90a", "sm_80")
            calls = Path(folder) / "calls"
            talker.write_text(f"#!/bin/sh\n[ $1 = --version ] && exit 0\necho called >>{calls}\n"
                              f"cat >&2 <<'END'\n{text}END\n", encoding="utf-8")
            talker.chmod(0o755)
            source = Path(folder) / "probe_cuda.cu"
            source.write_text("", encoding="utf-8")
            table = Path(folder) / "out/ptxas.md"
            for _ in range(2):
                result = self.run_tool("--nvcc", str(talker), "--output", str(table), "--arch", "80", str(source))
                self.assertEqual(result.returncode, 1, result.stderr)
                self.assertIn("spills 40 bytes", result.stdout)
                self.assertRegex(table.read_text(encoding="utf-8"), r"\| 80 \| 22 \| 0/0 \| 0 \| 128 \| 256 \| 100% \|")
            self.assertEqual(calls.read_text(encoding="utf-8"), "called\n")  # once: what it said is remembered

    def test_a_compiler_that_fails_is_reported(self):
        with tempfile.TemporaryDirectory() as folder:
            broken = Path(folder) / "nvcc"
            broken.write_text("#!/bin/sh\n[ $1 = --version ] && exit 0\necho no such thing >&2\nexit 3\n", encoding="utf-8")
            broken.chmod(0o755)
            source = Path(folder) / "probe_cuda.cu"
            source.write_text("", encoding="utf-8")
            result = self.run_tool("--nvcc", str(broken), "--output", f"{folder}/ptxas.md", str(source))
            self.assertNotIn(result.returncode, (0, gate.SKIPPED))
            self.assertIn("no such thing", result.stderr)


if __name__ == "__main__":
    unittest.main()
