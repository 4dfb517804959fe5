#!/usr/bin/env python3
"""Checks the includes of include/, src/ and tools/ against cmake/layers.txt, and docs/architecture.md and its picture
against both.

    tools/check_includes.py            check; ends with 1 and one line per finding
    tools/check_includes.py --write    write the table and the picture of docs/architecture.md

The rules: a layer includes layers of lower rows only, of its own library and of those for both tools; headers in
src/<layer>/ are private to the layer; nothing outside tests includes from tests; every include names its header. Some
things are done in one place: a file is created in src/base/file.cpp, and JSON is parsed in src/config/json.cpp.
"""
import argparse
import pathlib
import re
import sys

from architecture_picture import picture
from layers import Layer, arrows, read_includes, read_layers, sources, violations, without_implied

BEGIN = "<!-- The table is written by tools/check_includes.py from cmake/layers.txt. -->\n"
END = "<!-- End of the table. -->\n"
LIBRARIES = {"both": "`isoflop_plan`, for both tools", "plan": "`isoflop_plan`, for `scaling-plan`",
             "train": "`isoflop_train`", "plugin": "a plug-in"}
# What only some sources may do, and what the others call.
ONE_PLACE = [
    (("src/base/file.cpp", "src/trainer/run_lock_file.cpp"),
     re.compile(r"\bo?fstream\b|fopen\([^)]*\"[wa]|\bO_(CREAT|TRUNC)\b|\b(mkstemp|copy_file)\("),
     "creates a file: isoflop/base/file.hpp does that"),
    (("src/config/json.cpp",), re.compile(r"json::(parse|sax_parse|accept)\(|json::from_\w+\("),
     "parses JSON: isoflop/config/json.hpp does that"),
]


def one_place_violations(root: pathlib.Path) -> list[str]:
    findings = []
    for file in sources(root):
        for number, line in enumerate((root / file).read_text(errors="replace").splitlines(), 1):
            code = "" if line.startswith("#") else line.split("//", 1)[0]
            findings += [f"{file}:{number} {message}" for places, pattern, message in ONE_PLACE
                         if str(file) not in places and pattern.search(code)]
    return findings


def table(layers: dict[str, Layer]) -> str:
    rows = ["| Row | Layer | Library | What belongs there |", "|---:|---|---|---|"]
    rows += [f"| {each.row} | `{each.name}` | {LIBRARIES[each.library]} | {each.text} |"
             for each in layers.values()]
    return "\n".join(rows) + "\n"


def page(text: str, layers: dict[str, Layer]) -> str:
    """The text of the page with the table as it should be."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + "\n" + table(layers) + "\n" + END + after


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the table and the picture")
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent.parent,
                        help="the source tree (default: the one of this script)")
    arguments = parser.parse_args()
    root = arguments.root
    layers = read_layers(root)
    includes = read_includes(root, layers)
    findings = violations(root, layers, includes) + one_place_violations(root)
    if not findings:  # a picture of a graph with cycles has no rows
        text = (root / "docs/architecture.md").read_text()
        expected = {"docs/architecture.md": page(text, layers),
                    "docs/architecture.svg": picture(layers, without_implied(arrows(layers, includes)))}
        for name, content in expected.items():
            file = root / name
            if file.is_file() and file.read_text() == content:
                continue
            if arguments.write:
                file.write_text(content)
            else:
                findings.append(f"{name} is not up to date: run tools/check_includes.py --write")
    for finding in findings:
        print(finding, file=sys.stderr)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
