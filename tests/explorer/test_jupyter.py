"""The widget once in a real JupyterLab."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from tests.explorer import browser

CODE = """\
import lensscope as ls
model = ls.load_model()
ls.explore(model, "Paris is in", lenses=["logit"], readers=[])
"""


@pytest.fixture
def lab_url(tmp_path):
    """A JupyterLab with a notebook, and its address."""
    cell = {"cell_type": "code", "source": CODE, "metadata": {}, "outputs": []}
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    book = {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": kernel,
        "cells": [{**cell, "execution_count": None, "id": "a"}],
    }
    (tmp_path / "look.ipynb").write_text(json.dumps(book))
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    home = {"JUPYTER_CONFIG_DIR": str(tmp_path / "config"), "JUPYTER_DATA_DIR": str(tmp_path / "d")}
    options = ["--no-browser", "--allow-root", f"--port={port}", "--IdentityProvider.token="]
    options += [f"--ServerApp.root_dir={tmp_path}", "--ServerApp.port_retries=0"]
    with open(tmp_path / "log", "wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options],
            env={**os.environ, **home},
            stdout=log,
            stderr=log,
        )
        url = f"http://127.0.0.1:{port}"
        end = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"{url}/api", timeout=2).close()
                break
            except OSError:
                assert server.poll() is None, (tmp_path / "log").read_text()
                assert time.monotonic() < end
                time.sleep(0.2)
        yield f"{url}/lab/tree/look.ipynb?reset"
        server.terminate()
        server.wait(30)


def test_it_shows_itself_in_jupyterlab_and_answers(lab_url):
    with browser.browsing() as room:
        page = room.new_page()
        page.goto(lab_url)
        editor = page.locator(".jp-CodeCell .cm-content").first
        editor.wait_for(timeout=120_000)
        page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for(timeout=120_000)
        begun = "() => document.querySelector('.jp-InputPrompt').textContent.trim() !== '[ ]:'"
        for _ in range(20):  # a kernel that says it is idle may not listen yet
            editor.click()
            page.keyboard.press("Control+Enter")
            page.wait_for_timeout(1_000)
            if page.evaluate(begun):
                break
        page.get_by_test_id("cell-29-2").wait_for(timeout=180_000)
        page.get_by_test_id("cell-20-0").click()
        page.get_by_role("heading", name=re.compile("layer 20")).wait_for()
        where = '[data-testid="words-table"] td[data-reader="raw"][data-condition="shuffled"]'
        page.wait_for_function(
            "where => document.querySelector(where)?.textContent.trim()", arg=where, timeout=120_000
        )
        folder = os.environ.get("LENSSCOPE_PICTURES")
        if folder:
            page.screenshot(path=f"{folder}/jupyter.png")
