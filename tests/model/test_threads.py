"""Several threads on one model, and calls from within a call's own hooks."""

from __future__ import annotations

import asyncio
import copy
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

import lensscope as ls
from tests import families

PROMPT = families.prompt(6)
OTHER = families.prompt(6, seed=5)
W = ls.InspectionPrompt("w5 w6 w7", "w7")
SITE = ls.resid_post(1)
WAIT = 120
"""Seconds after which a thread counts as hanging."""


@pytest.fixture(scope="module")
def model():
    return families.wrap(copy.deepcopy(families.hf_model("llama")))


@pytest.fixture(scope="module")
def second():
    return families.wrap(copy.deepcopy(families.hf_model("qwen2")), family="qwen2")


def patches(n):
    return [
        ls.resid_pre(n % 3).at(n % 6).scale(0.1 * n),
        ls.resid_post(1).at(3).map(lambda x: x + n),
    ]


TASKS = [
    lambda m, n: ls.run(m, PROMPT, patches(n), keep=SITE).cache[SITE],
    lambda m, n: ls.run(m, OTHER, patches(n)).logits,
    lambda m, n: ls.capture(m, OTHER if n % 2 else PROMPT, SITE)[SITE],
    lambda m, n: ls.run_many(m, PROMPT, [patches(n), patches(n + 1), []], keep=SITE).logits,
    lambda m, n: torch.tensor(ls.generate(m, PROMPT, patches(n), 3).token_ids),
    lambda m, n: torch.tensor(ls.LogitLens().read(m, PROMPT).data.log_probability.values),
    lambda m, n: (
        ls.Patchscope(W, max_new_tokens=2).inspect(m, "w8 w9").data.first_token_probability
    ),
]


def values(found):
    return found if isinstance(found, torch.Tensor) else torch.tensor(found.values)


def within(seconds, *functions):
    """What functions give, each on a thread of its own; a failure where one hangs."""
    found = [None] * len(functions)

    def act(n):
        try:
            found[n] = functions[n]()
        except BaseException as error:
            found[n] = error

    threads = [threading.Thread(target=act, args=(n,), daemon=True) for n in range(len(functions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds)
        assert not thread.is_alive(), "a thread hangs"
    return found


def test_four_threads_give_what_one_gives(model, no_hooks_left):
    draw = random.Random(0)
    work = [(draw.randrange(len(TASKS)), draw.randrange(6)) for _ in range(40)]
    alone = {one: values(TASKS[one[0]](model, one[1])) for one in set(work)}
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda one: values(TASKS[one[0]](model, one[1])), work))
    for one, got in zip(work, found, strict=True):
        assert torch.equal(got, alone[one]), one
    no_hooks_left(model)


def test_threads_on_the_demo_s_tokenizer(demo):
    texts = [f"The capital of {name} is" for name in ("Japan", "France", "Peru", "Kenya")]
    alone = [ls.capture(demo, text, ls.resid_post(2))[ls.resid_post(2)] for text in texts]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda t: ls.capture(demo, t, ls.resid_post(2)), texts * 3))
    for n, cache in enumerate(found):
        assert torch.equal(cache[ls.resid_post(2)], alone[n % 4])


def test_asyncio_to_thread(model):
    alone = [values(TASKS[n % 3](model, n)) for n in range(6)]

    async def all_of_them():
        calls = (asyncio.to_thread(TASKS[n % 3], model, n) for n in range(6))
        return await asyncio.wait_for(asyncio.gather(*calls), WAIT)

    for got, expected in zip(asyncio.run(all_of_them()), alone, strict=True):
        assert torch.equal(values(got), expected)


def test_a_plain_forward_in_another_thread_sees_no_patches(model):
    """The user's own forward, in the middle of a patched one."""
    tokens = torch.tensor([PROMPT])
    with torch.no_grad():
        expected = model(tokens, return_type="logits")
    seen = []

    def look(x):
        def forward():
            with torch.no_grad():
                return model(tokens, return_type="logits")

        seen.extend(within(WAIT, forward))
        seen.append(forward())  # and here, from within the hook
        return 0 * x

    patched = ls.run(model, PROMPT, [SITE.at(2).map(look)]).logits
    assert torch.equal(patched, ls.run(model, PROMPT, [SITE.at(2).zero()]).logits)
    assert len(seen) == 2
    assert all(torch.equal(got, expected) for got in seen)


@pytest.mark.parametrize("n", range(len(TASKS)))
def test_a_call_from_within_a_map_is_as_it_is_alone(model, n, no_hooks_left):
    expected = values(TASKS[n](model, 3))
    seen = []

    def look(x):
        seen.append(values(TASKS[n](model, 3)))
        return 2 * x

    sets = [[ls.resid_pre(layer).at(2).scale(0.5), SITE.at(2).map(look)] for layer in (0, 1)]
    twice = [[ls.resid_pre(layer).at(2).scale(0.5), SITE.at(2).scale(2.0)] for layer in (0, 1)]
    got = ls.run_many(model, PROMPT, sets, keep=SITE, max_new_tokens=2)
    assert len(seen) >= 2
    assert all(torch.equal(one, expected) for one in seen)
    again = ls.run_many(model, PROMPT, twice, keep=SITE, max_new_tokens=2)
    torch.testing.assert_close(got.logits, again.logits)
    torch.testing.assert_close(got.cache[SITE], again.cache[SITE])
    assert got.generation.token_ids == again.generation.token_ids
    no_hooks_left(model)


def test_calls_within_calls_within_calls(model):
    def nested(depth):
        def look(x):
            if depth:
                found.append(nested(depth - 1))
            return (depth + 2) * x

        return ls.run(model, PROMPT, [SITE.at(2).map(look)]).logits

    found = []
    found.append(nested(3))
    for depth, got in enumerate(found):
        assert torch.equal(got, ls.run(model, PROMPT, [SITE.at(2).scale(depth + 2)]).logits)


def test_a_lens_and_a_run_within_a_metric(model):
    lens = ls.LogitLens()
    clean = torch.tensor(lens.read(model, PROMPT).data.log_probability.values)
    logits = ls.run(model, PROMPT).logits[0, -1]

    def metric(z):
        read = torch.tensor(lens.read(model, PROMPT).data.log_probability.values)
        assert torch.equal(read, clean)
        return (z[:, -1] - ls.run(model, PROMPT).logits[0, -1])[:, :3]

    sets = [[ls.resid_pre(n).at(2).zero()] for n in range(3)]
    got = ls.run_many(model, PROMPT, sets, metric=metric).metric
    for row, patched in zip(got, sets, strict=True):
        expected = (ls.run(model, PROMPT, patched).logits[0, -1] - logits)[:3]
        torch.testing.assert_close(row, expected)


def test_a_call_within_the_user_s_own_hook(model):
    point = model.hook_dict["blocks.0.hook_resid_post"]
    busy = []

    def own(tensor, hook):
        if not busy:
            busy.append(1)
            seen.append(ls.capture(model, OTHER, SITE)[SITE])
            busy.clear()
        return tensor * 1.5

    seen = []
    handle = point.add_hook(own) or point.fwd_hooks[-1]
    try:
        busy.append(1)
        expected = ls.capture(model, OTHER, SITE)[SITE]
        patched = ls.run(model, PROMPT, patches(2)).logits
        busy.clear()
        assert torch.equal(ls.run(model, PROMPT, patches(2)).logits, patched)
        assert torch.equal(seen[0], expected)
        assert point.fwd_hooks == [handle]
    finally:
        for left in point.fwd_hooks:
            left.hook.remove()
        point.fwd_hooks.clear()


def test_two_models_crosswise(model, second):
    """Each thread's hook calls the other thread's model: one is refused, or both are right."""
    both = threading.Barrier(2)

    def cross(here, there):
        def look(x):
            if waits.pop(here, None):
                both.wait(WAIT)
            ls.capture(there, OTHER, SITE)
            return x

        return lambda: ls.run(here, PROMPT, [SITE.at(2).map(look)]).logits

    waits = {model: True, second: True}
    expected = [ls.run(m, PROMPT).logits for m in (model, second)]
    found = within(WAIT, cross(model, second), cross(second, model))
    refused = [one for one in found if isinstance(one, Exception)]
    assert refused, "they cannot both have gone ahead"
    for one in refused:
        assert isinstance(one, ls.ModelError) and "wait" in str(one)
    waits |= {model: False, second: False}
    for got, logits in zip(within(WAIT, cross(model, second)), expected, strict=False):
        assert torch.equal(got, logits)
    assert torch.equal(ls.run(second, PROMPT).logits, expected[1])


def test_patchscopes_across_two_models_both_ways(model, second):
    scopes = [ls.Patchscope(W, model=m, max_new_tokens=2) for m in (second, model)]
    calls = [
        lambda: scopes[0].inspect(model, "w8 w9").data.first_token_probability,
        lambda: scopes[1].inspect(second, "w8 w9").data.first_token_probability,
    ]
    alone = [values(call()) for call in calls]
    found = within(WAIT, *calls, *calls)
    for n, got in enumerate(found):
        assert torch.equal(values(got), alone[n % 2])


def test_a_hook_that_hands_its_call_on_to_a_thread_is_refused(model):
    def look(x):
        async def elsewhere():
            return await asyncio.to_thread(ls.capture, model, OTHER, SITE)

        asyncio.run(elsewhere())
        return x

    (found,) = within(WAIT, lambda: ls.run(model, PROMPT, [SITE.at(2).map(look)]))
    assert isinstance(found, ls.ModelError) and "hook" in str(found)


def test_a_thread_gets_its_turn_beside_a_long_sweep(model):
    """Forward by forward, not call by call."""
    done = threading.Event()
    order = []

    def sweep():
        for n in range(30):
            ls.run(model, PROMPT, patches(n))
        order.append("sweep")
        done.set()

    def single():
        ls.run(model, OTHER)
        order.append("single")

    within(WAIT, sweep, single)
    assert done.is_set() and order == ["single", "sweep"]
