"""Path patching against plain hooks, TransformerLens' own, and activation patching."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

import lensscope as ls
from lensscope.model.classes import backend_of
from tests import families, oracle

CLEAN, CORRUPTED = families.prompt(7), families.prompt(7, seed=1)
EVERYTHING = {"all": [ls.q, ls.k, ls.v, ls.mlp_out, "logits"]}


def difference(logits: torch.Tensor) -> torch.Tensor:
    return logits[:, -1, 7] - logits[:, -1, 9]


# ------------------------------------------------------- paths by plain hooks


class Plain:
    """Path patching as it is written down: runs with hooks, one after the other."""

    def __init__(self, model, base=CORRUPTED, source=CLEAN):
        self.model, self.base = model, base
        every = {hook.format(n) for hook in oracle.HOOKS.values() for n in range(3)}
        self.names = sorted(every & set(model.hook_dict))
        self.held, self.there = self.run(), self.run(ids=source)
        self.parallel = "blocks.0.hook_resid_mid" not in model.hook_dict

    def run(self, writes=(), ids=None):
        """What every hook point held, and the logits, of a run with some of them written.

        Args:
            writes: hook name, function of its tensor.
            ids: another prompt.
        """
        ids = self.base if ids is None else ids
        held = {}

        def keep(name):
            return name, lambda x, hook: held.__setitem__(name, x.detach().clone())

        hooks = [(name, lambda x, hook, f=f: f(x.clone())) for name, f in writes]
        hooks += [keep(name) for name in self.names]
        with torch.no_grad():
            logits = self.model.run_with_hooks(
                torch.tensor([list(ids)]),
                fwd_hooks=hooks,
                return_type="logits",
            )
        return held | {"logits": logits}

    def at(self, run, kind, layer=None):
        return run[oracle.HOOKS[kind].format(layer)]

    def write(self, kind, layer, value, head=None, tokens=None):
        """A write of what a run held: at a head, at some tokens."""

        def function(x):
            where = slice(None) if tokens is None else tokens
            if head is None:
                x[:, where] = value[:, where]
            else:
                x[:, where, head] = value[:, where, head]
            return x

        return oracle.HOOKS[kind].format(layer), function

    def add(self, kind, layer, value):
        return oracle.HOOKS[kind].format(layer), lambda x: x + value

    def sent(self, kind, layer, head, tokens=None):
        """How the sender changes the residual stream, with everything else as it was."""
        there = self.at(self.there, kind, layer)
        changed = self.run([self.write(kind, layer, there, head, tokens)])
        after = {"embed": ("resid_pre", 0), "mlp_out": ("mlp_out", layer)}
        where = after.get(kind, ("attn_out", layer))
        return self.at(changed, *where) - self.at(self.held, *where)

    def heard(self, receiver, layer, sent):
        """A run in which the input of a receiver's block, or of its MLP, has been changed."""
        if receiver == "mlp_out" and not self.parallel:
            # A bridge cannot be written between attention and MLP: attention says it.
            return self.run([self.add("attn_out", layer, sent)])
        return self.run([self.add("resid_pre", layer, sent)])

    def path(self, sender, receiver, tokens=None, at=None):
        """The metric with one path patched.

        Args:
            sender, receiver: kind, layer and head; ``"logits"``.
            tokens: of the sender.
            at: tokens of the receiver.
        """
        sent = self.sent(*sender, tokens)
        if receiver == "logits":
            last = self.model.cfg.n_layers - 1
            return self.metric([self.add("resid_post", last, sent)])
        kind, layer, head = receiver
        held = self.at(self.heard(kind, layer, sent), kind, layer)
        return self.metric([self.write(kind, layer, held, head, at)])

    def live(self, sender, receiver):
        """The same through MLPs that are not held; heads between are (Wang et al.)."""
        kind, layer, head = sender
        first = 0 if layer is None else layer + 1
        writes = [self.write(kind, layer, self.at(self.there, kind, layer), head)]
        for n in range(first, self.model.cfg.n_layers):
            writes.append(self.write("head_out", n, self.at(self.held, "head_out", n)))
        if receiver == "logits":
            return self.metric(writes)
        to, n, one = receiver
        return self.metric([self.write(to, n, self.at(self.run(writes), to, n), one)])

    def metric(self, writes):
        return float(difference(self.run(writes)["logits"])[0])

    @property
    def ends(self):
        return [float(difference(run["logits"])[0]) for run in (self.held, self.there)]


@pytest.fixture(scope="module")
def plain_of():
    made = {}

    def find(model, base=CORRUPTED, source=CLEAN):
        return made.setdefault((id(model), tuple(base)), Plain(model, base, source))

    return find


def patched(model, senders, receivers, **how):
    return ls.path_patching(model, CLEAN, CORRUPTED, senders, receivers, difference, **how)


def same(got, expected, plain):
    gap = abs(plain.ends[1] - plain.ends[0])
    assert float(got) == pytest.approx(expected, abs=2e-4 * max(1.0, gap))


def test_paths_to_the_logits(few, plain_of, no_hooks_left):
    plain = plain_of(few)
    result = patched(few, [ls.head_out, ls.mlp_out, ls.embed, ls.attn_out(1)], "logits")
    metric = result.data["metric"].isel(pair=0, receiver=0)
    assert result.data["receiver"].values.tolist() == ["logits"]
    for kind, layer, head in (
        ("head_out", 0, 1),
        ("head_out", 2, 3),
        ("mlp_out", 1, None),
        ("attn_out", 1, None),
        ("embed", None, None),
    ):
        layer_at = -1 if layer is None else layer
        got = metric.sel(site=kind, layer=layer_at, head=-1 if head is None else head)
        same(got, plain.path((kind, layer, head), "logits"), plain)
    base, source = plain.ends
    effect = (result.data["metric"] - base) / (source - base)
    np.testing.assert_allclose(result.data["effect"], effect, atol=1e-3)
    no_hooks_left(few)


def test_paths_to_heads_and_mlps(few, plain_of):
    plain, kv = plain_of(few), backend_of(few).n_kv_heads
    receivers = [ls.q(2), ls.k(2), ls.v(1), ls.mlp_out(0), ls.mlp_out(2), ls.head_out(2, 1)]
    senders = [ls.head_out(0), ls.mlp_out(1), ls.embed]
    result = patched(few, senders, receivers)
    metric = result.data["metric"].isel(pair=0)
    assert result.data.sizes["receiver"] == 4 + 2 * kv + 3
    for sender in (("head_out", 0, 1), ("mlp_out", 1, None), ("embed", None, None)):
        kind, layer, head = sender
        row = metric.sel(
            site=kind, layer=-1 if layer is None else layer, head=-1 if head is None else head
        )
        for receiver in (("q", 2, 3), ("k", 2, 0), ("v", 1, kv - 1), ("mlp_out", 2, None)):
            name = f"{receiver[0]}({', '.join(str(n) for n in receiver[1:] if n is not None)})"
            got = row.sel(receiver=name)
            if layer is not None and receiver[1] <= layer:
                assert np.isnan(got)
            else:
                same(got, plain.path(sender, receiver), plain)
    # A head's own block: its MLP comes after it, unless both take in the same.
    own = metric.sel(site="head_out", layer=0, head=1, receiver="mlp_out(0)")
    if plain.parallel:
        assert np.isnan(own)
    else:
        same(own, plain.path(("head_out", 0, 1), ("mlp_out", 0, None)), plain)
    # A head by all three of what it reads.
    sent = plain.sent("head_out", 0, 1)
    heard = plain.heard("head_out", 2, sent)
    expected = plain.metric([plain.write("head_out", 2, plain.at(heard, "head_out", 2), 1)])
    same(metric.sel(site="head_out", layer=0, head=1, receiver="head_out(2, 1)"), expected, plain)


def test_noising_and_positions(few, plain_of):
    plain = plain_of(few, CLEAN, CORRUPTED)
    groups = {"two": slice(2, 4), "end": -1}
    result = ls.path_patching(
        few,
        CLEAN,
        CORRUPTED,
        ls.mlp_out(0),
        [ls.v(1, 1), ls.v(1, 1).at(3), ls.mlp_out(2).at(-1), "logits"],
        difference,
        "noising",
        positions=groups,
    )
    metric = result.data["metric"].isel(pair=0, layer=0)
    assert result.data["effect"].dims == ("pair", "layer", "position", "receiver")
    for name, tokens in (("two", [2, 3]), ("end", [6])):
        path = partial(plain.path, ("mlp_out", 0, None), tokens=tokens)
        same(metric.sel(position=name)[0], path(("v", 1, 1)), plain)
        same(metric.sel(position=name)[1], path(("v", 1, 1), at=[3]), plain)
        same(metric.sel(position=name)[2], path(("mlp_out", 2, None), at=[6]), plain)
        same(metric.sel(position=name)[3], path("logits"), plain)
    base, source = plain.ends
    effect = (metric - base) / (source - base)
    np.testing.assert_allclose(result.data["effect"][0, 0], effect, atol=1e-3)
    each = patched(few, ls.head_out(0, 2), "logits", positions=None)
    alone = patched(few, ls.head_out(0, 2), "logits", positions=[6])
    got, expected = each.data["effect"].sel(position=6).item(), alone.data["effect"].item()
    assert got == pytest.approx(expected, abs=1e-4)
    assert np.abs(each.data["effect"].sel(position=slice(0, 5))).max() < 1e-4


def test_all_receivers_together_are_the_sender_patched(few):
    """Whatever way it goes, somebody hears it: the whole effect (any family, any sender)."""
    senders = [ls.head_out, ls.mlp_out, ls.embed]
    paths = patched(few, senders, EVERYTHING)
    whole = ls.activation_patching(few, CLEAN, CORRUPTED, senders, difference, positions=ls.ALL)
    np.testing.assert_allclose(
        paths.data["effect"].isel(receiver=0), whole.data["effect"], atol=1e-3
    )


def test_heads_that_hear_by_all_they_read(llama):
    heads = patched(llama, ls.head_out, {"all": [ls.head_out, ls.mlp_out, "logits"]})
    whole = ls.activation_patching(
        llama, CLEAN, CORRUPTED, ls.head_out, difference, positions=ls.ALL
    )
    np.testing.assert_allclose(
        heads.data["effect"].isel(receiver=0), whole.data["effect"], atol=1e-3
    )


def test_all_receivers_together_in_every_family(tiny):
    paths = patched(tiny, [ls.head_out(0, 1), ls.mlp_out(1)], EVERYTHING, positions=[4])
    whole = ls.activation_patching(
        tiny,
        CLEAN,
        CORRUPTED,
        [ls.head_out(0, 1), ls.mlp_out(1)],
        difference,
        positions=[4],
    )
    np.testing.assert_allclose(
        paths.data["effect"].isel(receiver=0), whole.data["effect"], atol=1e-3
    )


def test_live_mlps_are_as_in_the_paper(few, plain_of):
    plain, kv = plain_of(few), backend_of(few).n_kv_heads
    receivers = [ls.q(2, 3), ls.k(2, 0), ls.v(1, kv - 1), ls.mlp_out(2), "logits"]
    result = patched(few, [ls.head_out(0), ls.mlp_out(0), ls.embed], receivers, mlps="live")
    frozen = patched(few, [ls.head_out(0), ls.mlp_out(0), ls.embed], receivers)
    for sender in (("head_out", 0, 1), ("mlp_out", 0, None), ("embed", None, None)):
        kind, layer, head = sender
        row = result.data["metric"].sel(
            pair=0,
            site=kind,
            layer=-1 if layer is None else layer,
            head=-1 if head is None else head,
        )
        for n, receiver in enumerate(
            (("q", 2, 3), ("k", 2, 0), ("v", 1, kv - 1), ("mlp_out", 2, None), "logits")
        ):
            same(row[n], plain.live(sender, receiver), plain)
    assert np.nanmax(np.abs(result.data["effect"] - frozen.data["effect"])) > 1e-3
    assert result.settings["mlps"] == "live" and frozen.settings["mlps"] == "frozen"


def test_transformer_lens_finds_the_same():
    from transformer_lens import patching

    if not hasattr(patching, "get_act_patch_direct_path"):
        pytest.skip("direct path patching came with TransformerLens 4")
    model = families.build(families.Case("gpt2", "bridge", "raw"))
    with torch.no_grad():
        tokens = [torch.tensor([ids]) for ids in (CLEAN, CORRUPTED)]
        clean, corrupted = (model.run_with_cache(t)[1] for t in tokens)
        for component in ("q", "k", "v"):
            expected = patching.get_act_patch_direct_path(
                model,
                tokens[1],
                clean,
                corrupted,
                lambda logits: difference(logits)[0],
                0,
                2,
                component,
                verbose=False,
            )
            site = getattr(ls, component)
            result = patched(model, ls.head_out(0, 2), [site(1), site(2)])
            np.testing.assert_allclose(
                result.data["metric"].values.ravel(), expected[1:].flatten(), atol=1e-5
            )
            assert float(expected[1:].max() - expected[1:].min()) > 1e-3


def test_several_pairs_and_a_checkpoint(llama, tmp_path):
    clean = [families.prompt(n, seed=n) for n in (5, 8)]
    corrupted = [families.prompt(n, seed=n + 20) for n in (5, 8)]
    path = tmp_path / "paths.safetensors"
    call = lambda receivers, **how: ls.path_patching(
        llama, clean, corrupted, ls.head_out(0), receivers, difference, checkpoint=path, **how
    )
    result = call([ls.q(1), "logits"], positions=None)
    assert result.data.sizes == {"pair": 2, "layer": 1, "head": 4, "position": 8, "receiver": 5}
    for n in range(2):
        alone = ls.path_patching(
            llama,
            clean[n],
            corrupted[n],
            ls.head_out(0),
            [ls.q(1), "logits"],
            difference,
            positions=None,
        )
        got = result.data["effect"].isel(pair=n, position=slice(None, len(clean[n])))
        np.testing.assert_allclose(got, alone.data["effect"][0], atol=1e-3)
    again = call([ls.q(1), "logits"], positions=None)
    np.testing.assert_array_equal(again.data["effect"], result.data["effect"])
    for receivers, how in (([ls.q(1)], {}), ([ls.q(1), "logits"], {"mlps": "live"})):
        with pytest.raises(ls.LensError, match="is of another path patching"):
            call(receivers, positions=None, **how)
    frame = result.frame()
    assert frame.columns.tolist() == [
        *("pair", "site", "layer", "position", "token", "head", "receiver", "metric", "effect")
    ]
    assert "<svg" in result.to_html() and "q(1, 3)" in result.to_json()
    assert "receiver" in str(result)


def test_many_senders_go_in_parts(llama, monkeypatch):
    ask = partial(patched, llama, [ls.head_out(0), ls.mlp_out(0)], [ls.v(2, 1), "logits"])
    whole = ask()
    monkeypatch.setattr("lensscope.effects.paths._AT_ONCE", 4 * 7 * 32)
    np.testing.assert_allclose(ask().data["effect"], whole.data["effect"], atol=1e-4)


def test_what_does_not_send_or_receive_is_refused(few, no_hooks_left):
    with pytest.raises(ls.SiteError, match="do not send"):
        patched(few, ls.resid_pre(0), "logits")
    with pytest.raises(ls.SiteError, match="does not receive"):
        patched(few, ls.head_out(0), ls.resid_post(2))
    with pytest.raises(ls.PatchError, match=r"No sender comes before the receiver q\(0, 1\)"):
        patched(few, ls.head_out(0), [ls.q(2), ls.q(0, 1)])
    with pytest.raises(ls.PatchError, match="No sender comes before"):
        patched(few, ls.mlp_out(1), ls.mlp_out(1))
    with pytest.raises(ls.PatchError, match="There are no receivers"):
        patched(few, ls.head_out(0), [])
    with pytest.raises(ls.PromptError, match="equally long"):
        ls.path_patching(
            few, CLEAN[:5], CORRUPTED, ls.head_out(0), "logits", difference, positions=[-1]
        )
    no_hooks_left(few)
