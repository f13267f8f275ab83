"""Circuits drawn: layers upwards, what helps in blue, what hurts in red, with dashes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from lensscope.circuits.naming import named, owner, short_name
from lensscope.circuits.wiring import Wiring
from lensscope.effects.receivers import LOGITS
from lensscope.show.colours import NOTHING, PALE_TEXT, ink, mixed, rgb
from lensscope.show.svg import drawing, svg_text
from lensscope.signs import escape, isolated, short
from lensscope.values.sites import Site

_ROW: Final = 64
_WORDS: Final = 22
"""Characters of what a node writes that stand in its box."""
_LEFT: Final = 84


@dataclass(frozen=True)
class _Box:
    name: str
    label: str
    words: str
    effect: float
    x: float
    y: float
    width: float
    height: float
    shown: str = ""


def circuit_svg(circuit: Wiring) -> str:
    """The drawing as SVG: nodes by layer, the logits on top; effects as colour, and of paths as
    width too."""
    boxes, width, height = _placed(circuit)
    parts = []
    rows = dict.fromkeys(
        (box.y, _row_label(box.name)) for boxes_ in boxes.values() for box in boxes_
    )
    for y, label in rows:
        parts.append(svg_text(8, y + 17, label, fill=PALE_TEXT))
    parts += _edges(circuit, boxes)
    strongest = max((abs(e) for e in circuit.nodes.values()), default=0.0) or 1.0
    for boxes_ in boxes.values():
        parts += [_box(box, strongest) for box in boxes_]
    return drawing(width, height, "".join(parts))


def _row_of(site: Site) -> tuple[int, int]:
    """Within a block, heads are below the MLP."""
    after = site.kind in ("mlp_out", "resid_post")
    return (-1 if site.layer is None else site.layer, int(after))


def _slot(site: Site) -> tuple[int, int, str]:
    """The column of a node: heads by number, then what has none; by position, if it has one."""
    return (
        int(site.head is None),
        site.head or 0,
        "" if site.position is None else str(site.position),
    )


def _row_label(name: str) -> str:
    if name == LOGITS:
        return ""
    layer = name.partition("(")[2].partition(",")[0].partition(")")[0]
    return f"layer {layer}" if layer else ""


def _placed(circuit: Wiring) -> tuple[dict[str, list[_Box]], float, float]:
    """Where everything stands, by name; the logits if something reaches them."""
    rows: dict[tuple[int, int], list[Site]] = {}
    for site in circuit.nodes:
        rows.setdefault(_row_of(site), []).append(site)
    order = sorted(rows, reverse=True)
    to_logits = any(receiver == LOGITS for _, receiver in circuit.edges)
    said = bool(circuit.words)
    labels = [short_name(site) for site in circuit.nodes]
    wide = max([7.4 * max(map(len, labels), default=4) + 18, 7.0 * _WORDS + 16 if said else 0, 64])
    tall = 42.0 if said else 26.0
    step = _ROW + (14 if said else 0)
    # Every head number has a column, and MLPs have one beside them, in which they stand to and fro:
    # so few paths run behind a box between their ends.
    column = {slot: n for n, slot in enumerate(sorted({_slot(s) for s in circuit.nodes}))}
    gap, aside = wide + 18, 0.55 * wide
    width = _LEFT + len(column) * gap + 2 * aside + 24
    boxes: dict[str, list[_Box]] = {}
    top = 24.0
    if to_logits:
        middle = _LEFT + len(column) * gap / 2
        boxes[LOGITS] = [_Box(LOGITS, LOGITS, "", 0.0, middle - 36, top, 72, 26)]
        top += step
    turns = 0
    for row in order:
        late = any(site.head is None for site in rows[row])
        shift = aside * (0, 1, 2, 1)[turns % 4] if late else 0.0
        turns += late
        for site in rows[row]:
            words = short(circuit.words[site], _WORDS) if site in circuit.words else ""
            box = _Box(
                named(site),
                short_name(site),
                words,
                circuit.nodes[site],
                _LEFT + column[_slot(site)] * gap + shift,
                top,
                wide,
                tall,
                circuit.effect_of(site, 4),
            )
            plain = named(site).split(".at(")[0]
            boxes.setdefault(plain, []).append(box)
        top += step
    return boxes, width, top + 4


def _edges(circuit: Wiring, boxes: dict[str, list[_Box]]) -> list[str]:
    """Weak paths first, so that strong ones lie above them."""
    largest = max((abs(e) for e in circuit.edges.values()), default=0.0) or 1.0
    parts = []
    for (sender, receiver), effect in sorted(circuit.edges.items(), key=lambda i: abs(i[1])):
        colour = rgb(mixed(0.5 + 0.5 * (0.35 + 0.65 * abs(effect) / largest) * _sign(effect)))
        line = 1 + 6 * abs(effect) / largest
        end_name = short_name(receiver, circuit.queries_a_key)
        what = f"{short_name(sender)} to {end_name}: {effect:+.3f}"
        for end in owner(receiver, circuit.queries_a_key):
            for start in boxes.get(named(sender), []):
                for stop in boxes.get(named(end), []):
                    x0, y0 = start.x + start.width / 2, start.y
                    x1, y1 = stop.x + stop.width / 2, stop.y + stop.height
                    if not isinstance(receiver, str) and receiver.kind in _PORTS:
                        x1 += stop.width * _PORTS[receiver.kind]
                    bend = max(24.0, (y0 - y1) / 2)
                    parts.append(
                        f"<path d='M{x0:.1f},{y0:.1f}C{x0:.1f},{y0 - bend:.1f} {x1:.1f},"
                        f"{y1 + bend:.1f} {x1:.1f},{y1:.1f}' fill='none' stroke='{colour}' "
                        f"stroke-width='{line:.1f}' opacity='0.8'{_dashes(effect)}>"
                        f"<title>{escape(what)}</title></path>"
                    )
    return parts


_PORTS: Final = {"q": -0.3, "k": 0.0, "v": 0.3}
"""Where queries, keys and values enter a head's box, from its middle."""


def _sign(value: float) -> int:
    return -1 if value < 0 else 1


def _dashes(effect: float) -> str:
    """What hurts is told apart without colour too."""
    return " stroke-dasharray='7 4'" if effect < 0 else ""


def _box(box: _Box, strongest: float) -> str:
    share = box.effect / strongest
    ground = NOTHING if box.name == LOGITS else mixed(0.5 + 0.5 * share)
    text = ink(ground)
    x = box.x + box.width / 2
    said = f"\n{isolated(box.words)}" if box.words else ""
    title = f"{box.name}: effect {box.shown}{said}" if box.name != LOGITS else LOGITS
    parts = [
        f"<g><title>{escape(title)}</title><rect x='{box.x:.1f}' y='{box.y:.1f}' "
        f"width='{box.width:.1f}' height='{box.height:.1f}' rx='6' fill='{rgb(ground)}' "
        f"stroke='#68748a'{_dashes(box.effect)}/>",
        svg_text(x, box.y + 17, box.label, anchor="middle", fill=text, weight=600),
    ]
    if box.words:
        parts.append(svg_text(x, box.y + 34, box.words, anchor="middle", fill=text, mono=True))
    return "".join(parts) + "</g>"


def rows_of(circuit: Wiring) -> list[tuple[str, str, str]]:
    """Nodes by the size of their effects, then edges: each with its effect, and what it writes."""
    nodes = sorted(circuit.nodes, key=lambda site: -abs(circuit.nodes[site]))
    edges = sorted(circuit.edges.items(), key=lambda item: -abs(item[1]))
    group = circuit.queries_a_key
    return [(short_name(s), circuit.effect_of(s), circuit.words.get(s, "")) for s in nodes] + [
        (f"{short_name(s)} → {short_name(r, group)}", f"{e:+.3f}", "") for (s, r), e in edges
    ]
