#!/usr/bin/env python3
"""What CMake finds and says on systems that differ from ours: a broken sentencepiece.pc, new policies, new warnings."""

import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]
PROBE = f"""\
cmake_minimum_required(VERSION 3.25)
project(probe LANGUAGES CXX)
include("{SOURCE}/cmake/IsoflopSentencePiece.cmake")
message(STATUS "have: ${{ISOFLOP_HAVE_SENTENCEPIECE}} ${{ISOFLOP_SENTENCEPIECE_INCLUDE_DIRS}} ${{ISOFLOP_SENTENCEPIECE_LIBRARIES}}")
"""
PROCESSOR = """\
#pragma once
namespace sentencepiece { struct SentencePieceProcessor { int GetPieceSize() const; }; }
"""


class Folder(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="isoflop configure ")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name).resolve()

    def configure(self, source, *options, code=0, **variables):
        result = subprocess.run(["cmake", "-G", "Ninja", "-S", str(source), "-B", str(self.folder / "build"), *options],
                                env={**os.environ, **variables}, capture_output=True, text=True, check=False)
        text = result.stdout + result.stderr
        self.assertEqual(result.returncode, code, text)
        return text


class SentencePiece(Folder):
    """With libraries of its name that only have the symbols: those of this system are hidden."""

    def setUp(self):
        super().setUp()
        (self.folder / "CMakeLists.txt").write_text(PROBE)

    def install(self, include, library, links=True):
        """Headers and libraries as a package of the system has them."""
        for folder in (include, library):
            folder.mkdir(parents=True)
        (include / "sentencepiece_processor.h").write_text(PROCESSOR)
        (include / "sentencepiece_trainer.h").write_text("#pragma once\n")
        body = '#include "sentencepiece_processor.h"\nint sentencepiece::SentencePieceProcessor::GetPieceSize() const { return 0; }\n'
        for name, text in (("sentencepiece", body if links else ""), ("sentencepiece_train", "")):
            source = self.folder / f"{name}.cpp"
            source.write_text(text)
            subprocess.run(["c++", "-shared", "-fPIC", f"-I{include}", str(source), "-o", str(library / f"lib{name}.so")],
                           check=True)

    def provide_pc(self, include, library, requires=""):
        packages = self.folder / "pkgconfig"
        packages.mkdir()
        (packages / "sentencepiece.pc").write_text(
            "Name: sentencepiece\nDescription: tokenizer\nVersion: 0.2.0\n"
            f"{requires}\nLibs: -L{library} -lsentencepiece -lsentencepiece_train\nCflags: -I{include}\n"
            .replace(" configure ", r"\ configure\ "))

    def look(self):
        pkg_config = shutil.which("pkg-config") or "pkg-config"
        text = self.configure(self.folder, f"-DCMAKE_PREFIX_PATH={self.folder / 'prefix'}",
                              "-DCMAKE_IGNORE_PREFIX_PATH=/usr;/usr/local;/", f"-DPKG_CONFIG_EXECUTABLE={pkg_config}",
                              PKG_CONFIG_LIBDIR=str(self.folder / "pkgconfig"), PKG_CONFIG_PATH="")
        return text, re.search(r"-- have: (.*)", text)[1]

    def test_a_pc_file_that_needs_a_missing_package_is_not_asked(self):
        prefix = self.folder / "prefix"
        self.install(prefix / "include", prefix / "lib")
        self.provide_pc(prefix / "include", prefix / "lib", "Requires: protobuf-lite-that-is-missing")
        text, have = self.look()
        self.assertTrue(have.startswith(f"TRUE {prefix}/include {prefix}/lib/libsentencepiece_train.so"), text)
        self.assertIn("SentencePiece: found", text)

    def test_no_pc_file_is_needed(self):
        prefix = self.folder / "prefix"
        self.install(prefix / "include", prefix / "lib")
        self.assertTrue(self.look()[1].startswith("TRUE "))

    def test_pkg_config_finds_it_in_folders_that_cmake_does_not_search(self):
        if shutil.which("pkg-config") is None:
            self.skipTest("no pkg-config here")
        elsewhere = self.folder / "elsewhere"
        self.install(elsewhere / "headers", elsewhere / "libraries")
        self.provide_pc(elsewhere / "headers", elsewhere / "libraries")
        text, have = self.look()
        self.assertTrue(have.startswith(f"TRUE {elsewhere}/headers"), text)
        self.assertIn(f"{elsewhere}/libraries/libsentencepiece.so", have)

    def test_a_library_that_does_not_link_is_left_out_with_the_reason(self):
        prefix = self.folder / "prefix"
        self.install(prefix / "include", prefix / "lib", links=False)
        text, have = self.look()
        self.assertTrue(have.startswith("FALSE"), text)
        self.assertRegex(text, r"not found that works \(a program with .*libsentencepiece\.so does not build\)")

    def test_nothing_is_found_where_there_is_nothing(self):
        text, have = self.look()
        self.assertTrue(have.startswith("FALSE"), text)
        self.assertIn("libsentencepiece-dev", text)


class Project(Folder):
    """The whole project, configured as a user does."""

    def flags_of_ours(self):
        commands = json.loads((self.folder / "build/compile_commands.json").read_text())
        ours = [entry["command"] for entry in commands if "/src/" in entry["file"]]
        self.assertTrue(ours)
        return ours

    def test_cmake_warns_of_nothing_and_compilers_may_warn(self):
        quiet = ["-Wdev", "-Werror=dev", "-Wdeprecated", "-Werror=deprecated"]
        text = self.configure(SOURCE, "-DISOFLOP_CUDA=OFF", "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON", *quiet)
        self.assertNotIn("Warning", text)
        self.assertEqual([command for command in self.flags_of_ours() if "-Werror" in command], [])
        self.configure(SOURCE, "-DISOFLOP_WARNINGS_AS_ERRORS=ON")
        self.assertEqual([command for command in self.flags_of_ours() if "-Werror" not in command], [])

    def test_modules_that_newer_versions_of_cmake_removed_are_not_used(self):
        """Older versions of CMake do not warn of them (CMP0167, CMP0148, CMP0146)."""
        found = []
        for file in [SOURCE / "CMakeLists.txt", *SOURCE.glob("cmake/*"), *SOURCE.glob("src/**/CMakeLists.txt"),
                     *SOURCE.glob("tools/CMakeLists.txt"), *SOURCE.glob("tests/**/CMakeLists.txt")]:
            for call in re.findall(r"find_package\(\s*([^)]*)\)", file.read_text(encoding="utf-8")):
                words = call.split()
                found.append(words[0])
                self.assertNotIn(words[0], ("PythonInterp", "PythonLibs", "CUDA"), file)
                if words[0] == "Boost":
                    self.assertIn("CONFIG", words, file)
        self.assertIn("Boost", found)


if __name__ == "__main__":
    unittest.main()
