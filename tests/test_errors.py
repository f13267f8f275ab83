"""Bad input gets a message in three parts: what failed; got and expected; what to write instead."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import lensscope as ls

ROOT = Path(__file__).parent.parent
EXPECTED = {
    "placeholder missing": ("PromptError", "does not occur in the inspection prompt"),
    "placeholder split": ("PromptError", "got:      tokens ' "),
    "placeholder merged": ("PromptError", "not one token of its own"),
    "placeholder empty": ("PromptError", "placeholder is empty"),
    "substring not found": ("PositionError", "5:' Wales'"),
    "substring ambiguous": ("PositionError", "occurrence=1"),
    "occurrence out of range": ("PositionError", "-1 to 0"),
    "layer out of range": ("SiteError", "-3 to 2"),
    "negative layer out of range": ("SiteError", "-3 to 2"),
    "source layer out of range": ("SiteError", "-30 to 29"),
    "target layer out of range": ("SiteError", "-30 to 29"),
    "no layers": ("SiteError", "at least one"),
    "target layers unknown": ("SiteError", '"same", "all"'),
    "head out of range": ("SiteError", "-4 to 3"),
    "key-value head out of range": ("SiteError", "-2 to 1"),
    "position out of range": ("PositionError", "-6 to 5"),
    "position not a position": ("PositionError", "1.5"),
    "position a list": ("PositionError", "not a position"),
    "layer not a number": ("SiteError", "'3'"),
    "layer at embed": ("SiteError", "has no layers"),
    "head at residual": ("SiteError", "has no heads"),
    "empty prompt": ("PromptError", "The prompt is empty"),
    "no prompt": ("PromptError", "no prompt"),
    "empty prompt in a list": ("PromptError", "The prompt is empty"),
    "prompt not a prompt": ("PromptError", "float"),
    "prompt over the context": ("PromptError", "at most 64 tokens"),
    "new tokens over the context": ("PromptError", "60 tokens and 9 new"),
    "token id out of range": ("PromptError", "0 to 96"),
    "wrong width": ("PatchError", "[d_model] = (32,)"),
    "wrong number of positions": ("PatchError", "(1, 32)"),
    "wrong dtype": ("PatchError", "torch.float64"),
    "integers": ("PatchError", "torch.int64"),
    "a number": ("PatchError", "single number"),
    "not a tensor": ("PatchError", "not a tensor"),
    "wrong device": ("PatchError", "meta"),
    "nan": ("PatchError", "32 of 32 entries not finite"),
    "infinity": ("PatchError", "NaN or infinity"),
    "nan factor": ("PatchError", "NaN or infinite"),
    "nan vector inspected": ("PatchError", "NaN or infinity"),
    "nan from a map": ("PatchError", "NaN or infinity"),
    "wrong shape from a map": ("PatchError", "(1, 3)"),
    "not a function": ("PatchError", "not a transform"),
    "transform not a function": ("PatchError", "not a transform"),
    "affine shapes": ("PatchError", "A (3, 4), b (4,)"),
    "affine of the wrong width": ("PatchError", "width 4"),
    "basis of zeros": ("PatchError", "spans nothing"),
    "when unknown": ("PatchError", "every_step"),
    "steering with a row for each position": ("PatchError", "(6, 32)"),
    "vector of the wrong width": ("BasisError", "width 32"),
    "vectors of three axes": ("PatchError", "(1, 1, 576)"),
    "no new tokens": ("PatchError", "at least 1"),
    "write with a position": ("SiteError", "write="),
    "write at embed": ("SiteError", "write="),
    "read with a layer": ("SiteError", "read="),
    "a patch, not a list": ("PatchError", "a list of patches"),
    "not a patch": ("PatchError", "not a patch"),
    "a single patch as a row": ("PatchError", "a list of patches"),
    "no rows": ("PatchError", "at least one list"),
    "labels": ("PatchError", "2 row"),
    "prompts and rows": ("PromptError", "2 prompts, 3 lists"),
    "sources and prompts": ("PromptError", "2 sources, 3 prompts"),
    "one source too few is as wrong as one too many": ("PromptError", "2 sources, 1 prompts"),
    "target layers of a fixed layer": ("SiteError", "always writes at one layer"),
    "layers of raw vectors": ("SiteError", "come from no layer"),
    "occurrence of a number": ("PositionError", "Only a substring"),
    "steering a pattern with values": ("PatchError", "new tokens bring new keys"),
    "no new tokens to generate": ("PatchError", "max_new_tokens=0"),
    "a factor that is no number": ("PatchError", "'x'"),
    "half the dtype": ("PatchError", "torch.float16"),
    "budget": ("BudgetError", "memory_budget="),
    "metric": ("PlanError", "metric="),
    "top k": ("PlanError", "top_k=5"),
    "plan": ("PlanError", "plan=ls.Plan("),
    "grad": ("PlanError", "grad=True"),
    "sampling without a seed": ("PatchError", "seed"),
    "top_p": ("PatchError", "top_p=2.0"),
    "a lens of another model": ("BasisError", "qwen2"),
    "a lens of another basis": ("BasisError", "another basis"),
    "a lens with another unembedding": ("BasisError", "another unembedding"),
    "a layer that a lens lacks": ("LensError", "resid_pre(2)"),
    "a component by a fitted lens": ("LensError", "ls.LogitLens()"),
    "a site that no lens reads": ("LensError", "pattern(1)"),
    "a site with a position": ("LensError", "positions=2"),
    "an unknown measure": ("LensError", "next_token_rank"),
    "a target of several tokens": ("LensError", "0:' O"),
    "no lens tokens": ("LensError", "top_k=0"),
    "a lens file that is not there": ("LensError", "nowhere.safetensors"),
    "a lens file cut short": ("LensError", "not whole"),
    "a lens file with pickle": ("LensError", "allow_pickle=True"),
    "a Jacobian lens with pickle": ("LensError", "allow_pickle=True"),
    "a lens file of another kind": ("LensError", "ls.TunedLens.load("),
    "an empty corpus": ("LensError", "too little text"),
    "texts that are too short": ("LensError", "18 to 128 tokens"),
    "too few texts": ("LensError", "more than 8"),
    "a corpus of another type": ("LensError", "int"),
    "a setting of training": ("LensError", "epochs"),
    "a setting of training out of range": ("LensError", "steps=0"),
    "an unknown optimizer": ("LensError", "lion"),
    "nothing to train": ("LensError", "nothing to translate"),
    "a ridge below zero": ("LensError", "ridge=-1.0"),
    "a Jacobian of the last layer": ("LensError", "layers below 2"),
    "lenses of one name": ("LensError", "dataclasses.replace"),
    "no lenses": ("LensError", "a list of lenses"),
    "no prompts to compare": ("PromptError", "no prompt"),
    "a level of intervals": ("LensError", "level=95"),
    "a Jacobian of no texts": ("LensError", "max_pieces=0"),
    "a fit in inference mode": ("LensError", "inference mode"),
    "a seed that is none": ("LensError", "seed=None"),
    "half a step": ("LensError", "steps=2.5"),
    "rows of a data set": ("LensError", 'row["text"]'),
    "states of the wrong width": ("LensError", "32]"),
    "states of no layer": ("LensError", "its layer"),
    "layers of a comparison": ("LensError", "layers=[10, 20]"),
    "a lens that is a class": ("LensError", "[ls.LogitLens()]"),
    "half a rank": ("LensError", "top_k=2.5"),
    "sites that are a number": ("LensError", "5"),
    "lists of lists of prompts": ("PromptError", "one list of all prompts"),
    "a lens saved as a folder": ("LensError", "lens.safetensors"),
    "a map that is no lens": ("LensError", "does not lead to the last residual"),
    "a map by site for raw vectors": ("PatchError", "come from no site"),
    "training mode": ("ModelError", "model.eval()"),
    "not a model": ("ModelError", "TransformerBridge"),
    "a Hugging Face model": ("ModelError", "boot_transformers"),
    "unknown model": ("ModelNotFoundError", "SmolLM2-135M-Instruct"),
    "unknown folder": ("ModelNotFoundError", "no such file or folder"),
    "backend unknown": ("ModelError", "nnsight"),
    "text without a tokenizer": ("PromptError", "no tokenizer"),
}


@pytest.fixture(scope="module")
def outcomes(demo):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.bad_input"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_every_case_is_expected(outcomes):
    assert set(outcomes) == set(EXPECTED)


@pytest.mark.parametrize("case", EXPECTED)
def test_the_message_has_three_parts(outcomes, case):
    kind, message, seconds = outcomes[case]
    expected_kind, part = EXPECTED[case]
    assert kind == expected_kind, message
    assert part in message
    lines = message.splitlines()
    assert lines[0].endswith(".")
    assert all(f"\n  {word}:" in message for word in ("got", "expected", "instead"))
    assert seconds < 10


def test_one_root_and_python_s_own_kinds():
    kinds = [getattr(ls, name) for name in ls.__all__ if name.endswith("Error")]
    assert len(kinds) == 12
    assert all(issubclass(kind, ls.LensscopeError) for kind in kinds)
    assert issubclass(ls.PatchError, ValueError)
    assert issubclass(ls.CacheError, LookupError)
    assert issubclass(ls.BudgetError, MemoryError)
