#!/usr/bin/env python3
"""Checks that prose is at most 100 columns wide: comments of C++ and CUDA sources, scripts, CMake and JSONC files, and
paragraphs of Markdown pages. Ends with 1 and one line per finding.

    tools/check_prose.py [FILE...]     these files; without any, those that git knows or would add

Only whole lines of comments count, as clang-format holds code to its width. Not prose: code blocks, tables, pictures,
text that is indented inside its comment (code, formulas, tables), and what no line break can shorten, such as an address.
"""
import pathlib
import re
import subprocess
import sys

WIDTH = 100
COMMENT = {"//": {".cpp", ".hpp", ".cu", ".cuh", ".inl", ".jsonc"},
           "#": {".py", ".sh", ".cmake", ".txt", ".yml", ".dict"}}
# Planted mistakes, texts of others, and directives that must stay on their line.
SKIPPED = re.compile(r"^tests/config/malformed/|^LICENSE$")
DIRECTIVE = re.compile(r"^(shellcheck|!|NOLINT|clang-format)")


def marker_of(path: pathlib.PurePath) -> str | None:
    for marker, suffixes in COMMENT.items():
        if path.suffix in suffixes:
            return marker
    return "#" if str(path) == ".ci/run" else None


def can_be_shorter(text: str) -> bool:
    """Whether the text has a word that begins after the first one and before the end of the width."""
    return " " in text.strip()[:WIDTH]


def wide_comments(lines: list[str], marker: str) -> list[int]:
    found = []
    for number, line in enumerate(lines, 1):
        if len(line) <= WIDTH or not line.lstrip().startswith(marker):
            continue
        text = re.sub(r"^/*<?|^#+", "", line.lstrip())
        is_indented = text.startswith("  ")
        if not is_indented and not DIRECTIVE.match(text.strip()) and can_be_shorter(text):
            found.append(number)
    return found


def wide_paragraphs(lines: list[str]) -> list[int]:
    found = []
    in_code = False
    for number, line in enumerate(lines, 1):
        if line.lstrip().startswith("```"):
            in_code = not in_code
        is_prose = not in_code and not line.startswith(("|", "#", "    ", "![", "<"))
        if is_prose and len(line) > WIDTH and can_be_shorter(line):
            found.append(number)
    return found


def listed_files() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                            capture_output=True, text=True, check=True).stdout
    return [name for name in listed.split("\0") if name and not SKIPPED.match(name)]


def main() -> int:
    findings = []
    for name in sys.argv[1:] or listed_files():
        file = pathlib.Path(name)
        marker = marker_of(pathlib.PurePath(name))
        if not file.is_file() or (marker is None and file.suffix != ".md"):
            continue
        lines = file.read_text(encoding="utf-8").splitlines()
        numbers = wide_paragraphs(lines) if marker is None else wide_comments(lines, marker)
        findings += [f"{name}:{number}: prose is {len(lines[number - 1])} columns wide, at most {WIDTH} are read well"
                     for number in numbers]
    for finding in findings:
        print(finding, file=sys.stderr)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
