"""Comparing lenses: the numbers by hand, intervals, checkpoints, prompts of every kind."""

from __future__ import annotations

import inspect
import json
import math

import numpy as np
import pytest
import torch
import xarray as xr

import lensscope as ls
from lensscope.lenses.compare import _Work
from lensscope.lenses.comparison import VALUES, summarised
from lensscope.lenses.measures import FinalDistribution, compared
from tests import families, oracle
from tests.lenses.test_lenses import linear_lens

PROMPTS = [families.prompt(n, seed=n) for n in (3, 7, 5, 6)]


def test_precision_and_surprisal_by_hand():
    """Three tokens; the model says 1/2, 1/4, 1/4, and the token that follows is the last."""
    final = FinalDistribution(
        torch.tensor([[0.5, 0.25, 0.25]]).log().expand(2, 3), torch.tensor([2, -1])
    )
    logits = torch.tensor([[0.0, math.log(3), 0.0], [math.log(2), 0.0, -math.inf]])
    found = {name: value.tolist() for name, value in compared(logits, final).items()}
    # the first lens says 1/5, 3/5, 1/5; the second 2/3, 1/3, 0
    assert found["precision_at_1"] == [0.0, 1.0]
    assert found["surprisal"] == pytest.approx([math.log(4), math.log(2)])
    kl = 0.5 * math.log(2.5) + 0.25 * math.log(5 / 12) + 0.25 * math.log(5 / 4)
    assert found["kl"][0] == pytest.approx(kl, rel=1e-5)
    assert found["kl"][1] > 1000  # it rules out what the model holds possible
    expected = -(0.4 * math.log(0.2) + 0.6 * math.log(0.6))
    assert found["entropy"][0] == pytest.approx(expected, rel=1e-5)
    assert found["entropy"][1] == pytest.approx(math.log(3) - 2 / 3 * math.log(2), rel=1e-5)
    assert found["next_token_rank"][0] == 1  # one is more probable, one as probable
    assert found["next_token_log_probability"][0] == pytest.approx(math.log(0.2))
    assert all(math.isnan(found[n][1]) for n in VALUES if n.startswith("next_token"))


def test_every_number_is_what_the_hook_loop_gives(few):
    lenses = [ls.LogitLens(), linear_lens(few)]
    report = ls.compare(few, [(p, [0, -2]) for p in PROMPTS], lenses)
    read = 0
    for prompt in PROMPTS:
        log_p = oracle.logits(few, prompt).log_softmax(-1)
        for token in (0, len(prompt) - 2):
            for lens in lenses:
                for layer in range(3):
                    state = oracle.activations(few, prompt, "resid_post", layer)[token]
                    log_q = lens.logits(few, state[None], ls.resid_post(layer))[0].log_softmax(-1)
                    best, final = int(log_q.argmax()), log_p[token]
                    own = report.values.sel(lens=lens.name, layer=layer).isel(read=read)
                    assert float(own.precision_at_1) == (best == int(final.argmax()))
                    assert float(own.surprisal) == pytest.approx(-float(final[best]), abs=1e-4)
                    kl = float((final.exp() * (final - log_q)).sum())
                    assert float(own.kl) == pytest.approx(kl, abs=1e-3)
                    after = float(log_q[prompt[token + 1]])
                    assert float(own.next_token_log_probability) == pytest.approx(after, abs=1e-4)
            assert own.token.item() == f"w{prompt[token]}"
            assert (int(own.prompt_index), int(own.position)) == (PROMPTS.index(prompt), token)
            read += 1
    assert read == report.values.sizes["read"]


def test_the_last_layer_agrees_with_itself(few):
    frame = ls.compare(few, PROMPTS, ls.LogitLens(), positions=None).frame()
    last = frame[frame["layer"] == 2].iloc[0]
    assert last["precision_at_1"] == 1
    assert last["kl"] == pytest.approx(0, abs=1e-5)
    assert last["next_token_rank"] >= 0
    assert list(frame.columns) == ["lens", "layer"] + [
        f"{name}{end}" for name in VALUES for end in ("", "_low", "_high")
    ]


def test_intervals_are_of_prompts_drawn_again():
    """Two prompts of one and three tokens: their mean is of tokens, their draws are of prompts."""
    reads = np.array([[[1.0, 0.0, 0.0, 0.0]]])
    values = xr.Dataset(
        {name: (("lens", "layer", "read"), reads.copy()) for name in VALUES},
        {"lens": ["a"], "layer": [0], "prompt_index": ("read", [0, 1, 1, 1])},
    )
    values["kl"][:] = np.nan
    found = summarised(values, 0.9, 2000, 0)
    assert float(found.entropy[0, 0]) == 0.25
    # two prompts, three quarters of a token above and below: Student's, with one degree of freedom
    half = 6.3138 * np.sqrt(2 * 2 * 0.75**2) / 4
    edges = [float(found.entropy_low[0, 0]), float(found.entropy_high[0, 0])]
    assert edges == pytest.approx([0.25 - half, 0.25 + half], abs=1e-3)
    assert "kl" not in found
    share = [float(found.precision_at_1_low[0, 0]), float(found.precision_at_1_high[0, 0])]
    assert 0 <= share[0] < 0.02 and 0.8 < share[1] < 1  # a proportion of two prompts


def test_precision_of_all_hits_is_not_certain():
    reads = np.ones((1, 1, 20))
    values = xr.Dataset(
        {name: (("lens", "layer", "read"), reads.copy()) for name in VALUES},
        {"lens": ["a"], "layer": [0], "prompt_index": ("read", np.arange(20))},
    )
    found = summarised(values, 0.95, 200, 0)
    assert float(found.precision_at_1_low[0, 0]) == pytest.approx(0.832, abs=1e-3)
    assert np.isnan(found.surprisal_low[0, 0])  # all alike: no interval


def test_prompts_of_every_kind(llama, tmp_path):
    texts = [" ".join(f"w{i}" for i in p) for p in PROMPTS]
    file = tmp_path / "prompts.txt"
    file.write_text("\n".join(texts) + "\n\n")
    reports = [
        ls.compare(llama, prompts, ls.LogitLens())
        for prompts in (texts, file, iter(texts), ((t, -1) for t in texts))
    ]
    for report in reports[1:]:
        xr.testing.assert_allclose(report.data, reports[0].data, atol=1e-5)
    single = ls.compare(llama, texts[0], ls.LogitLens())
    assert single.values.sizes["read"] == 1
    ids = ls.compare(llama, torch.tensor(PROMPTS[1]), ls.LogitLens(), positions=None)
    assert ids.values.sizes["read"] == 7


def test_going_on_after_a_break_does_the_rest(llama, tmp_path, monkeypatch):
    path, lenses = tmp_path / "checkpoint", [ls.LogitLens(), linear_lens(llama)]
    monkeypatch.setattr("lensscope.lenses.states._TOKENS", 8)  # a prompt at a time
    whole = ls.compare(llama, PROMPTS, lenses)
    measure, done = _Work._measure, []

    def broken(self, part, numbers):
        if len(done) == 2:
            done.append(None)
            raise KeyboardInterrupt
        measure(self, part, numbers)
        done.append(numbers)

    with monkeypatch.context() as patched:
        patched.setattr(_Work, "_measure", broken)
        with pytest.raises(KeyboardInterrupt):
            ls.compare(llama, PROMPTS, lenses, checkpoint=path)
        again = ls.compare(llama, PROMPTS, lenses, checkpoint=path)
    assert len(done) == 3 + 2  # two prompts, the break, the other two
    xr.testing.assert_identical(again.data, whole.data)
    with pytest.raises(ls.LensError, match="another comparison") as error:
        ls.compare(llama, PROMPTS[:3], lenses, checkpoint=path)
    assert "prompts: 4" in str(error.value)
    with pytest.raises(ls.LensError, match="another comparison"):
        ls.compare(llama, PROMPTS, [lenses[0], linear_lens(llama, seed=1)], checkpoint=path)


def test_a_comparison_shows_itself(llama, tmp_path):
    identity = ls.Patchscope(ls.InspectionPrompt("w5 w9", "w9")).as_lens(name="identity")
    report = ls.compare(llama, PROMPTS, [ls.LogitLens(), linear_lens(llama), identity])
    assert {t.name for t in report.plot("kl").data if t.name} == {
        "logit lens",
        "tuned lens",
        "identity",
    }
    for text in (str(report), report.to_html(), report._repr_html_(), report.to_svg()):
        assert "tuned lens" in text
    found = json.loads(report.to_json(tmp_path / "report.json"))
    assert len(found["layers"]) == 9
    assert found["settings"]["prompts"] == 4
    with pytest.raises(ls.LensError, match="not measured"):
        report.plot("next_token_rank")  # the last token has none
    assert len(report.table(every=2).rows) == 2


def test_memory_holds_the_vocabulary_for_a_few_states_at_a_time(llama, monkeypatch):
    """However many states there are, logits are made for so many at once."""
    monkeypatch.setattr("lensscope.model.head._AT_ONCE", 4 * families.VOCAB * 5)
    seen = []
    from lensscope.model import head

    def watched(backend, flat):
        seen.append(len(flat))
        return direct(backend, flat)

    direct = head._direct
    monkeypatch.setattr(head, "_direct", watched)
    ls.compare(llama, PROMPTS * 5, ls.LogitLens(), positions=None)
    ls.LogitLens().read(llama, PROMPTS, measures="all")
    assert max(seen) <= 5
    assert sum(seen) > 21 * 5 * 3


def test_a_patchscope_among_lenses_is_told_how_to_be_one(llama):
    scope = ls.Patchscope(ls.InspectionPrompt("w5 w9", "w9"))
    for call in (
        lambda given: inspect.unwrap(ls.compare)(llama, PROMPTS, given),
        lambda given: inspect.unwrap(ls.studies.next_token)(llama, PROMPTS, given),
    ):
        with pytest.raises(ls.LensscopeError, match="Lens 1 is a patchscope") as error:
            call([ls.LogitLens(), scope])
        assert "scope.as_lens()" in str(error.value)
        with pytest.raises(ls.LensscopeError, match=r"Lens 0 is a patchscope.*\n.*w5 w9"):
            call(scope)
        with pytest.raises(ls.LensscopeError, match="cannot be told apart") as error:
            call([scope.as_lens(), scope.as_lens()])
        assert "lens.renamed(" in str(error.value) and "as_lens(name=" in str(error.value)
    names = [ls.LogitLens(), ls.LogitLens().renamed("again"), scope.as_lens()]
    assert len(ls.compare(llama, PROMPTS, names).data["lens"]) == 3
