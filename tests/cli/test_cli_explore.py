"""``lensscope explore``: served until Ctrl-C, and exported to one file."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request

import pytest

import lensscope as ls
from lensscope.explorer import explorer as explorers
from lensscope.explorer.explorer import Explorer


def test_it_is_served_until_ctrl_c_and_leaves_nothing(tmp_path):
    command = [sys.executable, "-m", "lensscope", "explore", "--port", "0", "--lens", "logit"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    ) as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        url = line.split(" at ")[1].strip()
        with urllib.request.urlopen(url, timeout=60) as page:
            assert b"data-lensscope-explorer" in page.read()
        server.send_signal(signal.SIGINT)
        out, err = server.communicate(timeout=60)
    assert server.returncode == 0
    assert "Ended." in out
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_a_page_is_exported(lensscope, tmp_path, monkeypatch):
    asked = []
    real = Explorer.ask
    kinds = ("tokens", "grid")
    monkeypatch.setattr(
        Explorer,
        "ask",
        lambda self, question: (
            asked.append(question) or (real(self, question) if question["kind"] in kinds else {})
        ),
    )
    where = tmp_path / "talk.json"
    done = lensscope(
        "explore", "--export", str(where), "--prompt", "Paris is", "--position", "0",
        *("--lens", "logit"),
    )  # fmt: skip
    assert done.returncode == 0
    assert "Page written" in done.stderr
    held = json.loads(where.read_text("utf-8"))
    assert held["state"]["prompt"] == "Paris is"
    assert {one["question"]["kind"] for one in held["answers"]} == set(kinds)
    layers = {one["layer"] for one in asked if one["kind"] == "words"}
    assert layers == set(range(30))


@pytest.mark.parametrize(
    "wrong, message",
    [
        (["--lens", "none"], "no such lens"),
        (["--reader", "none"], "no such reader"),
        (["--port", "99999"], "cannot listen"),
        (["--host", "203.0.113.1"], "cannot listen"),
        (["--prompt", ""], "empty"),
        (["--export", "/nowhere/talk.html", "--position", "99"], "no such token"),
    ],
)
def test_a_mistake_is_one_message(lensscope, wrong, message, monkeypatch):
    lens = [] if "--lens" in wrong else ["--lens", "logit"]
    done = lensscope("explore", *wrong, *lens)
    assert done.returncode == 2
    assert message in done.stderr
    assert "instead:" in done.stderr


def test_the_model_is_named_in_what_is_copied(lensscope, monkeypatch, demo):
    seen = []
    monkeypatch.setattr(Explorer, "serve", lambda self, *a, **k: seen.append(self.lab.loading))
    monkeypatch.setattr(explorers, "affine_lens", lambda model: ls.LogitLens("affine"))
    assert lensscope("explore").returncode == 0
    assert seen == [["model = ls.load_model()"]]
