"""What the tests share besides the models of the other `conftest.py`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

import lensscope as ls
from lensscope import progress
from lensscope.cli import command as cli
from lensscope.engine import planning
from lensscope.model import loading as models
from tests import families

_AS_IT_COMES = dict(planning.PASS_TOKENS)


@pytest.fixture(scope="session", params=["bridge", "hooked"])
def backend(request: pytest.FixtureRequest) -> str:
    """Each class of TransformerLens; one that is not there is skipped."""
    if request.param == "hooked":
        request.getfixturevalue("hooked_transformer")
    return request.param


@pytest.fixture(scope="session")
def hooked_transformer() -> None:
    """Skips what needs a class that TransformerLens 4.x no longer has."""
    if not families.has_hooked_transformer():
        pytest.skip("HookedTransformer is of TransformerLens 3.x; make test-tl3 runs this")


@pytest.fixture
def as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sweeps are planned as a user's are; for those of the demo model, that is also faster."""
    for device, tokens in _AS_IT_COMES.items():
        monkeypatch.setitem(planning.PASS_TOKENS, device, tokens)


@pytest.fixture
def demo_at_hand(demo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who loads the demo model gets the one that is there already; every other one is loaded."""
    load = models.load_model

    def load_model(name: Any = None, **options: Any) -> Any:
        plain = options in ({}, {"backend": "bridge", "processing": "raw"})
        return demo if name in (None, "demo") and plain else load(name, **options)

    monkeypatch.setattr(models, "load_model", load_model)
    monkeypatch.setattr(ls, "load_model", load_model)


@pytest.fixture
def lensscope(
    demo_at_hand: None, as_it_comes: None, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., SimpleNamespace]:
    """A ``lensscope`` command in this process, with what a process would give back."""
    monkeypatch.setattr(progress, "_quiet", False)  # it is again afterwards

    def act(*arguments: str, cwd: Path | None = None) -> SimpleNamespace:
        with monkeypatch.context() as there:
            if cwd is not None:
                there.chdir(cwd)
            done = CliRunner().invoke(cli.app, list(arguments), env={"COLUMNS": "120"})
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception  # a process would show its traceback
        return SimpleNamespace(returncode=done.exit_code, stdout=done.stdout, stderr=done.stderr)

    return act
