"""The sweep engine against the plain hook loop: one forward a row, nothing shared."""

from __future__ import annotations

import copy
import random
from dataclasses import fields

import pytest
import torch

import lensscope as ls
from lensscope.engine.planning import PASS_TOKENS, Plan, Reach, groups
from lensscope.model.classes import backend_of
from tests import families, oracle
from tests.oracle import Edit, close

PROMPT = families.prompt(10)
OTHER = families.prompt(10, seed=1)
KINDS = ["embed", "resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out", "q", "k", "v"]
KINDS += ["head_out", "pattern", "mlp_hidden"]


def mixed(model, prompt, seed, n=24):
    """Rows of one to three writes at random sites, layers, heads and positions; the same as plain
    edits, or ``None`` for what a plain hook cannot write."""
    dice, backend = random.Random(seed), backend_of(model)
    torch.manual_seed(seed)
    sets, edits = [[]], [[]]
    while len(sets) < n:
        patches, plain = [], []
        for _ in range(dice.choice((1, 1, 1, 2, 3))):
            kind = dice.choice(KINDS)
            if kind == "resid_mid" and "neox" in model.cfg.model_name:
                continue
            layer = None if kind == "embed" else dice.randrange(3)
            heads = {"q": 4, "head_out": 4, "pattern": 4}.get(kind, backend.n_kv_heads)
            headed = kind in ("q", "k", "v", "head_out", "pattern") and dice.random() < 0.6
            head = dice.randrange(heads) if headed else None
            position = dice.choice((0, len(prompt) - 1, dice.randrange(len(prompt))))
            site = ls.Site(kind, layer, head).at(position)
            shape = backend.shape(site, 1, len(prompt))[1:]
            value = torch.rand(shape) if kind == "pattern" else torch.randn(shape)
            function = dice.choice(
                (
                    (site.set(value), lambda x, v=value: v),
                    (site.scale(-1.5), lambda x: -1.5 * x),
                    (site.add(value), lambda x, v=value: x + v),
                    (site.zero(), torch.zeros_like),
                    (site.scale(1.0), lambda x: x),
                )
            )
            patches.append(function[0])
            hooked = kind != "resid_mid" or backend.writes_resid_mid
            plain.append(Edit(kind, layer, position, function[1], head) if hooked else None)
        sets.append(patches)
        edits.append(plain)
    return sets, edits


def expected_logits(model, prompt, patches, plain):
    if any(edit is None for edit in plain):
        return ls.run(model, prompt, patches).logits[0]
    return oracle.logits(model, prompt, plain)


def test_the_backend_of_a_backend_is_itself(llama):
    backend = backend_of(llama)
    assert backend_of(backend) is backend
    states = [ls.capture(given, "Paris is", ls.resid_post(1)) for given in (llama, backend)]
    assert torch.equal(*(cache[ls.resid_post(1)] for cache in states))


@pytest.mark.parametrize("seed", [0, 1])
def test_mixed_rows_equal_the_plain_loop(tiny, seed, no_hooks_left):
    prompt = PROMPT if seed else PROMPT[:6]
    sets, edits = mixed(tiny, prompt, seed)
    out = ls.run_many(tiny, prompt, sets, positions=ls.ALL)
    last = ls.run_many(tiny, prompt, sets)
    assert out.plan.apart == last.plan.apart == ""
    assert last.plan.token_layers < last.plan.plain_token_layers
    assert last.plan.unembedded < last.plan.plain_unembedded / 2
    for n, plain in enumerate(edits):
        expected = expected_logits(tiny, prompt, sets[n], plain)
        close(out.logits[n], expected)
        close(last.logits[n, 0], expected[-1])
        best = expected[-1].topk(2).values
        spread = float(expected.max() - expected.min())
        if float(best[0] - best[1]) > 1e-4 * spread:
            assert int(last.logits[n, 0].argmax()) == int(expected[-1].argmax())
    no_hooks_left(tiny)


def test_the_same_greedy_text(tiny):
    sets, edits = mixed(tiny, PROMPT, 2, n=10)
    chosen = [n for n, plain in enumerate(edits) if None not in plain]
    out = ls.run_many(tiny, PROMPT, [sets[n] for n in chosen], max_new_tokens=4, stop_at_eos=False)
    for row, n in enumerate(chosen):
        # the plain loop runs the whole text at each step, where a pattern has more keys
        kinds = {edit.kind for edit in edits[n]}
        if "pattern" not in kinds:
            assert list(out.generation.token_ids[row]) == oracle.generate(tiny, PROMPT, edits[n], 4)
        alone = ls.generate(tiny, PROMPT, sets[n], 4, stop_at_eos=False)
        assert out.generation.token_ids[row] == alone.token_ids[0]


def test_one_token_prompts(tiny):
    sets, edits = mixed(tiny, PROMPT[:1], 3, n=12)
    out = ls.run_many(tiny, PROMPT[:1], sets, max_new_tokens=2, stop_at_eos=False)
    for n, plain in enumerate(edits):
        close(out.logits[n], expected_logits(tiny, PROMPT[:1], sets[n], plain))


@pytest.mark.parametrize("saving", [field.name for field in fields(Plan)] + ["every one"])
def test_each_saving_can_be_switched_off(few, saving):
    sets, _ = mixed(few, PROMPT, 4, n=12)
    sets += [sets[1], [ls.resid_pre(1).at(2) >> ls.resid_pre(1).at(2)]]
    plan = ls.Plan.none() if saving == "every one" else {saving: False}
    keep = [ls.resid_post(1), ls.pattern(2, 1)]
    on = ls.run_many(few, PROMPT, sets, keep=keep, positions=slice(6, None))
    off = ls.run_many(few, PROMPT, sets, keep=keep, positions=slice(6, None), plan=plan)
    close(off.logits, on.logits)
    for site in keep:
        close(off.cache[site], on.cache[site])
    assert off.plan.off == (Plan.of(plan).off)
    assert f"switched off: {', '.join(off.plan.off)}" in str(off.plan)
    wrote = [
        ls.run_many(few, PROMPT, sets, max_new_tokens=3, plan=p).generation.token_ids
        for p in (None, plan)
    ]
    assert wrote[0] == wrote[1]


def test_what_each_saving_saves(llama):
    """Eight rows at one token of each of two layers, by hand: ten tokens, three blocks."""
    torch.manual_seed(0)
    sets = [[ls.resid_pre(n).at(7).set(torch.randn(32))] for n in (1, 2) for _ in range(4)]
    plain = ls.run_many(llama, PROMPT, sets, plan=ls.Plan.none()).plan
    assert plain.token_layers == plain.plain_token_layers == 8 * 10 * 3
    assert plain.unembedded == plain.plain_unembedded == 8 * 10
    only = dict.fromkeys(("source", "prefix", "depth", "unchanged", "outputs", "chunks"), False)
    prefix = ls.run_many(llama, PROMPT, sets, plan=only | {"prefix": True}).plan
    assert prefix.token_layers == 10 * 3 + 8 * 3 * 3  # the prompt once, then three tokens a row
    depth = ls.run_many(llama, PROMPT, sets, plan=only | {"depth": True}).plan
    assert depth.token_layers == 10 * (3 + 4 * 2 + 4 * 1)  # one row all the way, four at each layer
    every = ls.run_many(llama, PROMPT, sets).plan
    assert every.token_layers == 10 * 3 + 3 * (3 + 4 * 2 + 4 * 1)
    assert every.unembedded == 8
    assert every.shared_prefix == 7
    same = ls.run_many(llama, PROMPT, [*sets[:2], *sets[:2]], plan=only | {"unchanged": True}).plan
    assert same.run == 2


def test_a_value_that_is_there_already_is_not_run(tiny):
    """As where a clean and a corrupted prompt do not differ yet."""
    source = [*PROMPT[:6], *OTHER[6:]]
    clean = ls.capture(tiny, source, ls.resid_pre)
    cells = [(layer, p) for layer in range(3) for p in range(10)]
    sets = [[ls.resid_pre(n).at(p).set(clean[ls.resid_pre(n)][0, p])] for n, p in cells]
    out = ls.run_many(tiny, PROMPT, sets)
    assert out.plan.run <= 3 * 4 + 1  # four tokens of three layers differ; the rest is one row
    for row, (layer, p) in enumerate(cells):
        value = clean[ls.resid_pre(layer)][0, p]
        edit = Edit("resid_pre", layer, p, lambda x, v=value: v)
        close(out.logits[row, 0], oracle.logits(tiny, PROMPT, [edit])[-1])
    # All positions of a head at once: what differs begins at token 6.
    heads = ls.capture(tiny, source, ls.head_out)
    sets = [
        [ls.head_out(n, h).set(heads[ls.head_out(n, h)][0])] for n in range(3) for h in range(4)
    ]
    out = ls.run_many(tiny, PROMPT, sets)
    assert out.plan.shared_prefix == 6
    edits = [
        Edit("head_out", 2, p, lambda x, p=p: heads[ls.head_out(2, 3)][0, p], head=3)
        for p in range(10)
    ]
    close(out.logits[-1, 0], oracle.logits(tiny, PROMPT, edits)[-1])


def test_a_write_that_restores_is_not_taken_for_one_that_changes_nothing(llama):
    """What the unpatched run had, written back above an earlier change, undoes it."""
    clean = ls.capture(llama, PROMPT, ls.resid_pre(2))[ls.resid_pre(2)][0]
    noise = ls.resid_pre(0).at(3).add(torch.ones(32))
    back = [ls.resid_pre(2).at(p).set(clean[p]) for p in range(3, 10)]
    out = ls.run_many(llama, PROMPT, [[noise], [noise, *back], [noise, *back[1:]], back])
    expected = oracle.logits(llama, PROMPT)[-1]
    close(out.logits[1, 0], expected)
    close(out.logits[3, 0], expected)
    for n in (0, 2):
        assert float((out.logits[n, 0] - expected).abs().max()) > 1e-2
    assert out.plan.run == 4  # the last one is found out, and runs as the unpatched row


def test_rows_go_together_by_their_first_token():
    reaches = {n: Reach(token=n % 4, layer=0) for n in range(400)}
    cut = groups(reaches, width=40, n_layers=3, extra=0, joined=True)
    assert [g.prefix for g in cut] == [0, 1, 2, 3]
    assert sorted(n for g in cut for n in g.rows) == list(range(400))
    assert all(reaches[n].token >= g.prefix for g in cut for n in g.rows)
    (one,) = groups(reaches, width=40, n_layers=3, extra=10_000, joined=True)
    assert one.prefix == 0
    late = reaches | {400: Reach(token=39, layer=2)}
    assert [g.prefix for g in groups(late, 40, 3, 50, joined=False)][-1] == 3
    many = {n: Reach(token=n, layer=1) for n in range(3000)}
    cut = groups(many, width=3000, n_layers=2, extra=5, joined=True)
    assert sorted(n for g in cut for n in g.rows) == list(range(3000))
    assert all(n >= g.prefix for g in cut for n in g.rows)


def test_few_rows_are_not_made_to_share(llama, monkeypatch):
    monkeypatch.setitem(PASS_TOKENS, "cpu", 40)
    sets = [[ls.resid_pre(n).at(9).scale(0.5)] for n in (1, 2)]
    out = ls.run_many(llama, PROMPT, sets)
    assert "take less work" in str(out.plan)
    monkeypatch.setitem(PASS_TOKENS, "cpu", 0)
    close(ls.run_many(llama, PROMPT, sets).logits, out.logits)


def test_rows_of_several_prompts_share_with_their_own(few):
    """Aligned prompts: each row has its own, and rows of one prompt share its unpatched run."""
    torch.manual_seed(0)
    prompts = [PROMPT, OTHER, PROMPT, OTHER, PROMPT[:6], PROMPT]
    value = torch.randn(32)
    layers = [0, 1, 2, 2, 1, 1]
    sets = [[ls.resid_pre(n).at(-2).set(value)] for n in layers]
    out = ls.run_many(few, prompts, sets, max_new_tokens=2, stop_at_eos=False)
    for row, (prompt, layer) in enumerate(zip(prompts, layers, strict=True)):
        edit = Edit("resid_pre", layer, len(prompt) - 2, lambda x: value)
        close(out.logits[row, 0], oracle.logits(few, prompt, [edit])[-1])
        assert list(out.generation.token_ids[row]) == oracle.generate(few, prompt, [edit], 2)
    assert len(out.plan.chunks) == 3


def test_a_metric_or_the_top_k_in_place_of_the_logits(few, monkeypatch):
    sets, _ = mixed(few, PROMPT, 5, n=9)
    plain = ls.run_many(few, PROMPT, sets, positions=slice(3, None, 6)).logits
    expected = plain[:, -1, 7] - plain[:, -1, 9]
    calls = []

    def difference(logits):
        calls.append(len(logits))
        return logits[:, -1, 7] - logits[:, -1, 9]

    for size in (1 << 31, 40_000):
        monkeypatch.setattr("lensscope.engine.sweep.default_budget", lambda device, size=size: size)
        for plan in (None, {"outputs": False}):
            out = ls.run_many(
                few,
                PROMPT,
                sets,
                positions=slice(3, None, 6),
                metric=difference,
                top_k=4,
                plan=plan,
            )
            assert out.logits is None
            close(out.metric, expected)
            best = plain.log_softmax(-1).topk(4)
            close(out.top_log_probabilities, best.values, 1e-3)
            assert (out.top_tokens == best.indices).float().mean() > 0.95
            assert out.frame().columns.tolist() == [
                "row",
                "first_token_id",
                "first_token_probability",
                "metric",
            ]
    assert max(calls) <= 9 and min(calls) < 9  # batch by batch
    two = ls.run_many(few, PROMPT, sets, metric=lambda logits: logits[:, 0, :2])
    assert two.metric.shape == (9, 2)
    assert two.data["metric"].dims == ("row", "metric_0")


def test_ragged_top_k(llama):
    out = ls.run_many(llama, [PROMPT, PROMPT[:2]], [[], []], positions=slice(0, 3), top_k=2)
    assert out.top_tokens[1, 2].tolist() == [-1, -1]
    assert out.top_log_probabilities[1, 2].isnan().all()
    assert not out.top_log_probabilities[0].isnan().any()
    assert out.frame()["first_token_id"][1] == int(out.top_tokens[1, 1, 0])


def test_logits_at_one_token_and_text_after_the_last(few):
    """The first of them lies in what rows share, the last is what they go on from."""
    sets = [[ls.resid_pre(n).at(9).scale(-1.0)] for n in range(3)]
    out = ls.run_many(few, PROMPT, sets, positions=4, max_new_tokens=3, stop_at_eos=False)
    for n in range(3):
        edit = Edit("resid_pre", n, 9, lambda x: -x)
        close(out.logits[n], oracle.logits(few, PROMPT, [edit])[4:5])
        close(out.generation.first_logits[n], oracle.logits(few, PROMPT, [edit])[-1])
        assert list(out.generation.token_ids[n]) == oracle.generate(few, PROMPT, [edit], 3)


def test_logits_at_a_token_that_no_row_has_changed(few):
    sets = [[ls.resid_pre(n).at(9).scale(-1.0)] for n in range(3)]
    clean = oracle.logits(few, PROMPT)
    for keep in ((), ls.resid_post(1).at(9)):
        out = ls.run_many(few, PROMPT, sets, positions=slice(2, 4), keep=keep)
        for n in range(3):
            close(out.logits[n], clean[2:4])
    nothing = ls.run_many(few, PROMPT, sets, positions=None)
    assert nothing.logits is None and len(nothing.cache) == 0


def test_labels_are_axes(llama):
    value = torch.ones(32)
    sets = [[ls.resid_pre(n).at(p).set(value)] for n in (2, 0) for p in (1, 4, 9)]
    axes = {"layer": torch.tensor([2, 0]), "position": ("b", "e", "j")}
    out = ls.run_many(llama, PROMPT, sets, labels=axes, top_k=3, max_new_tokens=2)
    assert out.data.sizes == {"layer": 2, "position": 3, "logits_at": 1, "rank": 3}
    cell = out.data.sel(layer=0, position="e")
    assert cell["top_tokens"][0, 0] == out.top_tokens[4, 0, 0]
    assert cell["text"].item() == out.generation.texts[4]
    assert out.labels[4] == (0, "e")
    assert out.data.coords["logits_at"].item() == 9
    assert list(out.frame().columns[:2]) == ["layer", "position"]
    assert (out.data["top_log_probabilities"].mean("position").sizes) == {
        "layer": 2,
        "logits_at": 1,
        "rank": 3,
    }
    logits = ls.run_many(llama, PROMPT, sets, labels=[(n, n) for n in range(6)], positions=ls.ALL)
    assert logits.data["logits"].dims == ("row", "logits_at", "d_vocab")
    assert logits.data["row"].values[3] == (3, 3)


def test_gradients_reach_the_values_of_patches(few):
    torch.manual_seed(0)
    values = torch.randn(3, 32, requires_grad=True)
    grown = torch.zeros(32, requires_grad=True)
    sets = [[ls.resid_pre(n).at(4).set(values[n])] for n in range(3)]
    sets.append([ls.resid_post(0).at(2).add(grown)])
    sets += [[ls.resid_pre(2).at(9).scale(0.5)]] * 6  # enough of them to join at their layer
    metric = lambda logits: logits[:, 0, 5] - logits[:, 0, 6]
    keep = ls.resid_post(2).at(-1)
    out = ls.run_many(few, PROMPT, sets, metric=metric, keep=keep, grad=True)
    assert out.plan.apart == ""
    out.metric[:4].sum().backward()
    got = values.grad.clone(), grown.grad.clone()
    values.grad = grown.grad = None
    total = 0.0
    for n in range(4):
        layer, at, hook = (n, 4, "hook_resid_pre") if n < 3 else (0, 2, "hook_resid_post")

        def write(x, hook, n=n, at=at):
            x = x.clone()
            x[0, at] = values[n] if n < 3 else x[0, at] + grown
            return x

        logits = few.run_with_hooks(
            torch.tensor([PROMPT]),
            fwd_hooks=[(f"blocks.{layer}.{hook}", write)],
            return_type="logits",
        )
        total = total + logits[0, -1, 5] - logits[0, -1, 6]
    total.backward()
    close(got[0], values.grad)
    close(got[1], grown.grad)
    assert float(got[1].abs().max()) > 0
    kept = out.cache[keep]
    assert kept.requires_grad
    for parameter in few.parameters():
        parameter.grad = None
    with pytest.raises(ls.PlanError, match="do not flow"):
        ls.run_many(few, PROMPT, sets, grad=True, max_new_tokens=2)


def test_rows_that_have_become_the_same_are_decoded_once(llama):
    """The same state, written after a block and before the next: found out by what it has led to.
    A row that steers is not: it may differ later."""
    value = torch.linspace(-1, 1, 32)
    pair = [[ls.resid_post(0).at(9).set(value)], [ls.resid_pre(1).at(9).set(value)]]
    steered = [*pair[0], ls.resid_post(2).at(9).map(lambda x: 1 * x, when="every_step")]
    sizes = []
    point = llama.hook_dict["blocks.2.hook_resid_post"]
    for sets in (pair, [pair[0], steered]):
        sizes.clear()
        point.add_hook(lambda tensor, hook: sizes.append(tensor.shape[0]))
        try:
            out = ls.run_many(llama, PROMPT, sets, max_new_tokens=4, stop_at_eos=False)
        finally:
            point.fwd_hooks.pop().hook.remove()
        assert len(set(out.generation.token_ids)) == 1
        assert out.plan.run == 2
        assert sizes[-1] == (1 if sets is pair else 2)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_joins_as_it_runs_alone(dtype):
    for family in ("llama", "gpt2", "gemma2"):
        model = families.wrap(copy.deepcopy(families.hf_model(family)).to(dtype), family=family)
        torch.manual_seed(0)
        sets = [
            [ls.resid_pre(n).at(p).set(torch.randn(32).to(dtype))]
            for n in range(3)
            for p in (0, 5, 9)
        ]
        sets.append([ls.head_out(1, 2).at(8).zero(), ls.mlp_out(2).at(9).scale(2.0)])
        out = ls.run_many(model, PROMPT, sets)
        assert out.plan.apart == ""
        assert out.logits.dtype == dtype
        for n, patches in enumerate(sets):
            alone = ls.run(model, PROMPT, patches).logits[0, -1]
            close(out.logits[n, 0].float(), alone.float(), 5e-2)


def test_a_budget_is_kept_or_refused_with_the_least_that_would_do(llama):
    sets = [[ls.resid_pre(n % 3).at(9).scale(0.1 * n)] for n in range(40)]
    whole = ls.run_many(llama, PROMPT, sets)
    with pytest.raises(ls.BudgetError) as error:
        ls.run_many(llama, PROMPT, sets, memory_budget=1000)
    least = int(error.value.instead.removeprefix("memory_budget="))
    tight = ls.run_many(llama, PROMPT, sets, memory_budget=least)
    assert max(tight.plan.chunks) == 1
    close(tight.logits, whole.logits)
    with pytest.raises(ls.BudgetError):
        ls.run_many(llama, PROMPT, sets, memory_budget=least - 1)
    between = ls.run_many(llama, PROMPT, sets, memory_budget=2 * least)
    assert 1 < len(between.plan.chunks) < 40
    close(between.logits, whole.logits)


@pytest.mark.parametrize("failure", [KeyboardInterrupt, RuntimeError])
def test_a_sweep_that_is_stopped_leaves_nothing_behind(few, failure, no_hooks_left):
    own = []
    point = few.hook_dict["blocks.0.hook_resid_post"]
    point.add_hook(lambda tensor, hook: own.append(1))
    handle = point.fwd_hooks[-1]
    before = {n: p.detach().clone() for n, p in few.named_parameters()}
    modules = {
        n: (len(m._forward_hooks), len(m._forward_pre_hooks)) for n, m in few.named_modules()
    }

    def fail(x):
        raise failure("stopped")

    sets = [[ls.resid_pre(n).at(p).scale(0.5)] for n in range(3) for p in (3, 8)]
    for bad in (ls.resid_pre(2).at(8).map(fail), ls.resid_post(2).at(8).map(fail)):
        for options in ({}, {"max_new_tokens": 2}, {"keep": ls.q}):
            with pytest.raises(failure):
                ls.run_many(few, PROMPT, [*sets, [bad]], **options)
    with pytest.raises(failure):
        ls.run_many(few, PROMPT, sets, metric=fail)
    assert point.fwd_hooks == [handle]
    own.clear()
    handle.hook.remove()
    point.fwd_hooks.clear()
    no_hooks_left(few)
    after = {n: (len(m._forward_hooks), len(m._forward_pre_hooks)) for n, m in few.named_modules()}
    after_own = {n: c for n, c in after.items() if c != modules[n]}
    assert set(after_own.values()) <= {(0, 0)} and len(after_own) <= 2  # the hook taken off above
    assert all(torch.equal(p, before[n]) for n, p in few.named_parameters())
    close(ls.run(few, PROMPT).logits[0], oracle.logits(few, PROMPT))


def test_a_plan_that_does_not_exist(llama):
    with pytest.raises(ls.PlanError, match="no such plan"):
        ls.run_many(llama, PROMPT, [[]], plan={"cleverness": True})
    with pytest.raises(ls.PlanError, match="one value for each row"):
        ls.run_many(llama, PROMPT, [[], []], metric=lambda logits: logits[0, -1, 7])
    with pytest.raises(ls.PlanError, match="no logits"):
        ls.run_many(llama, PROMPT, [[]], top_k=3, positions=None)
    with pytest.raises(ls.PlanError, match="cannot be kept"):
        ls.run_many(llama, PROMPT, [[]], top_k=0)
    with pytest.raises(ls.PatchError, match="one label for each list"):
        ls.run_many(llama, PROMPT, [[], []], labels={"layer": (1, 2, 3)})
    with pytest.raises(ls.PlanError, match="has changed the logits"):
        ls.run_many(llama, PROMPT, [[]], metric=lambda logits: logits.neg_()[:, -1, 3])
    with pytest.raises(ls.PlanError, match="inference mode"), torch.inference_mode():
        ls.run_many(llama, PROMPT, [[]], grad=True)
    with pytest.raises(ls.PatchError, match="name of something else"):
        ls.run_many(llama, PROMPT, [[]], labels={"rank": (1,)})
    with pytest.raises(ls.PatchError, match="how a text goes on"):
        ls.run_many(llama, PROMPT, [[]], temperature=0.7, seed=0)
    with pytest.raises(ls.PatchError, match="how a text goes on"):
        ls.run_many(llama, PROMPT, [[]], max_new_tokens=2, heat=0.7)
    move = ls.resid_pre(1).at(2) >> ls.resid_pre(1).at(2)
    for plan in (None, {"source": False}):
        with pytest.raises(ls.PromptError, match="one source for each"):
            ls.run_many(llama, PROMPT, [[move]] * 3, source=[OTHER, OTHER], plan=plan)
    with pytest.raises(ls.PlanError, match="cannot be taken"):
        ls.run_many(llama, [PROMPT, PROMPT[:2]], [[], []], metric=len, positions=ls.ALL)


def test_the_user_s_own_hooks_see_whole_prompts(llama):
    """A hook that compares tokens would see something else in a part of the prompt."""
    sets = [[ls.resid_pre(n).at(p).scale(-1.0)] for n in range(3) for p in (3, 8, 9)]

    def centred(tensor, hook):
        return tensor - tensor.mean(1, keepdim=True)

    with llama.hooks(fwd_hooks=[("blocks.1.hook_resid_post", centred)]):
        out = ls.run_many(llama, PROMPT, sets)
        alone = [ls.run(llama, PROMPT, patches).logits[0, -1] for patches in sets]
        for n, expected in enumerate(alone):
            close(out.logits[n, 0], expected)
    assert "hooks of its own" in str(out.plan)
    assert ls.run_many(llama, PROMPT, sets).plan.off == ()


def test_functions_that_draw_are_called_for_every_row(llama):
    site = ls.resid_pre(1).at(9)
    noise = lambda x: x + torch.randn_like(x)
    for patch in (site.map(noise), site >> noise >> site):
        out = ls.run_many(llama, PROMPT, [[patch]] * 4)
        rows = {tuple(row.tolist()) for row in out.logits[:, 0]}
        assert len(rows) == 4

    class Twice:
        __hash__ = None

        def __call__(self, x):
            return 2 * x

    moved = ls.run_many(llama, PROMPT, [[site >> Twice() >> site]] * 2)
    close(moved.logits[1, 0], ls.run(llama, PROMPT, [site.scale(2.0)]).logits[0, -1])


def test_whole_numbers_from_a_metric(llama):
    sets = [[], [], [ls.resid_pre(1).at(9).scale(-1.0)], [ls.resid_pre(2).at(3).scale(-1.0)]]
    best = lambda logits: logits[:, -1].argmax(-1)
    out = ls.run_many(llama, PROMPT, sets, metric=best)
    assert out.metric.tolist() == ls.run_many(llama, PROMPT, sets).logits[:, -1].argmax(-1).tolist()


def test_logits_and_first_logits_are_not_one_tensor(llama):
    out = ls.run_many(llama, PROMPT, [[]], max_new_tokens=1, plan=ls.Plan.none())
    first = out.generation.first_logits.clone()
    out.logits.zero_()
    assert torch.equal(out.generation.first_logits, first)


def test_the_least_budget_does_for_all_prompts(llama):
    prompts = [PROMPT] * 3 + [families.prompt(30, 4)] * 3
    sets = [[ls.resid_pre(n).at(-1).scale(-1.0)] for n in range(3)] * 2
    with pytest.raises(ls.BudgetError) as error:
        ls.run_many(llama, prompts, sets, memory_budget=1)
    least = int(error.value.instead.removeprefix("memory_budget="))
    out = ls.run_many(llama, prompts, sets, memory_budget=least)
    close(out.logits, ls.run_many(llama, prompts, sets).logits)


def test_the_plan_says_how_many_rows_are_apart(llama):
    sets = [[ls.resid_pre(n).at(9).scale(-1.0)] for n in range(3)] * 3
    for n, patches in enumerate(sets):
        patches[0] = ls.resid_pre(n % 3).at(9).scale(-1.0 - n)
    out = ls.run_many(llama, [PROMPT] * 9 + [OTHER], [*sets, []])
    assert "1 side by side, for one row of a prompt" in str(out.plan)
    assert out.plan.apart_rows == 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
def test_a_sweep_on_a_gpu():
    model = families.wrap(copy.deepcopy(families.hf_model("llama")))
    sets, _ = mixed(model, PROMPT, 7)
    expected = ls.run_many(model, PROMPT, sets).logits
    there = families.wrap(copy.deepcopy(families.hf_model("llama")).to("cuda"))
    moved = [
        [p.site.set(p.operation.value.to("cuda")) if p.operation.values else p for p in patches]
        for patches in sets
    ]
    close(ls.run_many(there, PROMPT, moved).logits.cpu(), expected)
