"""Where a clean and a corrupted run differ in what they come to."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np
import xarray as xr

from lensscope.effects.metrics import logit_difference
from lensscope.errors import PromptError
from lensscope.explorer.lab import Lab, Ran
from lensscope.explorer.questions import Circuits, Matters
from lensscope.explorer.reading import guesses, told
from lensscope.patching.activation import activation_patching
from lensscope.patching.attribution import attribution_patching
from lensscope.patching.result import PatchingResult
from lensscope.values.prompts import TokenizedPrompt
from lensscope.values.sites import Site, attn_out, head_out, mlp_out, resid_pre

SITES: Final = {"resid_pre": resid_pre, "attn_out": attn_out, "mlp_out": mlp_out}
_LAYERS: Final = 6
_CELLS: Final = 60
"""Layers, and cells, that are run at a time: others may go before between two of these."""
_GAP: Final = 0.05
NODES: Final = 60
"""Nodes of a circuit that are drawn, those of the largest effects."""


class Pair(NamedTuple):
    """A clean and a corrupted prompt, and what is measured of them."""

    clean: TokenizedPrompt
    corrupted: TokenizedPrompt
    answer: str
    wrong: str

    @property
    def metric(self) -> Any:
        return logit_difference(self.answer, self.wrong)


def pair_of(lab: Lab, question: Matters | Circuits) -> Pair:
    """A pair, with its answers: what is most probable after each prompt unless it was said.

    Raises:
        PromptError: prompts of different lengths, or with one answer.
    """
    rans = lab.ran(question.clean), lab.ran(question.corrupted)
    clean, corrupted = (ran.prompt for ran in rans)
    if len(clean) != len(corrupted):
        raise PromptError(
            "The two prompts have not the same number of tokens.",
            got=f"{len(clean)} and {len(corrupted)} tokens",
            expected="tokens that stand for each other, one by one",
            instead="names of as many tokens, such as “Japan” and “Italy”",
        )
    answer = question.answer or _next(lab, rans[0])
    wrong = question.wrong or _next(lab, rans[1])
    if answer == wrong:
        raise PromptError(
            "Both prompts have one answer, so nothing tells them apart.",
            got=repr(answer),
            expected="an answer to the clean prompt, and another one to the corrupted one",
            instead="other prompts, or the answers by hand",
        )
    return Pair(clean, corrupted, answer, wrong)


def matters(lab: Lab, question: Matters) -> Iterator[dict[str, Any]]:
    """The effect of each cell: estimates at once, then what was run, layer by layer."""
    pair, kind = pair_of(lab, question), SITES[question.site]
    found = _attributed(lab, pair, [kind])
    estimate = _effects(found)
    corrupted = told(lab.backend, pair.corrupted, question.corrupted)
    begun = _begun(lab, question, pair, found)
    yield {**begun, "corrupted": corrupted, "estimate": estimate.values.tolist()}
    # the layers of the largest estimates first: that is where one looks
    sizes = np.nan_to_num(np.abs(estimate.values)).max(1)
    order = np.argsort(-sizes, kind="stable").tolist()
    step = max(1, min(_LAYERS, _CELLS // len(pair.clean)))
    for some in (order[n : n + step] for n in range(0, len(order), step)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # said in the notes
            exact = activation_patching(lab.model, *pair[:2], list(map(kind, some)), pair.metric)
        effects = _effects(exact)
        rows = [{"layer": n, "effects": effects.sel(layer=n).values.tolist()} for n in some]
        yield {"exact": rows}


def circuit(lab: Lab, question: Circuits) -> Iterator[dict[str, Any]]:
    """Heads and MLPs at their tokens with effects above a threshold, and what they do alone."""
    pair = pair_of(lab, question)
    found = lab.kept(("attributed", *pair), lambda: _attributed(lab, pair, [head_out, mlp_out]))
    begun = _begun(lab, question, pair, found)
    if not (found.frame()["effect"].abs() >= question.threshold).any():
        yield {**begun, "nodes": []}
        return
    own = found.circuit(threshold=question.threshold)
    nodes = sorted(own.nodes.items(), key=lambda one: -abs(one[1]))
    yield {**begun, "nodes": [_node(site, effect) for site, effect in nodes[:NODES]]}
    alone = own.faithfulness(lab.model, *pair[:2], pair.metric)
    yield {"faithfulness": float(alone.recovered), "n_nodes": len(nodes)}


def _node(site: Site, effect: float) -> dict[str, Any]:
    head = "" if site.head is None else f".{site.head}"
    return {
        "name": f"{'head' if head else 'MLP'} {site.layer}{head}",
        "site": repr(site),
        "layer": site.layer,
        "head": site.head,
        "position": site.position,
        "effect": float(effect),
    }


def _begun(
    lab: Lab, question: Matters | Circuits, pair: Pair, found: PatchingResult
) -> dict[str, Any]:
    ends = {name: float(found.data[name].item()) for name in ("clean", "corrupted")}
    notes = []
    if ends["clean"] <= 0:
        notes.append(
            f"The model does not prefer {pair.answer!r} to {pair.wrong!r} after the clean prompt "
            f"(difference of logits {ends['clean']:.2f}): effects say little."
        )
    if abs(ends["clean"] - ends["corrupted"]) < _GAP:
        notes.append(
            "Both runs come to about the same: there is no difference that effects are a share of."
        )
    return {
        "clean": told(lab.backend, pair.clean, question.clean),
        "answer": pair.answer,
        "wrong": pair.wrong,
        "baselines": ends,
        "layers": list(range(lab.backend.n_layers)),
        "notes": notes,
    }


def _attributed(lab: Lab, pair: Pair, sites: list[Site]) -> PatchingResult:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # said in the notes
        return attribution_patching(lab.model, *pair[:2], sites, pair.metric)


def _effects(found: PatchingResult) -> xr.DataArray:
    """By layer and position."""
    return found.data["effect"].isel(pair=0).transpose("layer", "position")


def _next(lab: Lab, ran: Ran) -> str:
    """The most probable next token."""
    return guesses(lab.backend, ran.log_p(lab.backend, slice(-1, None))[0], 1)[0]["text"]
