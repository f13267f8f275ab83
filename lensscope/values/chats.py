"""Prompts that are conversations, and where in them something stands.

A chat is a value: it names no model. Which tokens it becomes is the business of the model's own
template, when it is run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from lensscope import checks
from lensscope.errors import PositionError, PromptError

_OURS: Final = frozenset(
    (
        *("conversation", "messages", "tokenize", "return_tensors", "return_dict", "padding"),
        *("truncation", "max_length", "tokenizer_kwargs", "return_assistant_tokens_mask"),
    )
)


@dataclass(frozen=True)
class Message:
    """One turn of a conversation: who says what."""

    role: str
    content: str


@dataclass(frozen=True)
class InMessage:
    """A position in one message of a chat: all its tokens, or a substring's.

    Attributes:
        number: of the message, from 0; negative from the end.
        text: a substring of it; ``None`` for the whole message.
        whole: all tokens that hold a character of ``text``, not its last one alone.
    """

    number: int
    text: str | None = None
    whole: bool = False

    @checks.door(PositionError)
    def at(self, text: str) -> InMessage:
        """The token that holds the last character of a substring of the message."""
        return InMessage(self.number, text)

    @checks.door(PositionError)
    def span(self, text: str) -> InMessage:
        """All tokens that hold a character of a substring of the message."""
        return InMessage(self.number, text, whole=True)

    def __repr__(self) -> str:
        verb = "span" if self.whole else "at"
        return f"message({self.number})" + ("" if self.text is None else f".{verb}({self.text!r})")


@dataclass(frozen=True)
class Chat:
    """A conversation as a prompt, see `chat`.

    Attributes:
        messages: the turns.
        add_generation_prompt: whether the template's start of an answer follows.
        template_arguments: what else the model's chat template is given.
    """

    messages: tuple[Message, ...]
    add_generation_prompt: bool = True
    template_arguments: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def message(self, number: int) -> InMessage:
        """A position: the tokens of one message, or with ``.at("…")`` or ``.span("…")`` a
        substring's in it.

        Raises:
            PositionError: there is no such message.

        Example:
            >>> talk = ls.chat([{"role": "user", "content": "Where is the Louvre?"}])
            >>> cache = ls.capture(model, talk, ls.resid_post(3).at(talk.message(0).at("Louvre")))
        """
        n = len(self.messages)
        found = checks.whole_number(number, "number", -n, 0, PositionError, n - 1)
        return InMessage(found % n)

    def __repr__(self) -> str:
        turns = [f"{m.role}: {m.content[:40]!r}" for m in self.messages[:4]]
        more = [f"and {len(self.messages) - 4} more"] if len(self.messages) > 4 else []
        return f"chat({', '.join(turns + more)})"


@checks.door(PromptError, add_generation_prompt=checks.flag)
def chat(messages: Any, add_generation_prompt: bool = True, **template_arguments: Any) -> Chat:
    """A conversation, taken wherever a prompt is.

    It becomes text by the model's own chat template, and is run exactly as that writes it: BOS
    where the template has it, and never twice.

    Args:
        messages: mappings with ``role`` and ``content``, in order; or a text, which a user says.
        add_generation_prompt: whether the start of an answer follows.
        **template_arguments: given to the template, such as ``enable_thinking=False``.

    Raises:
        PromptError: no messages, or something that is none.

    Example:
        >>> talk = ls.chat([{"role": "user", "content": "What is the capital of Japan?"}])
        >>> ls.generate(model, talk, max_new_tokens=8).text
        'The capital of Japan is Tokyo.'
    """
    taken = sorted(_OURS & template_arguments.keys())
    if taken:
        raise PromptError(
            "The chat template is asked for something that is not its to give.",
            got=", ".join(f"{name}=" for name in taken),
            expected="what the template itself knows",
            instead='ls.chat([{"role": "user", "content": "…"}], enable_thinking=False)',
        )
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    turns = checks.several(messages, "messages of a chat", _INSTEAD, PromptError)
    return Chat(tuple(map(_message, turns)), add_generation_prompt, dict(template_arguments))


_INSTEAD: Final = 'ls.chat([{"role": "user", "content": "…"}])'


def _message(value: Any) -> Message:
    if isinstance(value, Message):
        return value
    if (
        isinstance(value, Mapping)
        and value.keys() == {"role", "content"}
        and all(isinstance(value[name], str) for name in ("role", "content"))
    ):
        return Message(str(value["role"]), str(value["content"]))
    raise PromptError(
        "This is not a message of a chat.",
        got=checks.seen(value),
        expected="a mapping with role and content, both of them text, and nothing else",
        instead=_INSTEAD,
    )
