"""Relations between subjects and objects: those that come along, and files in the LRE format."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import numpy as np

from lensscope import checks
from lensscope.errors import LensscopeError, StudyError
from lensscope.store.json_text import read_json
from lensscope.studies.places import find

_SENTENCES: Final = (
    "They were talking about {}",
    "Yesterday I read something about {}",
    "The next chapter of the book is about {}",
    "Tell me more about {}",
)
"""Source sentences of relations that have none of their own. None begins with its subject, whose
state would then be that of an attention sink."""
_KEYS: Final = '{"name": …, "prompt_templates": ["The capital of {} is"], "samples": […]}'


@dataclass(frozen=True)
class Relation:
    """Subjects with their objects, and prompts that ask for the object.

    Attributes:
        name: of the relation.
        subjects: each once.
        objects: for each subject what counts as right, the object first, then other spellings.
        inspection: inspection prompts with the placeholder ``x``.
        sentences: for each subject its source sentences, all as many.
        occurrences: for each subject, which of several places in its sentences is meant; ``None``
            for the last.

    Example:
        >>> capitals = ls.studies.relation("capital").first(subjects=2, sentences=1)
        >>> capitals.subjects, capitals.objects
        (('Japan', 'France'), (('Tokyo',), ('Paris',)))
    """

    name: str
    subjects: tuple[str, ...]
    objects: tuple[tuple[str, ...], ...]
    inspection: tuple[str, ...]
    sentences: tuple[tuple[str, ...], ...]
    occurrences: tuple[int | None, ...] = ()

    def __repr__(self) -> str:
        sentences = len(self.sentences[0])
        return f"Relation({self.name!r}: {len(self.subjects)} subjects, {sentences} sentences each)"

    def __post_init__(self) -> None:
        if not self.subjects:
            raise StudyError(
                f"The relation {self.name!r} has no samples.",
                got="an empty set",
                expected="at least two subjects with their objects",
                instead='"samples": [{"subject": "Japan", "object": "Tokyo"}, …]',
            )
        if not self.occurrences:
            object.__setattr__(self, "occurrences", (None,) * len(self.subjects))
        rows = zip(self.subjects, self.sentences, self.occurrences, strict=True)
        for subject, own, occurrence in rows:
            for sentence in own:
                if subject not in sentence:
                    raise StudyError(
                        "A source sentence does not contain its subject.",
                        got=f"{subject!r} in {sentence!r}",
                        expected="the subject as it is written, upper and lower case too",
                        instead=f"a sentence such as {'a story about ' + subject!r}",
                    )
                find(subject, sentence, occurrence)
        if len({len(own) for own in self.sentences}) > 1 or not self.sentences[0]:
            raise StudyError(
                f"The subjects of {self.name!r} have not equally many source sentences.",
                got=str(sorted({len(own) for own in self.sentences})),
                expected="the same number, at least one",
                instead='"source_sentences": ["a flight to {}"] for all of them',
            )

    def __len__(self) -> int:
        return len(self.subjects)

    def first(self, subjects: int | None = None, sentences: int | None = None) -> Relation:
        """The first so many subjects and source sentences.

        Example:
            >>> few = ls.studies.relation("capital").first(subjects=3, sentences=1)
            >>> len(few)
            3
        """
        return self._only(range(len(self))[:subjects], sentences)

    def drawn(self, subjects: int, seed: int) -> Relation:
        """So many subjects, drawn, in the order that they have here.

        Example:
            >>> some = ls.studies.relation("capital").drawn(subjects=3, seed=0)
            >>> len(some), some == ls.studies.relation("capital").drawn(subjects=3, seed=0)
            (3, True)
        """
        order = np.random.default_rng(seed).permutation(len(self)).tolist()
        return self._only(sorted(order[:subjects]), None)

    def _only(self, items: Sequence[int], sentences: int | None) -> Relation:
        return replace(
            self,
            subjects=tuple(self.subjects[n] for n in items),
            objects=tuple(self.objects[n] for n in items),
            sentences=tuple(self.sentences[n][:sentences] for n in items),
            occurrences=tuple(self.occurrences[n] for n in items),
        )


def relations() -> list[str]:
    """The names of the relations that come with lensscope.

    Example:
        >>> "capital" in ls.studies.relations()
        True
    """
    folder = files("lensscope.studies").joinpath("data/relations")
    return sorted(p.name.removesuffix(".json") for p in folder.iterdir() if p.name[-5:] == ".json")


def _name(value: Any, name: str, error: type[LensscopeError]) -> Any:
    """A check: a name, the path of a file, or what JSON makes of one."""
    return value if isinstance(value, Mapping) else checks.path(value, name, error)


@checks.door(StudyError, name=_name)
def relation(name: str | Path | Mapping[str, Any]) -> Relation:
    """A relation that comes with lensscope, or that a file holds.

    Files are in the format of the LRE data set (Hernandez et al. 2024, "Linearity of Relation
    Decoding in Transformer Language Models"): ``name``, ``prompt_templates`` with ``{}`` for the
    subject, and ``samples`` with ``subject`` and ``object``. Lensscope also knows
    ``inspection_prompts`` with the placeholder ``x`` (by default the templates),
    ``source_sentences`` with ``{}`` (by default some that suit anything, and do not begin with the
    subject), and in a sample ``aliases`` of its object, ``sentences`` of its own, and
    ``occurrence``, where the subject stands several times in them (by default the last). A subject
    that comes twice counts once, with all its objects. A default inspection prompt that would begin
    with its placeholder has a lead-in. Escapes that were escaped again (``Bras\\u00edlia``) are
    read as the text that they stand for.

    Args:
        name: one of `relations`, the path of a ``.json`` file, or what JSON makes of one.

    Raises:
        StudyError: no such relation or file, a field that is missing or of the wrong form, no
            samples, a source sentence without its subject.

    Example:
        >>> ls.studies.relation("capital").inspection[0]
        'The capital of x is the city of'
    """
    if isinstance(name, Mapping):
        return _parsed(name, "The relation that was given")
    path = Path(name)
    if str(name) in relations():
        place = files("lensscope.studies").joinpath(f"data/relations/{name}.json")
        return _parsed(read_json(place.read_text("utf-8")), f"the relation {name!r}")
    if path.suffix != ".json":
        raise StudyError(
            "There is no such relation.",
            got=repr(str(name)),
            expected=", ".join(relations()) + ", or the path of a .json file",
            instead="ls.studies.relation('capital')",
        )
    try:
        found = read_json(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise StudyError(
            f"{path} cannot be read.",
            got=f"{type(error).__name__}: {error}",
            expected=f"a JSON file in UTF-8: {_KEYS}",
            instead="the path of such a file",
        ) from error
    return _parsed(found, str(path))


def _parsed(found: Any, where: str) -> Relation:
    """A relation from what JSON says."""
    if not isinstance(found, Mapping) or not isinstance(found.get("samples"), list):
        raise _wrong(where, "no list of samples", _KEYS)
    templates = _texts(found, "prompt_templates", "{}", where)
    inspection = _texts(found, "inspection_prompts", None, where)
    if not inspection:
        # a placeholder that is the first token would be written over an attention sink
        led = [f"Question: {t}" if t.lstrip().startswith("{}") else t for t in templates]
        inspection = [template.replace("{}", "x") for template in led]
    if not inspection:
        raise _wrong(where, "neither prompt_templates nor inspection_prompts", _KEYS)
    shared = _texts(found, "source_sentences", "{}", where) or list(_SENTENCES)
    objects: dict[str, list[str]] = {}
    sentences: dict[str, tuple[str, ...]] = {}
    occurrences: dict[str, int | None] = {}
    for n, sample in enumerate(found["samples"]):
        subject, *answers = _sample(sample, n, where)
        own = sample.get("sentences")
        sentences[subject] = tuple(
            _strings(own, f"sentences of sample {n}", where)
            if own is not None
            else [s.replace("{}", subject) for s in shared]
        )
        occurrences[subject] = _occurrence(sample.get("occurrence"), n, where)
        objects.setdefault(subject, []).extend(answers)
    return Relation(
        str(found.get("name") or Path(where).stem),
        tuple(objects),
        tuple(tuple(dict.fromkeys(answers)) for answers in objects.values()),
        tuple(dict.fromkeys(inspection)),
        tuple(sentences.values()),
        tuple(occurrences.values()),
    )


def _occurrence(value: Any, n: int, where: str) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise _wrong(where, f"occurrence of sample {n}: {value!r}"[:160], "a whole number")
    return value


_ESCAPES: Final = re.compile(r"(?:\\u[0-9a-fA-F]{4})+")


def _text(value: str) -> str:
    """A text in which JSON's escapes were escaped once more, as it was meant."""

    def meant(found: re.Match[str]) -> str:
        text = str(read_json(f'"{found[0]}"'))
        return found[0] if any("\ud800" <= sign <= "\udfff" for sign in text) else text

    return _ESCAPES.sub(meant, value)


def _sample(sample: Any, n: int, where: str) -> list[str]:
    """The subject, the object, and other spellings of it."""
    if not isinstance(sample, Mapping):
        raise _wrong(where, f"sample {n}: {sample!r}"[:160], '{"subject": …, "object": …}')
    found = []
    for key in ("subject", "object"):
        value = sample.get(key)
        if not isinstance(value, str) or not value.strip():
            raise _wrong(
                where, f"sample {n} without its {key}: {dict(sample)!r}"[:200], f"a text as {key!r}"
            )
        found.append(_text(value).strip())
    return [*found, *_strings(sample.get("aliases") or [], f"aliases of sample {n}", where)]


def _texts(found: Mapping[str, Any], key: str, marker: str | None, where: str) -> list[str]:
    """A list of texts, each with its marker once."""
    texts = _strings(found.get(key) or [], key, where)
    for text in texts:
        if marker is not None and text.count(marker) != 1:
            raise _wrong(where, f"{key}: {text!r}", f"{marker} once in each, for the subject")
    return texts


def _strings(value: Any, what: str, where: str) -> list[str]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise _wrong(where, f"{what}: {value!r}"[:160], "a list of texts")
    if not all(isinstance(text, str) and text.strip() for text in value):
        raise _wrong(where, f"{what}: {list(value)!r}"[:160], "texts, none of them empty")
    return [_text(text) for text in value]


def _wrong(where: str, got: str, expected: str) -> StudyError:
    return StudyError(
        f"{where} is not a relation in the LRE format.",
        got=got,
        expected=expected,
        instead='{"subject": "Japan", "object": "Tokyo"} for a sample; '
        "ls.studies.relation shows the format",
    )
