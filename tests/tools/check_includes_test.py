"""Tests of tools/check_includes.py: what it finds in small source trees with one planted fault each."""
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
LAYERS = """# a comment
train  2 trainer        The run.
plan   2 planner        The plan.
train  1 ops            Operations.
both   0 base           Errors.
"""
TREE = {
    "cmake/layers.txt": LAYERS,
    "docs/architecture.md": "# Architecture\n",
    "include/isoflop/base/error.hpp": "#include <string>\n",
    "include/isoflop/ops/rope.hpp": '#include "isoflop/base/error.hpp"\n',
    "include/isoflop/trainer/loop.hpp": '#include "isoflop/ops/rope.hpp"\n',
    "include/isoflop/planner/plan.hpp": "",
    "src/ops/rope.cpp": '#include "isoflop/ops/rope.hpp"\n#include "ops/tables.hpp"\n#include "tables.hpp"\n',
    "src/ops/tables.hpp": "#include <vector>\n",
    "src/trainer/loop.cpp": '#include "isoflop/trainer/loop.hpp"\n',
    "tests/support/fake.hpp": "",
}


class CheckIncludes(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        for name, text in TREE.items():
            self.plant(name, text)
        self.assertEqual(self.check("--write").returncode, 0)

    def plant(self, name, text):
        file = self.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def check(self, *options):
        return subprocess.run([sys.executable, "-B", ROOT / "tools/check_includes.py", "--root", self.root, *options],
                              capture_output=True, text=True, check=False)

    def expect_findings(self, *findings):
        result = self.check()
        self.assertEqual(result.returncode, 1, result.stderr)
        lines = result.stderr.splitlines()
        self.assertEqual(len(lines), len(findings), result.stderr)
        for line, words in zip(lines, findings):
            for word in words:
                self.assertIn(word, line)

    def test_a_tree_that_keeps_the_rules_passes(self):
        result = self.check()
        self.assertEqual((result.returncode, result.stderr), (0, ""))

    def test_files_and_json_have_one_entrance(self):
        self.plant("src/ops/rope.cpp", "// std::ofstream\nstd::ofstream file(path);\nordered_json::parse(text);\n"
                                       "::open(path, O_WRONLY | O_CREAT);\nfopen(path, \"rb\");\n")
        self.plant("src/base/file.cpp", "::open(path, O_WRONLY | O_CREAT);\n")
        self.expect_findings(("src/ops/rope.cpp:2", "creates"), ("src/ops/rope.cpp:3", "parses JSON"),
                             ("src/ops/rope.cpp:4", "creates"))

    def test_an_upward_arrow_is_found(self):
        self.plant("src/ops/upward.cpp", '// as below\n#include "isoflop/trainer/loop.hpp"\n')
        self.expect_findings(("src/ops/upward.cpp:2", "isoflop/trainer/loop.hpp", "ops (row 1)", "trainer (row 2)"))

    def test_an_upward_arrow_in_angle_brackets_is_found(self):
        self.plant("include/isoflop/base/upward.hpp", "#  include <isoflop/ops/rope.hpp>\n")
        self.expect_findings(("include/isoflop/base/upward.hpp:1", "may not include ops"))

    def test_an_arrow_within_a_row_is_found(self):
        self.plant("cmake/layers.txt", LAYERS + "train  1 comm  Ranks.\n")
        self.plant("include/isoflop/comm/ranks.hpp", '#include "isoflop/ops/rope.hpp"\n')
        self.expect_findings(("comm (row 1)", "ops (row 1)"))

    def test_an_arrow_into_the_other_library_is_found(self):
        self.plant("src/planner/run.cpp", '#include "isoflop/ops/rope.hpp"\n')
        self.expect_findings(("src/planner/run.cpp:1", "library plan", "ops in train"))

    def test_a_private_header_of_another_layer_is_found(self):
        self.plant("src/trainer/private.cpp", '#include "ops/tables.hpp"\n')
        self.expect_findings(("src/trainer/private.cpp:1", "ops/tables.hpp", "private to ops"))

    def test_a_private_header_by_a_path_from_the_file_is_found(self):
        self.plant("src/trainer/private.cpp", '#include "../ops/tables.hpp"\n')
        self.expect_findings(("src/trainer/private.cpp:1", "private to ops"))

    def test_a_private_header_in_a_public_one_is_found(self):
        self.plant("include/isoflop/ops/public.hpp", '#include "ops/tables.hpp"\n')
        self.expect_findings(("include/isoflop/ops/public.hpp:1", "private to ops"))

    def test_an_include_from_tests_is_found(self):
        self.plant("src/ops/fake.cpp", '#include "support/fake.hpp"\n')
        self.plant("src/trainer/fake.cpp", '#include "../../tests/support/fake.hpp"\n')
        self.expect_findings(("src/ops/fake.cpp:1", "nothing outside tests"),
                             ("src/trainer/fake.cpp:1", "nothing outside tests"))

    def test_a_computed_include_is_found(self):
        self.plant("src/ops/computed.cpp", '#define UPWARD "isoflop/trainer/loop.hpp"\n#include UPWARD\n')
        self.expect_findings(("src/ops/computed.cpp:2", "UPWARD", "is computed"))

    def test_other_spellings_of_an_include_are_seen(self):
        self.plant("src/ops/dense.cpp", '#include"isoflop/trainer/loop.hpp"\n')
        self.plant("src/ops/next.cpp", '#include_next <isoflop/trainer/loop.hpp>\n')
        self.expect_findings(("src/ops/dense.cpp:1", "arrows point down"),
                             ("src/ops/next.cpp:1", "arrows point down"))

    def test_a_layer_that_is_not_listed_is_found(self):
        self.plant("src/news/news.cpp", "")
        self.expect_findings(("src/news/news.cpp", "not in cmake/layers.txt"))

    def test_a_listed_layer_without_files_is_found(self):
        self.plant("cmake/layers.txt", LAYERS + "train  1 comm  Ranks.\n")
        self.expect_findings(("cmake/layers.txt", "comm", "no file"))

    def test_a_stale_page_is_found_and_written(self):
        self.plant("cmake/layers.txt", LAYERS.replace("Operations.", "Functions on tensors."))
        self.expect_findings(("docs/architecture.md", "not up to date"))
        self.assertEqual(self.check("--write").returncode, 0)
        self.assertIn("Functions on tensors.", (self.root / "docs/architecture.md").read_text())
        self.assertEqual(self.check().returncode, 0)

    def test_a_stale_picture_is_found(self):
        self.plant("src/planner/plan.cpp", '#include "isoflop/base/error.hpp"\n')
        self.expect_findings(("docs/architecture.svg", "not up to date"))


if __name__ == "__main__":
    unittest.main()
