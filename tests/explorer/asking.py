"""Questions for the tests, as the browser sends them."""

from __future__ import annotations

from typing import Any

from lensscope.explorer.answers import answered, merged
from lensscope.explorer.lab import Lab
from lensscope.explorer.questions import asked

JAPAN = "The capital of Japan is the city of"
ITALY = "The capital of Italy is the city of"
DIANA = "I have read about Diana, Princess of Wales"


def inspection(text: str, placeholder: str = "x", **given: Any) -> dict[str, Any]:
    """The target side of a patchscope, as the browser has it."""
    return {
        "preset": "",
        "text": text,
        "placeholder": placeholder,
        "target": 2,
        "max_new_tokens": 6,
        "temperature": 0,
        "top_p": None,
        "seed": 0,
        **given,
    }


def answer(lab: Lab, question: dict[str, Any], told: list[Any] | None = None) -> dict[str, Any]:
    """The answer to a question; what is told between its parts goes to ``told``."""
    between = [] if told is None else told
    return merged(list(answered(lab, asked(question), between.append)))


def run_python(code: str, **known: Any) -> tuple[dict[str, Any], str]:
    """Run lines that were copied; gives their names, and what they printed."""
    import contextlib
    import io

    names = dict(known)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, "copied.py", "exec"), names)
    return names, out.getvalue()
