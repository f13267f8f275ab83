"""The README's code runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lensscope.lenses import corpus

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_there_is_code():
    assert len(BLOCKS) >= 4


@pytest.fixture
def beginnings(monkeypatch):
    """Of Python's chapters; that the code runs is seen of few tokens, too."""
    texts = [text[:100] for text in corpus.python_docs()]
    monkeypatch.setattr(corpus, "python_docs", lambda: texts)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"{len(block)}-characters")
def test_a_block_runs(demo_at_hand, as_it_comes, beginnings, block, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "README.md", "exec"), {"__name__": "readme"})
    assert capsys.readouterr().out


def test_every_command_of_the_readme_exists():
    makefile = (Path(__file__).parent.parent / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z0-9-]+):", makefile, re.MULTILINE))
    asked = set(re.findall(r"make ([a-z0-9-]+)", README))
    assert asked <= targets
