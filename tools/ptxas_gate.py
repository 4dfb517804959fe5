#!/usr/bin/env python3
"""What the GPU's assembler says about our kernels: registers, spills, stack, shared memory, occupancy.

Writes a table of every kernel of src/ and fails where a kernel spills registers, needs local memory or fits too few times
on a multiprocessor. tools/ptxas_floors.json has what each kernel may do. With --logs it reads what the assembler said when
the project was built (cmake/log_ptxas.sh); otherwise it compiles every *_cuda.cu. No GPU is needed. Ends with 77, for
"skipped", where it would have to compile and there is no nvcc.
"""
import argparse
import concurrent.futures
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

SKIPPED = 77
DEFAULT_ARCHITECTURES = ("80", "90")
ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Multiprocessor:
    """CUDA C++ Programming Guide, "Technical Specifications per Compute Capability"."""
    warps: int
    blocks: int
    shared_bytes: int
    registers: int = 65536


MULTIPROCESSORS = {
    "80": Multiprocessor(64, 32, 164 * 1024), "86": Multiprocessor(48, 16, 100 * 1024),
    "89": Multiprocessor(48, 24, 100 * 1024), "90": Multiprocessor(64, 32, 228 * 1024),
    "100": Multiprocessor(64, 32, 228 * 1024), "120": Multiprocessor(48, 24, 100 * 1024)}
RESERVED_SHARED_BYTES = 1024  # of each block, by the system


@dataclass
class Kernel:
    symbol: str
    architecture: str
    registers: int = 0
    shared_bytes: int = 0
    stack_bytes: int = 0
    spill_stores: int = 0
    spill_loads: int = 0
    is_entry: bool = False
    name: str = ""

    @property
    def spilled_bytes(self):
        return self.spill_stores + self.spill_loads


@dataclass(frozen=True)
class Limit:
    """What is known of a kernel's launch, and what it may do."""
    threads: int = 256
    dynamic_shared: int = 0
    occupancy: float = 0.5
    spill_bytes: int = 0
    stack_bytes: int = 0


class Floors:
    """The first entry whose pattern is found in the kernel's name; fields that it lacks are the default's. An entry
    with "architectures" is for those only."""

    def __init__(self, table):
        self.default = Limit(**table.get("default", {}))
        self.entries = []
        for entry in table.get("kernels", []):
            fields = {key: value for key, value in entry.items() if key not in ("pattern", "architectures", "why")}
            merged = Limit(**{**self.default.__dict__, **fields})
            self.entries.append((re.compile(entry["pattern"]), entry.get("architectures"), merged))

    def of(self, name, architecture):
        for pattern, architectures, limit in self.entries:
            if pattern.search(name) and (architectures is None or architecture in architectures):
                return limit
        return self.default


def parse(text):
    """Kernels, and device functions that were not inlined, from what ptxas -v prints."""
    found = {}
    current = None
    for line in text.splitlines():
        if match := re.search(r"Compiling entry function '([^']+)' for 'sm_(\d+)[a-z]?'", line):
            current = Kernel(symbol=match[1], architecture=match[2], is_entry=True)
            found[current.symbol, current.architecture] = entry = current
        elif match := re.search(r"Function properties for '?([^\s']+)'?", line):
            key = (match[1], current.architecture if current else "?")
            current = found.setdefault(key, Kernel(*key))
        elif match := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", line):
            if current is None:
                raise ValueError(f"properties of no function: {line}")
            current.stack_bytes, current.spill_stores, current.spill_loads = (int(match[i]) for i in (1, 2, 3))
        elif match := re.search(r"Used (\d+) registers", line):
            if current is None:
                raise ValueError(f"registers of no function: {line}")
            # The summary is the kernel's, also after the properties of functions that it calls.
            entry.registers = int(match[1])
            if shared := re.search(r"(\d+)(?:\+\d+)? bytes smem", line):
                entry.shared_bytes = int(shared[1])
    incomplete = [kernel.symbol for kernel in found.values() if kernel.is_entry and kernel.registers == 0]
    if incomplete:
        raise ValueError(f"no registers were reported for {', '.join(incomplete)}")
    return list(found.values())


def round_up(value, unit):
    return -(-value // unit) * unit


def occupancy(kernel, limit):
    """Warps that fit on a multiprocessor, of those that it can hold. Registers are given out to four warps at a time,
    256 per warp at least (CUDA's cuda_occupancy.h)."""
    sm = MULTIPROCESSORS[kernel.architecture]
    warps = -(-limit.threads // 32)
    registers_of_warp = round_up(kernel.registers * 32, 256)
    by_registers = sm.registers // registers_of_warp // 4 * 4 // warps
    shared = round_up(kernel.shared_bytes + limit.dynamic_shared, 128) + RESERVED_SHARED_BYTES
    return min(by_registers, sm.shared_bytes // shared, sm.warps // warps, sm.blocks) * warps / sm.warps


def complaints(kernel, limit):
    said = []
    if kernel.spilled_bytes > limit.spill_bytes:
        said.append(f"spills {kernel.spill_stores} bytes and loads {kernel.spill_loads} again, "
                    f"{limit.spill_bytes} together are allowed")
    if kernel.stack_bytes > max(limit.stack_bytes, limit.spill_bytes):
        said.append(f"has a stack frame of {kernel.stack_bytes} bytes")
    if kernel.is_entry and (share := occupancy(kernel, limit)) < limit.occupancy:
        said.append(f"occupies {share:.0%} of a multiprocessor ({kernel.registers} registers, {limit.threads} threads), "
                    f"{limit.occupancy:.0%} are wanted")
    return said


def short_name(demangled):
    """Without return type, parameters and namespaces."""
    name = re.sub(r"\(anonymous namespace\)::|_GLOBAL__N__\w+::", "", demangled)
    name = re.sub(r"\b(?:[a-z_0-9]+::)+", "", name)
    depth = 0
    for position, letter in enumerate(name):
        depth += {"<": 1, ">": -1}.get(letter, 0)
        if letter == "(" and depth == 0:
            name = name[:position]
            break
    return re.sub(r"^(?:void|static) ", "", name.strip())


def demangle(symbols):
    tool = shutil.which("c++filt") or shutil.which("cu++filt")
    if not symbols or not tool:
        return symbols
    result = subprocess.run([tool], input="\n".join(symbols), capture_output=True, text=True, check=True)
    return result.stdout.splitlines()


def find_nvcc(given):
    places = [given] if given else [
        shutil.which("nvcc"), *(f"{os.environ[name]}/bin/nvcc" for name in ("CUDA_HOME", "CUDA_PATH")
                                if name in os.environ), "/usr/local/cuda/bin/nvcc"]
    return next((place for place in places if place and shutil.which(place)), None)


class Assembler:
    """Runs nvcc, and remembers what it said while source, headers and flags are the same."""

    def __init__(self, nvcc, flags, cache, root=ROOT):
        self.nvcc, self.flags, self.cache, self.root = nvcc, flags, cache, root
        version = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True).stdout
        self.common = (version + "\0".join(flags)).encode()

    def key_of(self, source, architecture):
        """Of the source with all files of ours that it includes, however deep."""
        digest = hashlib.sha256(self.common + architecture.encode())
        seen, todo = set(), [source.resolve()]
        while todo:
            file = todo.pop()
            if file in seen:
                continue
            seen.add(file)
            text = file.read_bytes()
            digest.update(text)
            for name in re.findall(rb'^\s*#\s*include\s+"([^"]+)"', text, re.MULTILINE):
                places = (folder / name.decode() for folder in (file.parent, self.root / "src", self.root / "include"))
                todo += [place.resolve() for place in places if place.is_file()]
        return digest.hexdigest()[:16]

    def output(self, source, architecture):
        remembered = self.cache / f"{source.stem}.sm_{architecture}.{self.key_of(source, architecture)}.txt"
        if remembered.exists():
            return remembered.read_text(encoding="utf-8")
        with tempfile.TemporaryDirectory() as folder:
            command = [self.nvcc, "-std=c++20", "-I", str(self.root / "include"), "-I", str(self.root / "src"),
                       *self.flags, f"-arch=sm_{architecture}", "-Xptxas", "-v", "-cubin",
                       "-o", f"{folder}/out.cubin", str(source)]
            result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}\n{result.stdout}{result.stderr}")
        self.cache.mkdir(parents=True, exist_ok=True)
        for older in self.cache.glob(f"{source.stem}.sm_{architecture}.*.txt"):
            older.unlink()
        text = result.stdout + result.stderr
        remembered.write_text(text, encoding="utf-8")
        return text


def logs_of(folder, sources):
    """What the assembler said of each source when it was built; a source without a log is an error."""
    texts = []
    for source in sources:
        log = folder / f"{source.resolve().relative_to(ROOT / 'src')}.o.ptxas.txt"
        if not log.is_file():
            raise RuntimeError(f"{log} is missing: build the target isoflop_train with CUDA")
        texts.append(log.read_text(encoding="utf-8"))
    return texts


def compile_all(arguments, sources):
    """What the assembler says of each source; None without a compiler."""
    nvcc = find_nvcc(arguments.nvcc)
    if nvcc is None:
        return None
    assembler = Assembler(nvcc, arguments.flags.split(), arguments.output.parent / "ptxas_cache")
    work = [(source, architecture) for source in sources for architecture in arguments.arch or DEFAULT_ARCHITECTURES]
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        return list(pool.map(lambda item: assembler.output(*item), work))


def wanted(kernels, architectures):
    """Kernels for these architectures; for all where none was built for them, as on a machine with another GPU."""
    return [kernel for kernel in kernels if kernel.architecture in architectures] or kernels


def table_of(kernels, floors):
    lines = ["# Kernels as ptxas assembles them", "",
             "Written by tools/ptxas_gate.py. Occupancy is arithmetic (registers, shared memory, threads), not measured.", "",
             "| kernel | sm | registers | spilled B (stores/loads) | stack B | shared B | threads | occupancy | floor |",
             "|---|---|---|---|---|---|---|---|---|"]
    for kernel in kernels:
        limit = floors.of(kernel.name, kernel.architecture)
        share, floor = ("-", "-") if not kernel.is_entry else (
            f"{occupancy(kernel, limit):.0%}", f"{limit.occupancy:.0%}")
        dynamic = f" + {limit.dynamic_shared}" if limit.dynamic_shared else ""
        name = kernel.name.replace("|", "\\|") + ("" if kernel.is_entry else " (called)")
        lines.append(f"| `{name}` | {kernel.architecture} | {kernel.registers or '-'} | "
                     f"{kernel.spill_stores}/{kernel.spill_loads} | {kernel.stack_bytes} | "
                     f"{kernel.shared_bytes}{dynamic} | {limit.threads} | {share} | {floor} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nvcc", help="default: on the PATH, $CUDA_HOME, $CUDA_PATH, /usr/local/cuda")
    parser.add_argument("--output", type=Path, default=Path("ptxas.md"), help="the table")
    parser.add_argument("--logs", type=Path, help="folder of the built objects: read what was said then, compile nothing")
    parser.add_argument("--flags", default="-O3 -DNDEBUG", help="as the build gives nvcc")
    parser.add_argument("--arch", action="append", choices=sorted(MULTIPROCESSORS, key=int), help="default: 80 and 90")
    parser.add_argument("--floors", type=Path, default=ROOT / "tools/ptxas_floors.json")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("sources", nargs="*", type=Path, help="default: every *_cuda.cu of src/")
    arguments = parser.parse_args()

    floors = Floors(json.loads(arguments.floors.read_text(encoding="utf-8")))
    sources = arguments.sources or sorted(ROOT.glob("src/**/*_cuda.cu"))
    texts = logs_of(arguments.logs, sources) if arguments.logs else compile_all(arguments, sources)
    if texts is None:
        print("Skipped: no nvcc" + (f" at {arguments.nvcc}" if arguments.nvcc else ""))
        return SKIPPED
    kernels = wanted([kernel for text in texts for kernel in parse(text)], arguments.arch or DEFAULT_ARCHITECTURES)
    if not kernels:
        raise RuntimeError(f"no kernels of {len(sources)} sources")
    for kernel, name in zip(kernels, demangle([kernel.symbol for kernel in kernels])):
        kernel.name = short_name(name)
    # A template in a header is assembled once per source that uses it.
    kernels = [*{(kernel.name, str(kernel)): kernel for kernel in kernels}.values()]
    kernels.sort(key=lambda kernel: (kernel.name, kernel.architecture.zfill(3)))

    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(table_of(kernels, floors), encoding="utf-8")
    failed = [f"sm_{kernel.architecture} {kernel.name}: {said}" for kernel in kernels
              for said in complaints(kernel, floors.of(kernel.name, kernel.architecture))]
    print(f"{len(kernels)} kernels of {len(sources)} sources: {arguments.output}")
    if failed:
        print("\n".join(failed))
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (RuntimeError, ValueError, OSError) as error:
        sys.exit(f"ptxas_gate: {error}")
