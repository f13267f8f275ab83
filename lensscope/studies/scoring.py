"""Is what was generated right? Occurrence of an answer, ROUGE-L, similarity of sentences."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, TypeAlias

from lensscope import checks
from lensscope.errors import StudyError
from lensscope.studies.places import whole

Match: TypeAlias = Literal["words", "substring"]
_ARTICLES: Final = ("a", "an", "the")


def contains(text: str, answers: Sequence[str], match: Match = "words") -> bool:
    """Whether one of the answers occurs in a text.

    Not the paper's test: Ghandeharioun et al. look for the answer as a substring, as it is written,
    so that "India" is found in "Indiana". Here it must be there as whole words, in upper or lower
    case, however letters with marks are encoded. An answer that is one letter or an article must
    stand by itself, as it is written: "A." and "A, B", not "A city". With ``match="substring"`` it
    is the paper's test.

    Example:
        >>> from lensscope.studies.scoring import contains
        >>> contains(", Tokyo, with a population", ["tokyo"]), contains("a European", ["euro"])
        (True, False)
        >>> contains("a European", ["Euro"], "substring"), contains("It is a city", ["A"])
        (True, False)
    """
    if match == "substring":
        return any(_encoded(answer) in _encoded(text) for answer in answers)
    return any(
        _alone(answer).search(_encoded(text))
        if _is_short(answer)
        else _pattern(answer).search(_plain(text))
        for answer in answers
    )


def _encoded(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _plain(text: str) -> str:
    return _encoded(text).casefold()


def _is_short(answer: str) -> bool:
    """Whether an answer is also a word of any sentence."""
    word = _encoded(answer.strip())
    return (len(word) == 1 and word.upper() != word.lower()) or word.casefold() in _ARTICLES


@functools.lru_cache(maxsize=4096)
def _pattern(answer: str) -> re.Pattern[str]:
    words = r"\s+".join(map(re.escape, _plain(answer).split()))
    return re.compile(whole(words))


@functools.lru_cache(maxsize=256)
def _alone(answer: str) -> re.Pattern[str]:
    """A word that nothing but signs or a new line follows; not what a sentence begins with that
    was broken off there, nor "A's" or "a-ha"."""
    word = _encoded(answer.strip())
    ends = r"|\Z" if word.isupper() else ""
    own = rf"{re.escape(word)}(?!['’-]\w)(?=\s*?(?:[^\w\s]|\n{ends}))"
    return re.compile(rf"\A\W*{re.escape(word)}\W*\Z|(?<!\w)(?<!\w['’-])(?<!\w[.!?]\s){own}")


def rouge_l(text: str, reference: str) -> float:
    """The F-measure of ROUGE-L, words stemmed, with Google's ``rouge-score``.

    Lin 2004; as the Patchscopes paper scores descriptions (section 4.3).

    Example:
        >>> from lensscope.studies.scoring import rouge_l
        >>> rouge_l(": American film franchise", "American film franchise")
        1.0
    """
    if not _words(text) & _words(reference):
        return 0.0
    return float(_rouge().score(reference, text)["rougeL"].fmeasure)


@functools.lru_cache(maxsize=1 << 16)
def _words(text: str) -> frozenset[str]:
    return frozenset(_stemmed(text))


def _stemmed(text: str) -> list[str]:
    return [_stem(word) for word in re.findall(r"\w+", _plain(text))]


@functools.lru_cache(maxsize=1)
def _rouge() -> Any:
    from rouge_score import tokenizers
    from rouge_score.rouge_scorer import RougeScorer

    class Words(tokenizers.Tokenizer):  # type: ignore[misc]
        """Words of any alphabet; rouge-score's own tokenizer drops all but a to z."""

        def tokenize(self, text: str) -> list[str]:
            return _stemmed(text)

    return RougeScorer(["rougeL"], tokenizer=Words())


@functools.lru_cache(maxsize=65536)
def _stem(word: str) -> str:
    stemmed: str = _stemmer().stem(word) if len(word) > 3 else word
    return stemmed


@functools.lru_cache(maxsize=1)
def _stemmer() -> Any:
    from nltk.stem.porter import PorterStemmer

    return PorterStemmer()


@functools.lru_cache(maxsize=4)
def sentence_model(name: str) -> Callable[[str, str], float]:
    """The cosine of two sentences under a sentence model.

    Args:
        name: a folder, or the name of a model in the local cache, that ``sentence-transformers``
            can load.

    Raises:
        StudyError: not installed, or no such model here.
    """
    what, expected = "Sentence models need the extra similarity.", "sentence-transformers"
    with checks.needing("similarity", what, expected, StudyError, "similarity=None"):
        from sentence_transformers import SentenceTransformer
    try:
        model = SentenceTransformer(name, local_files_only=True)
    except (OSError, ValueError) as error:
        raise StudyError(
            "There is no such sentence model here.",
            got=f"{name!r}: {str(error)[:200]}",
            expected="a folder, or a model in the local cache",
            instead="similarity='path/to/all-MiniLM-L6-v2'",
        ) from error

    @functools.lru_cache(maxsize=8192)
    def vector(text: str) -> Any:
        return model.encode(text, normalize_embeddings=True, show_progress_bar=False)

    def alike(text: str, reference: str) -> float:
        return float(vector(text) @ vector(reference))

    return alike
