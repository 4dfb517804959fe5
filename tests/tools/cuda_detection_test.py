#!/usr/bin/env python3
"""cmake/IsoflopCuda.cmake with compilers that only pretend: what is said, and whether the configuration goes on."""
import os
import subprocess
import tempfile
import unittest
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]
PROJECT = f"""\
cmake_minimum_required(VERSION 3.25)
project(probe VERSION 0.1 LANGUAGES NONE)
set(CMAKE_CXX_COMPILER c++)
include("{SOURCE}/cmake/IsoflopCuda.cmake")
message(STATUS "have: ${{ISOFLOP_HAVE_CUDA}}")
"""


class Detection(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        (self.folder / "CMakeLists.txt").write_text(PROJECT, encoding="utf-8")

    def program(self, name, body):
        path = self.folder / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
        path.chmod(0o755)
        return path

    def nvcc(self, release="13.0", compiles="exit 0", architectures="80 86 89 90 100 120"):
        listed = "".join(f"compute_{architecture}\\n" for architecture in architectures.split())
        return self.program("nvcc", f"""case $1 in
            --version) echo "Cuda compilation tools, release {release}, V{release}.88" ;;
            --list-gpu-arch) printf '{listed}' ;;
            *) {compiles} ;;
        esac""")

    def configure(self, *options, nvcc="/nowhere/nvcc"):
        environment = {**os.environ, "CUDACXX": str(nvcc), "PATH": f"{self.folder}/bin:{os.environ['PATH']}"}
        environment.pop("CUDAARCHS", None)
        result = subprocess.run(["cmake", "-S", str(self.folder), "-B", f"{self.folder}/build", *options],
                                env=environment, capture_output=True, text=True, check=False)
        return result.returncode, " ".join((result.stdout + result.stderr).split())

    def cached(self, name):
        for line in (self.folder / "build/CMakeCache.txt").read_text(encoding="utf-8").splitlines():
            if line.startswith(name + ":"):
                return line.partition("=")[2]
        return None

    def test_switched_off(self):
        status, text = self.configure("-DISOFLOP_CUDA=OFF", nvcc=self.nvcc(compiles="exit 1"))
        self.assertEqual(status, 0, text)
        self.assertIn("switched off", text)
        self.assertIn("have: FALSE", text)

    def test_no_compiler(self):
        status, text = self.configure()
        self.assertEqual(status, 0, text)
        self.assertIn("no nvcc", text)
        self.assertIn("building for CPUs only", text)
        self.assertIn("have: FALSE", text)

    def test_a_compiler_too_old(self):
        status, text = self.configure(nvcc=self.nvcc(release="12.3"))
        self.assertEqual(status, 0, text)
        self.assertIn("12.4 or newer is needed", text)
        self.assertIn("have: FALSE", text)

    def test_a_compiler_that_does_not_start(self):
        status, text = self.configure(nvcc=self.program("nvcc", "exit 127"))
        self.assertEqual(status, 0, text)
        self.assertIn("have: FALSE", text)

    def test_a_broken_compiler_is_quoted(self):
        broken = self.nvcc(compiles="echo unsupported GNU version >&2; exit 1")
        status, text = self.configure(nvcc=broken)
        self.assertEqual(status, 0, text)
        self.assertIn("cannot build a trivial program (status 1: unsupported GNU version", text)
        self.assertIn("have: FALSE", text)
        status, text = self.configure("-DISOFLOP_CUDA=ON", nvcc=broken)
        self.assertNotEqual(status, 0)
        self.assertIn("ISOFLOP_CUDA=ON", text)
        self.assertIn("unsupported GNU version", text)

    # The pretended compiler cannot become CMake's, so these fail later; what was decided is in the
    # cache.

    def test_architectures_that_the_toolkit_does_not_know_are_left_out(self):
        self.program("nvidia-smi", "exit 9")
        _, text = self.configure(nvcc=self.nvcc(release="12.4", architectures="50 80 86 87 89 90"))
        self.assertIn("nvcc 12.4 does not know sm_100, sm_120", text)
        self.assertEqual(self.cached("CMAKE_CUDA_ARCHITECTURES"), "80-real;86-real;89-real;90-real;90-virtual")

    def test_the_gpus_of_the_machine_are_built_for(self):
        self.program("nvidia-smi", "printf '9.0\\n9.0\\n8.6\\n7.5\\n'")
        _, text = self.configure(nvcc=self.nvcc())
        self.assertEqual(self.cached("CMAKE_CUDA_ARCHITECTURES"), "90-real;86-real")
        self.assertIn("building for the GPUs of this machine", text)

    def test_given_architectures_win(self):
        self.program("nvidia-smi", "echo 9.0")
        self.configure("-DCMAKE_CUDA_ARCHITECTURES=80-virtual", nvcc=self.nvcc())
        self.assertEqual(self.cached("CMAKE_CUDA_ARCHITECTURES"), "80-virtual")


if __name__ == "__main__":
    unittest.main()
