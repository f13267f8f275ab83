"""Rules of writing: each is a plain hook of the formula that its docstring gives."""

from __future__ import annotations

import pytest
import torch

import lensscope as ls
from tests import families, oracle
from tests.oracle import close

VALUE = torch.linspace(-1, 2, 32)
UNIT = VALUE / VALUE.norm()
RULES = {
    "replace": (ls.rules.replace(), lambda h: VALUE),
    "length": (ls.rules.replace(length=7.0), lambda h: 7.0 * UNIT),
    "own": (ls.rules.replace(length="own"), lambda h: h.norm() * UNIT),
    "add": (ls.rules.add(), lambda h: h + VALUE),
    "times": (ls.rules.add(times=1.5), lambda h: h + 1.5 * h.norm() * UNIT),
    "interpolate": (ls.rules.interpolate(0.3), lambda h: h + 0.3 * (VALUE - h)),
}


def test_a_rule_is_its_formula(tiny):
    prompt = families.prompt(6)
    sets = [[ls.resid_pre(1).at(t).write(VALUE, r) for t in (1, 4)] for r, _ in RULES.values()]
    found = ls.run_many(tiny, prompt, sets).logits[:, 0]
    for row, (_, formula) in zip(found, RULES.values(), strict=True):
        edits = [oracle.Edit("resid_pre", 1, t, formula) for t in (1, 4)]
        close(row, oracle.logits(tiny, prompt, edits)[-1])


def test_a_value_for_each_position(llama):
    prompt = families.prompt(6)
    rows = torch.stack([VALUE, 2 * VALUE.flip(0)])
    site = ls.resid_post(0).at(slice(2, 4))
    for rule, formula in (
        (ls.rules.add(times=0.5), lambda h, v: h + 0.5 * h.norm() * v / v.norm()),
        (ls.rules.replace(length=3), lambda h, v: 3 * v / v.norm()),
        (ls.rules.replace(length="own", times=2.5), lambda h, v: 2.5 * h.norm() * v / v.norm()),
    ):
        edits = [
            oracle.Edit("resid_post", 0, 2 + n, lambda h, v=v, f=formula: f(h, v))
            for n, v in enumerate(rows)
        ]
        found = ls.run(llama, prompt, [site.write(rows, rule)]).logits[0]
        close(found, oracle.logits(llama, prompt, edits))


def test_rules_print_and_refuse():
    assert [repr(rule) for rule, _ in RULES.values()] == [
        "replace()",
        "replace(length=7.0)",
        "replace(length='own')",
        "add()",
        "add(times=1.5)",
        "interpolate(0.3)",
    ]
    own = ls.rules.replace(length="own", times=2.5)
    assert repr(own) == "replace(length='own', times=2.5)"
    for wrong in (
        lambda: ls.rules.replace(length=3, times=2),
        lambda: ls.rules.replace(length="mine"),
        lambda: ls.rules.replace(length=-1),
        lambda: ls.rules.add(times=float("nan")),
        lambda: ls.rules.interpolate("half"),
        lambda: ls.resid_post(0).write(VALUE, "replace"),
        lambda: ls.resid_post(0).write(0 * VALUE, ls.rules.add(times=1)),
    ):
        with pytest.raises(ls.PatchError):
            wrong()
