"""What the browser is told of a model before it asks anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from lensscope.explorer.lab import RAW, Lab, preset_inspections
from lensscope.explorer.questions import NEW_TOKENS, PATCHES, PROMPT, Inspection
from lensscope.explorer.record import FORMAT, VERSION
from lensscope.values.chats import Chat

PROMPTS: Final = (
    "I have read about Diana, Princess of Wales",
    "The capital of Japan is the city of",
    "The capital of Italy is the city of",
)
"""What is looked at first: a name in a sentence, and two prompts that differ in one."""
_LENSES: Final = {
    "logit": "the model's own last norm and unembedding, on a state in the middle",
    "affine": "a least-squares map to the last layer, fitted on some pages of text",
    "token-identity": "a patchscope: the state is written into “cat -> cat …” at its own layer",
}


def about(lab: Lab, prompt: str | None = None) -> dict[str, Any]:
    """What is told of a model, its lenses and readers, and where one begins."""
    backend = lab.backend
    known = backend.provenance()
    presets = preset_inspections(backend.n_layers)
    return {
        "format": FORMAT,
        "version": VERSION,
        "libraries": dict(known.versions),
        "live": True,
        "model": {
            "name": known.model,
            "fingerprint": known.fingerprint,
            "processing": known.processing,
            "dtype": known.dtype,
            "n_layers": known.n_layers,
            "d_model": known.d_model,
            "n_ctx": backend.n_ctx,
            "chat": bool(getattr(backend.tokenizer, "chat_template", None)),
        },
        "lenses": [
            {"id": name, "name": lens.name, "about": _LENSES.get(name, f"the lens {name}")}
            for name, lens in lab.lenses.items()
        ],
        "readers": [
            {
                "id": RAW,
                "name": "raw",
                "about": "the state is written as it is into the inspection prompt below",
                "trained": False,
            },
            *(
                {
                    "id": name,
                    "name": "trained" if name == "tuned" else name,
                    "about": _trained(scope.trained),
                    "trained": True,
                }
                for name, scope in lab.trained.items()
            ),
        ],
        "presets": [
            {"id": name, "name": name.replace("-", " ").capitalize(), "inspection": told(own)}
            for name, own in presets.items()
        ],
        "state": state(lab, presets["definition"], prompt),
        "limits": {"prompt": PROMPT, "max_new_tokens": NEW_TOKENS, "patches": PATCHES},
    }


def told(inspection: Inspection) -> dict[str, Any]:
    """An inspection prompt as the browser has it."""
    text = inspection.text
    messages = [asdict(one) for one in text.messages] if isinstance(text, Chat) else None
    return {**vars(inspection), "text": text if messages is None else messages}


def state(lab: Lab, inspection: Inspection, prompt: str | None) -> dict[str, Any]:
    """Where one begins: at a prompt's last token, a third of the way up.

    Raises:
        PromptError: the prompt cannot be run.
    """
    text = PROMPTS[0] if prompt is None else prompt
    last = len(lab.ran(text).prompt) - 1
    return {
        "version": VERSION,
        "view": "grid",
        "prompt": text,
        "lens": next(iter(lab.lenses)),
        "colour": "probability",
        "cell": {"position": last, "layer": lab.backend.n_layers // 3},
        "inspection": told(inspection),
        "reader": next(iter(lab.trained), RAW),
        "step": 0,
        "prompts": list(PROMPTS[1:]),
        "patches": [],
        "new_tokens": 8,
        "clean": PROMPTS[1],
        "corrupted": PROMPTS[2],
        "answer": "",
        "wrong": "",
        "site": "resid_pre",
        "matters_cell": None,
        "threshold": 0.05,
        "circuit": False,
        "quiz": None,
        "presenter": False,
        "theme": "auto",
    }


def _trained(trained: Any) -> str:
    """What a trained reader is."""
    settings: Mapping[str, Any] = getattr(trained, "settings", {})
    names = settings.get("names")
    of = f", on {len(names) if hasattr(names, '__len__') else names} names" if names else ""
    return f"{getattr(trained, 'kind', 'a trained reader')}{of}: a map for each layer was trained"
