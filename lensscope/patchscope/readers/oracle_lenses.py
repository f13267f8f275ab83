"""Oracle lenses: LoRA adapters that list what a state holds; a folder of PEFT with ``run.json``.

A state is written, at length ``alpha``, in place of the embedding of a rare character: the first of
a range that is a token of its own in the prompt of every layer. ``run.json`` may name its prompt in
place of holding it; then ``question=`` is that prompt, with ``{char}`` and ``{layer}``.
"""

from __future__ import annotations

from typing import Any, Final

from lensscope.errors import LensError, PromptError
from lensscope.model.adapter_files import read_adapter
from lensscope.model.backend import Backend
from lensscope.patchscope.inspection import InspectionPrompt
from lensscope.patchscope.readers.given import Given, json_of, not_whole
from lensscope.patchscope.readers.oracles import notes_on_base
from lensscope.patchscope.trained import Trained
from lensscope.values import rules
from lensscope.values.chats import chat
from lensscope.values.sites import resid_post, resid_pre

RUN: Final = "run.json"
_WHAT: Final = "oracle lens"
_CHAR: Final = "{char}"
_MARKERS: Final = range(0x3200, 0x3400)
_SHAPE: Final = {
    "config": {
        "alpha": (int, float),
        "layers": [int],
        "transform?": str,
        "extra?": {"prompt?": str},
    }
}


def load_oracle_lens(given: Given) -> dict[str, Any]:
    """The fields of the patchscope that an oracle lens is.

    Raises:
        LensError: files that are missing, damaged, or of another transform, or no prompt.
        BasisError: it is for another model.
        PromptError: no character is a token of its own.
    """
    path = given.path / RUN
    told = json_of(path, _WHAT, _SHAPE)["config"]
    if told.get("transform", "unit") != "unit" or not told["layers"] or told["alpha"] <= 0:
        got = f"transform {told.get('transform')!r}, layers {told['layers']}, alpha {told['alpha']}"
        raise not_whole(path, _WHAT, got, "transform 'unit', some layers, and alpha above 0")
    template = given.question or told.get("extra", {}).get("prompt", "")
    if _CHAR not in template:
        raise LensError(
            "The prompt of this oracle lens is not in its files.",
            got=f"prompt {template!r}, a name" if template else f"no prompt in {path}",
            expected=f"the prompt that it was trained with, with {_CHAR} where the state goes and "
            "{layer} for its layer",
            instead='question="… {layer} … {char} …", as it was published',
        )
    adapter = read_adapter(given.path).placed(given.backend)
    layers = tuple(told["layers"])
    return {
        "inspection": _with_marker(given.backend, template, layers),
        "write": resid_pre(0),
        "read": resid_post,
        "rule": given.rule or rules.replace(length=told["alpha"]),
        "max_new_tokens": 128,
        "adapter": adapter,
        "trained": Trained(
            _WHAT,
            given.backend.provenance(),
            layers,
            notes=notes_on_base(adapter.base, given.backend.name),
        ),
    }


def _with_marker(backend: Backend, template: str, layers: tuple[int, ...]) -> InspectionPrompt:
    """The prompt with the first character that is one token in it, at every layer."""
    for code in _MARKERS:
        char = chr(code)
        found = InspectionPrompt(chat(template.replace(_CHAR, char), enable_thinking=False), char)
        try:
            places = {len(found.of_layer(layer).placed(backend)) for layer in layers}
        except PromptError:  # split, or unknown to the tokenizer
            continue
        if places == {1}:
            return found
    raise PromptError(
        "No character can mark where the state goes.",
        got=f"none of U+{_MARKERS[0]:04X} to U+{_MARKERS[-1]:04X} is one token for {backend.name}",
        expected="one that is a token of its own in the prompt, once",
        instead="the model that the oracle lens was trained on",
    )
