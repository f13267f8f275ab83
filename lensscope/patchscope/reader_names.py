"""Readers by what they are called, or where they are kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from lensscope.errors import LensError
from lensscope.patchscope.scope import Patchscope
from lensscope.values.sites import resid_post, resid_pre

PRESETS: Final[Mapping[str, Callable[..., Patchscope]]] = {
    "entity-description": Patchscope.entity_description,
    "token-identity": Patchscope.token_identity,
    "attribute": Patchscope.attribute,
    "selfie": Patchscope.selfie,
    "definition": Patchscope.definition,
}
"""Patchscopes that come along."""
_EXAMPLE: Final = "The largest city in x"


def reader_of(
    text: str,
    model: Any,
    question: str | None = None,
    *,
    block: int | None = None,
    allow_pickle: bool = False,
) -> Patchscope:
    """A reader from a name or a path.

    Args:
        text: one of `PRESETS`, or a folder or file that `Patchscope.load` reads.
        model: the model that it is for.
        question: what is asked, as in `Patchscope.load`; of ``attribute``, the prompt with its
            placeholder ``x``.
        block: of a preset: write block outputs into the input of this block, wherever they are
            read.
        allow_pickle: let files of ``torch.save`` be read.

    Raises:
        LensError: none of these, ``attribute`` without a question, or a block of a reader that has
            its own.
        PromptError: a question to a reader that is asked nothing.

    Example:
        >>> from lensscope.patchscope.reader_names import reader_of
        >>> reader_of("attribute", model, "The largest city in x", block=2).write
        resid_pre(2)
    """
    name = text.replace("_", "-")
    if name in PRESETS:
        return _preset(name, question, block)
    if name == "tuned" and block is None and question is None:
        return Patchscope.tuned(model)
    path = Path(text).expanduser()
    if not path.exists():
        raise LensError(
            "There is no such reader.",
            got=repr(text),
            expected=f"{', '.join(PRESETS)}, tuned (without a question), or the path of a reader",
            instead="entity-description; or what scope.save(path) wrote",
        )
    if block is not None:
        raise LensError(
            "This reader has its own place to write to.",
            got=f"block {block} for {text!r}",
            expected=f"no block, or one of {', '.join(PRESETS)}",
            instead="the reader as it was trained",
        )
    return Patchscope.load(path, model, question=question, allow_pickle=allow_pickle)


def _preset(name: str, question: str | None, block: int | None) -> Patchscope:
    """One of `PRESETS`."""
    where: dict[str, Any] = {} if block is None else {"write": resid_pre(block), "read": resid_post}
    if name != "attribute":
        scope = PRESETS[name](**where)
        return scope if question is None else scope.asking(question)
    if question is None:
        raise LensError(
            "Which attribute is asked for?",
            got=repr(name),
            expected="a question, which is its prompt",
            instead=f"the question {_EXAMPLE!r}",
        )
    return Patchscope.attribute(question, **where)
