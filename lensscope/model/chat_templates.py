"""Conversations as text: by the model's own chat template, and where each message stands in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from lensscope.errors import PromptError
from lensscope.values.chats import Chat

if TYPE_CHECKING:
    from lensscope.model.backend import Backend

# Of the private use area, which no text that is meant to be read has.
_START: Final = "\ue0f0"
_STOP: Final = "\ue0f1"


def has_template(tokenizer: Any) -> bool:
    """Whether a tokenizer says how a conversation is written."""
    return bool(getattr(tokenizer, "chat_template", None))


def written(backend: Backend, chat: Chat) -> tuple[str, tuple[tuple[int, int], ...]]:
    """A conversation as the model's template writes it.

    Returns:
        The text, and for each message the range of its characters.

    Raises:
        PromptError: no template, or one that refuses the conversation.
    """
    text = _applied(backend, chat, [m.content for m in chat.messages])
    return text, _places(backend, chat, text)


def _applied(backend: Backend, chat: Chat, contents: list[str]) -> str:
    tokenizer = backend.tokenizer
    if not has_template(tokenizer):
        raise PromptError(
            "The model has no chat template, so it cannot read a conversation.",
            got=f"{chat!r} for {backend.name}",
            expected="a model whose tokenizer has a chat template",
            instead=f"the text itself: {chat.messages[-1].content[:60]!r}; or set "
            "model.tokenizer.chat_template",
        )
    turns = [
        {"role": message.role, "content": content}
        for message, content in zip(chat.messages, contents, strict=True)
    ]
    try:
        text = tokenizer.apply_chat_template(
            turns,
            tokenize=False,
            add_generation_prompt=chat.add_generation_prompt,
            **chat.template_arguments,
        )
    except Exception as error:  # a template may raise whatever it likes
        raise PromptError(
            "The model's chat template refuses the conversation.",
            got=f"{chat!r}: {type(error).__name__}: {str(error)[:300]}",
            expected="roles, an order and arguments that the template takes",
            instead="the same without a system message, with user and assistant in turn",
        ) from error
    return str(text)


def _places(backend: Backend, chat: Chat, text: str) -> tuple[tuple[int, int], ...]:
    """Where each message stands, found by marks around it: a template may strip what it is given,
    and say the same elsewhere. ``(0, 0)`` for what it leaves out or writes anew."""
    marks = [f"{_START}{n}{_STOP}" for n in range(len(chat.messages))]
    contents = [
        mark + message.content + mark for mark, message in zip(marks, chat.messages, strict=True)
    ]
    rest, before = _applied(backend, chat, contents), ""
    places = []
    for mark in marks:
        parts = rest.split(mark)
        place = (0, 0)
        if len(parts) == 3:
            before += parts[0]
            follows = parts[2].partition(_START)[0]  # up to the next mark
            written = (parts[1], parts[1].strip())
            kept = [p for p in written if text.startswith(before + p + follows)]
            if kept:
                place = (len(before), len(before) + len(kept[0]))
            before, rest = text[: place[1]] if kept else before + parts[1], parts[2]
        places.append(place)
    return tuple(places)
