"""What a model can do is tried, and what a trial shows to be wrong is not relied upon."""

from __future__ import annotations

import copy

import pytest
import torch
import transformers

import lensscope as ls
from lensscope.model import trials
from lensscope.model.classes import BridgeBackend, backend_of
from tests import families, oracle
from tests.oracle import close

PROMPT = families.prompt(6)
RAGGED = [families.prompt(3, seed=3), families.prompt(8, seed=4)]
SILENT = ls.resid_post(1).at(4).zero()


def fresh(family: str = "llama"):
    """A model of its own, of which nothing has been tried."""
    return families.wrap(copy.deepcopy(families.hf_model(family)), family=family)


def deaf_to(monkeypatch: pytest.MonkeyPatch, name: str, value: object = None) -> None:
    """Every model ignores an argument of its forward, as after a renaming."""
    call = BridgeBackend.call

    def dropped(self, tokens, way, **given):
        return call(self, tokens, way, **{**given, name: value})

    monkeypatch.setattr(BridgeBackend, "call", dropped)


def equals_the_oracle(model) -> ls.Runs:
    """Generation, batches and sweeps give what plain forwards give."""
    assert ls.generate(model, PROMPT, max_new_tokens=5, stop_at_eos=False).tokens == (
        oracle.generate(model, PROMPT, [], 5)
    )
    both = ls.generate(model, RAGGED, max_new_tokens=4, stop_at_eos=False).token_ids
    for prompt, tokens in zip(RAGGED, both, strict=True):
        assert list(tokens) == oracle.generate(model, prompt, [], 4)
    logits = ls.run(model, RAGGED).logits
    for row, prompt in zip(logits, RAGGED, strict=True):
        close(row[: len(prompt)], oracle.logits(model, prompt))
    sets = [[], [SILENT], [ls.resid_post(0).at(5).scale(2.0)]]
    out = ls.run_many(model, PROMPT, sets, max_new_tokens=3, stop_at_eos=False)
    for n, edits in enumerate(
        [
            [],
            [oracle.Edit("resid_post", 1, 4, torch.zeros_like)],
            [oracle.Edit("resid_post", 0, 5, lambda x: 2 * x)],
        ]
    ):
        close(out.logits[n, 0], oracle.logits(model, PROMPT, edits)[-1])
        assert list(out.generation.token_ids[n]) == oracle.generate(model, PROMPT, edits, 3)
    return ls.run_many(model, PROMPT, sets)


def test_a_model_that_can_do_all_says_so(llama):
    found = ls.support(llama).frame()
    assert not [h for h in found.holds if h is False], ls.support(llama)
    assert found.holds[0] is None  # nobody knows what Hugging Face's model said
    assert "key-value cache" in str(ls.support(llama))
    report = equals_the_oracle(llama).plan
    assert report.off == ()
    assert report.shared_prefix == 4


def test_a_cache_that_is_ignored_is_not_relied_upon(monkeypatch):
    deaf_to(monkeypatch, "key_values")
    model = fresh()
    assert not trials.key_value_cache(backend_of(model))[0].holds
    report = equals_the_oracle(model).plan
    assert "the key-value cache does not hold what came before" in str(report)
    assert report.shared_prefix == 0
    long = families.prompt(300)
    short = families.wrap(
        transformers.AutoModelForCausalLM.from_config(
            transformers.LlamaConfig(**{**families._GQA, "max_position_embeddings": 512})
        ).eval()
    )
    site = ls.resid_post(1)
    close(
        ls.capture(short, long, site)[site][0], oracle.activations(short, long, *("resid_post", 1))
    )
    found = ls.support(model).frame().set_index("trial")
    assert not found.holds["the key-value cache"]
    assert "runs the whole text again" in found.follows["the key-value cache"]


def test_a_mask_that_is_ignored_is_not_relied_upon(monkeypatch):
    deaf_to(monkeypatch, "mask")
    model = fresh("gpt2")
    assert not trials.padding(backend_of(model))[0].holds
    equals_the_oracle(model)
    out = ls.run_many(model, RAGGED, [[], []])
    assert "padding" in str(out.plan)
    assert len(out.plan.chunks) == 2


def test_a_trial_that_raises_is_an_answer(monkeypatch):
    def fail(self, rows):
        raise AttributeError("is_initialized")

    monkeypatch.setattr(BridgeBackend, "new_key_values", fail)
    model = fresh()
    trial, _ = trials.key_value_cache(backend_of(model))
    assert not trial.holds
    assert "is_initialized" in trial.seen
    equals_the_oracle(model)


def test_a_model_that_does_not_run_is_refused(monkeypatch):
    def fail(self, *args, **kwargs):
        raise RuntimeError("no kernel")

    monkeypatch.setattr(BridgeBackend, "call", fail)
    with pytest.raises(ls.ModelError, match="does not run"):
        ls.run(fresh(), PROMPT)


def test_nothing_is_tried_twice(monkeypatch):
    model = fresh()
    equals_the_oracle(model)
    ls.support(model)

    def fail(*args):
        raise AssertionError("tried again")

    monkeypatch.setattr(trials, "verdict", fail)
    monkeypatch.setattr(trials, "surveyed", fail)
    equals_the_oracle(model)
    ls.support(model)


def longrope():
    torch.manual_seed(0)
    switch = {
        "rope_type": "longrope",
        "rope_theta": 1e4,
        "factor": 4.0,
        "original_max_position_embeddings": 7,
        "short_factor": [1.0] * 4,
        "long_factor": [4.0, 8.0, 16.0, 32.0],
    }
    config = transformers.Phi3Config(
        **families._GQA, original_max_position_embeddings=7, rope_parameters=switch
    )
    inner = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    for parameter in inner.parameters():
        parameter.data = parameter.data * 6 if parameter.ndim > 1 else parameter.data + 0.3
    return families.wrap(inner.eval())


def test_positions_that_are_told_by_length_are_not_mixed():
    """6 tokens, 3 beside 8, and texts that cross from 7 to 8 tokens."""
    model = longrope()
    out = equals_the_oracle(model)
    assert out.plan.shared_prefix == 4  # the keys of a prompt are those of its own length
    crossed = ls.run_many(model, PROMPT, [[], [SILENT]], max_new_tokens=4, stop_at_eos=False)
    assert "rotary factors change on the way" in str(crossed.plan)
    assert ls.support(model).frame().set_index("trial").seen[
        "positions told alike at all lengths"
    ] == ("they change above 7 tokens")


def test_a_dynamic_model_forgets_longer_prompts():
    rope = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 4.0}
    config = transformers.LlamaConfig(
        **{**families._GQA, "max_position_embeddings": 5}, rope_parameters=rope
    )
    torch.manual_seed(0)
    inner = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    model = families.wrap(inner.eval())
    model.cfg.n_ctx = 64
    prompts = [families.prompt(n, seed=n) for n in (12, 9, 6, 4)]
    expected = [
        copy.deepcopy(inner)(torch.tensor([p]), use_cache=False).logits[0].detach() for p in prompts
    ]
    for logits, prompt in zip(expected, prompts, strict=True):
        close(ls.run(model, prompt).logits[0], logits)
    for row, logits in zip(ls.run(model, prompts).logits, expected, strict=True):
        close(row[: len(logits)], logits)


def test_a_hook_point_that_shows_what_is_not_used_is_not_written(llama):
    """Its MLP's inner activations are computed twice, and the hooked ones thrown away."""
    model = fresh()
    mlp = model.blocks[1].mlp
    inner = copy.deepcopy(mlp.original_component)

    def shown_only(module, args, output):
        return inner(args[0])

    mlp.register_forward_hook(shown_only)
    with pytest.raises(ls.SiteError, match=r"mlp_hidden\(1\) of this model cannot be written"):
        ls.run(model, PROMPT, [ls.mlp_hidden(1).at(2).zero()])
    ls.run(model, PROMPT, [ls.mlp_hidden(0).at(2).zero()])
    found = ls.support(model).frame().set_index("trial")
    assert "not written at layer 1" in found.follows["mlp_hidden"]
    assert ls.capture(model, PROMPT, ls.mlp_hidden(1)).provenance.n_layers == 3


def overflowing(dtype: torch.dtype = torch.float16):
    """From block 1 on, in float16, its residual is infinite."""
    inner = copy.deepcopy(families.hf_model("llama"))
    inner.model.layers[1].mlp.down_proj.weight.data *= 1e6
    return families.wrap(inner.to(dtype))


@pytest.mark.parametrize(
    "act",
    [
        lambda m: ls.generate(m, PROMPT, max_new_tokens=2),
        lambda m: ls.run(m, PROMPT),
        lambda m: ls.run_many(m, PROMPT, [[], [ls.resid_post(0).at(1).scale(0.5)]]),
        lambda m: ls.run_many(m, PROMPT, [[]], top_k=3),
        lambda m: ls.Patchscope(ls.InspectionPrompt("w5 w6 w7", "w7"), max_new_tokens=1).inspect(
            m, PROMPT
        ),
    ],
)
def test_logits_that_are_no_numbers_are_refused(act):
    with pytest.raises(ls.ModelError, match=r"from layer 1 of .* on, in float16"):
        act(overflowing())


def test_a_patch_that_overflows_is_refused():
    model = families.wrap(copy.deepcopy(families.hf_model("llama")).to(torch.float16))
    huge = [ls.attn_out(1).at(2).add(torch.full([32], 6e4, dtype=torch.float16))]
    huge.append(ls.mlp_out(1).at(2).add(torch.full([32], 3e4, dtype=torch.float16)))
    with pytest.raises(ls.PatchError, match="without patches they are finite"):
        ls.run(model, PROMPT, huge)
