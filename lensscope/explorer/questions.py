"""What may be asked: values made of JSON that is not trusted. `explorer/src/protocol.ts` is the
other side.

Nothing here is a path, a name of code, or a number without bounds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Final, Literal, TypeAlias, get_args

from lensscope.errors import LensscopeError, PromptError
from lensscope.signs import cut
from lensscope.values.chats import Chat, Message

PROMPT: Final = 20_000
"""Characters of a prompt."""
NEW_TOKENS: Final = 60
PATCHES: Final = 16
_MESSAGES: Final = 64
_WORD: Final = 200
_PLACE: Final = 1 << 20
_SEED: Final = (1 << 31) - 1

Prompt: TypeAlias = "str | Chat"
Operation: TypeAlias = Literal["set", "add", "project_out", "scale"]
Where: TypeAlias = Literal["resid_pre", "attn_out", "mlp_out"]


@dataclass(frozen=True)
class Inspection:
    """The target side of a patchscope, as it is edited.

    Attributes:
        preset: the preset that it began as; empty if its text was changed.
        text: the inspection prompt.
        placeholder: what marks the places to write to.
        target: the block whose input is written, or ``"same"``, the layer that is read.
        max_new_tokens: how much is said.
        temperature: 0 is greedy.
        top_p: draw among the fewest tokens that together have this probability.
        seed: of draws and random vectors.
    """

    preset: str
    text: Prompt
    placeholder: str
    target: int | Literal["same"]
    max_new_tokens: int
    temperature: float
    top_p: float | None
    seed: int


@dataclass(frozen=True)
class Spot:
    """A block's output at a token of one of two prompts."""

    prompt: int
    layer: int
    position: int


@dataclass(frozen=True)
class PatchSpec:
    """What is read (nothing, of ``"scale"``), where it is written and how, and how much of it."""

    source: Spot | None
    to: Spot
    how: Operation
    amount: float


@dataclass(frozen=True)
class Tokens:
    """How a prompt becomes tokens, and which of them are placeholders."""

    kind: ClassVar = "tokens"
    prompt: Prompt
    placeholder: str | None


@dataclass(frozen=True)
class Grid:
    """What a lens reads at every layer and token."""

    kind: ClassVar = "grid"
    prompt: Prompt
    lens: str


@dataclass(frozen=True)
class Cell:
    """What all lenses read in one state."""

    kind: ClassVar = "cell"
    prompt: Prompt
    position: int
    layer: int


@dataclass(frozen=True)
class Words:
    """What readers say of one state, and of its controls."""

    kind: ClassVar = "words"
    prompt: Prompt
    position: int
    layer: int
    inspection: Inspection


@dataclass(frozen=True)
class Controls:
    """What readers say of nothing, of a mean and of another state, at every layer."""

    kind: ClassVar = "controls"
    inspection: Inspection


@dataclass(frozen=True)
class Step:
    """What one reader says of one state, token by token, and of the same token's other layers."""

    kind: ClassVar = "step"
    prompt: Prompt
    position: int
    layer: int
    inspection: Inspection
    reader: str


@dataclass(frozen=True)
class Patched:
    """What two prompts go on with, before and after patches."""

    kind: ClassVar = "patch"
    prompts: tuple[Prompt, Prompt]
    patches: tuple[PatchSpec, ...]
    max_new_tokens: int


@dataclass(frozen=True)
class Matters:
    """Where a clean and a corrupted run differ in what they come to."""

    kind: ClassVar = "matters"
    clean: Prompt
    corrupted: Prompt
    answer: str
    wrong: str
    site: Where


@dataclass(frozen=True)
class Circuits:
    """The components, at their tokens, whose effects are above a threshold."""

    kind: ClassVar = "circuit"
    clean: Prompt
    corrupted: Prompt
    answer: str
    wrong: str
    threshold: float


Question: TypeAlias = (
    "Tokens | Grid | Cell | Words | Controls | Step | Patched | Matters | Circuits"
)


def asked(value: Any) -> Question:
    """A question from JSON.

    Raises:
        PromptError: it is none.
    """
    fields = _Fields(value)
    kind = fields.one_of("kind", list(_MAKERS))
    return _MAKERS[kind](fields)


def key_of(question: Question) -> str:
    """What is the same for questions that ask the same."""
    return json.dumps([question.kind, asdict(question)], sort_keys=True)


# ---------------------------------------------------------------- what JSON says


class _Fields:
    """The fields of a JSON object, each asked for by its name and kind."""

    def __init__(self, value: Any, where: str = "the question") -> None:
        if not isinstance(value, Mapping):
            raise _refused(where, value, "an object")
        self.value, self.where = value, where

    def of(self, name: str) -> Any:
        return self.value.get(name)

    def text(self, name: str, longest: int = _WORD) -> str:
        found = self.of(name)
        if not isinstance(found, str) or len(found) > longest:
            raise _refused(f"{name} of {self.where}", found, f"a text of {longest} characters")
        return found.encode("utf-8", "replace").decode("utf-8")

    def prompt(self, name: str) -> Prompt:
        return _prompt(self.of(name), f"{name} of {self.where}")

    def whole(self, name: str, least: int = 0, most: int = _PLACE) -> int:
        found = self.of(name)
        if type(found) is not int or not least <= found <= most:
            raise _refused(f"{name} of {self.where}", found, f"a whole number, {least} to {most}")
        return found

    def real(self, name: str, least: float, most: float) -> float:
        found = self.of(name)
        if type(found) not in (int, float) or not least <= found <= most:
            raise _refused(f"{name} of {self.where}", found, f"a number, {least:g} to {most:g}")
        return float(found)

    def one_of(self, name: str, known: Any) -> Any:
        found = self.of(name)
        if not isinstance(found, str) or found not in known:
            raise _refused(f"{name} of {self.where}", found, ", ".join(known))
        return found

    def cell(self) -> tuple[int, int]:
        return self.whole("position"), self.whole("layer")

    def inspection(self) -> Inspection:
        fields = _Fields(self.of("inspection"), "inspection")
        target = fields.of("target")
        return Inspection(
            fields.text("preset"),
            fields.prompt("text"),
            fields.text("placeholder"),
            "same" if target == "same" else fields.whole("target"),
            fields.whole("max_new_tokens", 1, NEW_TOKENS),
            fields.real("temperature", 0, 5),
            None if fields.of("top_p") is None else fields.real("top_p", 1e-3, 1),
            fields.whole("seed", 0, _SEED),
        )

    def pair(self) -> tuple[Prompt, Prompt, str, str]:
        prompts = self.prompt("clean"), self.prompt("corrupted")
        return *prompts, self.text("answer"), self.text("wrong")


def _prompt(value: Any, where: str) -> Prompt:
    if isinstance(value, str):
        return _Fields({"text": value}, where).text("text", PROMPT)
    if not isinstance(value, list) or not 0 < len(value) <= _MESSAGES:
        raise _refused(where, value, f"a text, or a list of at most {_MESSAGES} messages")
    each = [_Fields(one, f"a message of {where}") for one in value]
    messages = tuple(Message(one.text("role"), one.text("content", PROMPT)) for one in each)
    if sum(len(one.content) for one in messages) > PROMPT:
        raise _refused(where, value, f"messages of {PROMPT} characters together")
    return Chat(messages)


def _patch(value: Any) -> PatchSpec:
    fields = _Fields(value, "a patch")
    how = fields.one_of("how", get_args(Operation))
    source = None if how == "scale" else _spot(fields.of("from"), "from of a patch")
    to = _spot(fields.of("to"), "to of a patch")
    return PatchSpec(source, to, how, fields.real("amount", -100, 100))


def _spot(value: Any, where: str) -> Spot:
    fields = _Fields(value, where)
    position, layer = fields.cell()
    return Spot(fields.whole("prompt", 0, 1), layer, position)


def _patched(fields: _Fields) -> Patched:
    prompts, patches = fields.of("prompts"), fields.of("patches")
    if not isinstance(prompts, list) or len(prompts) != 2:
        raise _refused("prompts of the question", prompts, "a list of two prompts")
    if not isinstance(patches, list) or len(patches) > PATCHES:
        raise _refused("patches of the question", patches, f"a list of at most {PATCHES}")
    first, second = (_prompt(one, "prompts of the question") for one in prompts)
    new = fields.whole("max_new_tokens", 1, NEW_TOKENS)
    return Patched((first, second), tuple(map(_patch, patches)), new)


def _tokens(fields: _Fields) -> Tokens:
    given = fields.of("placeholder")
    return Tokens(fields.prompt("prompt"), None if given is None else fields.text("placeholder"))


def _cell(fields: _Fields) -> Cell:
    return Cell(fields.prompt("prompt"), *fields.cell())


def _words(fields: _Fields) -> Words:
    position, layer = fields.cell()
    return Words(fields.prompt("prompt"), position, layer, fields.inspection())


def _step(fields: _Fields) -> Step:
    position, layer = fields.cell()
    own = fields.inspection(), fields.text("reader")
    return Step(fields.prompt("prompt"), position, layer, *own)


def _matters(fields: _Fields) -> Matters:
    clean, corrupted, answer, wrong = fields.pair()
    return Matters(clean, corrupted, answer, wrong, fields.one_of("site", get_args(Where)))


def _circuit(fields: _Fields) -> Circuits:
    clean, corrupted, answer, wrong = fields.pair()
    return Circuits(clean, corrupted, answer, wrong, fields.real("threshold", 1e-3, 10))


_MAKERS: Final[Mapping[str, Any]] = {
    "tokens": _tokens,
    "grid": lambda f: Grid(f.prompt("prompt"), f.text("lens")),
    "cell": _cell,
    "words": _words,
    "controls": lambda fields: Controls(fields.inspection()),
    "step": _step,
    "patch": _patched,
    "matters": _matters,
    "circuit": _circuit,
}


def _refused(where: str, got: Any, expected: str) -> LensscopeError:
    return PromptError(
        f"The explorer cannot be asked this: {where}.",
        got=cut(repr(got), 200),
        expected=expected,
        instead="reload the page; or a question as explorer/src/protocol.ts has it",
    )
