"""Entities with a reference description, and what the last word of their name alone means."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from importlib.resources import files
from pathlib import Path
from typing import Any

from lensscope import checks
from lensscope.checks import whole_number
from lensscope.errors import StudyError
from lensscope.store.files import path_of
from lensscope.store.json_text import read_json


@dataclass(frozen=True)
class Entity:
    """Something with a name.

    Attributes:
        name: as it stands in a sentence.
        kind: person, place, company, work, animal, object, or whatever a file says.
        reference: what it is, in a few words; empty if that is not known, and then descriptions of
            it are not scored.
        unresolved: what the last word of the name alone would mean; empty if nothing.

    Example:
        >>> ls.studies.Entity("Diana, Princess of Wales", "person", "British princess").name
        'Diana, Princess of Wales'
    """

    name: str
    kind: str = ""
    reference: str = ""
    unresolved: str = ""

    def __post_init__(self) -> None:
        texts = all(isinstance(getattr(self, field.name), str) for field in fields(self))
        if not texts or not self.name.strip():
            raise StudyError(
                "An entity has a name.",
                got=repr(self),
                expected="a name, and texts for what else is known",
                instead="Entity('Jurassic Park', 'work', 'American film about dinosaurs', "
                "'Piece of green land in a town')",
            )


_COLUMNS = tuple(field.name for field in fields(Entity))


@checks.door(StudyError)
def entities(
    path: str | Path | None = None,
    *,
    kinds: Iterable[str] | None = None,
    limit: int | None = None,
) -> list[Entity]:
    """Entities of a file, or those that come with lensscope.

    Args:
        path: a ``.csv`` with the columns ``name, kind, reference, unresolved``, or a ``.json`` with
            a list of such objects; only ``name`` and ``reference`` are needed.
        kinds: only these.
        limit: only so many, of each kind in turn.

    Raises:
        StudyError: no such file, a column that is missing, a kind that is not there, no entity.

    Example:
        >>> [entity.name for entity in ls.studies.entities(kinds=["work"], limit=1)]
        ['Jurassic Park']
    """
    if path is None:
        text = files("lensscope.studies").joinpath("data/entities.csv").read_text("utf-8")
        rows: list[Any] = list(csv.DictReader(io.StringIO(text)))
        found = [Entity(**row) for row in rows]
    else:
        found = _read(path_of(path))
    if kinds is not None:
        known = list(dict.fromkeys(entity.kind for entity in found))
        wanted = checks.several(kinds, "kinds", f"kinds=[{known[0]!r}]", StudyError)
        unknown = [kind for kind in wanted if kind not in known]
        if unknown:
            raise StudyError(
                "There are no entities of this kind.",
                got=", ".join(map(repr, unknown)),
                expected=", ".join(known),
                instead=f"kinds=[{known[0]!r}]",
            )
        found = [entity for entity in found if entity.kind in wanted]
    if limit is not None:
        found = _in_turn(found)[: whole_number(limit, "limit", 1, 60, error=StudyError)]
    return found


def entities_of(given: Any) -> tuple[Entity, ...]:
    """Some entities; of a name alone, one without a reference.

    Raises:
        StudyError: something else.
    """
    if isinstance(given, list | tuple) and not given:
        return ()  # which a study refuses in its own words
    found = checks.several(given, "entities", "ls.studies.entities(limit=20)", StudyError)
    wrong = [one for one in found if not isinstance(one, Entity | str)]
    if wrong:
        raise StudyError(
            "These are not entities.",
            got=checks.seen(wrong[0]),
            expected="ls.studies.Entity, names, or the path of a file",
            instead='["Jurassic Park"], or '
            '[ls.studies.Entity("Jurassic Park", "work", "American film")]',
        )
    return tuple(Entity(one) if isinstance(one, str) else one for one in found)


def _in_turn(found: list[Entity]) -> list[Entity]:
    """The first of each kind, then the second of each, and so on."""
    seen: dict[str, int] = {}
    order = []
    for entity in found:
        seen[entity.kind] = seen.get(entity.kind, 0) + 1
        order.append(seen[entity.kind])
    return [found[n] for n in sorted(range(len(found)), key=lambda n: order[n])]


def _read(path: Path) -> list[Entity]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix == ".json":
            rows = read_json(text)
        elif path.suffix == ".csv":
            rows = list(csv.DictReader(io.StringIO(text)))
        else:
            raise ValueError(f"a file of kind {path.suffix!r}")
        if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
            raise ValueError("no list of objects")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise StudyError(
            f"{path} holds no entities.",
            got=f"{type(error).__name__}: {error}",
            expected=f"a .csv with the columns {', '.join(_COLUMNS)}, or a .json list of such "
            "objects, in UTF-8",
            instead="ls.studies.entities() for those that come with lensscope; "
            '["The Beatles"] for a name',
        ) from error
    if not rows:
        raise StudyError(
            f"{path} holds no entities.",
            got="an empty list",
            expected="at least one",
            instead="a line for each entity",
        )
    lacking = [name for name in ("name", "reference") if any(not row.get(name) for row in rows)]
    if lacking:
        at = next(n for n, row in enumerate(rows) if not row.get(lacking[0]))
        raise StudyError(
            f"An entity of {path} lacks its {lacking[0]}.",
            got=f"entity {at}: {dict(rows[at])!r}"[:200],
            expected=f"the columns {', '.join(_COLUMNS)}",
            instead="a header with these names, and a value for each entity",
        )
    return [Entity(**{name: str(row.get(name) or "") for name in _COLUMNS}) for row in rows]
