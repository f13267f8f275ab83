"""Pairs that are read from files."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from lensscope import checks
from lensscope.errors import PromptError
from lensscope.pairs.alignment import PromptPair
from lensscope.pairs.data import Pairs, check, joined
from lensscope.store.files import path_of
from lensscope.store.json_text import read_json

_POSITION: Final = re.compile(r"(-?\d+)|(-?\d+)?:(-?\d+)?")


@checks.door(PromptError)
def from_csv(path: str | Path, model: Any = None) -> Pairs:
    """Pairs from a table with a header.

    Args:
        path: a UTF-8 file with the columns ``clean``, ``corrupted`` and ``correct``; ``wrong`` if
            there are such answers (several are separated by ``|``); and ``position:LABEL`` for
            each named group of tokens, an index or ``start:stop``. Others are passed over.
        model: what `check` checks them with; ``None`` leaves them unchecked.

    Raises:
        PromptError: a file that cannot be read, lacks something, or does not pass the check.

    Example:
        >>> import tempfile; from pathlib import Path
        >>> path = Path(tempfile.mkdtemp(), "capitals.csv")
        >>> ls.pairs.country_capital(model, 3).frame().to_csv(path, index=False)
        >>> ls.pairs.from_csv(path, model)
        Pairs(capitals: 3 pairs)
    """
    table = csv.DictReader(io.StringIO(_text_of(path), newline=""))
    rows = []
    try:
        for row in table:
            split = {k: row[k].split("|") for k in ("correct", "wrong") if row.get(k)}
            rows.append((table.line_num, row | split))
    except csv.Error as error:
        raise _unreadable(f"Line {table.reader.line_num} of {path}", error) from error
    return _from_rows(path, rows, model)


@checks.door(PromptError)
def from_jsonl(path: str | Path, model: Any = None) -> Pairs:
    """Pairs from JSON objects, one a line.

    Args:
        path: a UTF-8 file; the keys are the columns of `from_csv`, several answers are a list.
        model: what `check` checks them with; ``None`` leaves them unchecked.

    Raises:
        PromptError: a file that cannot be read, lacks something, or does not pass the check.

    Example:
        >>> import tempfile; from pathlib import Path
        >>> line = '{"clean": "A B", "corrupted": "C B", "correct": " A", "position:end": -1}'
        >>> path = Path(tempfile.mkdtemp(), "letters.jsonl")
        >>> _ = path.write_text(line)
        >>> ls.pairs.from_jsonl(path).positions
        {'end': (-1,)}
    """
    rows = []
    # Not splitlines(): a JSON string may hold other line separators as they are.
    for number, line in enumerate(_text_of(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = read_json(line)
            if not isinstance(row, dict):
                raise ValueError(f"no object, but {line.strip()[:60]}")
        except ValueError as error:
            raise _unreadable(f"Line {number} of {path}", error) from error
        rows.append((number, row))
    return _from_rows(path, rows, model)


def _text_of(path: str | Path) -> str:
    try:
        return path_of(path).read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(str(path), error) from error


def _unreadable(where: str, error: Exception) -> PromptError:
    return PromptError(
        f"{where} cannot be read.",
        got=f"{type(error).__name__}: {error}",
        expected="a UTF-8 file: a CSV table with a header, or one JSON object a line",
        instead='pairs.frame().to_csv("pairs.csv", index=False) writes one for from_csv',
    )


def _from_rows(
    path: str | Path, rows: Sequence[tuple[int, Mapping[Any, Any]]], model: Any
) -> Pairs:
    if not rows:
        raise PromptError(
            f"{path} holds no pairs.",
            got="a file without rows",
            expected="at least one pair",
            instead="a header clean,corrupted,correct,wrong and a line for each pair",
        )
    keys = dict.fromkeys(k for _, row in rows for k in row if str(k).startswith("position:"))
    pairs = joined(Path(path).stem, [_row(f"Line {n} of {path}", row, keys) for n, row in rows])
    if model is not None:
        check(model, pairs)
    return pairs


def _row(where: str, row: Mapping[Any, Any], position_keys: Iterable[str]) -> PromptPair:
    if None in row:
        raise PromptError(
            f"{where} has more cells than the header.",
            got=f"{row[None]} at its end",
            expected="as many cells as the header names",
            instead='quotes around a text with commas: "Yesterday, Mary said"',
        )
    given = {key: row.get(key) or [] for key in ("clean", "corrupted", "correct", "wrong")}
    texts = {key: [value] if isinstance(value, str) else value for key, value in given.items()}
    for key, found in texts.items():
        most = 1 if key in ("clean", "corrupted") else math.inf
        good = isinstance(found, list) and all(isinstance(text, str) and text for text in found)
        if not good or not (key == "wrong" or found) or len(found) > most:
            raise PromptError(
                f"{where} has no good {key!r}.",
                got=f"{key}: {row[key]!r}" if key in row else f"only {', '.join(row)}",
                expected="a text"
                if most == 1
                else "a text, or several: a|b in CSV, a list in JSONL",
                instead="clean, corrupted and correct in every line; wrong where there are any",
            )
    positions = {key.split(":", 1)[1]: _position(where, key, row.get(key)) for key in position_keys}
    clean, corrupted = texts["clean"][0], texts["corrupted"][0]
    return PromptPair(clean, corrupted, tuple(texts["correct"]), tuple(texts["wrong"]), positions)


def _position(where: str, key: str, value: Any) -> slice | int:
    match = _POSITION.fullmatch(str(value).strip())
    if match is None:
        raise PromptError(
            f"{where} has no good {key!r}.",
            got=repr(value),
            expected="the index of a token, or start:stop",
            instead=f"{key} 4, or 4:6, in every line",
        )
    one, start, stop = match.groups()
    if one is not None:
        return int(one)
    return slice(int(start) if start else None, int(stop) if stop else None)
