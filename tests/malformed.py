"""Random malformed calls: valid ones of every public function, an argument or two made hostile.

Each call either works or raises an error of lensscope. A failure is anything else: another
exception, a call that does not end, hooks that are left, a model or a value that was changed, NaN
that the valid call does not give, an argument that no one could mean and that was taken all the
same, and one that was ignored: the result is that of the valid call, though the argument is no
other way to write the valid one.

Run as a process of its own, without the type checker that the other tests run under, because that
would answer first: ``python -m tests.malformed --calls 1500 --seed 0``.
"""

from __future__ import annotations

import argparse
import collections
import datetime
import decimal
import fractions
import itertools
import json
import math
import os
import random
import resource
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr

import lensscope as ls
from tests import families

SECONDS = 20.0
"""Of this process' own time, after which a call hangs."""
MEMORY = 16 << 30
"""Bytes of addresses; what asks for more is a MemoryError, before the machine is full."""


class Weird:
    """Nothing can be asked of it."""

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no equality")

    def __bool__(self) -> bool:
        raise RuntimeError("no truth")

    __hash__ = None  # type: ignore[assignment]


class Hang(BaseException):
    """A call took too long."""


# ---------------------------------------------------------------- hostile values, as Python


def _several(written: str) -> list[str]:
    return written.split()


NUMBERS = _several("""
-1 0 1 2 3 7 99 2**31 2**63 2**70 10**9 10**400 -2**70 0.5 -0.5 1.5 2.0 1e300 -1e300 math.nan
math.inf -math.inf True False complex(1,2) np.int64(1) np.int8(-1) np.float32(0.5)
np.float64('nan') np.bool_(True) np.bool_(False) np.uint64(2**63) torch.tensor(1)
torch.tensor(0.5) torch.tensor(True) torch.tensor(math.nan) np.array(2) decimal.Decimal('0.5')
decimal.Decimal('NaN') fractions.Fraction(1,2)
""")
SMALL = _several("""
0 1 2 0.5 True False np.int64(1) np.int8(2) np.float32(0.5) np.bool_(True) np.bool_(False)
np.array(2) torch.tensor(1) torch.tensor(0.5) torch.tensor(True) fractions.Fraction(1,2)
""")
THINGS = _several("""
None '' 'x' 'no' 'w5' '0' '\\x1b[31m\\0' '\\ud800' 'a'*30000 b'w5' bytearray(b'w5') object()
Weird() [] () {} [None] [[]] [2,2] [0,0,0] [-1] [99] [1.5] ['w5','w5'] [True] [object()] {1,2}
{'a':1} {'clean':-1} range(0) range(2) range(10**9) range(10**12) iter([]) itertools.count()
itertools.repeat('w5') itertools.repeat([]) np.array([1,2]) np.array([]) np.array(['w5'])
np.zeros((2,2)) np.array([object()]) torch.ones(2) torch.ones(32) torch.ones(33) torch.ones(6,32)
torch.ones(2,2,2) torch.tensor([1,2]) torch.tensor([]) torch.full((32,),math.nan)
torch.ones(32,dtype=torch.float16) torch.ones(32,dtype=torch.long) torch.ones(2,device='meta')
torch.ones(32,dtype=torch.complex64) torch.tensor([True,False]) pd.Series([1])
pd.DataFrame({'a':[1]}) xr.DataArray([1]) slice(0,2) slice(None,None,0) slice('a',None)
slice(0.5,1) Path('x') Path('/proc/none/x') Path('.') datetime.date(2020,1,1) Exception('x') len
print dict type int (lambda:0) (lambda*a:None) (lambda*a:torch.ones(1)) sys ls.ALL ls.span('w5')
ls.span('') ls.resid_post ls.resid_post(1) ls.resid_post(99) ls.resid_post(1).at(2)
ls.head_out(1,9) ls.pattern ls.embed ls.resid_post(1).zero() [ls.resid_post(1).zero()]
iter([ls.resid_post(1)]) [ls.resid_post(1),ls.resid_post(1)] [ls.resid_post(1),'x']
ls.resid_post(0)>>ls.resid_post(1) ls.resid_post(0)>>len ls.LogitLens ls.LogitLens()
[ls.LogitLens(),ls.LogitLens()] ls.Plan() ls.Plan.none() ls.logit_difference ls.kl_divergence()
ls.rank(7) ls.log_probability('w5') ls.Patchscope ls.LensError torch.float32 torch.float16
torch.long torch.device('cpu') torch.nn.Linear(2,2) ...
""")


# ---------------------------------------------------------------- what could be meant


def plain(value: Any) -> Any:
    """A single number without the array that it came in."""
    single = isinstance(value, np.generic | np.ndarray | torch.Tensor) and value.ndim == 0
    return (
        value.item() if single and getattr(value, "device", None) != torch.device("meta") else value
    )


def whole(least: float, most: float = math.inf) -> Callable[[Any], bool]:
    def fair(value: Any) -> bool:
        value = plain(value)
        return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most

    return fair


def real(least: float = -math.inf, most: float = math.inf) -> Callable[[Any], bool]:
    def fair(value: Any) -> bool:
        value = plain(value)
        known = isinstance(value, int | float | decimal.Decimal | fractions.Fraction)
        return (
            known
            and not isinstance(value, bool)
            and math.isfinite(value)
            and (least <= value <= most)
        )

    return fair


def flag(value: Any) -> bool:
    return isinstance(plain(value), bool)


def path(value: Any) -> bool:
    return isinstance(value, str | os.PathLike) and "\0" not in str(value) and str(value) != ""


def words(*known: str) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and value in known


def text(value: Any) -> bool:
    return isinstance(value, str)


def function(value: Any) -> bool:
    return callable(value)


FAIR: dict[str, Callable[[Any], bool]] = {
    "prepend_bos": flag,
    "padding_side": words("left", "right"),
    "memory_budget": whole(1),
    "max_new_tokens": whole(0),
    "temperature": real(0),
    "top_p": real(0, 1),
    "top_k": whole(1),
    "seed": whole(0),
    "stop_at_eos": flag,
    "use_cache": flag,
    "grad": flag,
    "full": flag,
    "edges": flag,
    "qk_fix": flag,
    "grad_drop": flag,
    "renormalise": flag,
    "match_norm": flag,
    "only_known": flag,
    "all_tokens": flag,
    "probe": flag,
    "allow_pickle": flag,
    "mix": real(),
    "factor": real(),
    "weight": real(),
    "norm": real(),
    "noise": real(0),
    "samples": whole(1),
    "window": whole(1),
    "ig_steps": whole(1),
    "verify": whole(0),
    "sample": whole(0),
    "subsets": whole(0),
    "random": whole(1),
    "random_draws": whole(0),
    "max_nodes": whole(1),
    "threshold": real(0),
    "top": whole(1),
    "k": whole(1),
    "level": real(0, 1),
    "resamples": whole(1),
    "ridge": real(0),
    "length": whole(1),
    "steps": whole(1),
    "skip_first": whole(0),
    "max_tokens": whole(1),
    "max_pieces": whole(1),
    "rows": whole(1),
    "every": whole(1),
    "n": whole(1),
    "limit": whole(1),
    "checkpoint": path,
    "path": path,
    "direction": words("denoising", "noising"),
    "mlps": words("frozen", "live"),
    "ablation": words("corrupted", "mean"),
    "when": words("prefill", "every_step"),
    "executor": words("local", "ray"),
    "placeholder": text,
    "text": text,
    "name": text,
    "layer": whole(-math.inf),
    "head": whole(-math.inf),
    "dtype": lambda value: isinstance(value, torch.dtype) and value.is_floating_point,
    "device": lambda value: str(value) in ("cpu", "meta"),
    "function": function,
}
"""Whether an argument could be meant; a name that is not here may be many things."""

QUIET = {
    *("memory_budget", "padding_side", "use_cache", "stop_at_eos", "prepend_bos", "plan", "seed"),
    *("checkpoint", "path", "resamples", "level", "keep", "temperature", "top_p", "top_k", "out"),
    *("labels", "full", "measures", "targets", "source", "sample", "verify", "occurrence", "name"),
    *("reference", "random", "subsets", "sizes", "every", "value", "beside", "max_tokens", "rows"),
    *("max_pieces", "length", "steps", "words", "qk_fix", "mlps", "edges", "random_draws", "model"),
    *(
        "heads",
        "window",
        "max_nodes",
        "threshold",
        "positions",
        "all_tokens",
        "probe",
        "only_known",
    ),
    *("layers", "target_layers", "match_norm", "mix", "read", "transform", "device", "dtype", "k"),
    *("max_new_tokens", "renormalise", "grad", "when", "top", "skip_first", "ridge", "similarity"),
    *("inspection", "lenses", "entities", "n_positions", "n", "limit", "kinds", "variants"),
}
"""Arguments that need not change what a valid call gives: whether they could be meant is judged by
`FAIR`, and by their kind in `spelling`."""


def spelling(one: Any, other: Any) -> bool:
    """Whether two values are ways to write the same."""
    one, other = _written(one), _written(other)
    try:
        return bool(one == other)
    except Exception:
        return False


def _written(value: Any) -> Any:
    value = plain(value)
    if isinstance(value, np.ndarray | torch.Tensor):
        return value.tolist()
    if isinstance(value, list | tuple | range):
        return [_written(part) for part in itertools.islice(value, 100)]
    return value


# ---------------------------------------------------------------- what is called


@dataclass
class Door:
    """A public function with arguments that are right; each call gets its own."""

    name: str
    call: Callable[..., Any]
    valid: dict[str, str]
    more: tuple[str, ...] = ()
    """Arguments that are left at their defaults in the valid call."""


class Bench:
    """A tiny model, and values made of it that methods are called on."""

    def __init__(self) -> None:
        self.model = families.build(families.Case("llama", "bridge", "raw"))
        m, p, q = self.model, families.prompt(6), families.prompt(6, seed=1)
        self.texts = [families.prompt(20, seed=n) for n in range(6)]
        self.names: dict[str, Any] = {
            **globals(),
            "datetime": datetime,
            "m": m,
            "p": p,
            "q": q,
            "texts": self.texts,
        }
        metric = ls.logit_difference(7, 9)
        others = [families.prompt(6, seed=n) for n in (2, 3)]
        effect = ls.activation_patching(
            m, [p, q], others, [ls.head_out, ls.mlp_out], metric, positions=ls.ALL
        )
        scope = ls.Patchscope(ls.InspectionPrompt("w60 w50", "w50"), max_new_tokens=2)
        lens = ls.AffineLens.fit(m, self.texts)
        circuit = effect.circuit(top=4)
        entity = ls.studies.Entity
        given = [entity("w5 w6", "any", "w7"), entity("w8", "any", "w9")]
        self.names |= {
            "metric": metric,
            "effect": effect,
            "scope": scope,
            "lens": lens,
            "circuit": circuit,
            "cache": ls.capture(m, [p, q], [ls.resid_post, ls.pattern(1)]),
            "at": ls.resid_post(1).at(2),
            "move": ls.resid_post(0).at(1) >> ls.resid_post(1).at(2),
            "reading": ls.LogitLens().read(m, p, measures="all", targets=[7]),
            "report": ls.compare(m, [p, q], ls.LogitLens(), resamples=20),
            "seen": scope.inspect(m, p, layers=[0, 1]),
            "generation": ls.generate(m, p, max_new_tokens=1),
            "given": given,
            "study": ls.studies.entity_resolution(
                m, given, inspection=scope, layers=[1], max_new_tokens=2, random_draws=1
            ),
        }
        self.doors = [*self._doors()]

    def state(self) -> tuple[float, int]:
        """What must not change: weights, and hooks."""
        total = sum(float(v.detach().double().abs().sum()) for v in self.model.parameters())
        values = [*self.names["cache"].values(), *self.names["lens"].history.values()]
        total += sum(float(v.double().abs().sum()) for v in values)
        hooks = sum(len(p._forward_hooks) for p in self.model.hook_dict.values())
        return total, hooks

    def value(self, written: str) -> Any:
        """A value as it was written, made anew."""
        return eval(written, self.names)

    def _doors(self) -> Iterator[Door]:
        n, model = self.names, {"model": "m"}
        run = "prepend_bos", "memory_budget"
        how = ("temperature", "top_k", "top_p", "seed", "stop_at_eos", "use_cache")
        patches = {"patches": "[at.scale(2.0)]"}
        yield Door(
            "capture",
            ls.capture,
            {**model, "prompts": "p", "sites": "ls.resid_post"},
            ("padding_side", *run),
        )
        yield Door(
            "run",
            ls.run,
            {**model, "prompt": "p", **patches, "keep": "[ls.resid_post(2)]"},
            ("source", "padding_side", *run),
        )
        yield Door(
            "run texts",
            ls.run,
            {
                **model,
                "prompt": "['w5 w6 w7', 'w8']",
                **patches | {"patches": "[ls.resid_post(1).at(0).scale(2.0)]"},
            },
            ("padding_side", *run),
        )
        yield Door(
            "run moved", ls.run, {**model, "prompt": "p", "patches": "[move]", "source": "q"}, run
        )
        yield Door(
            "generate",
            ls.generate,
            {**model, "prompt": "p", **patches, "max_new_tokens": "2"},
            ("source", *how, *run),
        )
        yield Door(
            "run_many",
            ls.run_many,
            {**model, "prompt": "p", "patchsets": "[[], [at.scale(2.0)]]", "positions": "-1"},
            (
                "keep",
                "metric",
                "top_k",
                "max_new_tokens",
                "source",
                "labels",
                "grad",
                "plan",
                *how,
                *run,
            ),
        )
        yield Door("Plan", ls.Plan, {"depth": "True"}, ("source", "prefix", "chunks", "typo"))
        yield Door(
            "load_model",
            ls.load_model,
            {"name": "'no such model'"},
            ("backend", "processing", "dtype", "device"),
        )
        for kind in ("resid_post", "head_out", "embed", "pattern"):
            site = getattr(ls, kind)
            yield Door(kind, site, {} if kind == "embed" else {"layer": "1"}, ("head", "layer"))
        yield Door(
            "Site",
            ls.Site,
            {"kind": "'head_out'", "layer": "1", "head": "2"},
            ("position", "occurrence"),
        )
        yield Door("at", ls.resid_post(1).at, {"position": "2"}, ("occurrence",))
        written = lambda patch: ls.run(n["m"], n["p"], [patch]).logits
        moved = ls.resid_post(1).at(2)
        v = "torch.ones(32)"
        for verb, own in {
            "set": {"value": v},
            "add": {"value": v},
            "scale": {"factor": "2.0"},
            "lerp": {"value": v, "weight": "0.5"},
            "zero": {},
            "map": {"function": "torch.tanh"},
            "project_out": {"basis": v},
        }.items():
            call = getattr(moved, verb)
            yield Door(verb, lambda call=call, **o: written(call(**o)), own, ("when",))
        yield Door(">>", lambda b: written(ls.resid_post(0).at(1) >> b), {"b": "at"})
        yield Door(
            "affine",
            lambda **o: ls.affine(**o)(torch.ones(2)),
            {"matrix": "torch.eye(2)"},
            ("bias",),
        )
        yield Door("scaled_to", lambda **o: ls.scaled_to(**o)(torch.ones(2)), {"norm": "2.0"})
        yield Door("span", ls.span, {"text": "'w5'"})
        yield Door(
            "InspectionPrompt",
            lambda **o: ls.InspectionPrompt(**o).places(n["m"]),
            {"text": "'w60 w50'", "placeholder": "'w50'"},
            ("prepend_bos",),
        )
        yield Door(
            "Patchscope",
            lambda **o: ls.Patchscope(**o).inspect(n["m"], n["p"], layers=[1]),
            {"inspection": "scope.inspection", "max_new_tokens": "2"},
            ("write", "transform", "model", "read", "mix", "match_norm"),
        )
        yield Door("token_identity", ls.Patchscope.token_identity, {"words": "['w5']"}, ("mix",))
        yield Door(
            "selfie",
            ls.Patchscope.selfie,
            {"text": "'w5 w6'", "placeholder": "'w6'"},
            ("layer", "mix"),
        )
        yield Door("attribute", ls.Patchscope.attribute, {"text": "'w5 x'"}, ("placeholder",))
        yield Door(
            "inspect",
            n["scope"].inspect,
            {**model, "source": "p", "position": "2", "layers": "[0, 1]"},
            ("target_layers", "max_new_tokens", "occurrence", *run),
        )
        yield Door(
            "inspect vectors",
            n["scope"].inspect,
            {**model, "source": v, "target_layers": "[1]"},
            ("layers", "max_new_tokens", *run),
        )
        yield Door(
            "as_lens",
            lambda **o: n["scope"].as_lens(**o).read(n["m"], n["p"], positions=-1),
            {},
            ("name",),
        )
        yield Door(
            "read",
            n["lens"].read,
            {**model, "prompts": "p", "sites": "ls.resid_post(1)"},
            ("positions", "top_k", "measures", "targets", "full", *run),
        )
        yield Door("logits", n["lens"].logits, {**model, "states": v, "site": "ls.resid_post(1)"})
        yield Door(
            "compare",
            ls.compare,
            {**model, "prompts": "[p, q]", "lenses": "ls.LogitLens()", "resamples": "20"},
            ("positions", "layers", "level", "seed", "checkpoint", *run),
        )
        texts = {**model, "texts": "texts"}
        yield Door(
            "AffineLens.fit",
            ls.AffineLens.fit,
            texts,
            (
                "sites",
                "target",
                "target_model",
                "ridge",
                "length",
                "skip_first",
                "max_tokens",
                "name",
            ),
        )
        yield Door(
            "JacobianLens.fit",
            ls.JacobianLens.fit,
            {**texts, "length": "20", "skip_first": "2", "max_pieces": "1", "layers": "[1]"},
            ("rows", "seed", "name", "checkpoint"),
        )
        yield Door(
            "TunedLens.fit",
            ls.TunedLens.fit,
            {**texts, "steps": "1", "n_held_out": "1"},
            (
                "sites",
                "length",
                "seed",
                "bf16",
                "optimizer",
                "learning_rate",
                "clip",
                "momentum",
                "held_out",
                "name",
                "batch_size",
                "tokens_per_step",
                "typo",
            ),
        )
        yield Door("TunedLens.identity", ls.TunedLens.identity, model, ("sites",))
        for kind in ("TunedLens", "AffineLens", "JacobianLens"):
            yield Door(
                f"{kind}.load",
                getattr(ls, kind).load,
                {"path": "'none.safetensors'"},
                () if kind == "AffineLens" else ("allow_pickle",),
            )
        yield Door("save", n["lens"].save, {"path": "'lens.safetensors'"})
        yield Door("lens.at", n["lens"].at, {"site": "ls.resid_post(1)"})
        bound = lambda metric: ls.activation_patching(
            n["m"], n["p"], n["q"], ls.mlp_out, metric, positions=ls.ALL
        )
        yield Door(
            "logit_difference",
            lambda **o: bound(ls.logit_difference(**o)),
            {"correct": "7", "wrong": "9"},
        )
        yield Door(
            "probability", lambda **o: bound(ls.probability(**o)), {"correct": "'w7'"}, ("wrong",)
        )
        yield Door("rank", lambda **o: bound(ls.rank(**o)), {"correct": "(7, 8)"})
        pair = {**model, "clean": "p", "corrupted": "q", "metric": "metric"}
        some = ("direction", "positions", "heads", "window", "checkpoint", *run)
        yield Door(
            "activation_patching",
            ls.activation_patching,
            {**pair, "sites": "ls.resid_pre"},
            ("keys", *some),
        )
        yield Door(
            "activation_patching heads",
            ls.activation_patching,
            {**pair, "sites": "ls.head_out", "positions": "ls.ALL"},
            some,
        )
        yield Door(
            "attribution_patching",
            ls.attribution_patching,
            {**pair, "sites": "ls.mlp_out"},
            ("ig_steps", "qk_fix", "grad_drop", "verify", "sample", "seed", *some),
        )
        yield Door(
            "path_patching",
            ls.path_patching,
            {**pair, "senders": "ls.mlp_out(0)", "receivers": "['logits', ls.mlp_out(1)]"},
            ("direction", "positions", "heads", "mlps", "checkpoint", *run),
        )
        yield Door(
            "causal_trace",
            ls.causal_trace,
            {**model, "prompt": "p", "subject": "1", "samples": "1", "site": "ls.resid_post(1)"},
            (
                "answer",
                "noise",
                "window",
                "metric",
                "positions",
                "heads",
                "seed",
                "checkpoint",
                *run,
            ),
        )
        yield Door(
            "attention_knockout",
            ls.attention_knockout,
            {**model, "prompt": "p", "from_": "1", "to": "-1"},
            ("layers", "metric", "window", "heads", "renormalise", "checkpoint", *run),
        )
        yield Door("mean", n["effect"].mean, {"resamples": "20"}, ("level", "seed"))
        yield Door("top", n["effect"].top, {"k": "3"})
        yield Door("circuit", n["effect"].circuit, {"top": "3"}, ("threshold",))
        c = n["circuit"]
        yield Door("Circuit", ls.Circuit, {"nodes": "{ls.head_out(1, 2): 0.5}"}, ("edges", "kinds"))
        yield Door(
            "grow",
            ls.Circuit.grow,
            pair,
            ("threshold", "max_nodes", "senders", "direction", "mlps", "prepend_bos"),
        )
        yield Door("connected", c.connected, pair, ("threshold", "direction", "mlps"))
        kept = ("ablation", "reference", "positions", "prepend_bos")
        yield Door("faithfulness", c.faithfulness, pair, ("edges", *kept))
        yield Door("completeness", c.completeness, {**pair, "subsets": "2"}, ("seed", *kept))
        yield Door("minimality", c.minimality, {**pair, "subsets": "1"}, ("seed", *kept))
        yield Door("curve", c.curve, {**pair, "random": "2"}, ("sizes", "seed", "ablation"))
        yield Door(
            "circuit.inspect",
            c.inspect,
            {"scope": "scope", **model, "prompt": "p"},
            ("position", "positions"),
        )
        yield Door("from_json", ls.Circuit.from_json, {"text": "circuit.to_json()"})
        yield Door("to_transformer_lens", c.to_transformer_lens, {"n_positions": "3"})
        for name in ("effect", "reading", "report", "seen", "circuit"):
            for form in ("to_svg", "to_html", "to_json"):
                yield Door(f"{name}.{form}", getattr(n[name], form), {"path": "'page'"})
        yield Door("to_graphml", c.to_graphml, {"path": "'page'"})
        yield Door("reading.plot", n["reading"].plot, {"value": "'entropy'"}, ("beside",))
        yield Door("report.plot", n["report"].plot, {"value": "'kl'"})
        yield Door("report.table", n["report"].table, {"every": "1"})
        yield Door("trajectories", n["reading"].plot_trajectories, {"prompt": "0"}, ("value",))
        cache = n["cache"]
        yield Door("cache[]", cache.__getitem__, {"site": "ls.resid_post(1)"})
        yield Door("value", cache.value, {"site": "ls.resid_post(1)"}, ("prompt",))
        yield Door("labelled", cache.labelled, {"site": "ls.resid_post(1)"})
        yield Door(
            "sel",
            lambda **o: dict(cache.sel(**o)),
            {"prompt": "0"},
            ("kind", "layer", "position", "occurrence"),
        )
        yield Door("to", lambda **o: dict(cache.to(**o)), {}, ("device", "dtype"))
        yield Door("Cache.save", cache.save, {"path": "'cache'"})
        yield Door("Cache.load", ls.Cache.load, {"path": "'none'"}, ("device",))
        for task in ("ioi", "greater_than", "country_capital", "gendered_pronoun"):
            yield Door(task, getattr(ls.pairs, task), {**model, "n": "2"}, ("seed",))
        for form in ("from_csv", "from_jsonl"):
            yield Door(form, getattr(ls.pairs, form), {"path": "'none'"}, ("model",))
        cells = {"layers": "[1]", "max_new_tokens": "1"}
        drawn = ("random_draws", "seed", "memory_budget", "target_layers")
        yield Door(
            "entity_resolution",
            lambda **o: ls.studies.entity_resolution(**o).run(),
            {**model, "entities": "given", "inspection": "scope", **cells},
            ("variants", "all_tokens", *drawn),
        )
        yield Door(
            "next_token",
            lambda **o: ls.studies.next_token(**o).run(),
            {**model, "texts": "texts", "lenses": "ls.LogitLens()", "layers": "[1]"},
            ("positions", "random_draws", "seed", "memory_budget"),
        )
        yield Door(
            "attribute_extraction",
            lambda **o: ls.studies.attribute_extraction(**o),
            {**model, "relation": "'capital'", **cells},
            ("sentences", "subjects", "probe", "only_known", "inspection", "lenses", *drawn),
        )
        yield Door(
            "multihop",
            lambda **o: ls.studies.multihop(**o),
            {**model, **cells},
            ("questions", "placeholder", *drawn),
        )
        yield Door(
            "cross_model",
            lambda **o: ls.studies.cross_model(**o),
            {"source": "m", "target": "m", "texts": "texts", "entities": "given", **cells},
            ("inspection", "ridge", "max_tokens", *drawn),
        )
        yield Door(
            "study.run", n["study"].run, {}, ("executor", "num_workers", "num_gpus", "address")
        )
        yield Door("entities", ls.studies.entities, {"limit": "2"}, ("path", "kinds"))
        yield Door("questions", ls.studies.questions, {"limit": "2"}, ("path",))
        yield Door("relation", ls.studies.relation, {"name": "'capital'"})


# ---------------------------------------------------------------- judging


@dataclass
class Outcome:
    """What became of a call."""

    kind: str
    said: str = ""


@dataclass
class Judge:
    """Calls, one after the other, and what is wrong with them."""

    bench: Bench
    expected: dict[str, Any] = field(default_factory=dict)

    def call(self, door: Door, changed: dict[str, str]) -> Outcome:
        given = {name: self.bench.value(w) for name, w in {**door.valid, **changed}.items()}
        hostile = {name: self.bench.value(w) for name, w in changed.items()}
        before = self.bench.state()
        signal.signal(signal.SIGPROF, _hang)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        try:
            result = door.call(**given)
            if isinstance(result, Iterator):
                result = list(result)
            signal.setitimer(signal.ITIMER_PROF, 0)
            outcome = self._worked(door, hostile, result)
        except ls.LensscopeError as error:
            long = len(str(error)) > 5000
            ugly = any(c < " " and c not in "\n\t" for c in str(error))
            outcome = (
                Outcome("FAILED", "a message that is too long" if long else "control")
                if (long or ugly)
                else Outcome("refused", type(error).__name__)
            )
        except Hang:
            outcome = Outcome("FAILED", f"no end after {SECONDS:g} s")
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            module = any(isinstance(v, torch.nn.Module) for v in hostile.values())
            if module and "lensscope" not in where.filename:
                outcome = Outcome("refused", "by the function that was given")
            else:
                at = f"{Path(where.filename).name}:{where.lineno}"
                outcome = Outcome("FAILED", f"{type(error).__name__}: {str(error)[:90]!r} at {at}")
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        after = self.bench.state()
        if after != before:
            hooks = after[1] != before[1]
            self.bench.model.reset_hooks()
            return Outcome("FAILED", "hooks are left" if hooks else "a value was changed")
        return outcome

    def _worked(self, door: Door, hostile: dict[str, Any], result: Any) -> Outcome:
        for name, value in hostile.items():
            if value is not None and name in FAIR and not FAIR[name](value):
                return Outcome("FAILED", f"{name} was taken, which could not be meant")
        if door.name not in self.expected:
            fresh = {name: self.bench.value(w) for name, w in door.valid.items()}
            try:
                self.expected[door.name] = digest(door.call(**fresh))
            except ls.LensscopeError:
                self.expected[door.name] = None
        known, found = self.expected[door.name], digest(result)
        if known is not None and nans(found) > 0 and nans(known) == 0:
            return Outcome("FAILED", "NaN came out")
        loud = [n for n in hostile if n in door.valid and n not in QUIET]
        same = known is not None and json.dumps(found) == json.dumps(known)
        if same and loud and len(loud) == len(hostile):
            right = {name: self.bench.value(w) for name, w in door.valid.items()}
            if not all(spelling(hostile[n], right[n]) for n in loud):
                return Outcome("FAILED", "ignored: the result is that of the valid call")
        return Outcome("worked")


def digest(result: Any) -> Any:
    """A result in numbers and text, as JSON has them."""
    if isinstance(result, torch.Tensor):
        return [list(result.shape), [round(float(x), 4) for x in result.detach().float().flatten()]]
    if isinstance(result, ls.Runs):
        return [
            digest(getattr(result, n)) for n in ("logits", "metric", "top_tokens", "generation")
        ]
    if isinstance(result, ls.Run):
        return [digest(result.logits), digest(dict(result.cache))]
    if isinstance(result, ls.Generation):
        return [result.text, result.tokens]
    if isinstance(result, ls.Lens):
        return [digest(t.matrix) for t in getattr(result, "translators", {}).values()]
    if isinstance(result, xr.Dataset | xr.DataArray):
        return json.loads(json.dumps(result.to_dict(), default=str))
    if isinstance(result, pd.DataFrame):
        return json.loads(result.to_json(orient="records"))
    if hasattr(result, "data") and isinstance(result.data, xr.Dataset):
        return digest(result.data)
    if isinstance(result, dict | ls.Cache):
        return [[repr(key), digest(value)] for key, value in result.items()]
    if isinstance(result, list | tuple):
        return [digest(part) for part in result]
    if hasattr(result, "to_plotly_json"):
        return str(result)[:2000]
    if is_dataclass(result) and not isinstance(result, type):
        shown = {f.name: getattr(result, f.name) for f in fields(result) if f.name != "model"}
        return repr(shown)
    return result if isinstance(result, int | float | str | None) else type(result).__name__


def nans(found: Any) -> int:
    """How many numbers are NaN."""
    if isinstance(found, float):
        return int(math.isnan(found))
    if isinstance(found, list | tuple):
        return sum(map(nans, found))
    if isinstance(found, dict):
        return sum(map(nans, found.values()))
    return 0


def _hang(*_: Any) -> None:
    raise Hang


def draw(bench: Bench, seed: int, number: int) -> tuple[Door, dict[str, str]]:
    """A call: which function, and which arguments are replaced by what."""
    rng = random.Random(f"{seed}/{number}")
    door = rng.choice(bench.doors)
    names = [*door.valid, *door.more]
    if rng.random() < 0.9:  # one check for all, and much else to look at
        names = [name for name in names if name not in ("model", "source", "target")] or names
    chosen = rng.sample(names, min(len(names), rng.choice([1, 1, 1, 2])))
    return door, {name: _hostile(rng, name) for name in chosen}


def _hostile(rng: random.Random, name: str) -> str:
    """A value for an argument: of a number, mostly another number."""
    number = name in FAIR and any(FAIR[name](value) for value in (1, 0.5, True))
    if number and rng.random() < 0.4:
        return rng.choice(SMALL)
    return rng.choice(NUMBERS if rng.random() < (0.5 if number else 0.2) else THINGS)


def tried(
    calls: int, seed: int, *, first: int = 0, loud: bool = False, log: bool = False
) -> tuple[collections.Counter[str], list[str]]:
    """What became of some calls, and a line for each failure."""
    warnings.simplefilter("ignore")
    bench = Bench()
    judge = Judge(bench)
    tally: collections.Counter[str] = collections.Counter()
    failures = []
    with tempfile.TemporaryDirectory() as where:
        os.chdir(where)
        for number in range(first, first + calls):
            door, changed = draw(bench, seed, number)
            given = ", ".join(f"{name}={w}" for name, w in changed.items())
            if log:
                print(f"{number} {door.name}({given})", file=sys.stderr, flush=True)
            outcome = judge.call(door, changed)
            tally[outcome.kind] += 1
            tally[f"  {outcome.said}"] += outcome.kind == "refused"
            if outcome.kind == "FAILED":
                failures.append(f"{door.name}({given}): {outcome.said}  [--first {number}]")
                if loud:
                    print(failures[-1], flush=True)
        os.chdir("/")
    return tally, failures


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="start at this call")
    parser.add_argument("--log", action="store_true", help="each call to stderr, before it is made")
    asked = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    tally, failures = tried(asked.calls, asked.seed, first=asked.first, loud=True, log=asked.log)
    for kind, count in tally.items():
        if count:
            print(f"{count:6} {kind}")
    print(f"{len(failures)} failures of {asked.calls} calls")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
