#!/usr/bin/env python3
"""Tests of tools/setup.sh with stand-ins for the package manager and CMake."""

import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

SETUP = Path(__file__).resolve().parents[2] / "tools" / "setup.sh"
BASICS = ("bash", "basename", "dirname", "sed", "grep", "mktemp", "rm", "cat", "env")


class Setup(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="isoflop setup ")
        self.addCleanup(self.folder.cleanup)
        self.bin = Path(self.folder.name) / "bin"
        self.bin.mkdir()
        self.calls = Path(self.folder.name) / "calls"
        for name in BASICS:
            (self.bin / name).symlink_to(shutil.which(name))
        self.provide("id", "echo 0")

    def provide(self, name, body):
        """A program of this name that notes its call and runs the body."""
        program = self.bin / name
        program.write_text(f'#!{shutil.which("bash")}\necho "{name} $*" >>"{self.calls}"\n{body}\n')
        program.chmod(0o755)

    def run_setup(self, *arguments):
        environment = dict(os.environ, PATH=str(self.bin))
        return subprocess.run([SETUP, *arguments], env=environment, capture_output=True, text=True)

    def calls_of(self, name):
        lines = self.calls.read_text().splitlines() if self.calls.exists() else []
        return [line for line in lines if line.startswith(name + " ")]

    def provide_apt(self, installed, apt_exit=0):
        self.provide("dpkg-query", "echo installed" if installed else "exit 1")
        self.provide("apt-get", f"exit {apt_exit}")

    def provide_build_tools(self, cmake_exit=0):
        for name in ("git", "python3", "ninja"):
            self.provide(name, "")
        self.provide("cmake", f"exit {cmake_exit}")

    def test_does_nothing_when_all_is_installed(self):
        self.provide_apt(installed=True)
        done = self.run_setup("--dev")
        self.assertEqual((done.returncode, done.stdout), (0, ""), done.stderr)
        self.assertEqual(self.calls_of("apt-get"), [])

    def test_updates_the_lists_and_installs_what_is_missing(self):
        self.provide_apt(installed=False)
        done = self.run_setup()
        self.assertEqual(done.returncode, 0, done.stderr)
        update, install = self.calls_of("apt-get")
        self.assertIn("update", update)
        self.assertIn("libcli11-dev", install)
        self.assertNotIn("clang", install)

    def test_dev_adds_the_clang_tools(self):
        self.provide_apt(installed=False)
        self.run_setup("--dev")
        self.assertIn("clang-tidy", self.calls_of("apt-get")[1])

    def test_uses_sudo_when_not_root(self):
        self.provide_apt(installed=False)
        self.provide("id", "echo 1000")
        self.provide("sudo", '[[ $1 != -n ]] || shift; "$@"')
        self.assertEqual(self.run_setup().returncode, 0)
        self.assertEqual(len([call for call in self.calls_of("sudo") if "apt-get" in call]), 2)
        self.assertEqual(len(self.calls_of("apt-get")), 2)

    def provide_dpkg_without(self, *missing):
        names = "|".join(missing)
        self.provide("dpkg-query", f'case "${{@: -1}}" in {names}) exit 1 ;; *) echo installed ;; esac')
        self.provide("apt-get", "exit 100")

    def test_who_may_not_install_gets_the_line_that_installs_exactly_what_is_missing(self):
        self.provide("id", "echo 1000")
        self.provide_dpkg_without("libcli11-dev", "libfmt-dev", "libgloo-dev")
        self.provide_build_tools(cmake_exit=1)
        for sudo in (None, "exit 1"):
            with self.subTest(sudo=sudo):
                if sudo:
                    self.provide("sudo", sudo)
                done = self.run_setup()
                self.assertEqual(done.returncode, 2)
                lines = [line.strip() for line in done.stderr.splitlines()]
                self.assertIn("sudo apt-get install -y libcli11-dev libfmt-dev libgloo-dev", lines)
                self.assertEqual(self.calls_of("apt-get"), [])

    def test_what_is_optional_is_named_and_keeps_nobody_from_building(self):
        self.provide("id", "echo 1000")
        self.provide_dpkg_without("libgloo-dev")
        done = self.run_setup()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("sudo apt-get install -y libgloo-dev", [line.strip() for line in done.stdout.splitlines()])
        self.assertEqual(self.calls_of("apt-get"), [])

    def test_libraries_of_other_places_are_enough(self):
        self.provide("id", "echo 1000")
        self.provide_dpkg_without("libfmt-dev")
        self.provide_build_tools()
        done = self.run_setup()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn("apt-get", done.stdout + done.stderr)

    def test_other_systems_go_on_when_cmake_finds_everything(self):
        self.provide_build_tools()
        self.assertEqual(self.run_setup().returncode, 0)

    def test_other_systems_are_told_what_is_needed(self):
        self.provide_build_tools(cmake_exit=1)
        done = self.run_setup()
        self.assertEqual(done.returncode, 2)
        self.assertIn("nlohmann-json3-dev", done.stderr)

    def test_failed_installation_is_an_error_unless_cmake_finds_everything(self):
        self.provide_apt(installed=False, apt_exit=100)
        self.assertEqual(self.run_setup().returncode, 2)
        self.provide_build_tools()
        self.assertEqual(self.run_setup().returncode, 0)

    def test_unknown_option_is_refused(self):
        self.assertEqual(self.run_setup("--everything").returncode, 2)


if __name__ == "__main__":
    unittest.main()
