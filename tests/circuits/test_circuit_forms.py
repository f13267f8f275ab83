"""Circuits as graphs, JSON, pictures, pages, and as TransformerLens' own nodes and edges."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as xml
from dataclasses import replace
from pathlib import Path

import networkx as nx
import pytest
import torch

import lensscope as ls
from lensscope.circuits.naming import short_name, site_named
from tests import families

CLEAN, CORRUPTED = families.prompt(6), families.prompt(6, seed=1)
NASTY = "a < b & 'c' \"d\" \x00\x1b[31m\nnew\tline \x9b <script>alert(1)</script>"


def difference(logits: torch.Tensor) -> torch.Tensor:
    return logits[:, -1, 7] - logits[:, -1, 9]


@pytest.fixture(scope="module")
def drawn(llama):
    """Nodes in several layers, with paths between them and words, on shared keys."""
    nodes = {
        ls.head_out(0, 1): 0.5,
        ls.mlp_out(0): -0.25,
        ls.head_out(1, 2): 0.125,
        ls.head_out(1, 3): -0.5,
        ls.mlp_out(1): 0.75,
        ls.head_out(2, 0): 1.0,
    }
    made = ls.Circuit(nodes, kinds=("head_out", "mlp_out"))
    linked = made.connected(llama, CLEAN, CORRUPTED, difference, 0.01)
    return replace(linked, words={ls.head_out(0, 1): NASTY, ls.mlp_out(1): "w5 w6"})


def test_what_is_no_circuit():
    for wrong in (ls.q(1, 0), ls.k(1), ls.v(1), ls.pattern(1, 0), ls.mlp_hidden(1)):
        with pytest.raises(ls.SiteError, match="not a node"):
            ls.Circuit({wrong: 1.0})
    for wrong in (ls.mlp_out, ls.mlp_out(-1), ls.head_out(1, -2), ls.Site("head_out", None, 3)):
        with pytest.raises(ls.SiteError, match="counted from 0"):
            ls.Circuit({wrong: 1.0})
    for kinds in (("head_out",), ("mlp_out", "embed"), ("resid_post",)):
        with pytest.raises(ls.SiteError, match="with those of all nodes"):
            ls.Circuit({ls.mlp_out(1): 1.0}, kinds=kinds)
    head, mlp = ls.head_out(0, 1), ls.mlp_out(1)
    for edge in ((head, ls.mlp_out(2)), (mlp, "logits"), (head, ls.q(1, 1)), (head.at(1), mlp)):
        with pytest.raises(ls.PatchError, match="past the nodes"):
            ls.Circuit({head: 1.0}, {edge: 1.0})
    assert ls.Circuit({ls.embed: 1.0, head: 1.0}, {(ls.embed, ls.q(0, 1)): 0.5}).kinds == (
        "head_out",
    )


@pytest.mark.parametrize(
    "site",
    [
        *(ls.embed, ls.resid_post(3), ls.head_out(1), ls.head_out(10, 11), ls.mlp_out(2).at(-1)),
        *(ls.mlp_out(2).at("it's"), ls.mlp_out(2).at("both \" and '"), ls.mlp_out(2).at("a\nb")),
        *(ls.mlp_out(2).at("7"), ls.mlp_out(2).at("0:3"), ls.mlp_out(2).at(" w5)")),
        *(ls.head_out(1, 2).at(ls.ALL), ls.head_out(1, 2).at(ls.span("a 'b'"))),
        *(ls.mlp_out(2).at("x", occurrence=-1), ls.mlp_out(2).at(ls.span("x"), occurrence=1)),
        *(ls.mlp_out(2).at(slice(0, 3)), ls.mlp_out(2).at(slice(None, None, 2))),
        *(ls.mlp_out(2).at("a, occurrence=1"), ls.embed.at(0)),
    ],
    ids=repr,
)
def test_names_say_all_of_a_site(site):
    assert site_named(repr(site)) == site
    made = ls.Circuit({site: 0.5})
    assert ls.Circuit.from_json(made.to_json()).nodes == made.nodes


def test_names_of_nothing():
    for wrong in ("", "z(1, 2)", "mlp_out(1).at(", "mlp_out(1).at('a)", "mlp_out(x)", "logit"):
        with pytest.raises(ValueError, match=r"is not|malformed"):
            site_named(wrong)
    assert site_named("logits") == "logits"
    named = [
        *((ls.head_out(9, 6), "9.6"), (ls.mlp_out(3), "MLP 3"), (ls.embed, "embedding")),
        *((ls.q(9, 6), "9.6 q"), (ls.v(9, 1), "9.1 v"), ("logits", "logits")),
        *((ls.mlp_out(3).at("last"), "MLP 3 at last"), (ls.attn_out(3), "attention 3")),
    ]
    assert [short_name(site) for site, _ in named] == [name for _, name in named]
    assert short_name(ls.v(9, 1), 3) == "9.3–5 v"
    assert short_name(ls.q(9, 1), 3) == "9.1 q"


# ------------------------------------------------------- graphs and JSON


def test_a_graph_says_what_the_circuit_says(drawn):
    graph = drawn.to_networkx()
    assert set(graph) == {*map(repr, drawn.nodes), "logits"}
    expected = {"kind": "head_out", "layer": 1, "head": 2, "effect": 0.125}
    assert graph.nodes["head_out(1, 2)"] == expected
    assert graph.nodes["mlp_out(1)"]["words"] == "w5 w6"
    assert "head" not in graph.nodes["mlp_out(1)"]
    assert graph.nodes["logits"] == {"kind": "logits"}
    assert nx.is_directed_acyclic_graph(graph)
    for _, stop, held in graph.edges(data=True):
        ports = held["reads"].split(",")
        assert held["effect"] == pytest.approx(sum(held[port] for port in ports))
        assert set(held) == {"effect", "reads", *ports}
        assert (ports == ["in"]) == (stop == "logits" or stop.startswith("mlp_out"))
    direct = drawn.edges[ls.head_out(2, 0), "logits"]
    assert graph.edges["head_out(2, 0)", "logits"]["effect"] == direct


def test_paths_to_one_port_add_up():
    head, other = ls.head_out(0, 1), ls.head_out(1, 0)
    edges = {(head, ls.v(1, 0).at(0)): 0.25, (head, ls.v(1, 0).at(2)): 0.5, (head, ls.q(1, 0)): 1.0}
    made = ls.Circuit({head.at(1): 1.0, head.at(2): 2.0, other: 1.0}, edges)
    graph = made.to_networkx()
    for position in (1, 2):
        edge = graph.edges[f"head_out(0, 1).at({position})", "head_out(1, 0)"]
        assert edge == {"effect": 1.75, "reads": "q,v", "q": 1.0, "v": 0.75}
    assert graph.nodes["head_out(0, 1).at(2)"]["position"] == "2"
    assert ls.Circuit.from_json(made.to_json()).edges == made.edges


def test_networkx_reads_the_graph_back(drawn, tmp_path):
    path = tmp_path / "circuit.graphml"
    text = drawn.to_graphml(path)
    assert path.read_text(encoding="utf-8") == text
    back, graph = nx.parse_graphml(text), drawn.to_networkx()
    assert back.is_directed()
    assert set(back.edges) == set(graph.edges)
    for edge in graph.edges:
        assert back.edges[edge] == pytest.approx(graph.edges[edge])
    words = back.nodes["head_out(0, 1)"]["words"]
    assert "a < b & 'c' \"d\" ␀␛[31m" in words
    assert back.nodes["mlp_out(1)"] == graph.nodes["mlp_out(1)"]


def test_json_holds_all_of_it(drawn, tmp_path):
    path = tmp_path / "circuit.json"
    text = drawn.to_json(path)
    for given in (text, path):
        back = ls.Circuit.from_json(given)
        for name in ("nodes", "edges", "kinds", "words", "settings"):
            assert getattr(back, name) == getattr(drawn, name), name
        assert back.provenance == replace(drawn.provenance, tokens=())
        assert back.to_json() == text


def test_found_circuits_come_back_and_score_the_same(llama):
    groups = {"first": 0, "rest": slice(1, 6)}
    effect = ls.attribution_patching(
        llama, CLEAN, CORRUPTED, [ls.head_out, ls.mlp_out], difference, positions=groups
    )
    found = effect.circuit(top=6)
    back = ls.Circuit.from_json(found.to_json())
    assert back.settings == found.settings
    scores = [
        one.faithfulness(llama, CLEAN, CORRUPTED, difference, positions=groups)
        for one in (found, back)
    ]
    assert scores[0].data.identical(scores[1].data)
    other = families.build(families.Case("llama", "bridge", "folded"))
    with pytest.raises(ls.BasisError, match="another basis"):
        back.faithfulness(other, CLEAN, CORRUPTED, difference, positions=groups)


def test_rubbish_is_no_circuit(drawn, tmp_path):
    held = json.loads(drawn.to_json())
    node = held["nodes"][0]
    cases = [
        *("", "[]", "3", "null", "{}", "circuit.json", '{"nodes": 3}'),
        *(json.dumps({**held, "nodes": [{**node, "node": wrong}]}) for wrong in ("logits", "z", 3)),
        *(json.dumps({**held, "nodes": [{**node, "effect": wrong}]}) for wrong in ("x", None)),
        *(json.dumps({**held, name: wrong}) for name in ("edges", "kinds") for wrong in (3, [3])),
        json.dumps({**held, "nodes": held["nodes"][1:]}),
        json.dumps({**held, "provenance": {"model": "x"}}),
        tmp_path / "nowhere.json",
    ]
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    for case in [*cases, tmp_path / "binary.json", tmp_path]:
        with pytest.raises(ls.PatchError, match="This is not a circuit"):
            ls.Circuit.from_json(case)


# ------------------------------------------------------- pictures


def texts(svg: str) -> list[tuple[str, float]]:
    """What stands where, from the top."""
    root = xml.fromstring(svg)
    found = root.iter("{http://www.w3.org/2000/svg}text")
    return [("".join(one.itertext()), float(one.attrib["y"])) for one in found]


def test_the_drawing(drawn, tmp_path):
    svg = drawn.to_svg(tmp_path / "circuit.svg")
    assert (tmp_path / "circuit.svg").read_text(encoding="utf-8") == svg
    height = dict(texts(svg))
    assert {short_name(site) for site in drawn.nodes} | {"logits"} <= set(height)
    upwards = ["0.1", "MLP 0", "1.2", "MLP 1", "2.0", "logits"]
    heights = [height[name] for name in upwards]
    assert heights == sorted(heights, reverse=True)
    assert len(set(heights)) == 6
    assert height["1.2"] == height["1.3"]
    assert "w5 w6" in height
    assert svg.count("<path") == drawn.to_networkx().number_of_edges() + sum(
        held["reads"].count(",") for _, _, held in drawn.to_networkx().edges(data=True)
    )
    titles = [t.text for t in xml.fromstring(svg).iter("{http://www.w3.org/2000/svg}title")]
    assert f"0.1 to 1.2–3 v: {drawn.edges[ls.head_out(0, 1), ls.v(1, 1)]:+.3f}" in titles
    assert any(title.startswith("head_out(0, 1): effect +0.5000\na < b &") for title in titles)


def test_pages_need_nothing_else_and_run_nothing(drawn, tmp_path):
    page = drawn.to_html(tmp_path / "circuit.html")
    assert (tmp_path / "circuit.html").read_text(encoding="utf-8") == page
    for text in (page, drawn.to_svg(), drawn._repr_html_()):
        assert "<script" not in text
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", text)
        assert not re.search(r"(src|href)\s*=", text)
    assert "1.2–3 v" in page
    assert "a &lt; b &amp; " in page
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", str(drawn))
    for name in ("0.1", "MLP 1", "0.1 → 1.2–3 v", "2.0 → logits"):
        assert name in str(drawn)


def test_small_circuits_are_drawn_too():
    for nodes in ({}, {ls.mlp_out(3): 0.0}, {ls.embed: 1.0, ls.resid_post(2).at(ls.ALL): -1.0}):
        made = ls.Circuit(nodes)
        assert len(texts(made.to_svg())) >= len(nodes)
        xml.fromstring(re.search("<svg.*</svg>", made.to_html(), re.DOTALL)[0])
        assert str(made)
        assert made.to_networkx().number_of_nodes() == len(nodes)
        assert len(made.frame()) == len(nodes)


def test_the_frame(drawn):
    frame = drawn.frame()
    assert list(frame.columns) == ["sender", "receiver", "effect", "words"]
    nodes = frame[frame["receiver"].isna()]
    assert list(nodes["sender"]) == [repr(site) for site in drawn.nodes]
    assert len(frame) == len(drawn.nodes) + len(drawn.edges)
    row = frame[(frame["sender"] == "head_out(0, 1)") & (frame["receiver"] == "v(1, 1)")]
    assert row["effect"].item() == drawn.edges[ls.head_out(0, 1), ls.v(1, 1)]


# ------------------------------------------------------- TransformerLens' own


@pytest.fixture(scope="module")
def theirs():
    found = pytest.importorskip("transformer_lens.tools.analysis.attribution_patching")
    if not hasattr(found, "faithfulness"):
        pytest.skip("TransformerLens has edges from 4.0 on")
    return found


@pytest.fixture(scope="module")
def gpt2():
    return families.build(families.Case("gpt2", "bridge", "raw"))


def attribution(theirs, model, granularity):
    """Their own scores."""
    ids = [torch.tensor([one]) for one in (CLEAN, CORRUPTED)]
    how = theirs.EdgeAttributionConfig(granularity=granularity)
    return theirs.attribution_patch(model, *ids, lambda logits: difference(logits)[0], how)


@pytest.fixture(scope="module")
def attributed(theirs, gpt2):
    """Their own edges with scores."""
    return attribution(theirs, gpt2, "edge")


def test_transformer_lens_of_before_has_no_edges(gpt2):
    from transformer_lens.tools.analysis import attribution_patching

    if hasattr(attribution_patching, "faithfulness"):
        pytest.skip("TransformerLens has edges from 4.0 on; make test-tl3 runs this")
    made = ls.Circuit({ls.mlp_out(1): 1.0}, {(ls.mlp_out(1), "logits"): 1.0})
    for act in (
        lambda: made.to_transformer_lens(4),
        lambda: made.faithfulness(gpt2, CLEAN, CORRUPTED, difference, edges=True),
    ):
        with pytest.raises(ls.ModelError, match="transformer-lens>=4"):
            act()


def test_nodes_go_there_and_back(gpt2):
    theirs = pytest.importorskip("transformer_lens.tools.analysis.attribution_patching")
    whole = attribution(theirs, gpt2, "node")
    scored = whole.top_nodes(12)
    made = ls.Circuit.from_transformer_lens(scored)
    nodes, edges = made.to_transformer_lens(6)
    assert set(nodes) == {node for node, _ in scored}
    assert edges == []
    by_name = {(s.kind, s.layer, s.head, s.position): e for s, e in made.nodes.items()}
    ours = {"attn_head_out": "head_out"}
    for node, score in scored:
        key = (ours.get(node.kind, node.kind), node.layer, node.head, node.position)
        assert by_name[key] == pytest.approx(float(score))
    assert len(ls.Circuit.from_transformer_lens(whole).nodes) == len(whole.node_scores)


def test_edges_go_there_and_back(theirs, attributed, gpt2):
    scored = attributed.top_edges(15)
    made = ls.Circuit.from_transformer_lens(scored)
    assert sum(made.edges.values()) == pytest.approx(sum(float(s) for *_, s in scored), abs=1e-5)
    assert len(made.edges) <= 15
    nodes, edges = made.to_transformer_lens(6)
    assert {(writer, reader) for writer, reader, _ in scored} <= set(edges)
    assert len(edges) == 6 * len(made.edges)
    assert len(nodes) == 6 * len(made.nodes)
    again = ls.Circuit.from_transformer_lens([(*edge, 0.5) for edge in edges])
    assert set(again.edges) == set(made.edges)
    grown = ls.Circuit.grow(gpt2, CLEAN, CORRUPTED, difference, 0.1, max_nodes=4)
    back = ls.Circuit.from_transformer_lens(
        [(*edge, 1.0) for edge in grown.to_transformer_lens(6)[1]]
    )
    assert set(back.edges) == set(grown.edges)


def test_edges_are_scored_by_transformer_lens(theirs, attributed, gpt2, no_hooks_left):
    clean, corrupted = [CLEAN, families.prompt(6, seed=5)], [CORRUPTED, families.prompt(6, seed=6)]
    grown = ls.Circuit.grow(gpt2, clean, corrupted, difference, 0.05, max_nodes=8)
    flags = ("use_attn_result", "use_split_qkv_input", "use_hook_mlp_in", "use_attn_in")
    before = {name: getattr(gpt2.cfg, name, None) for name in flags}
    for made in (grown, ls.Circuit.from_transformer_lens(attributed.top_edges(20))):
        found = made.faithfulness(gpt2, clean, corrupted, difference, edges=True)
        shares = []
        for n in range(2):
            by_hand = theirs.faithfulness(
                gpt2,
                torch.tensor([clean[n]]),
                torch.tensor([corrupted[n]]),
                lambda logits: difference(logits)[0],
                made.to_transformer_lens(6)[1],
            )
            shares.append(by_hand.recovered)
            assert found.data["model"][n].item() == pytest.approx(by_hand.full_metric, abs=1e-5)
            assert found.data["empty"][n].item() == pytest.approx(by_hand.corrupt_metric, abs=1e-5)
        data = found.data
        each = (data["circuit"] - data["empty"]) / (data["model"] - data["empty"])
        assert each.values.tolist() == pytest.approx(shares, abs=1e-5)
        assert found.nodes == 6 * len(made.edges)
        assert f"of {by_hand.total_edges} edges" in repr(found)
    assert {name: getattr(gpt2.cfg, name, None) for name in flags} == before
    no_hooks_left(gpt2)


def test_what_transformer_lens_does_not_do_is_told(theirs, attributed, gpt2, llama, drawn):
    call = lambda made, model, **how: made.faithfulness(
        model, CLEAN, CORRUPTED, difference, edges=True, **how
    )
    with pytest.raises(ls.ModelError, match="GQA"):
        call(drawn, llama)
    made = ls.Circuit.from_transformer_lens(attributed.top_edges(5))
    for how in ({"ablation": "mean"}, {"reference": [CLEAN]}):
        with pytest.raises(ls.PatchError, match="ablated to the corrupted run"):
            call(made, gpt2, **how)
    with pytest.raises(ls.PatchError, match="at all tokens"):
        call(made, gpt2, positions={"last": -1})
    with pytest.raises(ls.PatchError, match=r"circuit\.connected"):
        call(ls.Circuit({ls.mlp_out(1): 1.0}), gpt2)
    with pytest.raises(ls.BasisError):
        call(drawn, gpt2)
    with pytest.raises(ls.ModelError, match="the same metric"):
        made.faithfulness(gpt2, CLEAN, CLEAN, difference, edges=True)
    with pytest.raises(ls.PlanError, match="one number for each run"):
        made.faithfulness(gpt2, CLEAN, CORRUPTED, lambda x: x[:, -1], edges=True)
    reader = theirs.Node("mlp_in", 0, 1)
    writer = theirs.Node("mlp_out", 0, 0)
    for wrong in (3, [], [3], ["ab"], [(reader, 1.0)], [(writer, writer, 1.0)], [(writer,)]):
        with pytest.raises(ls.PatchError, match="top_edges"):
            ls.Circuit.from_transformer_lens(wrong)
    for site in (ls.resid_post(1), ls.attn_out(1)):
        with pytest.raises(ls.PatchError, match="no such nodes"):
            ls.Circuit({site: 1.0}).to_transformer_lens(6)
    for where in ("last", 6, -7):
        with pytest.raises(ls.PatchError, match="by number"):
            ls.Circuit({ls.mlp_out(1).at(where): 1.0}).to_transformer_lens(6)
    with pytest.raises(ls.PatchError, match="n_positions"):
        made.to_transformer_lens(0)
    by_hand = ls.Circuit({ls.mlp_out(1): 1.0}, {(ls.mlp_out(1), "logits"): 1.0})
    with pytest.raises(ls.PatchError, match="layer of the logits"):
        by_hand.to_transformer_lens(6)
    assert call(by_hand, gpt2).nodes == 6


def test_paths_that_are_files(drawn, tmp_path):
    path = tmp_path / "circuit.json"
    drawn.to_json(str(path))
    assert ls.Circuit.from_json(Path(path)).nodes == drawn.nodes
