"""Where a text ends, and the states of what was written."""

from __future__ import annotations

import pytest
import torch

import lensscope as ls
from tests import families, oracle
from tests.oracle import close

RAGGED = [families.prompt(3, seed=3), families.prompt(8, seed=4)]


@pytest.mark.parametrize("use_cache", [True, False])
def test_a_text_ends_before_its_stop(demo, use_cache):
    texts = ["The capital of Japan is the city of", "One, two, three, four,"]
    free = ls.generate(demo, texts, max_new_tokens=8)
    stop = [",", free.texts[1][3:5]]  # another token in each, and one that two tokens make
    made = ls.generate(demo, texts, max_new_tokens=8, stop=stop, use_cache=use_cache)
    for n, text in enumerate(free.texts):
        ends = [text.index(s) for s in stop if s in text]
        assert made.texts[n] == text[: min(ends, default=len(text))]
        # rows that have said it leave: no token is chosen after the one that ended the text
        tokens = free.token_ids[n]
        assert made.token_ids[n] == tokens[: len(made.token_ids[n])]
        spoken = [demo.tokenizer.decode(tokens[: k + 1]) for k in range(len(tokens))]
        first = next((k for k, t in enumerate(spoken) if any(s in t for s in stop)), len(tokens))
        assert len(made.token_ids[n]) == min(first + 1, len(tokens))
    many = ls.run_many(demo, texts[1], [[]], max_new_tokens=8, stop=stop)
    assert many.generation.texts[0] == made.texts[1]


@pytest.mark.parametrize("wrong", ["", 3, ["a", ""], [b"a"], {"a": 1}])
def test_what_no_text_ends_at(llama, wrong):
    with pytest.raises(ls.PatchError, match="cannot end at this"):
        ls.generate(llama, families.prompt(3), stop=wrong)


def test_the_states_of_new_tokens_are_those_of_the_patched_text(few):
    """Judged by the plain loop on the whole text, with what steers at every new token too."""
    v = torch.linspace(-1, 1, 32)
    patches = [
        ls.resid_pre(1).at(0).set(v),
        ls.resid_post(1).at(-1).add(v, when="every_step"),
    ]
    sites = [ls.resid_post(2), ls.mlp_out(1)]
    made = ls.generate(few, RAGGED, patches, 4, keep=sites, stop_at_eos=False)
    assert made.cache is not None and ls.generate(few, RAGGED, patches, 1).cache is None
    for n, ids in enumerate(RAGGED):
        whole = [*ids, *made.token_ids[n]]
        assert made.cache.prompts[n].ids == tuple(whole)
        edits = [oracle.Edit("resid_pre", 1, 0, lambda h: v)] + [
            oracle.Edit("resid_post", 1, t, lambda h: h + v)
            for t in range(len(ids) - 1, len(whole))
        ]
        logits = oracle.logits(few, whole, edits)
        assert [int(i) for i in logits[len(ids) - 1 : -1].argmax(-1)] == list(made.token_ids[n])
        run = ls.run(
            few,
            whole,
            [ls.resid_pre(1).at(0).set(v), ls.resid_post(1).at(slice(len(ids) - 1, None)).add(v)],
            keep=sites,
        )
        for site in sites:
            close(made.cache.value(site, n), run.cache.value(site))


def test_a_pattern_that_was_written_stays_written(llama):
    prompt = families.prompt(5)
    value = torch.zeros(5)
    value[2] = 1
    site = ls.pattern(1, 2).at(3)
    made = ls.generate(
        llama, prompt, [site.set(value)], 3, keep=ls.pattern(1, 2), stop_at_eos=False
    )
    found = made.cache.value(ls.pattern(1, 2))
    assert found.shape == (8, 8)
    assert found[3].tolist() == [0, 0, 1, 0, 0, 0, 0, 0]
    assert not torch.allclose(found[4], found[3])
