"""How long one waits in the explorer: from a question that is sent to what is shown of it.

    python -m benchmarks.explorer [--write]

Each line is the median of some questions that were not asked before, over HTTP, one at a time, of a
``lensscope explore`` of its own.
"""

from __future__ import annotations

import http.client
import json
import signal
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from benchmarks import machine

PLACE = Path(__file__).parent / "explorer.md"
PROMPT = "The Eiffel Tower is in the city of Paris"
"""Twelve tokens with one of `ENDS`."""
ENDS = ("in France", "on the", "near a", "and its")
CLICKS = 500


def told(address: str, question: dict[str, Any]) -> Iterator[tuple[float, dict[str, Any]]]:
    """What is told of a question, each with the seconds until it came."""
    there = http.client.HTTPConnection(urlsplit(address).netloc)
    body = json.dumps({"session": "bench", "lane": question["kind"], "question": question})
    begun = time.perf_counter()
    there.request("POST", "/ask", body, {"X-Lensscope": "explorer"})
    answer = there.getresponse()
    while line := answer.readline():
        if line.startswith(b"data: "):
            yield time.perf_counter() - begun, json.loads(line[6:])
    there.close()


def until(address: str, question: dict[str, Any], shown: Callable[[Any], bool]) -> float:
    """Seconds until the first part that shows what one waits for; the rest is let come."""
    found = None
    for seconds, one in told(address, question):
        if "error" in one:
            raise RuntimeError(one["error"])
        if found is None and ("done" in one or ("part" in one and shown(one["part"]))):
            found = seconds
    assert found is not None
    return found


def main() -> None:
    """Print the table, and keep it if told to."""
    command = [sys.executable, "-m", "lensscope", "explore", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        address = server.stdout.readline().split(" at ")[1].strip()
        request = urllib.request.Request(f"{address}about", headers={"X-Lensscope": "explorer"})
        with urllib.request.urlopen(request) as answer:
            about = json.load(answer)
        inspection, (japan, italy) = about["state"]["inspection"], about["state"]["prompts"]
        until(address, {"kind": "tokens", "prompt": "a", "placeholder": None}, lambda part: True)
        time.sleep(5)  # what it answers before anybody asks

        def whole(part: Any) -> bool:
            return False  # only the end

        def words(part: Any) -> bool:
            said = part.get("said", ())
            return any(one["condition"] == "state" and one["text"].strip() for one in said)

        def controls(part: Any) -> bool:
            return any(one["condition"] == "random" for one in part.get("said", ()))

        def said(part: Any) -> bool:
            each = (one.get("after") for one in part.get("results", ()))
            return any(one and one["text"].strip() for one in each)

        prompts = [f"{PROMPT} {end}" for end in ENDS]
        cells = [(prompts[0], n, layer) for n, layer in ((3, 8), (5, 12), (9, 16), (10, 4))]
        each = [{"prompt": p, "position": n, "layer": layer} for p, n, layer in cells]
        spots = [
            [{"prompt": 0, "layer": n, "position": 3}, {"prompt": 1, "layer": n, "position": 3}]
            for n in (6, 10, 14, 18)
        ]
        moves = [
            {
                "kind": "patch",
                "prompts": [japan, italy],
                "patches": [{"from": source, "to": to, "how": "set", "amount": 1}],
                "max_new_tokens": about["state"]["new_tokens"],
            }
            for source, to in spots
        ]
        others = [
            {**one, "patches": [{**patch, "amount": 2} for patch in one["patches"]]}
            for one in moves
        ]
        # what the browser asks while nobody acts
        idle = {
            "the same, with controls asked for while idle": [
                {"kind": "controls", "inspection": inspection}
            ],
            "a drag's first new word": [{**moves[0], "patches": []}],
        }
        asked: dict[str, tuple[float, list[dict[str, Any]], Callable[[Any], bool]]] = {
            "grid of 12 tokens, logit lens": (
                2.0,
                [{"kind": "grid", "prompt": p, "lens": "logit"} for p in prompts],
                whole,
            ),
            "a cell's three lenses": (0.3, [{"kind": "cell", **one} for one in each], whole),
            "a cell's first words": (
                1.0,
                [{"kind": "words", **one, "inspection": inspection} for one in each],
                words,
            ),
            "a cell's words and all controls": (
                2.5,
                [
                    {"kind": "words", **one, "inspection": inspection}
                    for one in [{**one, "layer": one["layer"] + 1} for one in each]
                ],
                controls,
            ),
            "the same, with controls asked for while idle": (
                2.5,
                [
                    {"kind": "words", **one, "inspection": inspection}
                    for one in [{**one, "layer": one["layer"] + 2} for one in each]
                ],
                whole,
            ),
            "a drag's first new word": (1.5, moves, said),
            "a drag's new text, whole": (1.5, others, whole),
        }
        rows = []
        for name, (most, questions, shown) in asked.items():
            for question in idle.get(name, ()):
                until(address, question, whole)
            seconds = [until(address, question, shown) for question in questions]
            rows.append((name, statistics.median(seconds), most))
        process = psutil.Process(server.pid)
        grown = [process.memory_info().rss]
        for n in range(CLICKS):
            cell = {"kind": "cell", "prompt": prompts[n % 4], "position": n % 12, "layer": n % 30}
            until(address, cell, whole)
            if n == 99:
                grown[0] = process.memory_info().rss
        grown.append(process.memory_info().rss)
        server.send_signal(signal.SIGINT)
    lines = [
        "# What one waits for in the explorer",
        "",
        f"{about['model']['name']}, by `python -m benchmarks.explorer`. "
        + " ".join(machine.describe()),
        "",
        "| | median, s | wanted, s |",
        "| --- | ---: | ---: |",
        *(f"| {name} | {seconds:.2f} | {most:.1f} |" for name, seconds, most in rows),
        "",
        f"Memory of the server after 100 and after {CLICKS} clicks on cells: "
        f"{grown[0] / 2**20:.0f} and {grown[1] / 2**20:.0f} MiB.",
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    if "--write" in sys.argv[1:]:
        PLACE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
