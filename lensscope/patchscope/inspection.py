"""The target prompt of a patchscope, and where its placeholders are."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from lensscope import checks
from lensscope.errors import LensscopeError, PromptError
from lensscope.model.backend import Backend
from lensscope.model.classes import backend_of
from lensscope.model.tokens import tokenize
from lensscope.store.json_text import json_text
from lensscope.values.chats import Chat
from lensscope.values.prompts import TokenizedPrompt

_QUESTION: Final = "{question}"


def _texts(value: Any, name: str, error: type[LensscopeError]) -> Any:
    """A check: a text, or a conversation."""
    return value if isinstance(value, Chat) else checks.text(value, name, error)


@checks.constructor(PromptError, text=_texts)
@dataclass(frozen=True)
class InspectionPrompt:
    """The target prompt of a patchscope, with its placeholder(s).

    Attributes:
        text: the prompt, or a chat. ``{layer}`` stands for the layer that a state was read at,
            ``{k}`` for how many states are written, ``{question}`` for what `asking` puts there.
        placeholder: what marks the places to write to; every occurrence counts (a placeholder of
            letters or digits only where it stands as a word of its own, and of a chat only in its
            messages), and each must be one token.
        prepend_bos: ``None`` follows the model's own default, and of a chat its template.

    Example:
        >>> ls.InspectionPrompt("The largest city in x").places(model)
        (4,)
        >>> talk = ls.chat([{"role": "user", "content": "Who is x?"}])
        >>> ls.InspectionPrompt(talk).filled("Diana")
        chat(user: 'Who is Diana?')
    """

    text: str | Chat
    placeholder: str = "x"
    prepend_bos: bool | None = None

    @property
    def _pattern(self) -> re.Pattern[str]:
        before = r"(?<!\w)" if self.placeholder[:1].isalnum() else ""
        after = r"(?!\w)" if self.placeholder[-1:].isalnum() else ""
        return re.compile(before + re.escape(self.placeholder) + after)

    @property
    def told(self) -> str:
        """All of the prompt as text; of a chat, its messages as JSON."""
        text = self.text
        return text if isinstance(text, str) else json_text(asdict(text))

    @property
    def n_places(self) -> int:
        """How many placeholders there are."""
        return sum(len(self._pattern.findall(part)) for part in _parts(self.text))

    @checks.door(PromptError, text=checks.text)
    def filled(self, text: str) -> Any:
        """The prompt with a text in place of its placeholder.

        Example:
            >>> ls.InspectionPrompt("The largest city in x").filled("Japan")
            'The largest city in Japan'
        """
        return _each(self.text, lambda part: self._pattern.sub(lambda _: text, part))

    @checks.door(PromptError, question=checks.text)
    def asking(self, question: str) -> InspectionPrompt:
        """The same with a question in place of ``{question}``.

        Raises:
            PromptError: there is no ``{question}``, or the question has the placeholder in it.

        Example:
            >>> prompt = ls.InspectionPrompt("Here is x . {question}")
            >>> prompt.asking("Is it a city?").text
            'Here is x . Is it a city?'
        """
        if _QUESTION not in "".join(_parts(self.text)):
            raise PromptError(
                "This inspection prompt is asked nothing.",
                got=repr(self.text),
                expected=f"{_QUESTION} in it",
                instead="the prompt as it is",
            )
        if self._pattern.search(question):
            raise PromptError(
                "The question has the placeholder in it, where a state would be written too.",
                got=f"{self.placeholder!r} in {question!r}",
                expected="a question without it",
                instead="the same in other words, or with other spaces",
            )
        return replace(self, text=_each(self.text, lambda p: p.replace(_QUESTION, question)))

    def repeated(self, times: int) -> InspectionPrompt:
        """The same with its placeholder so many times in a row, with a space between words.

        Raises:
            PromptError: there are other numbers of placeholders.
        """
        there = self.n_places
        if there not in (1, times):
            raise PromptError(
                "There are not as many placeholders as states to write.",
                got=f"{there} of {self.placeholder!r}, {times} states",
                expected=f"one, which is repeated, or {times}",
                instead="a prompt with its placeholder once",
            )
        between = " " if self.placeholder[:1].isalnum() else ""
        row = between.join([self.placeholder] * times) if there == 1 else self.placeholder
        return replace(self, text=_each(self.text, lambda p: self._pattern.sub(lambda _: row, p)))

    def of_layer(self, layer: int | None) -> InspectionPrompt:
        """The same with ``{layer}`` and ``{k}`` filled in.

        Raises:
            PromptError: it names a layer, and what is read has none.
        """
        parts = "".join(_parts(self.text))
        if layer is None and "{layer}" in parts:
            raise PromptError(
                "The inspection prompt names a layer, and raw vectors have none.",
                got=f"{{layer}} in {self.text!r}",
                expected="states that were read at a layer",
                instead="the layer itself in the prompt, in place of {layer}",
            )
        if "{layer}" not in parts and "{k}" not in parts:
            return self
        here, k = str(layer), str(self.n_places)
        text = _each(self.text, lambda p: p.replace("{layer}", here).replace("{k}", k))
        return replace(self, text=text)

    def tokens(self, model: Any) -> TokenizedPrompt:
        """The prompt as the model's tokens."""
        return self.tokenized(backend_of(model))

    def places(self, model: Any) -> tuple[int, ...]:
        """The tokens of the placeholders, counted on the unpadded prompt.

        Raises:
            PromptError: the placeholder does not occur, or is not a token of its own.
        """
        return self.placed(backend_of(model))

    def tokenized(self, backend: Backend) -> TokenizedPrompt:
        """As `tokens`, of a model that is wrapped already."""
        return tokenize(backend, self.text, self.prepend_bos)[0]

    def placed(self, backend: Backend) -> tuple[int, ...]:
        """As `places`, of a model that is wrapped already."""
        if not self.placeholder:
            raise PromptError(
                "The placeholder is empty.",
                got="''",
                expected="a text that occurs in the inspection prompt",
                instead='InspectionPrompt("The largest city in x", placeholder="x")',
            )
        if _QUESTION in "".join(_parts(self.text)):
            raise PromptError(
                "The inspection prompt waits for a question.",
                got=repr(self.text),
                expected=f"something in place of {_QUESTION}",
                instead='scope.asking("What is this about?")',
            )
        prompt = self.tokenized(backend)
        ranges = prompt.messages or ((0, len(prompt.text)),)
        matches = [m for a, b in ranges for m in self._pattern.finditer(prompt.text, a, b)]
        if not matches:
            raise PromptError(
                f"The placeholder {self.placeholder!r} does not occur in the inspection prompt.",
                got=repr(self.text),
                expected="the placeholder as a word of its own, at least once",
                instead=f"InspectionPrompt({prompt.text + ' x'!r}, placeholder='x')",
            )
        places = []
        for match in matches:
            held = prompt.holding(match.start(), match.end())
            own = len(held) == 1 and prompt.labels[held[0]].strip() == self.placeholder.strip()
            if not own:
                raise PromptError(
                    f"The placeholder {self.placeholder!r} is not one token of its own.",
                    got="tokens " + " ".join(repr(prompt.labels[i]) for i in held),
                    expected=f"one token with the text {self.placeholder!r}; all tokens: "
                    + prompt.shown(),
                    instead="a placeholder that the tokenizer keeps whole, such as 'x' or '?', "
                    "set apart by spaces",
                )
            places.append(held[0])
        return tuple(places)


def _parts(text: str | Chat) -> list[str]:
    """What may hold placeholders: the text, or the messages."""
    return [text] if isinstance(text, str) else [message.content for message in text.messages]


def _each(text: str | Chat, function: Callable[[str], str]) -> Any:
    """The same with something done to the text, or to each message."""
    if isinstance(text, str):
        return function(text)
    messages = tuple(replace(m, content=function(m.content)) for m in text.messages)
    return replace(text, messages=messages)


def an_inspection(value: Any, name: str, error: type[LensscopeError]) -> InspectionPrompt:
    """A check: an inspection prompt, or the text or chat of one with placeholder ``"x"``."""
    if isinstance(value, InspectionPrompt):
        return value
    if isinstance(value, str | Chat):
        return InspectionPrompt(value)
    raise error(
        "This is not an inspection prompt.",
        got=checks.seen(value),
        expected="a text with its placeholder, or an InspectionPrompt",
        instead='ls.Patchscope("The largest city in x")',
    )
