"""The target prompt of a patchscope, and where its placeholders are."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from lensscope import checks
from lensscope.errors import LensscopeError, PromptError
from lensscope.model.backend import Backend
from lensscope.model.classes import backend_of
from lensscope.model.tokens import tokenize
from lensscope.values.prompts import TokenizedPrompt


@checks.constructor(PromptError)
@dataclass(frozen=True)
class InspectionPrompt:
    """The target prompt of a patchscope, with its placeholder(s).

    Attributes:
        text: the prompt.
        placeholder: what marks the places to write to; every occurrence counts (a placeholder of
            letters or digits only where it stands as a word of its own), and each must be one
            token.
        prepend_bos: ``None`` follows the model's own default.

    Example:
        >>> ls.InspectionPrompt("The largest city in x").places(model)
        (4,)
    """

    text: str
    placeholder: str = "x"
    prepend_bos: bool | None = None

    @property
    def _pattern(self) -> re.Pattern[str]:
        before = r"(?<!\w)" if self.placeholder[0].isalnum() else ""
        after = r"(?!\w)" if self.placeholder[-1].isalnum() else ""
        return re.compile(before + re.escape(self.placeholder) + after)

    @checks.door(PromptError)
    def filled(self, text: str) -> str:
        """The prompt with a text in place of its placeholder.

        Example:
            >>> ls.InspectionPrompt("The largest city in x").filled("Japan")
            'The largest city in Japan'
        """
        return self._pattern.sub(lambda _: text, self.text)

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
        prompt = self.tokenized(backend)
        matches = list(self._pattern.finditer(self.text))
        if not matches:
            raise PromptError(
                f"The placeholder {self.placeholder!r} does not occur in the inspection prompt.",
                got=repr(self.text),
                expected="the placeholder as a word of its own, at least once",
                instead=f"InspectionPrompt({self.text + ' x'!r}, placeholder='x')",
            )
        places = []
        for match in matches:
            held = [
                i
                for i, (first, last) in enumerate(prompt.char_spans)
                if first < match.end() and match.start() < last
            ]
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


def an_inspection(value: Any, name: str, error: type[LensscopeError]) -> InspectionPrompt:
    """A check: an inspection prompt, or the text of one with placeholder ``"x"``."""
    if isinstance(value, InspectionPrompt):
        return value
    if isinstance(value, str):
        return InspectionPrompt(value)
    raise error(
        "This is not an inspection prompt.",
        got=checks.seen(value),
        expected="a text with its placeholder, or an InspectionPrompt",
        instead='ls.Patchscope("The largest city in x")',
    )
