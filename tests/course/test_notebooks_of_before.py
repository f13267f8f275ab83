"""Notebooks that have not become units yet run, on fewer items."""

from __future__ import annotations

import nbformat
import pytest
from nbclient import NotebookClient

from notebooks.making.unit import HERE, units

BEFORE = sorted(set(HERE.glob("*.ipynb")) - {HERE / f"{unit.name}.ipynb" for unit in units()})


@pytest.mark.parametrize("path", BEFORE, ids=lambda path: path.stem)
def test_a_notebook_runs(path, monkeypatch):
    monkeypatch.setenv("LENSSCOPE_QUICK", "1")
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(HERE)}}).execute()
