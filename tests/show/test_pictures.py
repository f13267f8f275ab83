"""What pictures and pages must have for all who look at them."""

from __future__ import annotations

import itertools
import math
import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import pandas as pd
import pytest

import lensscope as ls
from lensscope.show import colours, heatmaps, lines, pages, tables
from lensscope.show.heatmaps import Panel
from lensscope.show.lines import Chart, Line
from lensscope.signs import isolated, short, visible, width
from tests import families


def test_the_contrast_is_that_of_wcag():
    assert colours.contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert colours.contrast((119, 119, 119), (255, 255, 255)) == pytest.approx(4.48, abs=0.01)
    assert colours.contrast((107, 174, 214), (255, 255, 255)) < 2.6  # what was drawn once


def test_text_can_be_read_on_every_shade():
    for shades in (colours.SHADES, colours.DIVERGING):
        for n in range(1001):
            ground = colours.mixed(n / 1000, shades)
            assert colours.contrast(ground, colours.parsed(colours.ink(ground))) >= 4.5


def test_text_can_be_read_on_every_colour():
    for ground in itertools.product(range(0, 256, 15), repeat=3):
        assert colours.contrast(ground, colours.parsed(colours.ink(ground))) >= 4.5
    for text in (colours.TEXT, colours.PALE_TEXT):
        assert colours.contrast((255, 255, 255), colours.parsed(text)) >= 4.5


ARABIC = "مرحبا"
PANEL = Panel(
    title=f"{ARABIC} 3",
    x=("a", ARABIC),
    y=("0", "1"),
    x_title="token",
    y_title="layer",
    values=((0.0, math.nan), (0.5, 1.0)),
    texts=(("x", short("", 9)), (short("\n", 9), short(f" {ARABIC} 3", 9))),
    hovers=(("x", "nothing"), ("line", f"{ARABIC} 3")),
    cell_width=9,
)


def drawn(svg):
    """What stands where."""
    found = ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")
    return {"".join(t.itertext()): (float(t.attrib["x"]), float(t.attrib["y"])) for t in found}


def grid():
    template = '{% from "parts.html" import grid %}{{ grid(panel, 0, 1, "t") }}'
    return pages._templates().from_string(template).render(panel=PANEL)


def test_newlines_spaces_and_nothing_are_signs():
    assert [visible(t) for t in ("\n", " ", "  ", "\t", "", "a b")] == [
        *("⏎", "␣", "␣␣", "⇥", "∅", "a b")
    ]
    assert [short(t, 5) for t in ("", " ", "\n", "  ab ", "abcdef")] == [
        *("∅", "␣", "⏎", "ab", "abcd…")
    ]
    assert short("서울특별시청", 7) == "서울특…" and width("서울…") == 5


def test_every_cell_of_a_grid_is_drawn():
    svg = heatmaps.to_svg([PANEL], "probability")
    assert svg.count("<g>") == 4 and {"∅", "⏎", "x"} <= set(drawn(svg))
    assert colours.rgb(colours.NOTHING) in svg and "nan" not in svg
    html = grid()
    assert html.count("<td") == 4 and "∅" in html and "nan" not in html
    assert not re.search(r'<bdi class="t">\s*</bdi>', html)


def test_what_runs_from_right_to_left_keeps_to_itself():
    assert isolated("a 3") == "a 3"
    assert isolated(f"{ARABIC} 3\nb") == f"\u2068{ARABIC} 3\u2069\n\u2068b\u2069"
    assert f"\u2068{ARABIC} 3\u2069" in drawn(heatmaps.to_svg([PANEL], "probability"))
    assert f"<title>\u2068{ARABIC} 3\u2069 (1.000)" in heatmaps.to_svg([PANEL], "probability")
    assert f"<bdi>{ARABIC}</bdi>" in grid()


def test_layers_are_stacked_upwards_everywhere():
    places = drawn(heatmaps.to_svg([PANEL], "probability"))
    assert places["0"][1] > places["1"][1]
    assert grid().index("<bdi>1</bdi>") < grid().index("<bdi>0</bdi>")
    assert heatmaps.to_plotly([PANEL], "probability").layout.yaxis.autorange is True
    places = drawn(heatmaps.to_svg([replace(PANEL, upwards=False)], "probability"))
    assert places["0"][1] < places["1"][1]


def test_pictures_bring_their_ground_and_fit_the_page(llama):
    result = ls.LogitLens().read(llama, families.prompt(40))
    svg = result.to_svg()
    assert "max-width:100%" in svg and "<rect width='100%' height='100%' fill='white'/>" in svg
    assert float(ET.fromstring(svg).attrib["width"]) < 1200  # in parts, none of which is cut
    assert svg.count("<g>") == 40 * 3
    for page in (result.to_html(), result._repr_html_()):
        assert re.search(r"\.lensscope \{[^}]*background: #fff", page)
        assert "position: sticky" in page


def test_lines_are_told_apart_without_colour():
    chart = Chart("t", "x", "y", tuple(Line(f"n{i}", (0.0, 1.0), (0.0, 1.0)) for i in range(6)))
    svg = lines.to_svg(chart)
    dashes = re.findall(r"<polyline [^>]*?(stroke-dasharray='[^']*'|stroke-width='2'/)", svg)
    assert len(set(dashes)) == 6
    assert len({trace.line.dash for trace in lines.to_plotly(chart).data}) == 6


def test_a_name_keeps_its_colour_in_all_figures():
    one, two = (Chart("t", "x", "y", (Line(n, (0.0, 1.0), (0.0, 1.0)),)) for n in "ab")
    names = lines.names_of([one, two])
    alone = lines.to_svg(two, names=names)
    assert lines.COLOURS[1] in alone and lines.COLOURS[0] not in alone
    assert lines.to_plotly(two, names).data[0].line.color == lines.COLOURS[1]


def test_a_notebook_is_given_a_page_and_a_table(llama):
    scope = ls.Patchscope(ls.InspectionPrompt("w9 w8 w7", placeholder="w7"), max_new_tokens=2)
    result = scope.inspect(llama, "w10 w11")
    shown = result._repr_mimebundle_()
    assert shown == {"text/html": result._repr_html_(), "text/plain": str(result)}
    html = shown["text/html"]
    assert html.index(result.title) < html.index("<table") < html.index(result.plan)


def test_tables_have_the_same_signs():
    frame = pd.DataFrame({"said": ["a\nb", "", " "]})
    assert [line.strip("| ") for line in tables.markdown(frame).splitlines()[2:]] == [
        *("a⏎b", "∅", "␣")
    ]
    assert all(
        sign in tables.latex(frame)
        for sign in (r"a$\hookleftarrow$b", r"$\emptyset$", r"\textvisiblespace{}")
    )


def test_a_long_title_is_not_cut():
    line = Line("a", (0.0, 1.0), (0.0, 1.0))
    svg = lines.to_svg(Chart("long " * 20, "x", "y", (line,)))
    assert float(ET.fromstring(svg).attrib["width"]) > 64 + 100 * 7


def test_titles_say_what_was_read_and_patched_and_dashes_what_hurts(llama):
    pair = families.prompt(6), families.prompt(6, seed=1)
    difference = lambda logits: logits[:, -1, 7] - logits[:, -1, 9]
    scope = ls.Patchscope(ls.InspectionPrompt("w9 w8 w7", placeholder="w7"), max_new_tokens=1)
    read = scope.inspect(llama, "w10 w11")
    assert read.title == f"w10 w11, in the words of {read.target.model}"
    effect = ls.activation_patching(llama, *pair, [ls.mlp_out, ls.head_out], difference)
    assert effect.title.endswith("mlp_out, head_out patched")
    lenses = [ls.LogitLens(), scope.as_lens()]
    assert ls.compare(llama, [pair[0]], lenses).title == "Logit lens, patchscope, by layer"
    nodes = {ls.head_out(1, 2): -0.5, ls.mlp_out(2): 0.5}
    edges = {(ls.head_out(1, 2), "logits"): -0.2, (ls.mlp_out(2), "logits"): 0.2}
    circuit = ls.Circuit(nodes, edges, settings={"metric": "difference"})
    assert circuit.title == "Circuit of 2 nodes and 2 edges for difference"
    assert circuit.to_svg().count("stroke-dasharray") == 2
    assert "effect -0.5000" in circuit.to_svg() and "≈" not in circuit.to_html()
    whole = ls.activation_patching(llama, *pair, ls.mlp_out, difference, positions=ls.ALL)
    assert ">layer up; colour" in whole.to_svg()  # nothing across
