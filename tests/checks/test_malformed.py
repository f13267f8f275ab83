"""Arguments that nobody could mean: refused at the door, in the house's words, before anything."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import lensscope as ls
from lensscope import checks
from lensscope.errors import PatchError
from lensscope.show.tables import markdown
from lensscope.signs import cut, without_control
from tests import families

ROOT = Path(__file__).parents[2]
P, Q = families.prompt(6), families.prompt(6, seed=1)
AT = ls.resid_post(1).at(2)


def test_random_malformed_calls():
    """Without the type checker, so in a process of its own, where many more can be made:
    ``python -m tests.malformed --calls 1500 --seed 0``."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.malformed", "--calls", "150"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "0 failures of 150 calls" in done.stdout


# ---------------------------------------------------------------- the checks themselves


@pytest.mark.parametrize("value", [2, np.int64(2), np.uint8(2), np.array(2), torch.tensor(2)])
def test_whole_numbers_come_out_as_python_s_own(value):
    found = checks.whole(1)(value, "window", PatchError)
    assert found == 2
    assert type(found) is int


@pytest.mark.parametrize(
    "value",
    [
        *(True, np.bool_(True), 2.0, np.float32(2), "2", None, [2], np.array([2]), torch.ones(2)),
        *(0, math.nan, 2**70, pytest.param(10**5000, id="endless")),
    ],
)
def test_other_things_are_no_whole_numbers(value):
    with pytest.raises(PatchError, match=r"window is a whole number\.") as caught:
        checks.whole(1)(value, "window", PatchError)
    assert len(str(caught.value)) < 2000


@pytest.mark.parametrize("value", [0.5, np.float32(0.5), np.float64(0.5), torch.tensor(0.5)])
def test_numbers_come_out_as_python_s_own(value):
    assert type(checks.real(0, 1)(value, "level", PatchError)) is float


@pytest.mark.parametrize("value", ["0.5", True, math.nan, math.inf, 10**400, 1j, torch.ones(2)])
def test_other_things_are_no_numbers(value):
    with pytest.raises(PatchError, match="level is a number"):
        checks.real()(value, "level", PatchError)


@pytest.mark.parametrize("value", [True, np.bool_(True), np.array(True), torch.tensor(True)])
def test_flags_come_out_as_python_s_own(value):
    assert checks.flag(value, "grad", PatchError) is True


@pytest.mark.parametrize("value", ["no", 1, 0, None, 0.0, [True], np.array([True])])
def test_other_things_are_no_flags(value):
    with pytest.raises(PatchError, match="grad is a flag"):
        checks.flag(value, "grad", PatchError)


@pytest.mark.parametrize("value", [range(10**12), itertools.count(), itertools.repeat("a")])
def test_what_does_not_end_is_not_expanded(value):
    with pytest.raises(PatchError, match="too long"):
        checks.listed(value, "positions", PatchError)


@pytest.mark.parametrize("value", ["", "a\0b", "\ud800", b"a", 3, None, object()])
def test_what_is_no_path(value):
    with pytest.raises(PatchError, match="not a path"):
        checks.path(value, "path", PatchError)


def test_a_door_names_the_argument_that_was_meant():
    with pytest.raises(PatchError, match=r"prepend_bos= in place of prepend_boss="):
        ls.run(None, P, prepend_boss=True)
    with pytest.raises(PatchError, match="missing a required argument: 'prompt'"):
        ls.run(None)


def test_a_function_s_own_error_passes_and_a_wrong_call_does_not():
    def own(x):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        checks.called(own, "It", PatchError, 1)
    with pytest.raises(PatchError, match="cannot be called with what it is given"):
        checks.called(lambda: 3, "It", PatchError, 1)


# ---------------------------------------------------------------- R6: what is gone through once


def test_an_iterator_of_patches_serves_every_prompt(llama):
    patches = [AT.zero(), ls.resid_post(2).at(-1).scale(2.0)]
    expected = ls.run(llama, [P, Q], patches, keep=[ls.resid_post(1)])
    found = ls.run(llama, (p for p in (P, Q)), iter(patches), keep=(s for s in [ls.resid_post(1)]))
    assert torch.equal(found.logits, expected.logits)
    assert list(found.cache) == list(expected.cache)
    kept = [ls.generate(llama, [P, Q], made, 3).tokens for made in (patches, iter(patches))]
    assert kept[0] == kept[1] != ls.generate(llama, [P, Q], [], 3).tokens


def test_iterators_of_iterators(llama):
    sets = [[], [AT.zero()]]
    expected = ls.run_many(llama, P, sets, labels=["a", "b"])
    found = ls.run_many(llama, P, (iter(s) for s in sets), labels=iter(["a", "b"]))
    assert torch.equal(found.logits, expected.logits)
    assert found.labels == ("a", "b")


def test_iterators_of_layers_targets_and_lenses(llama):
    lenses = [ls.LogitLens(), ls.LogitLens("other")]
    report = ls.compare(llama, [P, Q], iter(lenses), layers=(n for n in (0, 1)), resamples=10)
    assert report.data.sizes["lens"] == report.data.sizes["layer"] == 2
    reading = ls.LogitLens().read(llama, P, iter([ls.resid_post(1)]), targets=iter([5, 7]))
    assert reading.data.sizes["target"] == 2


# ---------------------------------------------------------------- R7: 0 is a number


def test_a_cache_at_position_0_is_read_again(llama, tmp_path):
    site = ls.resid_post(0).at(0)
    cache = ls.capture(llama, [P, Q], site)
    again = ls.Cache.load(cache.save(tmp_path / "cache.safetensors"))
    assert torch.equal(again[site], cache[site])
    assert again.positions(site) == ((0,), (0,))


def test_two_positions_of_a_site_are_not_taken_for_the_whole(llama):
    cache = ls.capture(llama, P, [ls.resid_post(0).at(0), ls.resid_post(0).at(1)])
    with pytest.raises(ls.CacheError, match="does not hold"):
        cache[ls.resid_post(0)]


# ---------------------------------------------------------------- R14: numpy's numbers


def test_numpy_s_numbers_and_flags_give_the_same_and_are_json(llama, tmp_path):
    pair = (llama, P, Q, ls.mlp_out, ls.log_probability(7))
    own = ls.attribution_patching(*pair, ig_steps=2, grad_drop=True, verify=1, seed=3)
    theirs = ls.attribution_patching(
        *pair,
        ig_steps=np.int64(2),
        grad_drop=np.bool_(True),
        verify=np.int8(1),
        seed=np.uint64(3),
    )
    assert theirs.to_json() == own.to_json()
    trace = {"samples": np.int32(2), "noise": np.float32(2.0), "seed": np.int64(1)}
    found = ls.causal_trace(llama, P, np.int64(1), 7, **trace)
    assert found.to_json(tmp_path / "trace.json")
    assert found.mean(level=np.float32(0.9), resamples=np.int64(20)).sizes
    drawn = {"temperature": np.float32(1.0), "seed": np.int64(3), "top_p": np.float64(0.9)}
    plain = {"temperature": 1.0, "seed": 3, "top_p": 0.9}
    assert ls.generate(llama, P, **drawn).tokens == ls.generate(llama, P, **plain).tokens


# ---------------------------------------------------------------- R15: twice


def test_what_is_asked_for_twice_is_done_once(llama):
    effect = ls.activation_patching(
        llama, P, Q, [ls.mlp_out(1), ls.mlp_out(1)], ls.log_probability(7), positions=[2, 2]
    )
    assert effect.data.position.values.tolist() == [2]
    assert effect.to_svg()
    reading = ls.LogitLens().read(llama, P, [ls.resid_post(1), ls.resid_post(1)], targets=[7, 7])
    assert reading.data.sizes["layer"] == reading.data.sizes["target"] == 1
    report = ls.compare(llama, [P, Q], ls.LogitLens(), layers=[1, 1], resamples=10)
    assert report.data.layer.values.tolist() == [1]
    scope = ls.Patchscope(ls.InspectionPrompt("w60 w50", "w50"), max_new_tokens=1)
    assert len(scope.inspect(llama, P, layers=[1, 1], target_layers=[0, 0]).frame()) == 1


def test_two_positions_of_one_name_are_refused(llama):
    prompts = "w5 w6 w7", "w8 w6 w9"
    with pytest.raises(ls.PositionError, match="one name"):
        ls.activation_patching(
            llama,
            *prompts,
            ls.mlp_out,
            ls.log_probability(7),
            positions=[ls.span("w6"), ls.span("w6"), "w6"],
        )


# ---------------------------------------------------------------- R18: accepted in silence


@pytest.mark.parametrize(
    "call",
    [
        lambda m: ls.run(m, "w5", prepend_bos="no"),
        lambda m: ls.run(m, P, padding_side="middle"),
        lambda m: ls.run(m, P, memory_budget=math.nan),
        lambda m: ls.attribution_patching(
            m, P, Q, ls.mlp_out, ls.log_probability(7), grad_drop="no"
        ),
        lambda m: ls.scaled_to(math.nan),
        lambda m: ls.scaled_to(1e300)(torch.ones(3)),
        lambda m: ls.run(m, P, source=Q),
        lambda m: ls.generate(m, P, [AT.zero()], source=Q),
        lambda m: ls.run_many(m, P, [[AT.zero()], []], source=Q),
        lambda m: ls.generate(m, P, [AT.scale(1e300)]),
        lambda m: ls.run(m, P, [AT.scale(3e38)]),
        lambda m: ls.run(m, P, [AT.lerp(torch.ones(32), 1e300)]),
        lambda m: ls.Patchscope("w5 x", max_new_token=3),
        lambda m: ls.Plan(dept=False),
        lambda m: ls.resid_post(1).at(slice("a", None)),
        lambda m: ls.run(m, "w5 \ud800"),
    ],
)
def test_what_was_accepted_in_silence_is_refused(llama, call, no_hooks_left):
    with pytest.raises(ls.LensscopeError, match="instead:"):
        call(llama)
    no_hooks_left(llama)


def test_a_source_that_some_rows_read_from_is_right(llama):
    move = ls.resid_post(0).at(1) >> AT
    for plan in (ls.Plan(), ls.Plan.none()):
        out = ls.run_many(llama, P, [[move], []], source=Q, plan=plan)
        assert torch.allclose(out.logits[1, 0], ls.run(llama, P).last_logits[0], atol=1e-4)


def test_nothing_that_a_cache_gives_changes_it(llama):
    sites = [ls.resid_post(1), ls.head_out(1), ls.pattern(1)]
    cache = ls.capture(llama, [P, Q], sites)
    before = {site: cache[site].clone() for site in sites}
    asked = [*sites, ls.head_out(1, 2), ls.resid_post(1).at(2), ls.resid_post(-2)]
    for site in asked:
        cache[site].zero_()
        cache.value(site, 1).zero_()
        cache.sel(prompt=0)[site].zero_()
        cache.labelled(site).values[:] = 0
    cache.to("cpu")[ls.resid_post(1)].zero_()
    assert all(torch.equal(cache[site], before[site]) for site in sites)


def test_messages_are_short_and_without_control_characters(llama):
    with pytest.raises(ls.PositionError) as caught:
        ls.run(llama, "w5 w6", [ls.resid_post(1).at("\x1b[31m" + "a" * 30_000).zero()])
    assert len(str(caught.value)) < 4000
    assert "\x1b" not in str(caught.value)
    assert "(30,0" in cut("a" * 30_000, 100)


def test_what_is_printed_has_no_control_characters(llama, capsys):
    label = "\x1b[31m\0"
    lens = ls.LogitLens(label)
    found = lens.read(llama, P)
    print(found)
    effect = ls.activation_patching(
        llama, P, Q, ls.mlp_out, ls.log_probability(7), positions={label: 2}
    )
    print(effect)
    print(effect.circuit(top=2))
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "\0" not in printed
    assert "␛" in printed
    assert without_control("a\n\t\x9b") == "a\n\t␡"


def test_markdown_is_no_html():
    import pandas as pd

    table = markdown(pd.DataFrame({"<b>": ["<script>alert(1)</script>", "a|b", "[x](y)"]}))
    assert "<script" not in table
    assert "<b>" not in table
    assert r"a\|b" in table
    assert r"\[x\](y)" in table
