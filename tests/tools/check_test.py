#!/usr/bin/env python3
"""Tests of tools/check.sh and of how scripts configure build/release, with stand-ins for CMake, CTest and nvidia-smi."""

import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Checkout(unittest.TestCase):
    """A copy of the scripts in a project with two layers."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="isoflop check ")
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name) / "project"
        self.bin = Path(folder.name) / "bin"
        self.calls = Path(folder.name) / "calls"
        self.bin.mkdir()
        shutil.copytree(ROOT / "tools", self.root / "tools", ignore=shutil.ignore_patterns("__pycache__"))
        (self.root / "cmake").mkdir()
        (self.root / "cmake/layers.txt").write_text(
            "# library row layer\nplan 9 planner Plans.\ntrain 5 ops Ops.\nboth 0 base Base.\nboth 1 empty None.\n")
        for layer in ("planner", "ops", "base"):
            (self.root / "tests" / layer).mkdir(parents=True)
            (self.root / "tests" / layer / "a_test.cpp").touch()
        for name in ("cmake", "ctest", "python3"):
            self.provide(name, "")
        self.provide("nvidia-smi", "exit 9")
        for script in ("lint.sh", "setup.sh", "test.sh"):
            self.replace_script(script)

    def provide(self, name, body):
        program = self.bin / name
        program.write_text(f'#!/bin/sh\necho "{name} $*" >>"{self.calls}"\n{body}\n')
        program.chmod(0o755)

    def replace_script(self, name):
        (self.root / "tools" / name).write_text(f'#!/bin/sh\necho "{name} $*" >>"{self.calls}"\n')

    def run_script(self, name, *arguments, **variables):
        environment = dict(os.environ, PATH=f"{self.bin}:{os.environ['PATH']}", **variables)
        for variable in ("ISOFLOP_CUDA", "ISOFLOP_WARNINGS_AS_ERRORS"):
            if variable not in variables:
                environment.pop(variable, None)
        return subprocess.run([self.root / "tools" / name, *arguments], env=environment, capture_output=True, text=True,
                              check=False)

    def lines(self, start):
        text = self.calls.read_text() if self.calls.exists() else ""
        return [line for line in text.splitlines() if line.startswith(start)]


class Check(Checkout):
    def test_a_layer_builds_and_runs_only_its_own_tests(self):
        done = self.run_script("check.sh", "ops")
        self.assertEqual(done.returncode, 0, done.stderr)
        configure, build = self.lines("cmake ")
        self.assertIn("-DISOFLOP_BUILD_TESTS=ON", configure)
        self.assertTrue(build.endswith("--target isoflop_ops_tests"), build)
        (tests,) = self.lines("ctest ")
        self.assertIn("--label-regex ^(ops)$", tests)

    def test_several_layers_are_built_at_once(self):
        self.assertEqual(self.run_script("check.sh", "ops", "base").returncode, 0)
        self.assertTrue(self.lines("cmake ")[-1].endswith("--target isoflop_ops_tests isoflop_base_tests"))
        self.assertIn("--label-regex ^(ops|base)$", self.lines("ctest ")[0])

    def test_an_unknown_layer_is_refused_with_the_list(self):
        for layer in ("opps", "empty"):
            done = self.run_script("check.sh", layer)
            self.assertEqual(done.returncode, 2)
            self.assertIn("planner ops base", done.stderr)
        self.assertEqual(self.lines("c"), [])

    def test_fast_runs_the_checks_of_the_source_and_the_layers_of_the_plan(self):
        done = self.run_script("check.sh", "fast")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.lines("lint.sh"), ["lint.sh --format"])
        self.assertIn("check_includes.py", self.lines("python3 ")[0])
        self.assertTrue(self.lines("cmake ")[-1].endswith("--target isoflop_planner_tests isoflop_base_tests"))

    def test_all_is_the_whole_suite(self):
        self.assertEqual(self.run_script("check.sh", "all").returncode, 0)
        self.assertEqual(self.lines("test.sh"), ["test.sh "])

    def test_failing_tests_fail(self):
        self.provide("ctest", "exit 8")
        self.assertEqual(self.run_script("check.sh", "base").returncode, 8)

    def test_help_and_list(self):
        self.assertIn("tools/check.sh fast", self.run_script("check.sh", "--help").stdout)
        self.assertEqual(self.run_script("check.sh", "--list").stdout.split(), ["planner", "ops", "base", "emulated"])
        self.assertEqual(self.run_script("check.sh").returncode, 2)


class Configuration(Checkout):
    def configured(self, **variables):
        done = self.run_script("check.sh", "base", **variables)
        self.assertEqual(done.returncode, 0, done.stderr)
        return self.lines("cmake --preset")[-1]

    def test_a_new_folder_is_for_cpus_where_there_is_no_gpu(self):
        self.assertIn("-DISOFLOP_CUDA=OFF", self.configured())

    def test_a_new_folder_is_for_the_gpu_that_is_there(self):
        self.provide("nvidia-smi", "echo 'GPU 0: NVIDIA H100 (UUID: GPU-1)'")
        self.assertNotIn("-DISOFLOP_CUDA", self.configured())

    def test_a_folder_that_exists_keeps_its_configuration(self):
        (self.root / "build/release").mkdir(parents=True)
        (self.root / "build/release/CMakeCache.txt").touch()
        configured = self.configured()
        self.assertNotIn("-DISOFLOP_CUDA", configured)
        self.assertNotIn("BENCHMARKS", configured)

    def test_the_variable_decides(self):
        self.assertIn("-DISOFLOP_CUDA=ON", self.configured(ISOFLOP_CUDA="ON"))

    def test_warnings_are_errors_only_where_the_variable_says_so(self):
        shutil.copy(ROOT / "tools/test.sh", self.root / "tools/test.sh")
        for script, arguments in (("check.sh", ["base"]), ("test.sh", [])):
            with self.subTest(script=script):
                self.assertEqual(self.run_script(script, *arguments).returncode, 0)
                self.assertNotIn("WARNINGS", self.lines("cmake --preset")[-1])
                self.assertEqual(self.run_script(script, *arguments, ISOFLOP_WARNINGS_AS_ERRORS="ON").returncode, 0)
                self.assertIn("-DISOFLOP_WARNINGS_AS_ERRORS=ON", self.lines("cmake --preset")[-1])

    def test_ci_makes_warnings_errors_in_every_script_and_preset_that_it_uses(self):
        self.assertRegex((ROOT / ".ci/run").read_text(), r"(?m)^export ISOFLOP_WARNINGS_AS_ERRORS=ON$")
        configuring = re.compile(r"(?m)^[^#\n]*\bcmake (--preset|-S \"\$root\"|-S \. -B build/ptx)(?:[^\n]*\\\n)*[^\n]*")
        for script in ("common.sh", "test.sh", "lint.sh", "ptxrun.sh", "fuzz.sh"):
            calls = [call.group() for call in configuring.finditer((ROOT / "tools" / script).read_text())]
            self.assertTrue(calls, script)
            for call in calls:
                self.assertRegex(call, r"strictness|ISOFLOP_WARNINGS_AS_ERRORS", script)
        presets = json.loads((ROOT / "CMakePresets.json").read_text())["configurePresets"]
        debug = next(preset for preset in presets if preset["name"] == "debug")
        self.assertEqual(debug["cacheVariables"]["ISOFLOP_WARNINGS_AS_ERRORS"], "ON")

    def test_the_whole_suite_is_for_gpus_where_a_toolkit_is_found(self):
        shutil.copy(ROOT / "tools/test.sh", self.root / "tools/test.sh")
        done = self.run_script("test.sh", "-R", "Name")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("-DISOFLOP_CUDA=AUTO -DISOFLOP_BUILD_TESTS=ON", self.lines("cmake --preset")[0])
        self.assertTrue(self.lines("ctest ")[0].endswith("-R Name"))


if __name__ == "__main__":
    unittest.main()
