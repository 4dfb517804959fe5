"""The picture of docs/architecture.md: layers as boxes in the rows of cmake/layers.txt, includes as arrows."""
from layers import Layer

WIDTH = 1000
BOX_HEIGHT = 34
ROW_HEIGHT = 84
MARGIN = 24
LEGEND_HEIGHT = 56
FILLS = {"both": "#e8eef7", "plan": "#e3f1e3", "train": "#fbeedd", "plugin": "#f2f2f2"}
STROKES = {"both": "#4a6fa5", "plan": "#4b8b4b", "train": "#b7762b", "plugin": "#808080"}
LEGEND = {"both": "isoflop_plan, for both tools", "plan": "isoflop_plan, for scaling-plan",
          "train": "isoflop_train", "plugin": "plug-in, loaded at run time"}
# Where the layers of a library stand in a row, as shares of the width.
COLUMNS = {"plan": (0.0, 0.4), "train": (0.4, 1.0), "plugin": (0.8, 1.0), "both": (0.0, 0.4)}


def place(layers: dict[str, Layer]) -> dict[str, tuple[float, float, float]]:
    """Of each layer: the middle of its box, the upper edge, the width."""
    drawn_rows = sorted({layer.row for layer in layers.values()}, reverse=True)
    lowest_train = min((each.row for each in layers.values() if each.library == "train"), default=0)
    boxes = {}
    for index, row in enumerate(drawn_rows):
        for library, columns in COLUMNS.items():
            names = [each.name for each in layers.values() if each.row == row and each.library == library]
            first, last = columns
            if library == "both" and row < lowest_train:  # below both tools
                first, last = 0.2, 0.8
            if library == "train" and any(e.row == row and e.library == "plugin" for e in layers.values()):
                last = 0.8
            step = (last - first) * (WIDTH - 2 * MARGIN) / max(len(names), 1)
            for number, name in enumerate(names):
                middle = MARGIN + first * (WIDTH - 2 * MARGIN) + (number + 0.5) * step
                boxes[name] = (middle, MARGIN + index * ROW_HEIGHT, 9 * len(name) + 24)
    return boxes


def ports(boxes: dict, edges: set[tuple[str, str]]) -> dict[tuple[str, str], tuple[float, float]]:
    """Of each arrow: where it leaves the upper box and reaches the lower one. The arrows of a box leave in the order
    of the boxes that they lead to, so that they do not cross at once."""
    leave, arrive = {}, {}
    for name, (middle, _, width) in boxes.items():
        for own, other, at in ((0, 1, leave), (1, 0, arrive)):
            mine = sorted((edge for edge in edges if edge[own] == name), key=lambda e: (boxes[e[other]][0], e[other]))
            for index, edge in enumerate(mine):
                at[edge] = middle - width / 2 + width * (index + 1) / (len(mine) + 1)
    return {edge: (leave[edge], arrive[edge]) for edge in edges}


def arrow(source: tuple, target: tuple, ends: tuple[float, float], colour: str) -> str:
    start, end = source[1] + BOX_HEIGHT, target[1]
    bend = min(0.5 * (end - start), ROW_HEIGHT)
    return (f'<path d="M{ends[0]:.1f} {start:.1f} C{ends[0]:.1f} {start + bend:.1f} {ends[1]:.1f} {end - bend:.1f} '
            f'{ends[1]:.1f} {end - 2:.1f}" fill="none" stroke="{colour}" stroke-width="1.2" '
            f'stroke-opacity="0.7" marker-end="url(#head)"/>')


def box(layer: Layer, at: tuple) -> str:
    middle, top, width = at
    return (f'<rect x="{middle - width / 2:.1f}" y="{top:.1f}" width="{width:.1f}" height="{BOX_HEIGHT}" rx="5" '
            f'fill="{FILLS[layer.library]}" stroke="{STROKES[layer.library]}"/>'
            f'<text x="{middle:.1f}" y="{top + 22:.1f}" text-anchor="middle">{layer.name}</text>')


def legend(layers: dict[str, Layer], top: float) -> list[str]:
    used = [library for library in LEGEND if any(each.library == library for each in layers.values())]
    parts = []
    for index, library in enumerate(used):
        left = MARGIN + index * (WIDTH - 2 * MARGIN) / len(used)
        parts.append(f'<rect x="{left:.1f}" y="{top:.1f}" width="14" height="14" fill="{FILLS[library]}" '
                     f'stroke="{STROKES[library]}"/>'
                     f'<text class="small" x="{left + 20:.1f}" y="{top + 12:.1f}">{LEGEND[library]}</text>')
    return parts


def picture(layers: dict[str, Layer], edges: set[tuple[str, str]]) -> str:
    boxes = place(layers)
    height = max((top for _, top, _ in boxes.values()), default=0) + BOX_HEIGHT + LEGEND_HEIGHT
    ends = ports(boxes, edges)
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" role="img" '
             f'font-family="monospace" font-size="14">',
             "<title>The layers of Isoflop; an arrow is an include</title>",
             "<style>.small{font-size:12px;font-family:sans-serif}</style>",
             '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
             'orient="auto"><path d="M0 0L8 4L0 8z" fill="#666"/></marker></defs>',
             f'<rect width="{WIDTH}" height="{height:.0f}" fill="white"/>']
    lines += [arrow(boxes[edge[0]], boxes[edge[1]], ends[edge], STROKES[layers[edge[0]].library])
              for edge in sorted(edges)]
    lines += [box(layer, boxes[name]) for name, layer in layers.items()]
    lines += legend(layers, height - 28)
    return "\n".join(lines + ["</svg>", ""])
