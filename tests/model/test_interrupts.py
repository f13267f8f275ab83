"""Interrupts at every instruction of the code that puts hooks on a model and takes them off."""

from __future__ import annotations

import copy
import os
import random
import subprocess
import sys
import textwrap
import threading

import pytest
import torch

import lensscope as ls
from lensscope.model import attaching, turns
from lensscope.model.adapters import Adapter, LowRank
from tests import families

PROMPT = families.prompt(6)
W = ls.InspectionPrompt("w5 w6 w7", "w7")
FILES = {attaching.__file__, turns.__file__}
OFTEN = int(os.environ.get("LENSSCOPE_INTERRUPTS", "6"))
"""Interrupts of each call and kind; 0 for one at every instruction."""

_DICTS = (
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "fwd_hooks",
)


class Interrupts:
    """Raises KeyboardInterrupt before the given ones of all instructions, counted from 1."""

    def __init__(self, *at):
        self.at, self.n, self.raised = at, 0, 0

    def __enter__(self):
        self.before = sys.gettrace()  # of whoever counts the lines that the tests reach
        sys.setprofile(self._again)
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_):
        sys.setprofile(None)  # first: it would put the other on again
        sys.settrace(self.before)

    def _trace(self, frame, event, arg):
        if frame.f_code.co_filename not in FILES:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            self.n += 1
            if self.n in self.at:
                self.raised += 1
                raise KeyboardInterrupt
        return self._trace

    def _again(self, frame, event, arg):
        """Python stops tracing where the tracer raises; the second interrupt needs it once more."""
        if self.n < max(self.at, default=0) and sys.gettrace() is None:
            while frame is not None:
                if frame.f_code.co_filename in FILES:
                    frame.f_trace, frame.f_trace_opcodes = self._trace, True
                frame = frame.f_back
            sys.settrace(self._trace)


def state(model):
    """All hooks, in order, by identity."""
    found = {}
    for name, module in model.named_modules():
        for kind in _DICTS:
            held = vars(module).get(kind)
            if held:
                found[name, kind] = (
                    [id(h) for h in held]
                    if isinstance(held, list)
                    else [(k, id(h)) for k, h in held.items()]
                )
    return found


def plain(model):
    with torch.no_grad():
        return model(torch.tensor([PROMPT]), return_type="logits")


@pytest.fixture(scope="module")
def model():
    """With two hooks of the user's own."""
    made = families.wrap(copy.deepcopy(families.hf_model("llama")))
    made.hook_dict["blocks.1.hook_resid_post"].add_hook(lambda tensor, hook: tensor * 1.5)
    made.hook_dict["blocks.1.hook_resid_post"].add_hook(lambda tensor, hook: tensor + 0.5)
    return made


TEXTS = [families.prompt(12, seed=n) for n in range(4)]
SETS = [[ls.resid_pre(n).at(p).scale(0.5)] for n in (1, 2) for p in (2, 3)]
STEER = ls.resid_post(1).map(lambda x: 2 * x, when="every_step")
PART = LowRank(torch.full((2, 32), 0.1), torch.full((48, 2), 0.1), 1.0)
ADAPTER = Adapter({"model.layers.0.mlp.up_proj": PART})
CALLS = {
    "capture": lambda m: ls.capture(m, PROMPT, [ls.resid_post(1), ls.pattern(0)]),
    "run": lambda m: ls.run(m, PROMPT, [ls.resid_mid(1).at(2).zero()], keep=ls.q(0)),
    "generate": lambda m: ls.generate(m, PROMPT, [STEER], 2),
    "run_many": lambda m: ls.run_many(m, PROMPT, SETS, max_new_tokens=2),
    "inspect": lambda m: ls.Patchscope(W, max_new_tokens=1).inspect(m, "w8 w9", layers=[0, 1]),
    "reader": lambda m: ls.Patchscope(W, adapter=ADAPTER, max_new_tokens=1).inspect(
        m, "w8 w9", layers=[1]
    ),
    "lens": lambda m: ls.LogitLens().read(m, PROMPT, positions=-1, top_k=2),
    "jacobian": lambda m: ls.JacobianLens.fit(m, TEXTS, length=12, skip_first=1, max_pieces=1),
    "affine": lambda m: ls.AffineLens.fit(m, TEXTS, sites=ls.resid_post(0)),
    "patching": lambda m: ls.activation_patching(
        m, PROMPT, TEXTS[0][:6], sites=[ls.resid_pre(1)], metric=lambda z: z[:, -1, 7]
    ),
}


def interrupted(model, call, *at):
    """Interrupt a call; whatever happens, the model is as it was."""
    before, expected = state(model), plain(model)
    through = False
    with Interrupts(*at) as shots:
        try:
            call(model)
        except KeyboardInterrupt:
            through = True
    assert through == (shots.raised > 0)  # none is swallowed
    assert state(model) == before
    assert torch.equal(plain(model), expected)


def moments(model, call):
    call(model)  # what is tried once a model, is
    with Interrupts() as counted:
        call(model)
    assert counted.n > 200
    if not OFTEN:
        return range(1, counted.n + 1)
    return sorted(random.Random(0).sample(range(1, counted.n + 1), OFTEN))


@pytest.mark.parametrize("name", CALLS)
def test_an_interrupt_leaves_nothing(model, name):
    for n in moments(model, CALLS[name]):
        interrupted(model, CALLS[name], n)


@pytest.mark.parametrize("name", CALLS)
def test_a_second_interrupt_leaves_nothing(model, name):
    draw = random.Random(1)
    for n in moments(model, CALLS[name]):
        interrupted(model, CALLS[name], n, n + draw.randint(1, 80))


def test_every_instruction_of_putting_on_and_taking_off(model):
    """One forward, with a hook of each kind, and the user's own silenced."""
    from lensscope.model.classes import backend_of

    backend = backend_of(model)
    point = backend.hook_point(ls.resid_post(0))
    tokens = torch.tensor([PROMPT[:2]])

    def call(model):
        with torch.no_grad(), backend.alone(), backend.attached({point: [lambda x: None]}):
            return backend.run(tokens, enter=lambda layer, x: x, pick=lambda x: x[:, -1:])

    call(model)
    with Interrupts() as counted:
        expected = call(model)
    draw = random.Random(2)
    for n in range(1, counted.n + 1):
        if OFTEN and draw.random() > 10 * OFTEN / counted.n:
            continue
        interrupted(model, call, n)
        interrupted(model, call, n, n + draw.randint(1, 60))
        interrupted(model, call, n, n + draw.randint(1, 60), n + draw.randint(61, 120))
    assert torch.equal(call(model), expected)


def test_the_model_is_free_for_other_threads_after_interrupts(model):
    expected = ls.run(model, PROMPT).logits
    for n in moments(model, CALLS["run"]):
        interrupted(model, CALLS["run"], n, n + 7)
    found = []
    other = threading.Thread(target=lambda: found.append(ls.run(model, PROMPT).logits), daemon=True)
    other.start()
    other.join(60)
    assert torch.equal(found[0], expected)


def test_a_hook_that_is_left_does_nothing_and_is_taken_off_later(model, monkeypatch):
    """As after more interrupts in a row than hooks are taken off."""
    before, expected = state(model), plain(model)
    wanted = ls.run(model, PROMPT).logits
    for name in ("run", "lens", "capture"):
        with monkeypatch.context() as there:
            there.setattr(attaching, "_surely", lambda act, undo, times: act())
            CALLS[name](model)
        assert state(model) != before
        assert torch.equal(plain(model), expected)
        assert torch.equal(ls.run(model, PROMPT).logits, wanted)
        assert state(model) == before
    with monkeypatch.context() as there:
        there.setattr(attaching, "_surely", lambda act, undo, times: act())
        CALLS["run"](model)
    attaching.heal(model)
    assert state(model) == before


def test_a_block_that_was_not_left_holds_no_longer(model, monkeypatch):
    """As after an interrupt between a ``with`` block's last instruction and its exit."""
    expected = ls.run(model, PROMPT, [ls.resid_post(1).at(2).zero()]).logits
    unpatched = ls.LogitLens().read(model, PROMPT).data.log_probability.values
    with monkeypatch.context() as there:
        there.setattr(attaching.Mark, "__exit__", lambda self, *_: None)
        ls.run(model, PROMPT, [ls.resid_post(0).at(2).zero()])
        ls.LogitLens().read(model, PROMPT)
    assert attaching._MARKS.get()
    assert torch.equal(ls.run(model, PROMPT, [ls.resid_post(1).at(2).zero()]).logits, expected)
    again = ls.LogitLens().read(model, PROMPT).data.log_probability.values
    assert (again == unpatched).all()
    assert not attaching._MARKS.get()


def test_real_signals():
    """Some tens of SIGINTs at random moments, in a process of its own, without the type checker."""
    script = """
    import _thread, copy, os, random, signal, sys, threading, time, warnings
    warnings.simplefilter("ignore")
    import torch, lensscope as ls
    from tests import families
    from tests.model.test_interrupts import CALLS, plain, state

    def lost(found):
        sys.stderr.write(f"lost in {found.object!r}: {found.exc_value!r}")
        os._exit(3)
    sys.unraisablehook = lost  # where Python would go on as if nobody had asked it to stop
    model = families.wrap(copy.deepcopy(families.hf_model("llama")))
    model.hook_dict["blocks.1.hook_resid_post"].add_hook(lambda tensor, hook: tensor * 1.5)
    names = ["capture", "run", "generate", "run_many", "lens", "affine"]
    for name in names:
        CALLS[name](model)
    before, expected = state(model), plain(model)
    draw, hit = random.Random(3), 0
    for n in range(60):
        call = CALLS[names[n % len(names)]]
        delay = draw.random() * 0.03
        def shoot():
            time.sleep(delay)
            os.kill(os.getpid(), signal.SIGINT)
        shooter = threading.Thread(target=shoot)
        try:
            shooter.start()
            while True:
                call(model)
        except KeyboardInterrupt:
            hit += 1
        shooter.join()
        assert state(model) == before, n
        assert torch.equal(plain(model), expected), n
    print("interrupts", hit)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout.split()[-1]) == 60
