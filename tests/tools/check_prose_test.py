"""Tests of tools/check_prose.py: what it finds in files with one wide line each, and what it leaves alone."""
import pathlib
import subprocess
import sys
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "tools/check_prose.py"
WORDS = "word " * 30
ADDRESS = "https://example.org/" + "x" * 100


class CheckProse(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def check(self, name, text):
        (self.folder / name).write_text(text)
        result = subprocess.run([sys.executable, "-B", SCRIPT, name], cwd=self.folder, capture_output=True, text=True,
                                check=False)
        self.assertEqual(result.returncode, 1 if result.stderr else 0)
        return result.stderr

    def expect_found(self, name, text, line):
        self.assertRegex(self.check(name, text), rf"^{name}:{line}: prose is \d+ columns wide, .*\n$")

    def test_wide_comments_are_found(self):
        self.expect_found("a.cpp", f"int a;\n// {WORDS}\n", 2)
        self.expect_found("a.hpp", f"/// {WORDS}\nint a;\n", 1)
        self.expect_found("a.cu", f"    // {WORDS}\n", 1)
        self.expect_found("a.jsonc", f"{{\n  // {WORDS}\n}}\n", 2)
        self.expect_found("a.sh", f"#!/bin/sh\n# {WORDS}\n", 2)
        self.expect_found("a.py", f"pass\n    # {WORDS}\n", 2)
        self.expect_found("CMakeLists.txt", f"# {WORDS}\n", 1)

    def test_wide_paragraphs_are_found(self):
        self.expect_found("a.md", f"# Title\n\n{WORDS}\n", 3)
        self.expect_found("a.md", f"- {WORDS}\n", 1)
        self.expect_found("a.md", f"```\n{WORDS}\n```\n{WORDS}\n", 4)

    def test_exactly_the_width_is_not_wide(self):
        self.assertEqual(self.check("a.cpp", "// " + "ab " * 32 + "c\n"), "")
        self.expect_found("a.cpp", "// " + "ab " * 32 + "cd\n", 1)

    def test_what_is_no_prose_is_left_alone(self):
        self.assertEqual(self.check("a.cpp", f'const char* a = "{WORDS}";  // {WORDS}\n'), "")
        self.assertEqual(self.check("a.cpp", f"//   formula {WORDS}\n// {ADDRESS}\n"), "")
        self.assertEqual(self.check("a.sh", f"# shellcheck disable=SC1091 {WORDS}\nrun {WORDS}\n"), "")
        self.assertEqual(self.check("a.md", f"| {WORDS} |\n```sh\n# {WORDS}\n```\n![{WORDS}](a.svg)\n{ADDRESS}\n"), "")
        self.assertEqual(self.check("a.json", f"// {WORDS}\n"), "")


if __name__ == "__main__":
    unittest.main()
