"""Circuits against the plain hook loop, and against models whose circuit is known."""

from __future__ import annotations

import itertools
import json
import xml.etree.ElementTree as xml

import numpy as np
import pytest
import torch
import transformers

import lensscope as ls
from lensscope.circuits.naming import named
from tests import families, oracle
from tests.oracle import Edit

CLEAN, CORRUPTED = families.prompt(6), families.prompt(6, seed=1)
OTHERS = [families.prompt(6, seed=n) for n in (2, 3, 4)]
BOTH = [ls.head_out, ls.mlp_out]
HEADS, MLPS = range(4), 3


def difference(logits: torch.Tensor) -> torch.Tensor:
    return logits[:, -1, 7] - logits[:, -1, 9]


def components() -> list[ls.Site]:
    """All heads and MLPs of a tiny model."""
    heads = [ls.head_out(layer, head) for layer in range(MLPS) for head in HEADS]
    return heads + [ls.mlp_out(layer) for layer in range(MLPS)]


def circuit(nodes, **rest) -> ls.Circuit:
    return ls.Circuit(dict.fromkeys(nodes, 1.0), **{"kinds": ("head_out", "mlp_out"), **rest})


def means(model, prompts):
    """What each component writes, averaged over prompts, by TransformerLens' own cache."""
    return {
        (kind, layer): torch.stack(
            [oracle.activations(model, ids, kind, layer) for ids in prompts]
        ).mean(0)
        for kind, layer in itertools.product(("head_out", "mlp_out"), range(MLPS))
    }


def ablated(model, clean, values, kept, kinds=("head_out", "mlp_out")) -> float:
    """The metric by plain hooks: every other component set at every token.

    Args:
        model: the model.
        clean: the prompt.
        values: of each kind and layer, ``[position, …]``.
        kept: components, each with its tokens, or ``None`` for all.
        kinds: what is ablated.
    """
    edits = []
    for site in (s for s in components() if s.kind in kinds):
        tokens = kept.get(site, ())
        tokens = range(len(clean)) if tokens is None else tokens
        for t in set(range(len(clean))) - set(tokens):
            new = values[site.kind, site.layer][t]
            new = new if site.head is None else new[site.head]
            edits.append(Edit(site.kind, site.layer, t, lambda x, v=new: v, site.head))
    return float(difference(oracle.logits(model, clean, edits)[None])[0])


# ------------------------------------------------------- from effects


@pytest.mark.parametrize("method", ["activation_patching", "attribution_patching"])
def test_the_components_of_the_largest_effects(few, method):
    effect = getattr(ls, method)(few, CLEAN, CORRUPTED, BOTH, difference, positions=ls.ALL)
    expected = effect.top(4)
    found = effect.circuit(top=4)
    assert found.kinds == ("head_out", "mlp_out")
    assert found.provenance == effect.provenance
    assert {
        (s.kind, s.layer, -1 if s.head is None else s.head): e for s, e in found.nodes.items()
    } == {(row.site, row.layer, row.head): row.effect for row in expected.itertuples()}
    least = expected["effect"].abs().iloc[2]
    above = effect.circuit(threshold=float(least))
    assert set(above.nodes) < set(found.nodes)
    assert len(above.nodes) == 3
    assert list(found.nodes) == sorted(
        found.nodes, key=lambda s: (s.layer, s.kind == "mlp_out", s.head or 0)
    )


def test_a_circuit_is_of_so_many_or_above_a_threshold(llama):
    effect = ls.activation_patching(llama, CLEAN, CORRUPTED, BOTH, difference, positions=ls.ALL)
    for how in ({}, {"top": 3, "threshold": 0.1}):
        with pytest.raises(ls.PatchError, match="one of the two"):
            effect.circuit(**how)
    with pytest.raises(ls.PatchError, match="a smaller threshold"):
        effect.circuit(threshold=99.0)
    same = ls.activation_patching(llama, CLEAN, CLEAN, BOTH, difference, positions=ls.ALL)
    with pytest.raises(ls.PatchError, match="0 effects"):
        same.circuit(top=3)
    for wrong in ("q", "k", "v", "pattern", "mlp_hidden"):
        result = ls.attribution_patching(llama, CLEAN, CORRUPTED, ls.Site(wrong), difference)
        with pytest.raises(ls.PatchError, match="residual stream"):
            result.circuit(top=3)
    wide = ls.attribution_patching(llama, CLEAN, CORRUPTED, ls.mlp_out, difference, window=2)
    with pytest.raises(ls.PatchError, match="window=2"):
        wide.circuit(top=3)


def test_nodes_know_their_tokens(llama):
    each = ls.attribution_patching(llama, CLEAN, CORRUPTED, BOTH, difference).circuit(top=9)
    assert {type(site.position) for site in each.nodes} == {int}
    groups = {"first": 0, "rest": slice(1, 6)}
    effect = ls.attribution_patching(llama, CLEAN, CORRUPTED, BOTH, difference, positions=groups)
    assert {s.position for s in effect.circuit(top=9).nodes} == set(groups)


def test_paths_become_edges(llama):
    effect = ls.path_patching(
        llama, CLEAN, CORRUPTED, ls.head_out(0), [ls.v(1, 1), ls.mlp_out(1), "logits"], difference
    )
    found = effect.circuit(top=12)
    mean = effect.mean()["effect"]
    assert len(found.edges) == 12
    for (sender, receiver), value in found.edges.items():
        assert value == mean.sel(head=sender.head, receiver=named(receiver)).item()
    for head in HEADS:
        total = sum(e for (s, _), e in found.edges.items() if s.head == head)
        assert found.nodes[ls.head_out(0, head)] == pytest.approx(total)
    # The values of key-value head 1 are those of heads 2 and 3.
    assert {ls.head_out(1, 2), ls.head_out(1, 3), ls.mlp_out(1)} <= set(found.nodes)
    assert found.kinds == ("head_out", "mlp_out")
    together = ls.path_patching(
        llama, CLEAN, CORRUPTED, ls.head_out(0), {"all": [ls.v(1), "logits"]}, difference
    )
    with pytest.raises(ls.PatchError, match="an effect for each receiver"):
        together.circuit(top=2)


# ------------------------------------------------------- faithfulness


def test_everything_is_the_model_and_nothing_is_not(few, no_hooks_left):
    before = {n: p.clone() for n, p in few.named_parameters()}
    values = means(few, [CORRUPTED])
    clean, nothing = (ablated(few, CLEAN, values, k) for k in (dict.fromkeys(components()), {}))
    whole = circuit(components()).faithfulness(few, CLEAN, CORRUPTED, difference)
    assert whole.recovered == 1
    assert whole.difference == 0
    empty = circuit([]).faithfulness(few, CLEAN, CORRUPTED, difference)
    assert empty.recovered == 0
    for one in (whole, empty):
        assert one.data["model"].item() == pytest.approx(clean, abs=1e-4)
        assert one.data["empty"].item() == pytest.approx(nothing, abs=1e-4)
    assert abs(clean - nothing) > 0.05
    no_hooks_left(few)
    assert all(torch.equal(p, before[n]) for n, p in few.named_parameters())


@pytest.mark.parametrize("ablation", ["corrupted", "mean", "reference"])
def test_a_subset_equals_the_plain_loop(few, ablation):
    kept = [ls.head_out(0, 1), ls.head_out(1, 0), ls.head_out(1, 3), ls.mlp_out(0), ls.mlp_out(2)]
    prompts = OTHERS if ablation == "reference" else [CORRUPTED]
    how = {"ablation": "mean"} if ablation != "corrupted" else {}
    how |= {"reference": OTHERS} if ablation == "reference" else {}
    found = circuit(kept).faithfulness(few, CLEAN, CORRUPTED, difference, **how)
    values = means(few, prompts)
    expected = ablated(few, CLEAN, values, dict.fromkeys(kept))
    assert found.data["circuit"].item() == pytest.approx(expected, abs=1e-4)
    empty = ablated(few, CLEAN, values, {})
    assert found.data["empty"].item() == pytest.approx(empty, abs=1e-4)
    assert (found.nodes, found.components) == (5, 15)
    assert float(found) == found.recovered


def test_components_are_kept_at_their_tokens_alone(few):
    groups = {"first": 0, "rest": slice(2, 6)}
    nodes = {
        ls.head_out(0, 1).at(3): (3,),
        ls.head_out(1, 2).at(-1): (5,),
        ls.head_out(1, 3): None,
        ls.head_out(2, 0).at("rest"): (2, 3, 4, 5),
        ls.mlp_out(0).at("first"): (0,),
        ls.mlp_out(1).at(slice(1, 3)): (1, 2),
    }
    found = circuit(nodes).faithfulness(few, CLEAN, CORRUPTED, difference, positions=groups)
    kept = {ls.Site(s.kind, s.layer, s.head): t for s, t in nodes.items()}
    expected = ablated(few, CLEAN, means(few, [CORRUPTED]), kept)
    assert found.data["circuit"].item() == pytest.approx(expected, abs=1e-4)
    twice = circuit([ls.mlp_out(0).at(0), ls.mlp_out(0).at(1), ls.mlp_out(0).at(2)])
    found = twice.faithfulness(few, CLEAN, CORRUPTED, difference)
    kept = {ls.mlp_out(0): (0, 1, 2)}
    expected = ablated(few, CLEAN, means(few, [CORRUPTED]), kept)
    assert found.data["circuit"].item() == pytest.approx(expected, abs=1e-4)
    assert found.nodes == 1


def test_names_are_never_taken_for_words(llama):
    """The prompt holds the name as a word, which is another token."""
    text, other = "w5 w6 last w8 w9", "w4 w6 last w8 w7"
    effect = ls.attribution_patching(
        llama, text, other, ls.mlp_out, difference, positions={"last": -1}
    )
    found = effect.circuit(top=2)
    with pytest.raises(ls.PositionError, match="positions="):
        found.faithfulness(llama, text, other, difference)
    with pytest.raises(ls.PositionError, match="positions="):
        found.inspect(identity(), llama, text)
    given = found.faithfulness(llama, text, other, difference, positions={"last": -1})
    by_number = circuit([s.at(-1) for s in found.nodes], kinds=("mlp_out",))
    plain = by_number.faithfulness(llama, text, other, difference)
    assert given.data.identical(plain.data)
    by_word = circuit([ls.mlp_out(1).at("w8")], kinds=("mlp_out",))
    assert by_word.faithfulness(llama, text, other, difference).nodes == 1


def test_only_the_kinds_that_were_looked_at_are_ablated(llama):
    for kinds in (("head_out",), ("mlp_out",)):
        kept = [s for s in components() if s.kind in kinds][:2]
        found = circuit(kept, kinds=kinds).faithfulness(llama, CLEAN, CORRUPTED, difference)
        values = means(llama, [CORRUPTED])
        expected = ablated(llama, CLEAN, values, dict.fromkeys(kept), kinds)
        assert found.data["circuit"].item() == pytest.approx(expected, abs=1e-4)
    layer = circuit([ls.head_out(1)], kinds=("head_out",))  # all heads as one node
    heads = circuit([ls.head_out(1, head) for head in HEADS], kinds=("head_out",))
    one, other = (c.faithfulness(llama, CLEAN, CORRUPTED, difference) for c in (layer, heads))
    assert one.data.identical(other.data)
    assert one.nodes == other.nodes == 4
    attention = ls.Circuit({ls.attn_out(1): 1.0})
    assert attention.kinds == ("attn_out",)
    found = attention.faithfulness(llama, CLEAN, CORRUPTED, difference)
    assert found.data["circuit"].item() == pytest.approx(one.data["circuit"].item(), abs=1e-4)


def test_several_pairs_are_a_ratio_of_means(llama):
    clean = [CLEAN, *OTHERS, families.prompt(4, seed=8)]
    corrupted = [CORRUPTED, *[OTHERS[n - 1] for n in range(3)], families.prompt(4, seed=9)]
    kept = circuit(components()[::2])
    found = kept.faithfulness(llama, clean, corrupted, difference)
    for n in range(5):
        alone = kept.faithfulness(llama, clean[n], corrupted[n], difference)
        for name in ("model", "circuit", "empty"):
            assert alone.data[name].item() == pytest.approx(found.data[name][n].item(), abs=1e-4)
    whole, part, empty = (found.data[name].values.mean() for name in ("model", "circuit", "empty"))
    assert found.recovered == pytest.approx((part - empty) / (whole - empty))
    assert found.difference == pytest.approx(abs(whole - part))
    low, high = found.interval(level=0.5)
    wide = found.interval()
    assert wide[0] < low < high < wide[1]
    assert wide == found.interval()
    assert np.isnan(alone.interval()).all()
    with pytest.raises(ls.PatchError, match="level=95"):
        found.interval(level=95)
    assert "5 pairs" in repr(found)
    assert "of 15 components" in repr(found)
    with pytest.raises(ls.PromptError, match="4 to 6 tokens"):
        kept.faithfulness(llama, clean, corrupted, difference, ablation="mean")


def test_pairs_without_a_gap_do_not_spoil_the_interval(llama):
    some = circuit(components()[:3]).faithfulness(
        llama, [CLEAN, CLEAN], [CORRUPTED, CLEAN], difference
    )
    # a pair without a gap says nothing, and one that does is one alone
    assert np.isfinite(some.recovered) and np.isnan(some.interval()).all()
    two = circuit(components()[:3]).faithfulness(
        llama, [CLEAN] * 3, [CORRUPTED, CLEAN, OTHERS[0]], difference
    )
    assert np.isfinite(two.interval()).all()
    none = circuit([]).faithfulness(llama, [CLEAN] * 2, [CLEAN] * 2, difference)
    assert np.isnan(none.recovered)
    assert np.isnan(none.interval()).all()


# ------------------------------------------------------- completeness, minimality, curves


def test_completeness_is_what_the_plain_loop_says(few):
    nodes = [ls.head_out(0, 1), ls.head_out(1, 2).at(4), ls.head_out(2), ls.mlp_out(0)]
    frame = circuit(nodes).completeness(few, CLEAN, CORRUPTED, difference, subsets=4)
    assert list(frame.columns) == ["removed", "circuit", "model", "difference"]
    assert len(frame) == 5
    values = means(few, [CORRUPTED])
    everything = {site: set(range(6)) for site in components()}
    by_name = {repr(site): site for site in nodes}

    def tokens_of(some):
        found = {}
        for site in some:
            heads = HEADS if site == ls.head_out(2) else [site.head]
            tokens = range(6) if site.position is None else [site.position]
            found |= {ls.Site(site.kind, site.layer, head): set(tokens) for head in heads}
        return found

    for row in frame.itertuples():
        removed = [by_name[name] for name in by_name if name in row.removed]
        gone = tokens_of(removed)
        left = {s: everything[s] - gone.get(s, set()) for s in everything}
        kept = tokens_of([s for s in nodes if s not in removed])
        assert row.circuit == pytest.approx(ablated(few, CLEAN, values, kept), abs=1e-4)
        assert row.model == pytest.approx(ablated(few, CLEAN, values, left), abs=1e-4)
        assert row.difference == pytest.approx(abs(row.circuit - row.model), abs=1e-6)
    whole = circuit(nodes).faithfulness(few, CLEAN, CORRUPTED, difference)
    assert frame["removed"][0] == ""
    assert frame["difference"][0] == pytest.approx(whole.difference, abs=1e-5)


def test_a_circuit_of_everything_is_complete(llama):
    frame = circuit(components()).completeness(llama, CLEAN, CORRUPTED, difference, subsets=6)
    assert frame["difference"].max() == 0
    assert frame["model"].nunique() > 4
    again, other = (
        circuit(components()).completeness(llama, CLEAN, CORRUPTED, difference, subsets=6, seed=n)
        for n in (0, 1)
    )
    assert frame.equals(again)
    assert not frame.equals(other)


def test_minimality_is_what_the_plain_loop_says(llama):
    nodes = [ls.head_out(0, 1), ls.head_out(1, 2), ls.mlp_out(2)]
    values = means(llama, [CORRUPTED])
    value = lambda kept: ablated(llama, CLEAN, values, dict.fromkeys(kept))
    gap = abs(value(components()) - value([]))
    frame = circuit(nodes).minimality(llama, CLEAN, CORRUPTED, difference, subsets=12)
    assert list(frame["node"]) == [repr(site) for site in nodes]
    alone = circuit(nodes).minimality(llama, CLEAN, CORRUPTED, difference, subsets=0)
    for n, node in enumerate(nodes):
        others = [site for site in nodes if site != node]
        changes = {}
        for size in range(3):
            for removed in itertools.combinations(others, size):
                left = [site for site in nodes if site not in removed]
                changes[removed] = abs(value(left) - value([s for s in left if s != node]))
        assert frame["change"][n] == pytest.approx(max(changes.values()), abs=1e-4)
        assert frame["share"][n] == pytest.approx(frame["change"][n] / gap, rel=1e-3)
        named_best = ", ".join(map(repr, max(changes, key=changes.get)))
        assert frame["removed"][n] == named_best
        assert alone["change"][n] == pytest.approx(changes[()], abs=1e-4)
    assert set(alone["removed"]) == {""}


def test_faithfulness_of_pairs_that_are_put_together(llama, tmp_path):
    some = ls.Circuit({ls.mlp_out(0): 1.0, ls.head_out(1, 2): 0.5}, kinds=("head_out", "mlp_out"))
    pairs = [(CLEAN, CORRUPTED), tuple(OTHERS[:2])]
    whole = some.faithfulness(llama, *map(list, zip(*pairs, strict=True)), difference)
    alone = [some.faithfulness(llama, *pair, difference) for pair in pairs]
    both = ls.Faithfulness.together(alone)
    assert both.recovered == pytest.approx(whole.recovered, abs=1e-5)
    assert both.provenance.fingerprint == whole.provenance.fingerprint
    again = ls.Faithfulness.load(both.save(tmp_path / "both.json"))
    assert repr(again) == repr(both) and again.chosen == whole.chosen
    other = ls.Circuit({ls.mlp_out(0): 1.0, ls.head_out(1, 3): 0.5}, kinds=some.kinds)
    with pytest.raises(ls.CircuitError, match="chosen"):
        ls.Faithfulness.together([whole, other.faithfulness(llama, *pairs[0], difference)])


def test_curves_go_from_nothing_to_everything(llama, tmp_path):
    effect = ls.attribution_patching(llama, CLEAN, CORRUPTED, BOTH, difference, positions=ls.ALL)
    whole = effect.circuit(top=15)
    call = lambda **how: whole.curve(llama, CLEAN, CORRUPTED, difference, **how)
    curve = call(sizes=[0, 4, 15], random=3)
    assert curve.data["recovered"].values[[0, 2]].tolist() == [0, 1]
    assert curve.data["random"].values[[0, 2]].tolist() == [0, 1]
    assert curve.data["each_random"].shape == (3, 3)
    first = sorted(whole.nodes, key=lambda site: -abs(whole.nodes[site]))[:4]
    four = circuit(first).faithfulness(llama, CLEAN, CORRUPTED, difference)
    assert curve.data["recovered"].sel(size=4).item() == pytest.approx(four.recovered, abs=1e-5)
    assert curve.data.identical(call(sizes=[15, 4, 0, 4], random=3).data)
    assert not curve.data.identical(call(sizes=[0, 4, 15], random=3, seed=1).data)
    several = whole.curve(llama, [CLEAN, OTHERS[0]], [CORRUPTED, OTHERS[1]], difference, random=1)
    alone = [
        whole.curve(llama, clean, corrupted, difference, random=1)
        for clean, corrupted in ((CLEAN, CORRUPTED), OTHERS[:2])
    ]
    both = ls.FaithfulnessCurve.together(alone)
    for name, own in several.data.items():
        np.testing.assert_allclose(both.data[name].values, own.values, atol=1e-6)
    assert "2 pairs," in str(both) and both.provenance.model == several.provenance.model
    with pytest.raises(ls.CircuitError, match="seed"):
        other = whole.curve(llama, CLEAN, CORRUPTED, difference, random=1, seed=1)
        ls.FaithfulnessCurve.together([alone[0], other])
    inner = several.data.sel(size=[5, 8])
    assert (inner["recovered_low"] < inner["recovered_high"]).all()
    assert several.data["size"].values[[0, -1]].tolist() == [0, 15]
    for one in (curve, several):
        assert len(one.frame()) == one.data.sizes["size"]
        assert [trace.name for trace in one.plot().data if trace.name][:1] == ["largest effects"]
        assert "components" in str(one)
        assert "<svg" in one.to_html(tmp_path / "curve.html")
        assert len(json.loads(one.to_json())["sizes"]) == one.data.sizes["size"]
        xml.fromstring(one.to_svg())
    assert "1 pair," in str(curve)
    assert "2 pairs," in str(several)


# ------------------------------------------------------- a circuit that is known


@pytest.fixture(scope="module", params=[1, 2])
def known(request, backend):
    """Models whose circuit is worked out by hand, by what head (1, 1) takes from head (0, 0).

    Two layers of two heads; there are no MLPs, and norms have so large an epsilon that they do
    nothing. Token ``j`` is the unit vector ``a_j`` of a first part of the residual stream. Head
    (0, 0) looks equally at all tokens up to its own and copies ``a`` to a second part ``b``: of
    the prompt ``[x, 2, 3]`` it writes 1, 1/2, 1/3 of ``b_x``. Head (1, 1) writes a third part
    ``c``, of which the unembedding reads ``c_j`` as token ``j``:

    - "v": it looks equally at all tokens and copies ``b``, so ``c_x`` is (1 + 1/2 + 1/3)/3;
    - "q": it looks for token 2 where ``b_0`` is, for token 3 where ``b_1`` is, and copies them as
      0 and 1;
    - "k": all tokens look for ``b_0`` and away from ``b_1``, of which there is more at token 2 than
      at 3; copied as before.

    Of rotary embeddings only two of the four dimensions of a head turn; the others hold the scores.
    """
    kv = request.param
    config = transformers.LlamaConfig(
        vocab_size=4,
        hidden_size=12,
        head_dim=4,
        intermediate_size=4,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=kv,
        max_position_embeddings=16,
        rms_norm_eps=1e12,
        rope_theta=1e16,
        bos_token_id=1,
        eos_token_id=2,
        tie_word_embeddings=False,
    )

    def build(port):
        model = transformers.AutoModelForCausalLM.from_config(config).eval()
        a, b, c = (slice(4 * n, 4 * n + 4) for n in range(3))
        mine, shared = 4, 4 * (kv - 1)  # where head 1, and its keys and values, begin
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.fill_(1e6 if "norm" in name else 0.0)
            model.model.embed_tokens.weight[:, a] = torch.eye(4)
            model.lm_head.weight[:, c] = torch.eye(4)
            below, above = (layer.self_attn for layer in model.model.layers)
            below.v_proj.weight[0:4, a] = torch.eye(4)
            below.o_proj.weight[b, 0:4] = torch.eye(4)
            above.o_proj.weight[c, mine : mine + 4] = torch.eye(4)
            if port == "v":
                above.v_proj.weight[shared : shared + 4, b] = torch.eye(4)
            else:
                above.v_proj.weight[shared, 2] = above.v_proj.weight[shared + 1, 3] = 1.0
            sign = torch.tensor([1.0, -1.0])
            if port == "q":
                above.q_proj.weight[mine + 1, 4:6] = 6 * sign
                above.k_proj.weight[shared + 1, 2:4] = sign
            if port == "k":
                above.q_proj.weight[mine + 1, a] = 6.0
                above.k_proj.weight[shared + 1, 4:6] = sign
        return families.wrap(model, backend, vocab=4)

    return {port: build(port) for port in "qkv"}, kv


X, Y, RIGHT = [0, 2, 3], [1, 2, 3], ls.logit_difference(0, 1)
LOW, HIGH = ls.head_out(0, 0), ls.head_out(1, 1)


@pytest.mark.parametrize("port", ["q", "k", "v"])
@pytest.mark.parametrize("direction", ["denoising", "noising"])
def test_the_circuit_is_grown(known, port, direction):
    model, kv = known[0][port], known[1]
    clean = ls.activation_patching(model, X, Y, ls.embed, RIGHT, positions=ls.ALL).data["clean"]
    by_hand = {"v": 11 / 18, "q": np.sinh(1) / (0.5 + np.cosh(1))}
    if port in by_hand:  # a third of 6, halved by the scale of scores
        assert clean.item() == pytest.approx(by_hand[port], abs=1e-5)
    grown = ls.Circuit.grow(model, X, Y, RIGHT, 0.5, direction=direction)
    receiver = ls.Site(port, 1, 1 if port == "q" else kv - 1)
    assert set(grown.nodes) == {LOW, HIGH}
    assert set(grown.edges) == {(HIGH, "logits"), (LOW, receiver)}
    np.testing.assert_allclose([*grown.nodes.values(), *grown.edges.values()], 1, atol=1e-5)
    assert grown.kinds == ("head_out", "mlp_out")
    assert grown.queries_a_key == 3 - kv
    score = grown.faithfulness(model, X, Y, RIGHT)
    assert score.recovered == pytest.approx(1, abs=1e-5)
    frame = grown.completeness(model, X, Y, RIGHT, subsets=5)
    np.testing.assert_allclose(frame["difference"], 0, atol=1e-5)
    with pytest.raises(ls.PatchError, match="smaller threshold"):
        ls.Circuit.grow(model, X, Y, RIGHT, 1.5)


@pytest.mark.parametrize("port", ["q", "k", "v"])
def test_what_is_known_of_the_circuit(known, port):
    model, kv = known[0][port], known[1]
    idle = ls.head_out(1, 0)
    nodes = ls.Circuit(dict.fromkeys((LOW, HIGH, idle), 1.0), kinds=("head_out", "mlp_out"))
    frame = nodes.minimality(model, X, Y, RIGHT).set_index("node")
    np.testing.assert_allclose(frame.loc[[repr(LOW), repr(HIGH)], "share"], 1, atol=1e-5)
    assert frame.loc[repr(idle), "change"] == 0
    assert frame["removed"].eq("").all()
    without = nodes.completeness(model, X, Y, RIGHT, subsets=4)
    np.testing.assert_allclose(without["difference"], 0, atol=1e-5)
    linked = nodes.connected(model, X, Y, RIGHT, 0.01)
    receiver = ls.Site(port, 1, 1 if port == "q" else kv - 1)
    assert set(linked.edges) == {(HIGH, "logits"), (LOW, receiver)}
    assert linked.nodes == nodes.nodes
    graph = linked.to_networkx()
    edges = {(repr(LOW), repr(HIGH)), (repr(HIGH), "logits")}
    if port != "q" and kv == 1:  # keys and values that both heads share
        edges.add((repr(LOW), repr(idle)))
    assert set(graph.edges) == edges
    assert graph.edges[repr(LOW), repr(HIGH)][port] == pytest.approx(1, abs=1e-5)
    assert graph.edges[repr(LOW), repr(HIGH)]["reads"] == port


# ------------------------------------------------------- growing and connecting


@pytest.mark.parametrize("mlps", ["frozen", "live"])
def test_grown_edges_are_paths(few, mlps, no_hooks_left):
    grown = ls.Circuit.grow(few, CLEAN, CORRUPTED, difference, 0.1, max_nodes=5, mlps=mlps)
    assert len(grown.nodes) == 5
    assert {s for s, _ in grown.edges} == set(grown.nodes)  # each leads on
    senders = [s for s in grown.nodes if s.layer == 0] or list(grown.nodes)[:1]
    for sender in senders[:2]:
        mine = {r: e for (s, r), e in grown.edges.items() if s == sender}
        paths = ls.path_patching(
            few, CLEAN, CORRUPTED, sender, list(mine), difference, mlps=mlps
        ).data["effect"]
        for receiver, effect in mine.items():
            expected = paths.sel(receiver=named(receiver)).item()
            assert effect == pytest.approx(expected, abs=1e-3)
            assert abs(effect) >= 0.1
        assert grown.nodes[sender] == pytest.approx(sum(mine.values()), abs=1e-4)
    no_hooks_left(few)


def test_paths_through_shared_keys_lead_to_the_heads_that_are_there(llama):
    nodes = [ls.head_out(0, 1), ls.head_out(1, 2), ls.head_out(1, 3), ls.mlp_out(1)]
    linked = circuit(nodes).connected(llama, CLEAN, CORRUPTED, difference, 0.0)
    receivers = {r for s, r in linked.edges if s == nodes[0]}
    assert receivers == {
        *(ls.q(1, 2), ls.q(1, 3), ls.k(1, 1), ls.v(1, 1), ls.mlp_out(1), "logits"),
    }
    graph = linked.to_networkx()
    for head in (2, 3):
        edge = graph.edges["head_out(0, 1)", f"head_out(1, {head})"]
        assert edge["reads"] == "q,k,v"
        ports = (ls.q(1, head), ls.k(1, 1), ls.v(1, 1))
        effects = [linked.edges[nodes[0], port] for port in ports]
        assert [edge[name] for name in "qkv"] == effects
        assert edge["effect"] == pytest.approx(sum(effects))
    assert "0.1 → 1.2–3 k" in str(linked)
    assert "0.1 → 1.2 q" in str(linked)
    strong = circuit(nodes).connected(llama, CLEAN, CORRUPTED, difference, 0.05)
    assert strong.edges == {e: v for e, v in linked.edges.items() if abs(v) >= 0.05}
    assert 0 < len(strong.edges) < len(linked.edges)


def test_the_connections_of_a_circuit_are_paths(few):
    """Whole attentions send and receive too."""
    nodes = [ls.attn_out(0), ls.mlp_out(1), ls.attn_out(2)]
    linked = ls.Circuit(dict.fromkeys(nodes, 1.0)).connected(few, CLEAN, CORRUPTED, difference, 0.0)
    assert set(linked.edges) == {
        *((nodes[0], r) for r in (nodes[1], nodes[2], "logits")),
        *((nodes[1], r) for r in (nodes[2], "logits")),
        (nodes[2], "logits"),
    }
    for (sender, receiver), effect in linked.edges.items():
        path = ls.path_patching(few, CLEAN, CORRUPTED, sender, receiver, difference)
        assert effect == pytest.approx(path.data["effect"].item(), abs=1e-3)


def test_only_senders_that_are_given_become_nodes(llama):
    grow = lambda senders: ls.Circuit.grow(
        llama, CLEAN, CORRUPTED, difference, 0.05, senders=senders
    )
    assert {s.kind for s in grow(ls.mlp_out).nodes} == {"mlp_out"}
    some = [ls.head_out(1, 0), ls.head_out(2, 3).at(1), ls.embed]
    grown = grow(some)
    assert set(grown.nodes) <= {ls.head_out(1, 0), ls.head_out(2, 3), ls.embed}
    assert grown.kinds == ("head_out",)


# ------------------------------------------------------- in words


def identity():
    return ls.Patchscope(ls.InspectionPrompt("w5 w9", placeholder="w9"), max_new_tokens=3)


def test_nodes_are_read_as_what_they_write(llama, no_hooks_left):
    nodes = [ls.head_out(1, 2), ls.head_out(1, 3).at(2), ls.mlp_out(0), ls.mlp_out(2).at("first")]
    found = circuit(nodes).inspect(
        identity(), llama, CLEAN, position=-2, positions={"first": (0, -1)}
    )
    assert list(found.words) == list(found.nodes)
    for site, token in zip(nodes, (4, 2, 4, 0), strict=True):
        vector = oracle.activations(llama, CLEAN, site.kind, site.layer)[token]
        if site.head is not None:
            vector = vector[site.head] @ llama.blocks[site.layer].attn.W_O[site.head].detach()
        said = identity().inspect(llama, vector, layers=[site.layer])
        assert found.words[site] == said.frame()["text"][0]
    assert len(set(found.words.values())) > 2
    assert found.words[nodes[0]] in found.frame()["words"].tolist()
    no_hooks_left(llama)


def test_a_lens_says_what_nodes_write(llama, no_hooks_left):
    nodes = [ls.head_out(1, 2), ls.head_out(1, 3).at(2), ls.mlp_out(2), ls.embed]
    found = circuit(nodes).inspect(ls.LogitLens(), llama, CLEAN, position=-2)
    norm, head = families.hf_model("llama").model.norm, families.hf_model("llama").lm_head
    for site, token in zip(nodes, (4, 2, 4, 4), strict=True):
        vector = oracle.activations(llama, CLEAN, site.kind, site.layer or 0)[token]
        if site.head is not None:
            vector = vector[site.head] @ llama.blocks[site.layer].attn.W_O[site.head].detach()
        best = head(norm(vector)).topk(3).indices.tolist()
        assert found.words[site] == ", ".join(f"w{token}" for token in best)
        assert found.words[site] in str(found) and found.words[site] in found.to_svg()
    with pytest.raises(ls.LensError, match="for components"):
        circuit(nodes).inspect(ls.TunedLens.identity(llama), llama, CLEAN)
    no_hooks_left(llama)


def test_heads_that_are_normalised_together_are_refused():
    model = families.build(families.Case("gemma3", "bridge", "raw"))
    for reader in (identity(), ls.LogitLens()):
        with pytest.raises(ls.LensError, match=r"attn_out\(1\)"):
            circuit([ls.head_out(1, 2)]).inspect(reader, model, CLEAN)
    found = ls.Circuit({ls.attn_out(1): 1.0}).inspect(identity(), model, CLEAN)
    assert set(found.words) == {ls.attn_out(1)}
