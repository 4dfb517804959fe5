"""What the tests of scaling-plan share: the program, run as users call it, and its refusals."""
import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

if len(sys.argv) < 3:
    sys.exit(sys.modules["__main__"].__doc__)
BINARY, SOURCE = os.path.abspath(sys.argv[1]), Path(sys.argv[2]).resolve()

TIMEOUT_SECONDS = 30


def run(*arguments, **options):
    """Runs the program in the source folder, so that paths read as in the documentation."""
    options.setdefault("stdout", subprocess.PIPE)
    return subprocess.run([BINARY, *map(str, arguments)], cwd=SOURCE, stderr=subprocess.PIPE,
                          stdin=subprocess.DEVNULL, text=True, errors="replace",
                          timeout=TIMEOUT_SECONDS, **options)


def shipped(folder):
    return sorted(str(path.relative_to(SOURCE)) for path in (SOURCE / "configs" / folder).glob("*.jsonc"))


def without_comments(text):
    """JSON of a JSONC text: strings stay intact, comments and trailing commas go."""
    token = re.compile(r'"(?:\\.|[^"\\])*"|//[^\n]*|/\*.*?\*/', re.DOTALL)
    bare = token.sub(lambda match: match.group() if match.group()[0] == '"' else " ", text)
    return re.sub(r",(\s*[}\]])", r"\1", bare)


class ToolTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="isoflop-tool-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def succeed(self, *arguments):
        done = run(*arguments)
        self.assertEqual(done.returncode, 0, f"{arguments}\n{done.stderr}")
        return done.stdout

    def refuse(self, *arguments, says="", code=2):
        """One message on standard error, nothing on standard output."""
        done = run(*arguments)
        self.assertEqual(done.returncode, code, f"{arguments}\n{done.stdout}{done.stderr}")
        self.assertEqual(done.stdout, "")
        self.assertIn("error: ", done.stderr)
        self.assertNotIn("internal error", done.stderr)
        self.assertIn(says, done.stderr)
        return done.stderr

    def write(self, name, text):
        path = self.folder / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path


def main():
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
