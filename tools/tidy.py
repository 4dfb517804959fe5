"""Runs clang-tidy over sources, each with the command that the build compiles it with, and prints what it finds.

usage: tidy.py CLANG_TIDY BUILD_FOLDER FILE...

A source without findings is remembered in the user's cache folder by everything that clang-tidy would see: its own
version, the checks, the command and the preprocessed text with comments. It is checked again when one of them changes.
Sources that are no part of the build are named. Precompiled headers are left out: GCC's cannot be read by clang-tidy, and
a source that needs what it does not include is found so. Ends with 1 on findings.
"""

import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "isoflop-tidy"
NOISE = re.compile(r"^\d+ warnings? (generated|treated as).*\n?", re.MULTILINE)


def without_precompiled_headers(arguments):
    """The arguments without the header that CMake includes first, and the warning that comes with it."""
    kept = [argument for argument in arguments if argument != "-Winvalid-pch"]
    while header := next((at for at, argument in enumerate(kept) if argument.endswith("/cmake_pch.hxx")), None):
        first = header
        while first > 0 and kept[first - 1] in ("-include", "-Xclang", "-include-pch"):
            first -= 1
        del kept[first:header + 1]
    return kept


def commands_of(build):
    """The arguments that compile each source, without a launcher such as ccache and without precompiled headers."""
    commands = {}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        arguments = shlex.split(entry["command"])
        if pathlib.Path(arguments[0]).name == "ccache":
            del arguments[0]
        commands[pathlib.Path(entry["file"]).resolve()] = (without_precompiled_headers(arguments), entry["directory"])
    return commands


def write_commands(commands, folder):
    """For clang-tidy, in the form that CMake writes."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = [{"file": str(source), "arguments": arguments, "directory": directory}
               for source, (arguments, directory) in commands.items()]
    (folder / "compile_commands.json").write_text(json.dumps(entries))


def fingerprint(common, arguments, directory):
    """None when the source cannot be preprocessed: clang-tidy then says why."""
    preprocess = [argument for argument in arguments if argument not in ("-c", "-MD", "-MMD")]
    for option in ("-o", "-MT", "-MF"):
        if option in preprocess:
            at = preprocess.index(option)
            del preprocess[at:at + 2]
    result = subprocess.run([*preprocess, "-E", "-C"], cwd=directory, capture_output=True, check=False)
    if result.returncode != 0:
        return None
    text = hashlib.sha256(common)
    # Clones in different folders share what is remembered.
    for part in ("\0".join(preprocess).encode(), result.stdout):
        text.update(part.replace(os.getcwd().encode(), b"."))
    return text.hexdigest()


def check(clang_tidy, build, common, source, command):
    """What clang-tidy finds in one source; empty where it finds nothing."""
    key = fingerprint(common, *command)
    clean = CACHE / key if key else None
    if clean and clean.exists():
        return ""
    result = subprocess.run([clang_tidy, "-p", build, "--quiet", source], capture_output=True, text=True, check=False)
    found = NOISE.sub("", result.stdout + result.stderr).strip()
    if result.returncode == 0 and not found:
        if clean:
            CACHE.mkdir(parents=True, exist_ok=True)
            clean.touch()
        return ""
    return f"{source}:\n{found or f'clang-tidy ended with {result.returncode}'}"


def main():
    clang_tidy, build, *files = sys.argv[1:]
    build = pathlib.Path(build).resolve()
    commands = commands_of(build)
    build = build / "tidy"
    write_commands(commands, build)
    sources = [source for source in (pathlib.Path(file).resolve() for file in files) if source in commands]
    outside = len(files) - len(sources)
    if outside:
        print(f"{outside} of {len(files)} sources are no part of this build: not checked.")
    version = subprocess.run([clang_tidy, "--version"], capture_output=True, check=True).stdout
    common = version + pathlib.Path(".clang-tidy").read_bytes()
    findings = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for found in pool.map(lambda source: check(clang_tidy, build, common, source, commands[source]), sources):
            if found:
                findings += 1
                print(found, flush=True)
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
