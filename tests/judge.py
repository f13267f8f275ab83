"""What lensscope gives, beside plain Hugging Face with plain PyTorch hooks (`tests.plain`).

Each act gives the largest error, as a part of the spread of what is expected.
"""

from __future__ import annotations

import copy
import functools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import lensscope as ls
from tests import families
from tests.more_families import FAMILIES, KNOWN
from tests.plain import D_HEAD, Edit, Plain

LENGTHS = (14, 5, 18)  # a switch at 16 tokens lies between them, and is crossed by what is written
NEW = 6
LONG = 300


class Nothing(Exception):
    """The family has no such thing, so there is nothing to be equal to."""


class Wrong(AssertionError):
    """Something that has no number: a shape, a set of layers, a text."""


# -------------------------------------------------------------------- subjects


@dataclass(frozen=True, eq=False)
class Subject:
    """A family as lensscope has it, and as Hugging Face has it."""

    family: str
    dtype: torch.dtype
    model: Any
    plain: Plain
    context: int

    @property
    def lengths(self) -> tuple[int, ...]:
        return LENGTHS if self.context > 32 else (9, 5, 10)

    @property
    def prompts(self) -> list[list[int]]:
        return [families.prompt(n, seed=n) for n in self.lengths]

    @property
    def prompt(self) -> list[int]:
        return self.prompts[0]

    @functools.cached_property
    def vectors(self) -> Tensor:
        """States of another prompt, to write."""
        other = families.prompt(6, seed=60)
        return self.plain.activations(other, "resid_post")[1].to(self.dtype)


@functools.cache
def subject(family: str, dtype: torch.dtype = torch.float32) -> Subject:
    """The subject, built once.

    Raises:
        Exception: transformers or TransformerLens cannot build it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = families.hf_model(family, dtype=dtype)
        model = families.wrap(copy.deepcopy(plain), family=family)
        if family in KNOWN:
            plain = copy.deepcopy(plain)
            plain.set_attn_implementation("eager")  # so that it shows its patterns
    parts, context = KNOWN.get(family) or (FAMILIES[family].parts, FAMILIES[family].context)
    return Subject(family, dtype, model, Plain(plain, parts), context)


def far(got: Tensor, expected: Tensor) -> float:
    """The largest difference, as a part of the spread of what is expected."""
    got, expected = got.detach().float(), expected.detach().float()
    if got.shape != expected.shape:
        raise Wrong(f"shape {tuple(got.shape)}, not {tuple(expected.shape)}")
    if not bool(torch.isfinite(got).all()):
        raise Wrong("NaN or infinite where Hugging Face has numbers")
    spread = float((expected.max() - expected.min()).clamp_min(1e-6))
    return float((got - expected).abs().max()) / spread


# ------------------------------------------------------------------------ acts


def _captured(it: Subject, kind: str, expected: dict[int, Tensor]) -> float:
    site = getattr(ls, kind)
    cache = ls.capture(it.model, it.prompt, site)
    if not expected:
        raise Nothing(f"{kind} of {[s.layer for s in cache]}, of which the family has none")
    here = sorted(s.layer for s in cache)
    if here != sorted(expected):
        raise Wrong(f"{kind} of layers {here}, not {sorted(expected)}")
    worst = 0.0
    for layer, want in expected.items():
        got = cache[site(layer)][0]
        if kind == "pattern":
            got = got.transpose(0, 1)
        elif want.ndim == 2 and got.ndim == 3:
            want = want.reshape(len(want), got.shape[1], -1)
        worst = max(worst, far(got, want))
    return worst


def capture(it: Subject) -> float:
    return max(
        _captured(it, kind, it.plain.activations(it.prompt, kind))
        for kind in ("resid_pre", "resid_post")
    )


def attn_out(it: Subject) -> float:
    return _captured(it, "attn_out", it.plain.activations(it.prompt, "attn_out"))


def mlp_out(it: Subject) -> float:
    return _captured(it, "mlp_out", it.plain.activations(it.prompt, "mlp_out"))


def head_out(it: Subject) -> float:
    found = it.plain.activations(it.prompt, "head_out")
    found = {n: x.reshape(len(x), it.plain.n_heads, -1) for n, x in found.items()}
    return _captured(it, "head_out", found)


def q(it: Subject) -> float:
    return _captured(it, "q", it.plain.activations(it.prompt, "q"))


def k_v(it: Subject) -> float:
    return max(_captured(it, kind, it.plain.activations(it.prompt, kind)) for kind in "kv")


def pattern(it: Subject) -> float:
    shown = it.plain.parts.patterns
    return _captured(it, "pattern", it.plain.patterns(it.prompt) if shown else {})


def mlp_hidden(it: Subject) -> float:
    return _captured(it, "mlp_hidden", it.plain.activations(it.prompt, "mlp_hidden"))


def run(it: Subject) -> float:
    return far(ls.run(it.model, it.prompt).logits[0], it.plain.logits(it.prompt))


def _padded(it: Subject, side: Any) -> float:
    site = ls.resid_post(1)
    found = ls.run(it.model, it.prompts, keep=site, padding_side=side)
    worst = 0.0
    for n, ids in enumerate(it.prompts):
        worst = max(worst, far(found.logits[n, : len(ids)], it.plain.logits(ids)))
        states = it.plain.activations(ids, "resid_post")[1]
        worst = max(worst, far(found.cache[site][n, : len(ids)], states))
    return worst


def padded_right(it: Subject) -> float:
    return _padded(it, "right")


def padded_left(it: Subject) -> float:
    return _padded(it, "left")


def long(it: Subject) -> float:
    ids = families.prompt(LONG if it.context > LONG else it.context - NEW, seed=7)
    cache = ls.capture(it.model, ids, ls.resid_post)
    want = it.plain.activations(ids, "resid_post")
    return max(far(cache[ls.resid_post(n)][0], want[n]) for n in want)


def _patchsets(it: Subject) -> list[tuple[list[ls.Patch], list[Edit]]]:
    """Lists of patches, and what they are as hooks; first and last token, first and last block."""
    v, w = it.vectors[2], it.vectors[4]
    last = it.lengths[0] - 1
    return [
        ([], []),
        ([ls.resid_post(1).at(3).set(v)], [Edit("resid_post", 1, 3, lambda x: v)]),
        ([ls.resid_post(0).at(0).scale(3.0)], [Edit("resid_post", 0, 0, lambda x: x * 3)]),
        ([ls.resid_pre(2).at(-1).set(w)], [Edit("resid_pre", 2, last, lambda x: w)]),
        (
            [ls.resid_post(2).at(-1).set(v), ls.resid_pre(1).at(0).set(w)],
            [Edit("resid_post", 2, last, lambda x: v), Edit("resid_pre", 1, 0, lambda x: w)],
        ),
    ]


def patch(it: Subject) -> float:
    return max(
        far(ls.run(it.model, it.prompt, patches).logits[0], it.plain.logits(it.prompt, edits))
        for patches, edits in _patchsets(it)[1:]
    )


def _part_written(it: Subject, kind: str, head: int | None = None) -> float:
    layers = it.plain.layers(kind)
    layer = 1 if 1 in layers or not layers else layers[0]
    site = getattr(ls, kind)(layer, head).at(3)
    found = ls.run(it.model, it.prompt, [site.scale(2.0)])
    if not layers:
        raise Nothing(f"a write at {kind}, of which the family has none")
    edit = Edit(kind, layer, 3, lambda x: x * 2, head)
    return far(found.logits[0], it.plain.logits(it.prompt, [edit]))


def patch_attn_out(it: Subject) -> float:
    return _part_written(it, "attn_out")


def patch_mlp_out(it: Subject) -> float:
    return _part_written(it, "mlp_out")


def patch_head_out(it: Subject) -> float:
    return _part_written(it, "head_out", 2)


def _head_written(it: Subject, kind: str) -> float:
    layers = it.plain.layers(kind)
    layer = 1 if 1 in layers or not layers else layers[0]
    value = it.vectors[2][: it.plain.head_width(kind, layer) if layers else D_HEAD]
    found = ls.run(it.model, it.prompt, [getattr(ls, kind)(layer, 0).at(3).set(value)])
    if not layers:
        raise Nothing(f"a write at {kind}, of which the family has none")
    edit = Edit(kind, layer, 3, lambda x: value)
    return far(found.logits[0], it.plain.logits(it.prompt, [edit]))


def patch_q(it: Subject) -> float:
    return _head_written(it, "q")


def patch_k_v(it: Subject) -> float:
    return max(_head_written(it, kind) for kind in "kv")


def knockout(it: Subject) -> float:
    """Masked before the softmax, the effect of a key; sinks keep their weight."""
    layers = it.plain.layers("head_out")
    layer = 1 if 1 in layers or not layers else layers[0]
    query, key = it.lengths[0] - 1, it.lengths[0] - 3
    found = ls.attention_knockout(
        it.model, it.prompt, key, query, [layer], metric=metric, renormalise=True
    )
    if not layers:
        raise Nothing("a knockout, where the family has no patterns")
    plainly = it.plain.logits(it.prompt)
    with it.plain.masked(layer, query, key):
        want = metric(it.plain.logits(it.prompt)[None])
    return _beside(torch.tensor(found.data["metric"].values).flatten(), want, plainly)


def _generated(it: Subject, prompts: list[list[int]], use_cache: bool) -> float:
    v = it.vectors[2]
    made = ls.generate(
        it.model,
        prompts,
        [ls.resid_post(1).at(2).set(v)],
        NEW,
        stop_at_eos=False,
        use_cache=use_cache,
    )
    edits = [Edit("resid_post", 1, 2, lambda x: v)]
    worst = 0.0
    for n, ids in enumerate(prompts):
        if len(made.token_ids[n]) != NEW:
            raise Wrong(f"{len(made.token_ids[n])} tokens, not {NEW}")
        worst = max(worst, far(made.first_logits[n], it.plain.logits(ids, edits)[-1]))
        worst = max(worst, it.plain.gap(ids, edits, made.token_ids[n]))
    return worst


def generate_cached(it: Subject) -> float:
    return _generated(it, [it.prompt], True)


def generate_uncached(it: Subject) -> float:
    return _generated(it, [it.prompt], False)


def generate_batch(it: Subject) -> float:
    return _generated(it, it.prompts, True)


def run_many(it: Subject) -> float:
    sets = _patchsets(it)
    found = ls.run_many(
        it.model,
        it.prompt,
        [patches for patches, _ in sets],
        max_new_tokens=NEW,
        stop_at_eos=False,
    )
    worst = 0.0
    for n, (_, edits) in enumerate(sets):
        worst = max(worst, far(found.logits[n, 0], it.plain.logits(it.prompt, edits)[-1]))
        worst = max(worst, it.plain.gap(it.prompt, edits, found.generation.token_ids[n]))
    return worst


def inspect(it: Subject) -> float:
    inspection = [5, 6, 7, 8, 9, 10]
    scope = ls.Patchscope(ls.InspectionPrompt("w5 w6 w7 w8 w9 w10", "w8", False), ls.resid_post)
    said = scope.inspect(it.model, it.prompt, position=4, max_new_tokens=3).frame()
    states = it.plain.activations(it.prompt, "resid_post")
    if list(said["source_layer"]) != sorted(states):
        raise Wrong(f"source layers {list(said['source_layer'])}")
    worst = 0.0
    for line in said.to_dict("records"):
        layer = line["source_layer"]
        edit = Edit("resid_post", layer, 3, lambda x, s=states[layer][4]: s.to(x.dtype))
        worst = max(worst, _as_said(it, inspection, edit, line["text"].split()))
        probabilities = it.plain.logits(inspection, [edit])[-1].softmax(-1)
        worst = max(worst, abs(float(probabilities.max()) - line["first_token_probability"]))
    return worst


def _as_said(it: Subject, ids: list[int], edit: Edit, words: list[str]) -> float:
    """By how much the words that were written fall short of the best; special tokens, which a text
    does not show, are those that Hugging Face writes."""
    worst, grown, left = 0.0, list(ids), [int(word[1:]) for word in words]
    for _ in range(3):
        last = it.plain.logits(grown, [edit])[-1]
        best = int(last.argmax())
        token = best if best in (1, 2) or not left else left.pop(0)
        worst = max(worst, float((last.max() - last[token]) / (last.max() - last.min())))
        grown.append(token)
        if token == 2:
            break
    if left:
        raise Wrong(f"{len(left)} words more than Hugging Face writes")
    return worst


def logit_lens(it: Subject) -> float:
    reading = ls.LogitLens().read(it.model, it.prompt, top_k=1, full=True)
    got = torch.tensor(reading.data["full_log_probability"].values)[0]  # [layer, pos, d_vocab]
    states = it.plain.activations(it.prompt, "resid_post")
    if got.shape[0] != len(states):
        raise Wrong(f"{got.shape[0]} layers")
    own = it.plain.logits(it.prompt).log_softmax(-1)
    worst = far(got[-1], own)
    for layer, state in states.items():
        worst = max(worst, far(got[layer], it.plain.read(state).log_softmax(-1)))
    return worst


def metric(logits: Tensor) -> Tensor:
    """A difference of two logits at the last token."""
    return logits[:, -1, 10] - logits[:, -1, 11]


def _pair() -> tuple[list[int], list[int]]:
    clean = families.prompt(6, seed=1)
    return clean, [clean[0], 40, *clean[2:4], 41, clean[5]]


def activation_patching(it: Subject) -> float:
    clean, corrupted = _pair()
    found = ls.activation_patching(it.model, clean, corrupted, ls.resid_pre, metric)
    states = it.plain.activations(clean, "resid_pre")
    got = torch.tensor(found.data["metric"].values).squeeze()  # [layer, position]
    want = torch.zeros(len(states), len(clean))
    base = it.plain.logits(corrupted)
    for layer in states:
        for at in range(len(clean)):
            edit = Edit("resid_pre", layer, at, lambda x, s=states[layer][at]: s.to(x.dtype))
            want[layer, at] = metric(it.plain.logits(corrupted, [edit])[None])[0]
    return _beside(got, want, base)


def attribution_patching(it: Subject) -> float:
    clean, corrupted = _pair()
    found = ls.attribution_patching(it.model, clean, corrupted, ls.resid_post, metric)
    got = torch.tensor(found.data["metric"].values).squeeze()
    states = it.plain.activations(clean, "resid_post")
    held: dict[int, Tensor] = {}

    def keep(layer: int) -> Callable[[Tensor], None]:
        def act(x: Tensor) -> None:
            x.retain_grad()
            held[layer] = x

        return act

    with torch.enable_grad(), it.plain.hooked([("resid_post", n, keep(n)) for n in states]):
        logits = it.plain.forward(corrupted).logits.float()
        base = metric(logits)[0]
        base.backward()
    want = torch.stack(
        [
            base.detach() + (held[n].grad[0].float() * (states[n] - held[n][0].float())).sum(-1)
            for n in states
        ]
    ).detach()
    it.plain.model.zero_grad(set_to_none=True)
    return _beside(got, want, torch.cat([logits[0].detach().flatten(), want.flatten()]))


def _beside(got: Tensor, want: Tensor, spread: Tensor) -> float:
    if got.shape != want.shape:
        raise Wrong(f"shape {tuple(got.shape)}, not {tuple(want.shape)}")
    if not bool(torch.isfinite(got).all()):
        raise Wrong("NaN or infinite where Hugging Face has numbers")
    return float((got.float() - want).abs().max() / (spread.max() - spread.min()))


ACTS: dict[str, Callable[[Subject], float]] = {
    "capture": capture,
    "attn_out": attn_out,
    "mlp_out": mlp_out,
    "head_out": head_out,
    "q": q,
    "k, v": k_v,
    "pattern": pattern,
    "mlp_hidden": mlp_hidden,
    "run": run,
    "padded right": padded_right,
    "padded left": padded_left,
    "long prompt": long,
    "patch": patch,
    "patch attn_out": patch_attn_out,
    "patch mlp_out": patch_mlp_out,
    "patch head_out": patch_head_out,
    "patch q": patch_q,
    "patch k, v": patch_k_v,
    "knockout": knockout,
    "generate": generate_cached,
    "generate uncached": generate_uncached,
    "generate batch": generate_batch,
    "run_many": run_many,
    "inspect": inspect,
    "logit lens": logit_lens,
    "activation patching": activation_patching,
    "attribution patching": attribution_patching,
}


# -------------------------------------------------------------------- verdicts


@dataclass(frozen=True)
class Verdict:
    """How an act came out: ``equal``, ``refused``, ``wrong`` or ``crashed``."""

    outcome: str
    error: float = float("nan")
    reason: str = ""


TOLERANCE = {torch.float32: 1e-4, torch.float16: 0.02, torch.bfloat16: 0.1}


def verdict(it: Subject, act: str) -> Verdict:
    """Do it, and say how it came out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            error = ACTS[act](it)
        except ls.LensscopeError as raised:
            whole = all(str(getattr(raised, n)) for n in ("what", "got", "expected", "instead"))
            reason = f"{raised.what} {raised.got}"
            return Verdict("refused" if whole else "crashed", reason=reason)
        except (Wrong, Nothing) as raised:
            return Verdict("wrong", reason=str(raised))
        except Exception as raised:
            first = (str(raised).splitlines() or [""])[0]
            return Verdict("crashed", reason=f"{type(raised).__name__}: {first[:200]}")
    equal = error <= TOLERANCE[it.dtype]
    return Verdict("equal" if equal else "wrong", error)
