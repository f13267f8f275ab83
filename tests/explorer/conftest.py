"""A laboratory on the demo model, and one on a tiny model."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

import lensscope as ls
from lensscope.explorer import lenses
from lensscope.explorer.explorer import Explorer
from lensscope.explorer.lab import Lab


@pytest.fixture(scope="session")
def lab(demo) -> Lab:
    """The demo model with what `ls.explore` gives it, its affine lens fitted on fewer tokens."""
    with pytest.MonkeyPatch.context() as patch:
        if not os.environ.get("LENSSCOPE_PICTURES"):  # which show what a user sees
            patch.setattr(lenses, "TOKENS", 300)
        return ls.explore(demo, loading=["model = ls.load_model()"]).lab


@pytest.fixture
def explorer(lab: Lab) -> Explorer:
    """An explorer of its own, on the same laboratory."""
    return Explorer(lab)


@pytest.fixture
def tiny_lab(few) -> Lab:
    """A tiny model of some families, without anything trained."""
    scope = ls.Patchscope(ls.InspectionPrompt("w60 w61 w50", "w50"))
    return ls.explore(few, lenses=["logit", scope.as_lens()], readers=[]).lab


@pytest.fixture(autouse=True)
def _no_traces(request: pytest.FixtureRequest, no_hooks_left) -> Iterator[None]:
    """No test leaves a hook on the demo model."""
    yield
    # who is served may be asking still
    if "demo" in request.fixturenames and "shown" not in request.fixturenames:
        no_hooks_left(request.getfixturevalue("demo"))


@pytest.fixture
def few_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines that were copied get the affine lens of `lab`."""
    if not os.environ.get("LENSSCOPE_PICTURES"):
        monkeypatch.setattr(lenses, "TOKENS", 300)
