"""Readers by what they are called, or where they are kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from lensscope.errors import LensError
from lensscope.patchscope.scope import Patchscope

PRESETS: Final[Mapping[str, Callable[[], Patchscope]]] = {
    "entity-description": lambda: Patchscope.entity_description(),
    "token-identity": lambda: Patchscope.token_identity(),
    "selfie": lambda: Patchscope.selfie(),
}
"""Patchscopes that come along, and need nothing besides."""


def reader_of(
    text: str, model: Any, question: str | None = None, *, allow_pickle: bool = False
) -> Patchscope:
    """A reader from a name or a path.

    Args:
        text: one of `PRESETS`; ``attribute``, whose prompt is the question, with its placeholder
            ``x``; or a folder or file that `Patchscope.load` reads.
        model: the model that it is for.
        question: what is asked, as in `Patchscope.load`.
        allow_pickle: let files of ``torch.save`` be read.

    Raises:
        LensError: none of these, or ``attribute`` without a question.
        PromptError: a question to a reader that is asked nothing.

    Example:
        >>> from lensscope.patchscope.reader_names import reader_of
        >>> reader_of("attribute", model, "The largest city in x").inspection.text
        'The largest city in x'
    """
    name = text.replace("_", "-")
    if name == "attribute" and question is not None:
        return Patchscope.attribute(question)
    if name in PRESETS:
        scope = PRESETS[name]()
        return scope if question is None else scope.asking(question)
    path = Path(text).expanduser()
    if name == "attribute" or not path.exists():
        raise LensError(
            "There is no such reader." if name != "attribute" else "Which attribute?",
            got=repr(text),
            expected=f"{', '.join(PRESETS)}, attribute with a question, or the path of a reader",
            instead="entity-description; or attribute with the question 'The largest city in x'",
        )
    return Patchscope.load(path, model, question=question, allow_pickle=allow_pickle)
