#!/usr/bin/env python3
"""Tests of readme_commands.py on a made-up project."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import readme_commands

SCRIPT = Path(readme_commands.__file__)


class ExtractCommands(unittest.TestCase):
    def test_takes_only_sh_blocks_and_joins_continued_lines(self):
        commands = readme_commands.extract_commands(
            "```sh\n# comment\n\nscaling-plan a \\\n  --b   # exits 2\n```\n"
            "```json\n{}\n```\n```\noutput\n```\n```sh\n$ scaling-plan c  # needs d.json\n```\n")
        self.assertEqual([(c.line_number, c.text.split(), c.exit_code, c.needs) for c in commands],
                         [(4, ["scaling-plan", "a", "--b"], 2, None),
                          (14, ["scaling-plan", "c"], 0, "d.json")])


class ShownOutput(unittest.TestCase):
    PAGE = "```sh\nscaling-plan a\nscaling-plan b\n```\n\n```text\none\n...\nfive\n```\n"

    def test_belongs_to_the_last_command_of_the_block_before_it(self):
        self.assertEqual([c.output for c in readme_commands.extract_commands(self.PAGE)],
                         [None, ["one", "...", "five"]])
        for other in ("```\nprose\n```text\n", "```\n```\n"):
            page = self.PAGE.replace("```\n\n```text\n", other)
            self.assertEqual([c.output for c in readme_commands.extract_commands(page)], [None, None])

    def test_is_found_in_order_and_dots_stand_for_lines(self):
        def missing(shown, printed="one\ntwo\nfive\nsix"):
            return readme_commands.missing_line(shown.split(), printed.split())

        self.assertIsNone(missing("one two five six"))
        self.assertIsNone(missing("one ... five ..."))
        self.assertIsNone(missing("... six"))
        self.assertEqual(missing("one five ..."), "five")
        self.assertEqual(missing("five ... one ..."), "five")
        self.assertEqual(missing("... one ... seven"), "seven")
        self.assertIn("page ends", missing("one two five"))


class WholeReadme(unittest.TestCase):
    def run_on(self, *lines, page="README.md"):
        """Exit code and output for a page with these commands and a tool that exits with its argument."""
        with tempfile.TemporaryDirectory() as folder:
            source, build = Path(folder) / "source", Path(folder) / "build"
            (build / "tools").mkdir(parents=True)
            source.mkdir()
            tool = build / "tools" / "scaling-plan"
            tool.write_text("#!/bin/sh\nexit $1\n")
            tool.chmod(0o755)
            (source / page).write_text("\n".join(["```sh", *lines, "```"]))
            done = subprocess.run([sys.executable, SCRIPT, "--source", source, "--build", build, "--page", page],
                                  capture_output=True, text=True)
            return done.returncode, done.stdout + done.stderr

    def test_passes_when_every_command_exits_as_said(self):
        code, output = self.run_on("tools/test.sh", "scaling-plan 0", "scaling-plan 2  # exits 2",
                                   "build/release/tools/scaling-plan 0", "scaling-plan 9 # needs x")
        self.assertEqual(code, 0, output)

    def test_fails_on_another_exit_code(self):
        self.assertEqual(self.run_on("scaling-plan 2")[0], 1)
        self.assertEqual(self.run_on("scaling-plan 0  # exits 2")[0], 1)

    def test_fails_on_a_command_that_nobody_runs(self):
        code, output = self.run_on("curl example.org")
        self.assertEqual(code, 1)
        self.assertIn("neither run here nor listed", output)

    def test_takes_the_commands_of_the_page_that_it_is_given(self):
        code, output = self.run_on("scaling-plan 3", page="planning.md")
        self.assertEqual(code, 1)
        self.assertIn("planning.md:2: scaling-plan 3", output)

    def test_fails_without_commands(self):
        self.assertEqual(self.run_on()[0], 1)


if __name__ == "__main__":
    unittest.main()
