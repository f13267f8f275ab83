"""What holds on which family, beside plain Hugging Face (`tests.judge`): equal, or refused."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch

from tests import families, judge

pytestmark = pytest.mark.skipif(
    families.has_hooked_transformer(), reason="the table is of TransformerLens 4.x"
)

_OF_HEADS = {"head_out", "q", "k, v", "pattern", "patch head_out", "patch q", "patch k, v"}
_OF_HEADS |= {"knockout"}
_OF_PARTS = {"attn_out", "mlp_out", "mlp_hidden", "patch attn_out", "patch mlp_out"}
_ADDED = {"patch attn_out", "patch mlp_out"}

REFUSED: dict[str, set[str]] = {
    # what attention and MLP give is not added as it is: norms after the sum, a second mixer beside
    # attention, a factor on the whole block
    "opt-350m": _ADDED | {"knockout"},
    "falcon-h1": _ADDED,
    "gemma4": _ADDED | {"knockout"},
    # TransformerLens shows the pattern, and attention does not use what is written there
    "opt": {"knockout"},
    "gptj": {"knockout"},
    "gptneo": {"knockout"},
    "jamba": {"knockout"},
    # experts have no one hidden layer
    "mixtral": {"mlp_hidden"},
    "olmoe": {"mlp_hidden"},
    "qwen2-moe": {"mlp_hidden"},
    "qwen3-moe": {"mlp_hidden"},
    "gpt-oss": {"mlp_hidden"},
    # queries that come with a gate
    "qwen3-next": {"mlp_hidden", "q", "patch q"},
    # no attention; TransformerLens names no parts of a block
    "mamba": _OF_HEADS | _OF_PARTS,
    "mamba2": _OF_HEADS | _OF_PARTS,
    "recurrent-gemma": _OF_HEADS | _OF_PARTS,
}
"""What is refused; every other act is equal to Hugging Face."""

NOT_BUILT = {
    "falcon-new": "split_with_sizes",  # TransformerLens splits its grouped queries wrongly
    "gemma3n": "Could not determine supported architecture",
}
"""Families that cannot be bridged, and what the error says."""

HALF = ("capture", "run", "padded right", "padded left", "patch", "generate", "generate batch")
HALF += ("run_many", "inspect", "logit lens", "activation patching", "attribution patching")
COMMON = ("gpt2", "llama", "qwen3", "gemma3", "mistral", "phi3", "olmo2", "falcon-old", "mixtral")
_EVERY = (*families.FAMILIES, *families.MORE)


def expected(family: str) -> dict[str, str]:
    """The outcome of each act."""
    refused = REFUSED.get(family, set())
    return {act: "refused" if act in refused else "equal" for act in judge.ACTS}


def check(family: str, dtype: torch.dtype, acts: Iterable[str]) -> None:
    it, wanted = judge.subject(family, dtype), expected(family)
    verdicts = {act: judge.verdict(it, act) for act in acts}
    amiss = {act: found for act, found in verdicts.items() if found.outcome != wanted[act]}
    assert not amiss, "\n" + "\n".join(
        f"{act}: wanted {wanted[act]}, seen {found}" for act, found in amiss.items()
    )


@pytest.mark.parametrize("family", [f for f in _EVERY if f not in NOT_BUILT])
def test_float32(family):
    check(family, torch.float32, judge.ACTS)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("family", COMMON)
def test_half_precision(family, dtype):
    check(family, dtype, HALF)


@pytest.mark.parametrize("family", NOT_BUILT)
def test_what_cannot_be_built_says_why(family):
    assert NOT_BUILT[family] in families.not_built(family)


def test_the_others_are_built():
    assert not set(REFUSED) - set(_EVERY) and not set(NOT_BUILT) - set(_EVERY)
    assert families.not_built("mistral") is None


def test_the_table_in_the_docs():
    """`make families` writes it; its outcomes are those that the tests hold."""
    text = (Path(__file__).parents[2] / "docs" / "families.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    head, *rows = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines]
    assert head[1:] == list(judge.ACTS)
    rows = [row for row in rows if not re.fullmatch(r":?-+:?", row[0])]
    assert [row[0] for row in rows] == list(_EVERY)
    for family, *cells in rows:
        if family in NOT_BUILT:
            assert cells[0].startswith("not built: ")
            continue
        outcomes = [re.match(r"\w+", cell)[0] for cell in cells]
        assert dict(zip(head[1:], outcomes, strict=True)) == expected(family), family
