"""The server: who may ask, what an answer looks like on its way, what is left when it ends."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
import urllib.error
import urllib.request
from urllib.parse import urlsplit

import pytest

from lensscope.errors import FileError
from lensscope.explorer import desk as desks
from lensscope.explorer.serving import served
from tests.explorer.asking import JAPAN

OURS = {"X-Lensscope": "explorer", "Content-Type": "application/json"}


def send(url, path, body=None, headers=OURS, method=None):
    """The status, headers and body of a request."""
    data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    asked = urllib.request.Request(url.split("?")[0] + path, data, headers, method=method)
    try:
        with urllib.request.urlopen(asked, timeout=60) as found:
            return found.status, found.headers, found.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def events(body):
    """What a stream told."""
    lines = body.decode().split("\n\n")
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data")]


def tokens(text):
    return {"session": "s", "lane": "l", "question": {"kind": "tokens", "prompt": text}}


@pytest.fixture
def url(explorer):
    with served(explorer.desk, explorer.about, port=0) as found:
        yield found


def test_pages_come_with_a_policy_that_lets_nothing_else_in(url):
    for path, kind in (("", "html"), ("explorer.js", "javascript"), ("explorer.css", "css")):
        status, headers, body = send(url, path, headers={})
        assert status == 200
        assert kind in headers["content-type"]
        assert body
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self';")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in headers
    assert b"<script>" not in send(url, "", headers={})[2]


def test_an_answer_comes_part_by_part(url):
    status, headers, body = send(url, "ask", tokens("Paris is"))
    assert (status, headers["content-type"].split(";")[0]) == (200, "text/event-stream")
    told = events(body)
    assert told[0]["part"]["tokens"] == [{"text": "Paris"}, {"text": " is"}]
    assert told[-1] == {"done": True}
    about = json.loads(send(url, "about", headers=OURS)[2])
    assert about["model"]["n_layers"] == 30
    assert about["format"] == "lensscope explorer"


REFUSED = {
    "another origin": {**OURS, "Origin": "http://evil.example"},
    "no origin at all": {**OURS, "Origin": "null"},
    "a form of another page": {"Content-Type": "text/plain"},
    "another page's script": {**OURS, "Sec-Fetch-Site": "cross-site"},
    "another name": {**OURS, "Host": "evil.example:80"},
    "the name of the machine with another port": {**OURS, "Host": "localhost:1"},
}


@pytest.mark.parametrize("headers", REFUSED.values(), ids=REFUSED)
def test_nobody_else_may_ask(url, headers):
    for path, body in (("ask", tokens("a")), ("export", {}), ("about", None)):
        status, found, text = send(url, path, body, headers)
        assert status == 403
        assert b"lensscope" in text
        assert "content-security-policy" in found


def test_its_own_page_may_ask(url):
    host = urlsplit(url).netloc
    own = {**OURS, "Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}
    assert send(url, "ask", tokens("a"), own)[0] == 200
    local = f"localhost:{urlsplit(url).port}"
    assert (
        send(url, "ask", tokens("a"), {**own, "Host": local, "Origin": f"http://{local}"})[0] == 200
    )


@pytest.mark.parametrize(
    "path, body, status",
    [
        ("ask", b"no json", 400),
        ("ask", b"[1]", 400),
        ("ask", b"[" * 100_000, 400),
        ("ask", b" " * ((1 << 20) + 1), 413),
        ("export", {"format": "else"}, 400),
        ("../../etc/passwd", None, 404),
        ("static/explorer.js", None, 404),
        ("explorer.js/..%2f..%2fpage.py", None, 404),
    ],
)
def test_what_is_no_question_is_refused(url, path, body, status):
    assert send(url, path, body)[0] == status


def test_a_huge_prompt_is_an_error_and_the_next_question_is_answered(url):
    for prompt in ("a" * 20_001, "a " * 9_999):
        (told,) = events(send(url, "ask", tokens(prompt))[2])
        assert set(told["error"]) == {"what", "got", "expected", "instead"}
        assert len(json.dumps(told)) < 5_000
    assert events(send(url, "ask", tokens("a"))[2])[-1] == {"done": True}


def test_a_tab_that_closes_ends_its_work(explorer, url, monkeypatch):
    ended = threading.Event()

    def answered(lab, question, tell):
        yield {"begun": True}
        try:
            with desks.watched(lambda *_: None):
                pass
            while True:
                time.sleep(0.01)
                yield {"more": "x" * 100}
        finally:
            ended.set()

    monkeypatch.setattr(desks, "answered", answered)
    there = http.client.HTTPConnection(urlsplit(url).netloc)
    there.request("POST", "/ask", json.dumps(tokens("a")), OURS)
    assert there.getresponse().read(10)
    there.sock.shutdown(socket.SHUT_RDWR)
    there.close()
    assert ended.wait(20)


def test_another_address_needs_the_token_of_its_url(explorer):
    with served(explorer.desk, explorer.about, "0.0.0.0", 0) as url:
        token = url.partition("token=")[2]
        assert len(token) >= 24
        there = url.replace("0.0.0.0", "127.0.0.1")
        for headers in (OURS, {**OURS, "X-Lensscope-Token": "guess"}):
            assert send(there, "ask", tokens("a"), headers)[0] == 403
            assert send(there, "about", headers=headers)[0] == 403
        assert send(there, "", headers={})[0] == 403
        for trick in ("x/a?", "x/explorer.js?", "explorer.js", ""):
            assert send(there, "ask", tokens("a"), {**OURS, "Host": trick})[0] in (400, 403)
        assert send(there, f"?token={token}", headers={})[0] == 200
        own = {**OURS, "X-Lensscope-Token": token}
        assert send(there, "ask", tokens("a"), own)[0] == 200


def test_a_port_that_is_taken_is_said_and_a_free_one_is_found(explorer, url):
    taken = urlsplit(url).port
    with pytest.raises(FileError, match=str(taken)), served(explorer.desk, {}, port=taken):
        pass
    for wrong in ({"port": 99_999}, {"host": "203.0.113.1", "port": 0}):
        with pytest.raises(FileError), served(explorer.desk, {}, **wrong):
            pass


def test_nothing_is_left_when_it_ends(explorer, no_hooks_left, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = set(threading.enumerate())
    with served(explorer.desk, explorer.about, port=0) as url:
        there = http.client.HTTPConnection(urlsplit(url).netloc)
        question = {"kind": "step", "prompt": JAPAN, "position": 3, "layer": 8, "reader": "tuned"}
        own = {
            **tokens(""),
            "question": {**question, "inspection": explorer.about["state"]["inspection"]},
        }
        there.request("POST", "/ask", json.dumps(own), OURS)
        there.getresponse().read(10)
        begun = time.monotonic()
    assert time.monotonic() - begun < 30
    there.close()
    no_hooks_left(explorer.lab.model)
    assert list(tmp_path.iterdir()) == []
    left = set(threading.enumerate()) - before
    assert not [thread for thread in left if thread.name.startswith("lensscope")]
    with pytest.raises(OSError):
        socket.create_connection((urlsplit(url).hostname, urlsplit(url).port), 1)
