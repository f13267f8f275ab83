"""Every mistake a user is likely to make, made once; prints what came of each as JSON.

Run as a process of its own, without the type checker that the other tests run under, because that
would answer first.
"""

from __future__ import annotations

import copy
import json
import tempfile
import time
from pathlib import Path

import torch

import lensscope as ls
from tests import families

demo = ls.load_model()
tiny = families.build(families.Case("llama", "bridge", "raw"))
training = families.wrap(copy.deepcopy(families.hf_model("llama")))
training.train()
P = families.prompt(6)
WALES = "Diana, Princess of Wales"
JAPAN, ITALY = "The capital of Japan is the city of", "The capital of Italy is the city of"
OTHER = families.prompt(6, seed=1)
scope = ls.Patchscope.entity_description()
nan = torch.full((32,), torch.nan)
at = ls.resid_post(1).at(2)

other = families.build(families.Case("qwen2", "bridge", "raw"))
folded = families.build(families.Case("llama", "bridge", "folded"))
inner = copy.deepcopy(families.hf_model("llama"))
with torch.no_grad():
    inner.lm_head.weight[3] += 1
retouched = families.wrap(inner)
retouched.cfg.model_name = tiny.cfg.model_name
fresh = ls.TunedLens.identity(tiny)
one_layer = ls.TunedLens.identity(tiny, ls.resid_post(1))
elsewhere = ls.AffineLens.fit(
    tiny,
    [families.prompt(20, seed=n) for n in range(4)],
    sites=ls.resid_pre(1),
    target=ls.resid_post(1),
)
where = Path(tempfile.mkdtemp())
Q = families.prompt(6, seed=1)
C = ls.Circuit({ls.head_out(1, 2): 0.5, ls.mlp_out(0): 0.2})
metric = ls.logit_difference(7, 9)
found = ls.attribution_patching(tiny, P, Q, ls.mlp_out, metric, positions=ls.ALL).circuit(top=2)


def entities(model: object, **how: object) -> None:
    given = [ls.studies.Entity("w5 w6", "any", "w7"), ls.studies.Entity("w8", "any", "w9")]
    how = {"inspection": ls.InspectionPrompt("w60 w50", "w50"), "max_new_tokens": 2, **how}
    run = how.pop("run", {})
    ls.studies.entity_resolution(model, how.pop("given", given), **how).run(**run)


def difference(logits: torch.Tensor) -> torch.Tensor:
    return logits[:, -1, 7] - logits[:, -1, 9]


def saved() -> Path:
    return fresh.save(where / "lens.safetensors")


def cut_short() -> Path:
    path = where / "short.safetensors"
    path.write_bytes(saved().read_bytes()[:-50])
    return path


def pickled() -> Path:
    path = where / "lens.pt"
    torch.save({"J": {0: torch.eye(3)}}, path)
    return path


CASES = {
    "placeholder missing": lambda: ls.Patchscope.attribute("The city").inspect(demo, WALES),
    "placeholder split": lambda: ls.Patchscope.attribute(
        "City of Ouagadougou", "Ouagadougou"
    ).inspect(demo, WALES),
    "placeholder merged": lambda: ls.Patchscope.attribute("The city, of", ", of").inspect(
        demo, WALES
    ),
    "placeholder empty": lambda: ls.Patchscope.attribute("The city", "").inspect(demo, WALES),
    "substring not found": lambda: scope.inspect(demo, WALES, position="Peru"),
    "substring ambiguous": lambda: scope.inspect(demo, "the cat and the dog", position="the"),
    "occurrence out of range": lambda: ls.capture(demo, WALES, ls.resid_post(3).at("of", 4)),
    "layer out of range": lambda: ls.capture(tiny, P, ls.resid_post(3)),
    "negative layer out of range": lambda: ls.capture(tiny, P, ls.resid_post(-4)),
    "source layer out of range": lambda: scope.inspect(demo, WALES, layers=[30]),
    "target layer out of range": lambda: scope.inspect(demo, WALES, target_layers=[31]),
    "no layers": lambda: scope.inspect(demo, WALES, layers=[]),
    "target layers unknown": lambda: scope.inspect(demo, WALES, target_layers="most"),
    "head out of range": lambda: ls.capture(tiny, P, ls.head_out(1, 4)),
    "key-value head out of range": lambda: ls.capture(tiny, P, ls.k(1, 2)),
    "position out of range": lambda: ls.capture(tiny, P, ls.resid_post(1).at(6)),
    "position not a position": lambda: ls.resid_post(1).at(1.5),
    "position a list": lambda: ls.resid_post(1).at([1]),
    "layer not a number": lambda: ls.resid_post("3"),
    "layer at embed": lambda: ls.embed(3),
    "head at residual": lambda: ls.resid_post(3, 1),
    "empty prompt": lambda: ls.run(demo, ""),
    "no prompt": lambda: ls.run(demo, []),
    "empty prompt in a list": lambda: ls.run(demo, ["Hello", ""]),
    "prompt not a prompt": lambda: ls.run(demo, 3.5),
    "prompt over the context": lambda: ls.run(tiny, families.prompt(65)),
    "new tokens over the context": lambda: ls.generate(tiny, families.prompt(60), max_new_tokens=9),
    "token id out of range": lambda: ls.run(tiny, [3, 97]),
    "wrong width": lambda: ls.run(tiny, P, [at.set(torch.ones(33))]),
    "wrong number of positions": lambda: ls.run(tiny, P, [at.set(torch.ones(2, 32))]),
    "wrong dtype": lambda: ls.run(tiny, P, [at.set(torch.ones(32, dtype=torch.float64))]),
    "integers": lambda: at.set(torch.ones(32, dtype=torch.long)),
    "a number": lambda: at.set(torch.tensor(1.0)),
    "not a tensor": lambda: at.add("x"),
    "wrong device": lambda: ls.run(tiny, P, [at.set(torch.ones(32, device="meta"))]),
    "nan": lambda: at.set(nan),
    "infinity": lambda: at.add(nan.nan_to_num(nan=torch.inf)),
    "nan factor": lambda: at.scale(float("nan")),
    "nan vector inspected": lambda: scope.inspect(tiny, nan),
    "nan from a map": lambda: ls.run(tiny, P, [at.map(lambda x: x * torch.nan)]),
    "wrong shape from a map": lambda: ls.run(tiny, P, [at.map(lambda x: x[:, :3])]),
    "not a function": lambda: at.map(3),
    "transform not a function": lambda: ls.resid_post(1) >> 3,
    "affine shapes": lambda: ls.affine(torch.ones(3, 4), torch.ones(4)),
    "affine of the wrong width": lambda: ls.affine(torch.ones(3, 4))(torch.ones(3)),
    "basis of zeros": lambda: at.project_out(torch.zeros(2, 32)),
    "when unknown": lambda: at.zero(when="later"),
    "steering with a row for each position": lambda: ls.run(
        tiny, P, [ls.resid_post(1).add(torch.ones(6, 32), when="every_step")]
    ),
    "vector of the wrong width": lambda: scope.inspect(demo, torch.ones(32)),
    "vectors of three axes": lambda: scope.inspect(demo, torch.ones(1, 1, 576)),
    "no new tokens": lambda: scope.inspect(demo, WALES, max_new_tokens=0),
    "write with a position": lambda: ls.Patchscope(scope.inspection, write=ls.resid_post.at(3)),
    "write at embed": lambda: ls.Patchscope(scope.inspection, write=ls.embed),
    "read with a layer": lambda: ls.Patchscope(scope.inspection, read=ls.resid_post(3)),
    "a patch, not a list": lambda: ls.run(tiny, P, at.zero()),
    "not a patch": lambda: ls.run(tiny, P, ["zero"]),
    "a single patch as a row": lambda: ls.run_many(tiny, P, [at.zero()]),
    "no rows": lambda: ls.run_many(tiny, P, []),
    "labels": lambda: ls.run_many(tiny, P, [[]], labels=["a", "b"]),
    "prompts and rows": lambda: ls.run_many(tiny, [P, P], [[], [], []]),
    "sources and prompts": lambda: ls.run(tiny, [P, P, P], [at >> at], source=[P, P]),
    "one source too few is as wrong as one too many": lambda: ls.run(
        tiny, P, [at >> at], source=[P, P]
    ),
    "target layers of a fixed layer": lambda: ls.Patchscope.selfie().inspect(
        demo, WALES, target_layers=[3]
    ),
    "layers of raw vectors": lambda: scope.inspect(
        demo, torch.ones(576), layers=[1], target_layers=[2]
    ),
    "occurrence of a number": lambda: ls.resid_post(1).at(3, occurrence=1),
    "steering a pattern with values": lambda: ls.run(
        tiny, P, [ls.pattern(1).set(torch.ones(6), when="every_step")]
    ),
    "no new tokens to generate": lambda: ls.generate(tiny, P, max_new_tokens=0),
    "a factor that is no number": lambda: at.scale("x"),
    "half the dtype": lambda: ls.Patchscope.selfie(text="w5 w9", placeholder="w9").inspect(
        tiny, torch.ones(32, dtype=torch.float16)
    ),
    "budget": lambda: ls.run_many(tiny, P, [[]], memory_budget=100),
    "metric": lambda: ls.run_many(tiny, P, [[], []], metric=lambda logits: 3.0),
    "top k": lambda: ls.run_many(tiny, P, [[]], top_k=2.5),
    "plan": lambda: ls.run_many(tiny, P, [[]], plan={"speed": True}),
    "grad": lambda: ls.run_many(tiny, P, [[]], grad=True, max_new_tokens=2),
    "sampling without a seed": lambda: ls.generate(tiny, P, temperature=1.0),
    "top_p": lambda: ls.generate(tiny, P, temperature=1.0, seed=0, top_p=2.0),
    "prompts of two lengths to patch": lambda: patched(
        model=demo, clean=JAPAN, corrupted="The capital of Burkina Faso is the city of"
    ),
    "patterns of two lengths": lambda: patched(ls.pattern, corrupted=P[:4], positions=[-1]),
    "a number in prompts of two lengths": lambda: patched(corrupted=P[:4], positions={"it": 2}),
    "unequal numbers of prompts": lambda: patched(clean=[P, P], corrupted=[P]),
    "no prompts to patch": lambda: patched(clean=[], corrupted=[]),
    "an answer of several tokens": lambda: patched(
        ls.resid_pre(3), ls.logit_difference(" Ouagadougou", " Rome"), demo, JAPAN, ITALY
    ),
    "an answer outside the vocabulary": lambda: patched(metric=ls.log_probability(97)),
    "an empty answer": lambda: patched(metric=ls.log_probability("")),
    "no answer among several": lambda: patched(metric=ls.log_probability(())),
    "an answer that is no token": lambda: patched(metric=ls.log_probability(1.5)),
    "answers of other pairs": lambda: patched(metric=ls.logit_difference([3], [4, 5])),
    "a measure of NaN": lambda: patched(metric=lambda logits: logits[:, -1, 7] * torch.nan),
    "a measure of the wrong shape": lambda: patched(metric=lambda logits: logits[:, -1, :2]),
    "a measure of all rows": lambda: patched(metric=lambda logits: logits[0, -1, 7]),
    "a measure that is a number": lambda: patched(metric=lambda logits: 3.0),
    "a metric without its answers": lambda: patched(metric=ls.logit_difference),
    "a divergence that is not called": lambda: patched(metric=ls.kl_divergence),
    "a metric by its name": lambda: patched(metric="logit difference"),
    "a site that the model lacks": lambda: patched(
        ls.resid_mid, model=families.build(families.Case("neox", "bridge", "raw"))
    ),
    "heads of residuals": lambda: patched(heads=[1]),
    "a head that is not there": lambda: patched(ls.k, heads=[2]),
    "a head that is no number": lambda: patched(ls.head_out, heads="all"),
    "keys of heads": lambda: patched(ls.head_out, keys=None),
    "no keys": lambda: patched(ls.pattern, keys={}),
    "a layer to patch out of range": lambda: patched(ls.resid_pre(3)),
    "no sites to patch": lambda: patched([]),
    "a site by its name": lambda: patched("resid_pre"),
    "a direction that is none": lambda: patched(direction="forwards"),
    "no named tokens": lambda: patched(positions={}),
    "no tokens to patch": lambda: patched(positions=[]),
    "positions of other pairs": lambda: patched(positions={"it": [1, 2, 3]}),
    "groups of unequal numbers of tokens": lambda: patched(positions={"it": (slice(0, 2), 3)}),
    "a position that is out of range": lambda: patched(positions=[6]),
    "named tokens that are not found": lambda: patched(
        model=demo, clean=JAPAN, corrupted=ITALY, positions={"subject": "Peru"}
    ),
    "two ways of naming tokens": lambda: patched(ls.resid_pre(1).at(2), positions=[3]),
    "a window of nothing": lambda: patched(window=0),
    "half a window": lambda: patched(window=1.5),
    "a model with NaN to patch": lambda: patched(model=broken()),
    "an interval of percents": lambda: patched(ls.mlp_out(1)).mean(level=95),
    "a gradient of a rank": lambda: estimated(metric=ls.rank(5)),
    "a gradient in inference mode": lambda: torch.inference_mode()(estimated)(),
    "no steps": lambda: estimated(ig_steps=0),
    "steps between two lengths": lambda: estimated(corrupted=P[:4], positions=[-1], ig_steps=2),
    "fewer cells than none": lambda: estimated(verify=-1),
    "a token with two queries": lambda: estimated(ls.q, positions={"one": (2, 4), "other": (3, 4)}),
    "a sample without a seed": lambda: estimated(verify=1, seed=None),
    "a sender that does not send": lambda: sent(ls.q, "logits"),
    "a receiver that does not receive": lambda: sent(ls.mlp_out, ls.resid_post(2)),
    "a receiver that is a number": lambda: sent(ls.mlp_out, 3),
    "no receivers": lambda: sent(ls.mlp_out, {}),
    "a receiver before its sender": lambda: sent(ls.head_out(1), [ls.q(2), ls.q(1, 0)]),
    "MLPs neither frozen nor live": lambda: sent(ls.mlp_out, "logits", mlps="thawed"),
    "paths between two lengths": lambda: sent(
        ls.mlp_out, "logits", corrupted=P[:4], positions=[-1]
    ),
    "a subject that is not there": lambda: ls.causal_trace(demo, JAPAN, "Peru"),
    "subjects of other prompts": lambda: ls.causal_trace(tiny, [P, P], [1, 2, 3]),
    "noise below zero": lambda: ls.causal_trace(tiny, P, 2, noise=-1),
    "noise in no unit": lambda: ls.causal_trace(tiny, P, 2, unit="words"),
    "noise in a unit below zero": lambda: ls.causal_trace(tiny, P, 2, unit=-1.0),
    "no samples": lambda: ls.causal_trace(tiny, P, 2, samples=0),
    "noise without a seed": lambda: ls.causal_trace(tiny, P, 2, seed=None),
    "two things to measure": lambda: ls.causal_trace(tiny, P, 2, 5, metric=ls.rank(5)),
    "an answer to trace of several tokens": lambda: ls.causal_trace(
        demo, JAPAN, "Japan", " Ouagadougou"
    ),
    "a model with NaN to trace": lambda: ls.causal_trace(broken(), P, 2),
    "tokens that come later": lambda: ls.attention_knockout(tiny, P, 5, to=2),
    "a layer to knock out": lambda: ls.attention_knockout(tiny, P, 2, layers=[3]),
    "no layers to knock out": lambda: ls.attention_knockout(tiny, P, 2, layers=[]),
    "a lens of another model": lambda: fresh.read(other, P),
    "a lens of another basis": lambda: fresh.read(folded, P),
    "a lens with another unembedding": lambda: fresh.read(retouched, P),
    "a layer that a lens lacks": lambda: one_layer.read(tiny, P, ls.resid_post(0)),
    "a component by a fitted lens": lambda: fresh.read(tiny, P, ls.attn_out(1)),
    "a site that no lens reads": lambda: ls.LogitLens().read(tiny, P, ls.pattern(1)),
    "a site with a position": lambda: ls.LogitLens().read(tiny, P, ls.resid_post(1).at(2)),
    "an unknown measure": lambda: ls.LogitLens().read(tiny, P, measures="loss"),
    "a target of several tokens": lambda: ls.LogitLens().read(
        demo, WALES, targets=[" Ouagadougou"]
    ),
    "no lens tokens": lambda: ls.LogitLens().read(tiny, P, top_k=0),
    "a lens file that is not there": lambda: ls.TunedLens.load("nowhere.safetensors"),
    "a lens file cut short": lambda: ls.TunedLens.load(cut_short()),
    "a lens file with pickle": lambda: ls.TunedLens.load(pickled()),
    "a Jacobian lens with pickle": lambda: ls.JacobianLens.load(pickled()),
    "a lens file of another kind": lambda: ls.AffineLens.load(saved()),
    "an empty corpus": lambda: ls.TunedLens.fit(tiny, []),
    "texts that are too short": lambda: ls.JacobianLens.fit(tiny, [P, P]),
    "too few texts": lambda: ls.TunedLens.fit(tiny, [P, P]),
    "a corpus of another type": lambda: ls.TunedLens.fit(tiny, 3),
    "a batch without end": lambda: ls.TunedLens.fit(tiny, [P] * 20, batch_size=2**31),
    "a setting of training": lambda: ls.TunedLens.fit(tiny, [P] * 20, epochs=3),
    "a setting of training out of range": lambda: ls.TunedLens.fit(tiny, [P] * 20, steps=0),
    "an unknown optimizer": lambda: ls.TunedLens.fit(tiny, [P] * 20, optimizer="lion"),
    "nothing to train": lambda: ls.TunedLens.fit(tiny, [P] * 20, sites=ls.resid_post(-1)),
    "a ridge below zero": lambda: ls.AffineLens.fit(tiny, [P] * 20, ridge=-1.0),
    "a Jacobian of the last layer": lambda: ls.JacobianLens.fit(tiny, [P], layers=[2]),
    "lenses of one name": lambda: ls.compare(tiny, [P], [ls.LogitLens(), ls.LogitLens()]),
    "no lenses": lambda: ls.compare(tiny, [P], []),
    "no prompts to compare": lambda: ls.compare(tiny, [], ls.LogitLens()),
    "a level of intervals": lambda: ls.compare(tiny, [P], ls.LogitLens(), level=95),
    "a Jacobian of no texts": lambda: ls.JacobianLens.fit(tiny, [P], max_pieces=0),
    "a fit in inference mode": lambda: torch.inference_mode()(ls.TunedLens.fit)(tiny, [P] * 20),
    "a seed that is none": lambda: ls.TunedLens.fit(tiny, [P] * 20, seed=None),
    "half a step": lambda: ls.TunedLens.fit(tiny, [P] * 20, steps=2.5),
    "rows of a data set": lambda: ls.AffineLens.fit(tiny, [{"text": "w5 w6"}] * 20),
    "states of the wrong width": lambda: ls.LogitLens().logits(
        tiny, torch.ones(2, 33), ls.resid_post(1)
    ),
    "states of no layer": lambda: ls.LogitLens().logits(tiny, torch.ones(2, 32), ls.resid_post),
    "layers of a comparison": lambda: ls.compare(tiny, [P], ls.LogitLens(), layers=1),
    "a lens that is a class": lambda: ls.compare(tiny, [P], ls.LogitLens),
    "half a rank": lambda: ls.LogitLens().read(tiny, P, top_k=2.5),
    "sites that are a number": lambda: ls.LogitLens().read(tiny, P, sites=5),
    "lists of lists of prompts": lambda: ls.LogitLens().read(tiny, [["w3", "w5"], ["w6"]]),
    "a lens saved as a folder": lambda: fresh.save(where),
    "a map that is no lens": lambda: elsewhere.read(tiny, P),
    "a map by site for raw vectors": lambda: ls.Patchscope(
        scope.inspection, transform=elsewhere
    ).inspect(demo, torch.ones(576)),
    "a node that writes nothing": lambda: ls.Circuit({ls.q(1, 2): 0.5}),
    "nodes without effects": lambda: ls.Circuit([ls.mlp_out(1)]),
    "a node by its name": lambda: ls.Circuit({"mlp_out(1)": 0.5}),
    "a node from the end": lambda: ls.Circuit({ls.mlp_out(-1): 0.5}),
    "a node of every layer": lambda: ls.Circuit({ls.mlp_out: 0.5}),
    "a node that was not looked at": lambda: ls.Circuit({ls.mlp_out(1): 1.0}, kinds=("head_out",)),
    "an edge past the nodes": lambda: ls.Circuit(C.nodes, {(ls.mlp_out(1), "logits"): 0.5}),
    "a node that the model lacks": lambda: scored(ls.Circuit({ls.mlp_out(3): 0.5})),
    "residuals as a circuit": lambda: scored(ls.Circuit({ls.resid_post(1): 0.5})),
    "attentions beside their heads": lambda: scored(
        ls.Circuit({ls.attn_out(1): 0.5, ls.head_out(1, 2): 0.5})
    ),
    "a circuit of no kind": lambda: scored(ls.Circuit({})),
    "a circuit of another model": lambda: scored(found, model=other),
    "a circuit of another basis": lambda: found.connected(folded, P, Q, metric),
    "a circuit of another model inspected": lambda: found.inspect(scope, other, P),
    "an unknown ablation": lambda: scored(ablation="zero"),
    "a reference without a mean": lambda: scored(reference=[P, Q]),
    "a reference of another length": lambda: scored(ablation="mean", reference=[P[:4]]),
    "a circuit on prompts of two lengths": lambda: scored(clean=P[:4]),
    "a circuit on no pairs": lambda: scored(clean=[], corrupted=[]),
    "a name without tokens": lambda: scored(ls.Circuit({ls.mlp_out(1).at("subject"): 0.5})),
    "a metric without answers": lambda: scored(metric=ls.logit_difference),
    "edges that are not there": lambda: scored(edges=True),
    "edges at some tokens": lambda: scored(edges=True, positions={"last": -1}),
    "half a subset": lambda: C.completeness(tiny, P, Q, metric, subsets=0.5),
    "fewer than no subsets": lambda: C.minimality(tiny, P, Q, metric, subsets=-1),
    "more nodes than there are": lambda: C.curve(tiny, P, Q, metric, sizes=[1, 3]),
    "no sizes": lambda: C.curve(tiny, P, Q, metric, sizes=[]),
    "no random circuits": lambda: C.curve(tiny, P, Q, metric, random=0),
    "a curve of nodes at tokens": lambda: ls.Circuit({ls.mlp_out(1).at(2): 0.5}).curve(
        tiny, P, Q, metric
    ),
    "a threshold below zero": lambda: ls.Circuit.grow(tiny, P, Q, metric, -0.1),
    "no nodes to grow": lambda: ls.Circuit.grow(tiny, P, Q, metric, max_nodes=0),
    "no senders to grow from": lambda: ls.Circuit.grow(tiny, P, Q, metric, senders=[]),
    "senders that do not send": lambda: ls.Circuit.grow(tiny, P, Q, metric, senders=ls.resid_pre),
    "a direction of growth": lambda: ls.Circuit.grow(tiny, P, Q, metric, direction="up"),
    "nothing to grow": lambda: ls.Circuit.grow(tiny, P, P, metric),
    "paths of all heads of a layer": lambda: ls.Circuit({ls.head_out(1): 0.5}).connected(
        tiny, P, Q, metric
    ),
    "all heads of a layer inspected": lambda: ls.Circuit({ls.head_out(1): 0.5}).inspect(
        scope, tiny, P
    ),
    "several prompts to inspect": lambda: C.inspect(scope, tiny, [P, Q]),
    "a circuit of no effects": lambda: effects().circuit(top=0),
    "a circuit of all effects": lambda: effects().circuit(),
    "a circuit of two sizes": lambda: effects().circuit(top=1, threshold=0.1),
    "a circuit above everything": lambda: effects().circuit(threshold=99),
    "a circuit of queries": lambda: effects(ls.q).circuit(top=1),
    "a circuit that is none": lambda: ls.Circuit.from_json("circuit.json"),
    "a circuit file that is not there": lambda: ls.Circuit.from_json(Path("nowhere.json")),
    "training mode": lambda: ls.run(training, P),
    "not a model": lambda: ls.run(torch.nn.Linear(2, 2), P),
    "a Hugging Face model": lambda: ls.run(families.hf_model("llama"), P),
    "unknown model": lambda: ls.load_model("SmolLM2-135M"),
    "unknown folder": lambda: ls.load_model("./no/such/folder"),
    "backend unknown": lambda: ls.load_model(backend="nnsight"),
    "text without a tokenizer": lambda: without_tokenizer("Hello"),
    "an unknown executor": lambda: entities(tiny, run={"executor": "slurm"}),
    "target layers of a study": lambda: entities(tiny, target_layers="some"),
    "a layer that a study lacks": lambda: entities(tiny, layers=[1, 7]),
    "a study with NaN": lambda: entities(broken()),
    "an exercise that the course lacks": lambda: ls.course.check("3.9", 1),
    "a study of one entity": lambda: entities(tiny, given=[ls.studies.Entity("w5", "", "w7")]),
    "a study of nothing": lambda: entities(tiny, given=[]),
    "a study of no model": lambda: entities("gpt2"),
    "no new tokens in a study": lambda: entities(tiny, max_new_tokens=0),
    "a name longer than the context": lambda: entities(
        tiny,
        given=[
            ls.studies.Entity("w5 " * 80 + "w6", "any", "w7"),
            ls.studies.Entity("w8", "any", "w9"),
        ],
    ),
    "a relation that is not there": lambda: ls.studies.relation("capitals"),
    "a sentence model that is not there": lambda: entities(tiny, similarity="nowhere"),
    "a folder that may not be written": lambda: entities(tiny, run={"out": "/proc/study"}),
}


def scored(circuit: ls.Circuit = C, **how: object) -> None:
    given = {"model": tiny, "clean": P, "corrupted": Q, "metric": metric, **how}
    circuit.faithfulness(**given)


def effects(sites: ls.Site = ls.mlp_out) -> ls.PatchingResult:
    return ls.attribution_patching(tiny, P, Q, sites, metric, positions=ls.ALL)


def patched(
    sites: ls.Site = ls.resid_pre,
    metric: object = difference,
    model: object = tiny,
    clean: object = P,
    corrupted: object = OTHER,
    **how: object,
) -> ls.PatchingResult:
    return ls.activation_patching(model, clean, corrupted, sites, metric, **how)


def estimated(
    sites: ls.Site = ls.mlp_out,
    metric: object = difference,
    corrupted: object = OTHER,
    **how: object,
) -> None:
    ls.attribution_patching(tiny, P, corrupted, sites, metric, **how)


def sent(senders: ls.Site, receivers: object, corrupted: object = OTHER, **how: object) -> None:
    ls.path_patching(tiny, P, corrupted, senders, receivers, difference, **how)


def broken() -> object:
    """A model with NaN in its weights."""
    inner = copy.deepcopy(families.hf_model("llama"))
    with torch.no_grad():
        inner.model.layers[1].mlp.down_proj.weight[0, 0] = torch.nan
    return families.wrap(inner)


def without_tokenizer(text: str) -> None:
    model = families.wrap(copy.deepcopy(families.hf_model("llama")))
    model.tokenizer = None
    ls.run(model, P)
    ls.run(model, text)


def main() -> None:
    found = {}
    for name, act in CASES.items():
        start = time.monotonic()
        try:
            act()
            found[name] = ["nothing", "", 0.0]
        except Exception as error:
            found[name] = [type(error).__name__, str(error), time.monotonic() - start]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
