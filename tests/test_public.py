"""The surface: names, types, docstrings."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

import lensscope as ls
from lensscope import errors
from tests import families, planted
from tests.lenses.test_lenses import linear_lens

INIT = Path(ls.__file__)


def declared() -> dict[str, str]:
    """The names that type checkers see, and the modules that they are told of."""
    (block,) = [n for n in ast.parse(INIT.read_text()).body if isinstance(n, ast.If)]
    return {
        alias.asname: f"{node.module}.{alias.name}"
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname
    }


def test_the_public_names_are_those_that_type_checkers_see():
    assert sorted(ls.__all__) == sorted([*declared(), "__version__"])
    assert set(ls.__all__) <= set(dir(ls))
    for name, home in declared().items():
        module, _, own = home.rpartition(".")
        expected = getattr(importlib.import_module(module), own)
        assert getattr(ls, name) is expected, name


def test_what_is_raised_to_callers_is_public():
    tree = [errors.LensscopeError]
    for kind in tree:
        tree += [sub for sub in kind.__subclasses__() if sub.__module__ == errors.__name__]
    assert {kind.__name__ for kind in tree} <= set(ls.__all__)


def test_importing_it_is_light():
    script = "import lensscope, sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "False"


def test_everything_public_is_described():
    lacking = []
    for info in pkgutil.walk_packages(ls.__path__, "lensscope."):
        if info.name.endswith("__main__"):
            continue
        module = importlib.import_module(info.name)
        if not module.__doc__:
            lacking.append(info.name)
        for name, value in vars(module).items():
            own = getattr(value, "__module__", None) == info.name and callable(value)
            if own and not name.startswith("_") and not inspect.getdoc(value):
                lacking.append(f"{info.name}.{name}")
    assert lacking == []


def test_public_functions_say_what_they_raise_and_show_an_example():
    functions = {
        name: getattr(ls, name)
        for name in (
            *("capture", "run", "generate", "run_many", "load_model", "compare"),
            *("activation_patching", "attribution_patching", "path_patching", "causal_trace"),
            "attention_knockout",
        )
    }
    studies = ("entity_resolution", "attribute_extraction", "next_token", "multihop", "cross_model")
    studies += ("reading_quality",)
    functions |= {name: getattr(ls.studies, name) for name in studies}
    fits = {f"{kind.__name__}.fit": kind.fit for kind in (ls.TunedLens, ls.AffineLens)}
    for name, function in {**functions, **fits, "Lens.read": ls.Lens.read}.items():
        text = inspect.getdoc(function) or ""
        assert "Raises:" in text and "Example:" in text and ">>>" in text, name
        hints = inspect.signature(function)
        assert hints.return_annotation is not inspect.Signature.empty


def values_of_all_kinds(model: Any) -> list[Any]:
    """What the public names give, of large inputs."""
    prompts = [families.prompt(40, seed=n) for n in range(12)]
    texts = [" ".join(f"w{i}" for i in prompt) for prompt in prompts]
    clean, corrupted, metric = (
        [p[:6] for p in prompts[:2]],
        [p[:6] for p in prompts[2:4]],
        ls.logit_difference(7, 9),
    )
    difference = lambda logits: logits[:, -1, 7] - logits[:, -1, 9]
    run = ls.run(model, prompts, keep=[ls.resid_post, ls.q, ls.mlp_out])
    move = ls.resid_post(1).at(-1) >> ls.affine(torch.eye(32)) >> ls.resid_pre(1).at(0)
    inspection = ls.InspectionPrompt("w60 w50", "w50")
    scope = ls.Patchscope(
        inspection, transform=ls.affine(torch.eye(32)), model=model, max_new_tokens=2
    )
    sites = [ls.mlp_out, ls.head_out]
    effect = ls.attribution_patching(model, clean, corrupted, sites, difference, verify=3)
    whole = ls.activation_patching(model, clean, corrupted, sites, difference, positions=ls.ALL)
    circuit = whole.circuit(top=9)
    lenses = [linear_lens(model, kind) for kind in (ls.TunedLens, ls.AffineLens, ls.JacobianLens)]
    lenses += [ls.LogitLens(), ls.Patchscope(inspection).as_lens()]
    options = {"layers": [1], "random_draws": 1}
    studied = {**options, "inspection": inspection, "max_new_tokens": 1}
    things = [ls.studies.Entity(f"w{n} w40", "odd", f"w{n + 20}") for n in range(10, 18)]
    relation = planted.relation()
    question = ls.studies.questions()[0]
    studies = [
        ls.studies.entity_resolution(model, things, **studied),
        ls.studies.attribute_extraction(model, relation, probe=False, **studied),
        ls.studies.next_token(model, texts, lenses[-1], **options),
        ls.studies.cross_model(
            model, model, texts, entities=things, identity=ls.Patchscope(inspection), **studied
        ),
        ls.studies.multihop(lambda: model, [question] * 20),
        ls.studies.reading_quality(
            model, ls.Patchscope(inspection, max_new_tokens=1), things, layers=[1], n_candidates=3
        ),
    ]
    pairs = ls.pairs.Pairs(
        "many", tuple(texts[:6]), tuple(texts[6:]), ((" w7",),) * 6, ((),) * 6, {}
    )
    return [
        *(run, run.cache, run.provenance, run.cache.sel(prompt=0)),
        *(
            move,
            move.read,
            move.patch(run.cache),
            ls.Plan(),
            ls.support(model),
            pairs,
            pairs.metric,
        ),
        *(ls.generate(model, prompts, max_new_tokens=2), effect, circuit, metric),
        ls.run_many(model, prompts[0], [[ls.resid_post(1).at(-1).zero()]] * 40),
        *(circuit.faithfulness(model, clean, corrupted, difference),),
        *(circuit.curve(model, clean, corrupted, difference, random=1),),
        *(scope, scope.inspection, scope.inspect(model, prompts[:3]), scope.transform),
        *(*lenses, lenses[3].read(model, prompts), ls.compare(model, prompts, lenses)),
        *(*studies, studies[2].run(), things[0], relation, question, ls.ALL, ls.span("w7")),
    ]


def test_values_say_what_they_are_in_a_few_lines(llama):
    values = values_of_all_kinds(llama)
    public = [getattr(m, name) for m in (ls, ls.studies, ls.pairs) for name in m.__all__]
    kinds = {one for one in public if inspect.isclass(one) and not issubclass(one, Exception)}
    assert kinds <= {base for value in values for base in type(value).__mro__}
    for value in values:
        said = repr(value)
        assert len(said) < 1000 and said.count("\n") < 10, (type(value), said[:2000])
        assert not re.search(r"tensor\(|array\(|Linear\(|\(0\): |<xarray|object at 0x", said), said
