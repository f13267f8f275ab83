"""Pairs of clean and corrupted prompts for activation patching: made, read from files, checked."""

from __future__ import annotations

import csv
import io
import json
import math
import random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd

from lensscope import pair_words as words
from lensscope.backends import backend_of
from lensscope.errors import PromptError
from lensscope.metrics import PairMetric, log_probability, logit_difference
from lensscope.pair_words import (
    Draft,
    Row,
    continued,
    drawn,
    filled,
    is_token,
    require_aligned,
    whole_words,
)

# For each corruption which of the names drawn stands at IO, S1 and S2: 0 is the indirect object, 1
# the subject, the others are of the corrupted prompt alone.
_CORRUPTIONS: Final = {"abc": (2, 3, 4), "swap": (0, 1, 0), "s2": (0, 1, 2), "names": (1, 0, 0)}
_YEARS: Final = tuple(f"{year:02d}" for year in range(100))
_POSITION: Final = re.compile(r"(-?\d+)|(-?\d+)?:(-?\d+)?")


@dataclass(frozen=True)
class Pairs:
    """Clean and corrupted prompts in pairs, with their answers.

    Attributes:
        name: what the pairs are of.
        clean: the clean prompts.
        corrupted: for each of them one of as many tokens.
        correct: the right continuations of each clean prompt, usually one, each of one token.
        wrong: what each corrupted prompt leads to instead; may be empty.
        positions: named groups of tokens, for each pair an index or a slice; counted on the
            unpadded prompt as the model runs it by default, and the same in both prompts.

    Raises:
        PromptError: none, unequally many of something, or an answer both correct and wrong.

    Example:
        >>> from lensscope import pairs
        >>> pairs.ioi(model, 4, seed=0)[:2]
        Pairs(ioi (abc): 2 pairs; positions IO, S1, S1+1, S2, end)
    """

    name: str
    clean: tuple[str, ...]
    corrupted: tuple[str, ...]
    correct: tuple[tuple[str, ...], ...]
    wrong: tuple[tuple[str, ...], ...]
    positions: Mapping[str, tuple[slice | int, ...]]

    def __post_init__(self) -> None:
        columns = {name: getattr(self, name) for name in ("clean", "corrupted", "correct", "wrong")}
        counts = {name: len(column) for name, column in (columns | dict(self.positions)).items()}
        if set(counts.values()) != {len(self)} or not len(self):
            raise PromptError(
                "These are no pairs.",
                got=", ".join(f"{count} of {name}" for name, count in counts.items()),
                expected="as many of each, at least one",
                instead='Pairs("mine", ("A",), ("B",), ((" a",),), ((" b",),), {})',
            )
        for number, (correct, wrong) in enumerate(zip(self.correct, self.wrong, strict=True)):
            if not correct or set(correct) & set(wrong):
                raise PromptError(
                    f"The answers of pair {number} cannot be told apart.",
                    got=f"correct {correct}, wrong {wrong}",
                    expected="at least one correct answer, and none that is also wrong",
                    instead="the answers of the clean prompt as correct, those of the "
                    "corrupted one as wrong",
                )

    def __len__(self) -> int:
        return len(self.clean)

    def __getitem__(self, which: int | slice) -> Pairs:
        chosen = range(len(self))[which]
        rows = [chosen] if isinstance(chosen, int) else chosen
        return _joined(self.name, [self._row(i) for i in rows])

    def __repr__(self) -> str:
        positions = f"; positions {', '.join(self.positions)}" if self.positions else ""
        return f"Pairs({self.name}: {len(self)} pairs{positions})"

    @property
    def metric(self) -> PairMetric:
        """The logit difference of right and wrong answers; the right ones' log-probability where
        there are no wrong ones."""
        if all(self.wrong):
            return logit_difference(list(self.correct), list(self.wrong))
        return log_probability(list(self.correct))

    @property
    def groups(self) -> dict[str, list[slice | int]]:
        """The named tokens, as ``positions=`` takes them."""
        return {label: list(tokens) for label, tokens in self.positions.items()}

    def frame(self) -> pd.DataFrame:
        """One row a pair: ``pair, clean, corrupted, correct, wrong``; answers joined by ``|``."""
        answers = {
            name: ["|".join(row) for row in getattr(self, name)] for name in ("correct", "wrong")
        }
        texts = {"clean": self.clean, "corrupted": self.corrupted}
        return pd.DataFrame({"pair": range(len(self)), **texts, **answers})

    def _row(self, i: int) -> Row:
        positions = {label: column[i] for label, column in self.positions.items()}
        return Row(self.clean[i], self.corrupted[i], self.correct[i], self.wrong[i], positions)


def _joined(name: str, rows: Sequence[Row]) -> Pairs:
    labels = rows[0].positions if rows else ()
    return Pairs(
        name,
        tuple(row.clean for row in rows),
        tuple(row.corrupted for row in rows),
        tuple(row.correct for row in rows),
        tuple(row.wrong for row in rows),
        {label: tuple(row.positions[label] for row in rows) for label in labels},
    )


def check(model: Any, pairs: Pairs) -> None:
    """Refuse pairs that this model's tokenizer does not keep aligned.

    Args:
        model: the model.
        pairs: the pairs; the error counts them from 0.

    Raises:
        PromptError: prompts of unequal length, or an answer that is not one token after the
            clean prompt.
        PositionError: a position outside of its prompt.

    Example:
        >>> from lensscope import pairs
        >>> pairs.check(model, pairs.country_capital(model, 3))
    """
    backend = backend_of(model)
    for number in range(len(pairs)):
        require_aligned(backend, number, pairs._row(number))


def ioi(model: Any, n: int = 100, *, corruption: str = "abc", seed: int = 0) -> Pairs:
    """Indirect object identification: who gets what the subject gives away.

    "When Mary and John arrived at the store, John handed a drink to" is followed by the indirect
    object, " Mary", and not by the subject, " John". Half of the templates name the indirect
    object first, half the subject. After Wang et al. 2022, arXiv:2211.00593, with sentences of
    our own; the positions are those of the paper, at S1+1 the token after the first subject.

    Args:
        model: the model; only names that its tokenizer keeps whole are used.
        n: how many pairs.
        corruption: what the corrupted prompt has for the three names: ``"abc"`` three others (the
            paper's p_ABC), ``"swap"`` the indirect object as the second subject, so the right
            answer is the other one, ``"s2"`` another name as the second subject, ``"names"`` both
            names exchanged everywhere.
        seed: what the pairs are drawn with.

    Raises:
        PromptError: not so many pairs or names, or an unknown corruption.

    Example:
        >>> from lensscope import pairs
        >>> pairs.ioi(model, 4, seed=0)
        Pairs(ioi (abc): 4 pairs; positions IO, S1, S1+1, S2, end)
    """
    if corruption not in _CORRUPTIONS:
        raise PromptError(
            "There is no such corruption.",
            got=f"corruption={corruption!r}",
            expected=f"one of {', '.join(_CORRUPTIONS)}",
            instead='corruption="abc"',
        )
    chosen = _CORRUPTIONS[corruption]
    needed = 1 + max(1, *chosen)
    backend = backend_of(model)
    names = whole_words(backend, (*words.WOMEN, *words.MEN), "names", needed)

    def draft(rng: random.Random) -> Draft:
        drawn_names = rng.sample(names, needed)
        scene = {"place": rng.choice(words.PLACES), "object": rng.choice(words.OBJECTS)}
        clean, corrupted = (
            dict(zip(("IO", "S1", "S2"), (drawn_names[i] for i in which), strict=True)) | scene
            for which in ((0, 1, 1), chosen)
        )
        correct, wrong = ((f" {name}",) for name in drawn_names[:2])
        return Draft(rng.choice(words.IOI), clean, corrupted, correct, wrong)

    possible = len(words.IOI) * len(words.PLACES) * len(words.OBJECTS)
    possible *= math.perm(len(names), needed)
    rows = drawn(backend, n, seed, possible, ("IO", "S1", "S1+1", "S2"), draft)
    return _joined(f"ioi ({corruption})", rows)


def greater_than(model: Any, n: int = 100, *, seed: int = 0) -> Pairs:
    """A year after another: an end that does not come before its beginning.

    "The war lasted from the year 1742 to the year 17" goes on with a year after 42; the corrupted
    prompt starts in 1701, which allows nearly all. After Hanna et al. 2023, arXiv:2305.00586.
    Where a tokenizer has years as tokens of two digits, as GPT-2's, all of them above the start
    are correct, the rest wrong. Where each digit is a token, the answers are tens digits: those
    above the start's own are correct, those below it wrong, and the start's own is left out, for
    it decides nothing; the start lies in 20 to 79, so that there are some of both.

    Args:
        model: the model.
        n: how many pairs.
        seed: what the pairs are drawn with.

    Raises:
        PromptError: not so many pairs, or a tokenizer that splits years in another way.

    Example:
        >>> from lensscope import pairs
        >>> pairs.greater_than(model, 4, seed=0)
        Pairs(greater_than: 4 pairs; positions year, end)
    """
    backend = backend_of(model)
    prompt = filled(words.YEAR, {"event": words.EVENTS[0], "year": "1745"})[0]
    ends = [year for year in _YEARS if is_token(backend, prompt, year)]
    starts = tuple(year for year in ends if "01" < year < ends[-1])
    if len(ends) < len(_YEARS) // 2:
        ends = [digit for digit in "0123456789" if is_token(backend, prompt, digit)]
        starts = _YEARS[20:80]
        if len(ends) < 10:
            raise PromptError(
                "The tokenizer has years neither in tokens of two digits nor of one.",
                got="'1745' becomes: " + "|".join(continued(backend, prompt[:-2], "1745")[1]),
                expected="17|45 or 1|7|4|5",
                instead="a model with another tokenizer, or your own pairs: from_csv(path, model)",
            )

    def draft(rng: random.Random) -> Draft:
        event, start = rng.choice(words.EVENTS), rng.choice(starts)
        own = start[: len(ends[0])]
        correct = tuple(end for end in ends if end > own)
        wrong = tuple(end for end in ends if end < own or end == start)
        clean, corrupted = ({"event": event, "year": f"17{year}"} for year in (start, "01"))
        return Draft(words.YEAR, clean, corrupted, correct, wrong)

    possible = len(words.EVENTS) * len(starts)
    return _joined("greater_than", drawn(backend, n, seed, possible, ("year",), draft))


def country_capital(model: Any, n: int = 100, *, seed: int = 0) -> Pairs:
    """The capital of a country, or of another one.

    Args:
        model: the model; only countries and capitals that its tokenizer keeps whole are used.
        n: how many pairs.
        seed: what the pairs are drawn with.

    Raises:
        PromptError: not so many pairs, countries or capitals.

    Example:
        >>> from lensscope import pairs
        >>> pairs.country_capital(model, 1).clean
        ('The capital of Norway is the city of',)
    """
    backend = backend_of(model)
    capitals = whole_words(backend, tuple(words.CAPITALS.values()), "capitals", 2)
    candidates = [country for country, city in words.CAPITALS.items() if city in capitals]
    countries = whole_words(backend, candidates, "countries", 2)

    def draft(rng: random.Random) -> Draft:
        pair = rng.sample(countries, 2)
        clean, corrupted = ({"country": country} for country in pair)
        correct, wrong = ((f" {words.CAPITALS[country]}",) for country in pair)
        return Draft(words.CAPITAL, clean, corrupted, correct, wrong)

    possible = math.perm(len(countries), 2)
    return _joined("country_capital", drawn(backend, n, seed, possible, ("country",), draft))


def gendered_pronoun(model: Any, n: int = 100, *, seed: int = 0) -> Pairs:
    """The pronoun of a name, " she" or " he", in a question at the end of a sentence.

    "These days Mary is a really busy doctor, isn't" is followed by " she"; the corrupted prompt
    has a name of the other gender. After Mathwin et al. 2023, "Identifying a Preliminary Circuit
    for Predicting Gendered Pronouns in GPT-2 Small", with sentences of our own.

    Args:
        model: the model; only names that its tokenizer keeps whole are used.
        n: how many pairs.
        seed: what the pairs are drawn with.

    Raises:
        PromptError: not so many pairs or names.

    Example:
        >>> from lensscope import pairs
        >>> sorted(set(pairs.gendered_pronoun(model, 20).correct))
        [(' he',), (' she',)]
    """
    backend = backend_of(model)
    women = whole_words(backend, words.WOMEN, "women's names", 1)
    men = whole_words(backend, words.MEN, "men's names", 1)

    def draft(rng: random.Random) -> Draft:
        chosen = [(rng.choice(women), (" she",)), (rng.choice(men), (" he",))]
        rng.shuffle(chosen)
        (name, right), (other, wrong) = chosen
        return Draft(rng.choice(words.PRONOUN), {"name": name}, {"name": other}, right, wrong)

    possible = 2 * len(words.PRONOUN) * len(women) * len(men)
    return _joined("gendered_pronoun", drawn(backend, n, seed, possible, ("name",), draft))


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
        >>> from lensscope import pairs
        >>> import tempfile; from pathlib import Path
        >>> path = Path(tempfile.mkdtemp(), "capitals.csv")
        >>> pairs.country_capital(model, 3).frame().to_csv(path, index=False)
        >>> pairs.from_csv(path, model)
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


def from_jsonl(path: str | Path, model: Any = None) -> Pairs:
    """Pairs from JSON objects, one a line.

    Args:
        path: a UTF-8 file; the keys are the columns of `from_csv`, several answers are a list.
        model: what `check` checks them with; ``None`` leaves them unchecked.

    Raises:
        PromptError: a file that cannot be read, lacks something, or does not pass the check.

    Example:
        >>> from lensscope import pairs
        >>> import tempfile; from pathlib import Path
        >>> line = '{"clean": "A B", "corrupted": "C B", "correct": " A", "position:end": -1}'
        >>> path = Path(tempfile.mkdtemp(), "letters.jsonl")
        >>> _ = path.write_text(line)
        >>> pairs.from_jsonl(path).positions
        {'end': (-1,)}
    """
    rows = []
    # Not splitlines(): a JSON string may hold other line separators as they are.
    for number, line in enumerate(_text_of(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError(f"no object, but {line.strip()[:60]}")
        except ValueError as error:
            raise _unreadable(f"Line {number} of {path}", error) from error
        rows.append((number, row))
    return _from_rows(path, rows, model)


def _text_of(path: str | Path) -> str:
    try:
        return Path(path).read_bytes().decode("utf-8-sig")
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
    pairs = _joined(Path(path).stem, [_row(f"Line {n} of {path}", row, keys) for n, row in rows])
    if model is not None:
        check(model, pairs)
    return pairs


def _row(where: str, row: Mapping[Any, Any], position_keys: Iterable[str]) -> Row:
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
    return Row(clean, corrupted, tuple(texts["correct"]), tuple(texts["wrong"]), positions)


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


TASKS: Final[Mapping[str, Callable[..., Pairs]]] = {
    "ioi": ioi,
    "greater_than": greater_than,
    "country_capital": country_capital,
    "gendered_pronoun": gendered_pronoun,
}
