"""The layers of cmake/layers.txt, and the includes between them in a source tree."""
import dataclasses
import pathlib
import re

SUFFIXES = (".hpp", ".cpp", ".cu", ".cuh", ".inl")
# The libraries whose layers a layer may include, beside its own.
REACHES = {"both": ("both",), "plan": ("both", "plan"), "train": ("both", "train"), "plugin": ()}
DIRECTIVE = re.compile(r"\s*#\s*(include|include_next|import)\b\s*(.*)")
HEADER = re.compile(r'["<]([^">]+)[">]')


@dataclasses.dataclass(frozen=True)
class Layer:
    library: str
    row: int
    name: str
    text: str  # what belongs there


@dataclasses.dataclass(frozen=True)
class Include:
    place: str  # file:line
    header: str  # as it is written
    source: str  # the layer that includes
    target: str | None  # the layer of the header; None where it is no layer's
    problem: str | None  # a fault that does not depend on the layers


def read_layers(root: pathlib.Path) -> dict[str, Layer]:
    layers = {}
    for line in (root / "cmake/layers.txt").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            library, row, name, text = line.split(None, 3)
            layers[name] = Layer(library, int(row), name, text)
    return layers


def layer_of(path: pathlib.PurePath, layers: dict[str, Layer]) -> str | None:
    """The layer of a file, by its path from the root; of tools/, by the beginning of its name."""
    parts = path.parts
    if parts[0] == "tools":
        return next((name for name in layers if str(path).startswith(name)), None)
    if parts[:2] == ("include", "isoflop"):
        parts = parts[1:]
    return parts[1] if len(parts) > 2 else None


def sources(root: pathlib.Path) -> list[pathlib.Path]:
    found = []
    for folder in ("include/isoflop", "src", "tools"):
        found += [file for file in (root / folder).rglob("*") if file.suffix in SUFFIXES]
    return sorted(file.relative_to(root) for file in found)


def find_header(root: pathlib.Path, file: pathlib.Path, header: str) -> pathlib.Path | None:
    """Where the build would find it: beside the file, in include, src or tests."""
    for folder in (file.parent, "include", "src", "tests", "."):
        found = root / folder / header
        if found.is_file():
            return found.resolve().relative_to(root.resolve())
    return None


def read_include(root: pathlib.Path, file: pathlib.Path, number: int, header: str, quoted: bool,
                 layers: dict[str, Layer]) -> Include | None:
    source = layer_of(file, layers)
    found = find_header(root, file, header)
    if found is None and not quoted:
        return None  # of the system, or of another library
    target = problem = None
    if found is None:
        problem = "is not found in include or src"
    elif found.parts[0] == "tests":
        problem = "is a test's: nothing outside tests includes from it"
    else:
        target = layer_of(found, layers)
        if found.parts[0] == "src" and (target != source or file.parts[0] == "include"):
            problem = f"is private to {target}: only sources in src/{target} may include it"
    return Include(f"{file}:{number}", header, source, target, problem)


def read_includes(root: pathlib.Path, layers: dict[str, Layer]) -> list[Include]:
    includes = []
    for file in sources(root):
        for number, line in enumerate((root / file).read_text().splitlines(), 1):
            directive = DIRECTIVE.match(line)
            if not directive:
                continue
            header = HEADER.match(directive[2])
            if header:
                include = read_include(root, file, number, header[1], header[0].startswith('"'), layers)
                if include:
                    includes.append(include)
            else:
                includes.append(Include(f"{file}:{number}", directive[2].strip(), layer_of(file, layers) or "", None,
                                        "is computed: no check sees what it includes; name the header"))
    return includes


def violations(root: pathlib.Path, layers: dict[str, Layer], includes: list[Include]) -> list[str]:
    """Messages, one for each include that the rules of cmake/layers.txt forbid."""
    found = []
    files = {layer_of(file, layers): file for file in sources(root)}  # one of each layer
    found += [f"{file}: its layer is not in cmake/layers.txt" for name, file in files.items() if name not in layers]
    found += [f"cmake/layers.txt: {name} has no file" for name in layers if name not in files]
    for include in includes:
        if include.problem:
            found.append(f"{include.place}: {include.header} {include.problem}")
        if include.target == include.source or not {include.source, include.target} <= layers.keys():
            continue
        source, target = layers[include.source], layers[include.target]
        if target.row >= source.row:
            found.append(f"{include.place}: {include.header}: {source.name} (row {source.row}) may not "
                         f"include {target.name} (row {target.row}): arrows point down")
        elif target.library not in REACHES[source.library]:
            found.append(f"{include.place}: {include.header}: {source.name} is in the library "
                         f"{source.library}, {target.name} in {target.library}")
    return found


def arrows(layers: dict[str, Layer], includes: list[Include]) -> set[tuple[str, str]]:
    """(from, to) between different layers."""
    return {(each.source, each.target) for each in includes
            if each.source in layers and each.target in layers and each.source != each.target}


def without_implied(edges: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """The arrows that do not follow from others: the transitive reduction, of a graph without cycles."""
    below = {}

    def reach(name: str) -> set[str]:
        if name not in below:
            below[name] = set()
            for source, target in edges:
                if source == name:
                    below[name] |= {target} | reach(target)
        return below[name]

    return {(source, target) for source, target in edges
            if not any(target in reach(middle) for first, middle in edges
                       if first == source and middle != target)}
