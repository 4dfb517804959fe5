#!/usr/bin/env python3
"""Runs the commands that README.md and pages in docs/ show, so that they stay correct.

Takes every line of the ```sh blocks. Our tools are run; commands that CI or another test runs are listed
in COVERED_ELSEWHERE; any other command is an error, so that every command is tested. The commands of a page run in order
in a scratch folder that looks like a checkout, so files that they write stay out of the source tree.

A comment after a command changes what is expected:
    # exits 2          this exit code instead of 0
    # needs data/x.json    run only when this file is there

A ```text block that follows a block of commands is what the last of them prints: its lines are found in the output one
after another, and a line of three dots stands for any lines between.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

OUR_TOOLS = ("scaling-plan", "build/release/tools/scaling-plan", "train", "build/release/tools/train", "tools/",
             "for")  # a loop over our tools

# Start of a command -> the test that runs it.
COVERED_ELSEWHERE = {
    "git clone": "CI starts from a clone",
    "cd": "nothing to check",
    "tools/setup.sh": ".ci/run",
    "tools/test.sh": ".ci/run",
    "tools/check.sh": ".ci/run",
    "tools/quickstart.sh": ".ci/run",
    "tools/lint.sh": ".ci/run",
    "tools/fuzz.sh": ".ci/run",
    "cmake --preset": "tools/test.sh",
    "cmake --build": "tools/test.sh",
    "ctest --preset": "tools/test.sh",
    "cmake --install": "tests/package",
}

TIMEOUT_SECONDS = 300


@dataclass
class Command:
    line_number: int
    text: str
    exit_code: int = 0
    needs: str | None = None
    output: list[str] | None = None  # as the page shows it


def extract_commands(markdown: str) -> list[Command]:
    """The commands of all ```sh blocks, with continued lines joined."""
    commands = []
    block = None  # the kind of the block that this line is in
    last_block = None
    pending, pending_line = "", 0
    for line_number, line in enumerate(markdown.splitlines(), start=1):
        fence = re.match(r"\s*```(\w*)", line)
        if fence:
            last_block, block = (block, None) if block is not None else (last_block, fence.group(1))
            if block == "text" and last_block == "sh":
                commands[-1].output = []
            continue
        if block == "text" and last_block == "sh":
            commands[-1].output.append(line.rstrip())
        elif block is None and line.strip():
            last_block = None  # prose between the two: the output is of something else
        if block != "sh":
            continue
        pending_line = pending_line or line_number
        if line.rstrip().endswith("\\"):
            pending += line.rstrip()[:-1] + " "
            continue
        text, _, comment = re.sub(r"^\s*\$ ", "", pending + line).strip().partition(" #")
        if text and not text.startswith("#"):
            command = Command(pending_line, text.strip())
            if match := re.search(r"\bexits (\d+)", comment):
                command.exit_code = int(match.group(1))
            if match := re.search(r"\bneeds (\S+)", comment):
                command.needs = match.group(1)
            commands.append(command)
        pending, pending_line = "", 0
    return commands


def starts_with_command(text: str, prefix: str) -> bool:
    return text == prefix or text.startswith(prefix if prefix.endswith("/") else prefix + " ")


def covered_elsewhere(text: str) -> str | None:
    return next((who for prefix, who in COVERED_ELSEWHERE.items()
                 if starts_with_command(text, prefix)), None)


def make_scratch_checkout(scratch: Path, source: Path, build: Path) -> None:
    """Links to everything in the source folder, and to the build as build/release."""
    for entry in source.iterdir():
        if entry.name not in ("build", ".git", "out", "data"):  # the last two are for commands to write
            (scratch / entry.name).symlink_to(entry)
    (scratch / "build").mkdir()
    (scratch / "build" / "release").symlink_to(build)


def missing_line(shown: list[str], printed: list[str]) -> str | None:
    """The first line of a page that a command does not print where the page shows it."""
    position, gap = 0, False
    for line in shown:
        if line.strip() == "...":
            gap = True
            continue
        end = len(printed) if gap else min(position + 1, len(printed))
        found = next((i for i in range(position, end) if printed[i].rstrip() == line), None)
        if found is None:
            return line
        position, gap = found + 1, False
    return None if gap or position >= len(printed) else "(the page ends before the output)"


def check(command: Command, scratch: Path, environment: dict[str, str]) -> str | None:
    """Runs one command; returns what went wrong, or None."""
    try:
        done = subprocess.run(["bash", "-e", "-o", "pipefail", "-c", command.text], cwd=scratch,
                              env=environment, stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, errors="replace", timeout=TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        return f"still running after {TIMEOUT_SECONDS} s"
    if done.returncode == command.exit_code:
        missing = command.output and missing_line(command.output, done.stdout.splitlines())
        return f"does not print: {missing}\n{done.stdout}" if missing else None
    return f"exited {done.returncode}, expected {command.exit_code}\n{done.stdout}{done.stderr}"


def main() -> int:
    parser = argparse.ArgumentParser(description="Runs the commands that a page shows.")
    parser.add_argument("--source", type=Path, required=True, help="root of the project")
    parser.add_argument("--build", type=Path, required=True, help="build folder")
    parser.add_argument("--page", default="README.md", help="page to check, relative to the root of the project")
    arguments = parser.parse_args()
    source, build = arguments.source.resolve(), arguments.build.resolve()

    commands = extract_commands((source / arguments.page).read_text(encoding="utf-8"))
    if not commands:
        print(f"{arguments.page} shows no command: has the fence changed from ```sh?")
        return 1

    environment = dict(os.environ, PATH=f"{build / 'tools'}{os.pathsep}{os.environ['PATH']}")
    failures = 0
    with tempfile.TemporaryDirectory(prefix="isoflop readme ") as folder:
        scratch = Path(folder)
        make_scratch_checkout(scratch, source, build)
        for command in commands:
            if who := covered_elsewhere(command.text):
                outcome = f"covered by: {who}"
            elif not any(starts_with_command(command.text, tool) for tool in OUR_TOOLS):
                outcome = "FAILED: neither run here nor listed in COVERED_ELSEWHERE"
                failures += 1
            elif command.needs and not (scratch / command.needs).exists():
                outcome = f"skipped: {command.needs} is not there"
            elif problem := check(command, scratch, environment):
                outcome = f"FAILED: {problem}"
                failures += 1
            else:
                outcome = "ok"
            print(f"{arguments.page}:{command.line_number}: {command.text}\n    {outcome}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
