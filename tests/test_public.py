"""The surface: names, types, docstrings."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import lensscope as ls
from lensscope import errors

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
    functions |= {name: getattr(ls.studies, name) for name in studies}
    fits = {f"{kind.__name__}.fit": kind.fit for kind in (ls.TunedLens, ls.AffineLens)}
    for name, function in {**functions, **fits, "Lens.read": ls.Lens.read}.items():
        text = inspect.getdoc(function) or ""
        assert "Raises:" in text and "Example:" in text and ">>>" in text, name
        hints = inspect.signature(function)
        assert hints.return_annotation is not inspect.Signature.empty
