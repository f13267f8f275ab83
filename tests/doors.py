"""The public functions with arguments that are right, on a tiny model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

import lensscope as ls
from tests import families
from tests.hostile import NAMES


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
            **NAMES,
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
            "means": ls.capture(m, [p, q], ls.resid_post),
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
        yield Door(
            "explore",
            lambda **o: ls.explore(**o).about["state"],
            {"model": "m", "prompt": "'w5 w6'", "lenses": "['logit']"},
            ("readers",),
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
            "project_out": {"basis": "torch.linspace(-1, 2, 32)"},
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
            ("target_layers", "max_new_tokens", "occurrence", "sites", "patches", "names", *run),
        )
        yield Door(
            "inspect vectors",
            n["scope"].inspect,
            {**model, "source": v, "target_layers": "[1]"},
            ("layers", "max_new_tokens", "names", *run),
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
            ("positions", "top_k", "measures", "targets", "full", "patches", "names", *run),
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
            "probability", lambda **o: bound(ls.probability(**o)), {"correct": "'w8'"}, ("wrong",)
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
            for form in ("to_svg", "to_html", "to_json", "to_png", "to_pdf", "to_latex"):
                yield Door(f"{name}.{form}", getattr(n[name], form), {"path": "'page'"})
        for name in ("effect", "reading", "report", "seen"):
            own = {"results": f"[{name}, {name}]"}
            yield Door(f"{name}.together", type(n[name]).together, own)
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
        yield Door("mean", lambda **o: dict(n["means"].mean(**o)), {}, ("over",))
        yield Door(
            "layers", n["lens"].read, {**model, "prompts": "p", "layers": "[1]"}, ("position",)
        )
        yield Door("to", lambda **o: dict(cache.to(**o)), {}, ("device", "dtype"))
        yield Door("Cache.save", cache.save, {"path": "'cache'"})
        yield Door("Cache.load", ls.Cache.load, {"path": "'none'"}, ("device",))
        yield Door(
            "Patchscope.load",
            ls.Patchscope.load,
            {"folder": "'none.safetensors'", **model},
            ("question", "rule", "allow_pickle"),
        )
        yield Door("Patchscope.save", n["scope"].save, {"path": "'scope.safetensors'"})
        waits = ls.Patchscope(ls.InspectionPrompt("w60 w50 {question}", "w50"))
        yield Door("asking", waits.asking, {"question": "'w7'"})
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
            "reading_quality",
            lambda **o: ls.studies.reading_quality(**o).run(),
            {**model, "scopes": "scope", "items": "given", "layers": "[1]", "n_candidates": "2"},
            (
                "template",
                "whole",
                "identify",
                "max_new_tokens",
                "random_draws",
                "seed",
                "memory_budget",
            ),
        )
        yield Door(
            "study.run", n["study"].run, {}, ("executor", "num_workers", "num_gpus", "address")
        )
        yield Door("entities", ls.studies.entities, {"limit": "2"}, ("path", "kinds"))
        yield Door("questions", ls.studies.questions, {"limit": "2"}, ("path",))
        yield Door("relation", ls.studies.relation, {"name": "'capital'"})
