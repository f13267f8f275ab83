"""How probable texts are after a prompt: as one forward for each of them says."""

from __future__ import annotations

import pytest
import torch

import lensscope as ls
from lensscope.engine import following
from lensscope.engine.following import log_probabilities
from tests import families, oracle

TEXTS = [(5, 6, 7), (8,), (9, 4), (), (5, 6, 7), (5, 6, 8, 12, 33)]


def plainly(model, ids, text):
    log_p = oracle.logits(model, [*ids, *text]).log_softmax(-1)
    return sum(float(log_p[len(ids) - 1 + n, token]) for n, token in enumerate(text))


@pytest.mark.parametrize(("held", "wasted"), [(1 << 27, 128), (1, 128), (1 << 27, 0)])
def test_texts_are_as_probable_as_alone(few, monkeypatch, held, wasted):
    monkeypatch.setattr(following, "_HELD", held)
    monkeypatch.setattr(following, "_WASTED", wasted)
    prompt = ls.run(few, families.prompt(6)).cache.prompts[0]
    found = log_probabilities(few, prompt, TEXTS)
    expected = [plainly(few, prompt.ids, text) for text in TEXTS]
    torch.testing.assert_close(found, torch.tensor(expected), atol=1e-4, rtol=1e-4)
    assert float(found[3]) == 0 and float(found[0]) == float(found[4]) < 0


def test_what_does_not_fit_is_refused(llama):
    prompt = ls.run(llama, families.prompt(60)).cache.prompts[0]
    assert len(log_probabilities(llama, prompt, [(3, 4)])) == 1
    with pytest.raises(ls.errors.PromptError, match="longer than the model"):
        log_probabilities(llama, prompt, [tuple(range(3, 13))])
