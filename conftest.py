"""The whole package is type-checked while it is tested; nothing here touches a network."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from jaxtyping import install_import_hook

import tests.typecheck  # noqa: F401  jaxtyping looks it up by name

with install_import_hook("lensscope", "tests.typecheck.check"):
    import lensscope as ls
    import lensscope.circuits.from_effects
    import lensscope.circuits.growth
    import lensscope.circuits.inspecting
    import lensscope.circuits.transformer_lens
    import lensscope.cli.command
    import lensscope.engine.planning
    import lensscope.engine.run_many
    import lensscope.lenses.compare
    import lensscope.lenses.fit_report
    import lensscope.lenses.reader
    import lensscope.lenses.tuned_lens_folder
    import lensscope.model.classes
    import lensscope.model.loading
    import lensscope.pairs
    import lensscope.patching.attribution
    import lensscope.patching.knockout
    import lensscope.patching.tracing
    import lensscope.patchscope.lens_names
    import lensscope.patchscope.result
    import lensscope.patchscope.scope
    import lensscope.show.heatmaps
    import lensscope.show.pages
    import lensscope.studies

import pytest
import torch

from lensscope.engine import planning
from tests import families

# Its cases run in a process of their own, without the type checker.
collect_ignore = ["tests/bad_input.py"]


# Tests of what is tried, loaded and worked out by hand.
_FILES_OF_THE_LINE = ("test_trials", "test_models", "test_micro")
# Of those, what is of files and not of models.
_OF_NO_LINE = ("interrupted_conversion", "wrong_download", "two_processes")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what depends on the TransformerLens line: `make test-tl3` runs these.

    Beside those files, that is whatever runs on a class that only one line has, and the laws on a
    few families.
    """
    for item in items:
        given = getattr(getattr(item, "callspec", None), "params", {}).values()
        kinds = {one if isinstance(one, str) else getattr(one, "backend", None) for one in given}
        direct = "hooked_transformer" in getattr(item, "fixturenames", ())
        law = item.path.stem == "test_laws" and any(one in families.FEW for one in given)
        whole = item.path.stem in _FILES_OF_THE_LINE
        whole = whole and not any(name in item.name for name in _OF_NO_LINE)
        if "hooked" in kinds or direct or law or whole:
            item.add_marker("line")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How long each unit of the course took, wherever it was run."""
    reports = terminalreporter.stats.get("passed", []) + terminalreporter.stats.get("failed", [])
    told = sorted(
        dict(r.user_properties)["unit"] for r in reports if "unit" in dict(r.user_properties)
    )
    if told:
        terminalreporter.section("units of the course")
        terminalreporter.write_line("\n".join(told))


@pytest.fixture(scope="session")
def demo():
    """The real demo model, fetched as `make demo` fetches it; its absence is a failure."""
    return ls.load_model()


_SEEN: Counter[str] = Counter()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Count the lines that the first case of a test reaches: those of its others are the same, and
    to count them takes half as long again as to run them."""
    _SEEN[item.nodeid.partition("[")[0]] += 1
    tracer = sys.gettrace()
    if _SEEN[item.nodeid.partition("[")[0]] > 1:
        sys.settrace(None)
    yield
    sys.settrace(tracer)


# What the newest versions changed shows on a few families as on all.
_TINY = families.FEW if os.environ.get("LENSSCOPE_FEW") else families.CASES


@pytest.fixture(scope="session", params=_TINY, ids=str)
def tiny(request: pytest.FixtureRequest):
    """A tiny random model of each family, class and processing."""
    return families.build(request.param)


@pytest.fixture(scope="session", params=families.FEW, ids=str)
def few(request: pytest.FixtureRequest):
    """As `tiny`, for what does not depend on the family: learned and rotary positions, parallel
    blocks, sliding windows, both classes."""
    return families.build(request.param)


@pytest.fixture(scope="session")
def llama():
    """A tiny random Llama as a bridge, raw."""
    return families.build(families.Case("llama", "bridge", "raw"))


@pytest.fixture(autouse=True)
def _doctest_names(doctest_namespace: dict, request: pytest.FixtureRequest) -> None:
    if request.node.__class__.__name__ == "DoctestItem":
        doctest_namespace |= {
            "ls": ls,
            "torch": torch,
            "model": request.getfixturevalue("demo"),
        }


@pytest.fixture(autouse=True)
def _share_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiny sweeps share what large ones would, as if a pass cost nothing beyond its tokens."""
    monkeypatch.setitem(planning.PASS_TOKENS, "cpu", 0)


@pytest.fixture
def no_hooks_left():
    """Fails a test that leaves a hook behind; call it with the model."""

    def check(model: object) -> None:
        left = {n: len(p._forward_hooks) for n, p in model.hook_dict.items() if p._forward_hooks}
        assert left == {}

    return check
