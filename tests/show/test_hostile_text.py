"""Pictures and pages of texts that no XML can hold, and that would break out of markup."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import networkx as nx
import numpy as np
import pandas as pd
import pytest

import lensscope as ls
from lensscope.lenses.fit_report import FitReport
from lensscope.show import heatmaps as plots
from lensscope.show import lines as charts
from lensscope.signs import escape, without_control
from tests import families, planted

BAD = "a\x00\x08\x0b\x1b[31m\x7f\x85\ud83d\ufffe\uffff<b>&\"']]>--><script>x</script>"
KEPT = BAD.replace("\ud83d", "")
"""What a frame can hold, which has no half character pairs."""
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
PROMPT = families.prompt(5, seed=5)


def spoiled(data):
    """The same data with a hostile text in place of each text."""
    new = {}
    for name, variable in data.variables.items():
        if variable.dtype.kind in "OU" and name not in ("lens", "site", "condition"):
            values = np.array([KEPT + str(v) for v in variable.values.ravel()], object)
            new[name] = (variable.dims, values.reshape(variable.shape))
    return data.assign({k: v for k, v in new.items() if k in data.data_vars}).assign_coords(
        {k: v for k, v in new.items() if k in data.coords}
    )


def hostile_results(llama):
    """A result of each kind that draws itself, with hostile texts in it."""
    other = families.prompt(5, seed=6)
    metric = ls.logit_difference(5, 6)
    scope = ls.Patchscope(ls.InspectionPrompt("w9 w8 w7", placeholder="w7"), max_new_tokens=2)
    inspected = scope.inspect(llama, PROMPT)
    yield replace(inspected, data=spoiled(inspected.data), inspection=BAD, placeholder=BAD)
    reading = ls.LogitLens(name=KEPT).read(llama, PROMPT)
    yield replace(reading, data=spoiled(reading.data))
    yield ls.compare(llama, [PROMPT, other], [ls.LogitLens(name=KEPT)])
    effect = ls.activation_patching(llama, PROMPT, other, [ls.head_out, ls.mlp_out], metric)
    yield replace(effect, data=spoiled(effect.data))
    site = ls.mlp_out(0).at(BAD)
    yield ls.Circuit({site: 0.5, ls.head_out(1, 1): 0.25}, words={site: BAD}, settings={BAD: BAD})
    yield (
        effect.circuit(top=3).curve(llama, PROMPT, other, metric, random=2)
        if effect.data.sizes.get("position", 1) == 1
        else _curve(llama, other, metric)
    )
    lens = ls.TunedLens.fit(
        llama, [families.prompt(20, seed=n) for n in range(6)], steps=2, batch_size=2, length=10,
        n_held_out=2, name=BAD,
    )  # fmt: skip
    yield FitReport(lens)


def _curve(llama, other, metric):
    effect = ls.activation_patching(
        llama, PROMPT, other, [ls.head_out, ls.mlp_out], metric, positions=ls.ALL
    )
    found = effect.circuit(top=3).curve(llama, PROMPT, other, metric, random=2)
    return replace(found, metric=BAD)


def hostile_study(tmp_path):
    study = ls.studies.attribute_extraction(
        planted.model(), planted.relation(), inspection=planted.INSPECTION, max_new_tokens=1
    )
    found = study.run(tmp_path / "out")
    texts = {"title": BAD, "x": (BAD,), "y": (BAD,), "x_title": BAD, "y_title": BAD}
    panel = plots.Panel(**texts, values=((0.5,),), texts=((BAD,),), hovers=((BAD,),), cell_width=20)
    line = charts.Line(BAD, (0.0, 1.0), (0.5, float("nan")))
    return replace(
        found,
        charts=(charts.Chart(BAD, BAD, BAD, (line,)),),
        panels=(panel,),
        notes=(BAD,),
        headline=found.headline.assign(inspection=KEPT),
        tables={BAD: pd.DataFrame({KEPT: [KEPT]})},
    )


def check(result) -> None:
    """Its picture is XML, its page has nothing that is no character, and nothing that was written
    became markup; all of it can be encoded."""
    svg, page, told = result.to_svg(), result.to_html(), result.to_json()
    ET.fromstring(svg)
    for text in (svg, page):
        assert not _FORBIDDEN.search(text)
        assert "<script" not in text and "<b>" not in text
    for drawn in re.findall("<svg.*?</svg>", page, re.DOTALL):
        ET.fromstring(drawn)
    seen = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag, attrs):
            seen.append(tag)

    Tags().feed(page)
    assert "script" not in seen and "b" not in seen
    assert "␛" in svg + page and "␀" in page
    told.encode("utf-8")
    assert "NaN" not in told.replace('"NaN', "")
    if isinstance(result, ls.Circuit):
        site = ls.mlp_out(0).at(KEPT)
        result = ls.Circuit({site: 0.5, ls.mlp_out(1): 0.2}, words={site: KEPT + "|_\\\n"})
    for text, between in ((result.to_markdown(), "|"), (result.to_latex(), "&")):
        assert not _FORBIDDEN.search(text)
        lines = [line for line in text.splitlines() if f" {between} " in line and line[0] != "%"]
        assert lines and "<" not in "".join(lines)
        assert len({len(re.findall(rf"(?<!\\){re.escape(between)} ", line)) for line in lines}) == 1


def test_every_picture_of_a_hostile_text_is_well_formed(llama):
    kinds = set()
    for result in hostile_results(llama):
        kinds.add(type(result).__name__)
        if type(result).__name__ == "FaithfulnessCurve":
            ET.fromstring(result.to_svg())
            assert not _FORBIDDEN.search(result.to_html())
        else:
            check(result)
        result.plot().to_json() if hasattr(result, "plot") else None
    assert len(kinds) == 7


def test_a_study_of_hostile_texts(tmp_path):
    result = hostile_study(tmp_path)
    check(result)
    result.plot().to_json()
    for write in (result.to_markdown, result.to_latex):
        write(tmp_path / "table")
        assert not _FORBIDDEN.search((tmp_path / "table").read_text(encoding="utf-8"))


def test_a_graph_of_hostile_texts():
    site = ls.mlp_out(0).at(BAD)
    circuit = ls.Circuit({site: 0.5}, words={site: BAD})
    text = circuit.to_graphml()
    assert not _FORBIDDEN.search(text) and "&#65533;" in text  # �
    (node,) = nx.parse_graphml(text).nodes(data=True)
    assert "␛" in node[1]["words"]
    back = ls.Circuit.from_json(circuit.to_json())
    assert back.words == circuit.words and back.nodes == circuit.nodes


def test_each_character_is_a_sign_or_itself():
    for n in (*range(0x300), *range(0xD7F0, 0xE010), *range(0xFFF0, 0x10010)):
        shown = escape(chr(n))
        ET.fromstring(f"<x a='{shown}'>{shown}</x>")
        assert shown and not _FORBIDDEN.search(shown)
    assert without_control("a\nb\tc é 漢 😀") == "a\nb\tc é 漢 😀"


def test_there_is_one_way_into_markup():
    root = Path(ls.__file__).parent
    users = [
        p.name
        for p in root.rglob("*.py")
        if re.search(r"\bhtml\b.*import|import html", p.read_text())
    ]
    assert users == ["signs.py"]


@pytest.mark.parametrize("kind", ["to_svg", "to_html", "to_json"])
def test_files_of_hostile_texts_are_utf_8(kind, tmp_path):
    site = ls.mlp_out(0).at(BAD)
    circuit = ls.Circuit({site: 0.5}, words={site: BAD})
    text = getattr(circuit, kind)(tmp_path / "file")
    assert (tmp_path / "file").read_bytes().decode("utf-8") == text
