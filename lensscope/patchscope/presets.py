"""Patchscopes that come along, by name."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from lensscope import checks
from lensscope.errors import BasisError, LensError, LensscopeError, PromptError
from lensscope.model.classes import backend_of
from lensscope.patchscope.inspection import InspectionPrompt
from lensscope.patchscope.readers.saved import read_saved
from lensscope.values.sites import resid_post, resid_pre

P = TypeVar("P", bound="Presets")
ENTITY_DESCRIPTION: Final = (
    "Syria: Country in the Middle East, Leonardo DiCaprio: American actor, Samsung: South Korean "
    "multinational major appliance and consumer electronics corporation, x"
)
DEFINITION: Final = (
    "Syria is a country in the Middle East. Leonardo DiCaprio is an American actor. Samsung is a "
    "South Korean electronics company. Lyon is a city in France. x is"
)
IDENTITY_WORDS: Final = ("cat", "1135", "hello")


TARGET: Final = 1
"""The output of this block is the input of block 2."""
TUNED: Final = "data/tuned.safetensors"


def _words(value: Any, name: str, error: type[LensscopeError]) -> list[str]:
    """A check: some words."""
    instead = 'words=["cat", "1135", "hello"]'
    return [checks.text(w, name, error) for w in checks.several(value, name, instead, error)]


class Presets:
    """The presets of a `Patchscope`."""

    @classmethod
    @checks.door(PromptError, words=_words)
    def token_identity(cls: type[P], words: Sequence[str] = IDENTITY_WORDS, **kwargs: Any) -> P:
        """``cat -> cat``, …, ``?``: which token is this state? (section 4.1)

        As in the article, it writes at the layer that it reads.

        Args:
            words: what stands for itself in the prompt.
            **kwargs: as of a `Patchscope`.
        """
        lines = "".join(f"{word} -> {word}\n" for word in words)
        return _made(cls, InspectionPrompt(lines + "?", "?"), **{"max_new_tokens": 1, **kwargs})

    @classmethod
    @checks.door(PromptError)
    def entity_description(cls: type[P], **kwargs: Any) -> P:
        """Three described entities and a placeholder: what is this the name of? (section 4.3)

        Unlike the article's, which writes at the layer that it reads, it writes into the input of
        block 2 (at the output of block 1), since names are read best in an early block:
        `reading_blocks`, or ``lensscope best-block``, says in which one. The article's way is
        ``inspect(…, target_layers="same")``.

        Args:
            **kwargs: as of a `Patchscope`.
        """
        return _made(cls, InspectionPrompt(ENTITY_DESCRIPTION, "x"), **_early(kwargs))

    @classmethod
    @checks.door(PromptError)
    def attribute(cls: type[P], text: str, placeholder: str = "x", **kwargs: Any) -> P:
        """An unfinished sentence: ``"The largest city in x"``. (section 4.2)

        It writes where `entity_description` does, and ``inspect(…, target_layers="all")``, as in
        the article, everywhere.

        Args:
            text: the sentence.
            placeholder: what stands in it for the state.
            **kwargs: as of a `Patchscope`.
        """
        return _made(cls, InspectionPrompt(text, placeholder), **_early(kwargs))

    @classmethod
    @checks.door(PromptError)
    def selfie(
        cls: type[P],
        text: str = "Message: _ _ _ _ _\nIn other words, the message says:",
        placeholder: str = "_",
        layer: int = 2,
        **kwargs: Any,
    ) -> P:
        """Write at several placeholders into the input of an early block, and ask for a summary.

        Chen et al. 2024, "SelfIE: Self-Interpretation of Large Language Model Embeddings". Reads
        block outputs; with ``mix`` below 1 it interpolates, with ``match_norm=True`` the state
        gets the length of the placeholder's own.
        """
        options = {"write": resid_pre(layer), "read": resid_post, "match_norm": True, **kwargs}
        return _made(cls, InspectionPrompt(text, placeholder), **options)

    @classmethod
    @checks.door(PromptError, block=checks.whole(0, instead=2))
    def definition(cls: type[P], block: int = 2, **kwargs: Any) -> P:
        """Four things told in a sentence each, and a placeholder: what is this?

        Unlike the article's presets, which write at the layer that they read, it writes block
        outputs into the input of one early block, where nearly all layers speak;
        `reading_blocks` finds which block is the best one for a model.

        Args:
            block: the block.
            **kwargs: as of a `Patchscope`.

        Example:
            >>> scope = ls.Patchscope.definition(max_new_tokens=4)
            >>> scope.inspect(model, "I have read about Japan", layers=[8]).frame()["text"][0]
            ' a country in East'
        """
        options = {"write": resid_pre(block), "read": resid_post, "max_new_tokens": 10, **kwargs}
        return _made(cls, InspectionPrompt(DEFINITION, "x"), **options)

    @classmethod
    @checks.door(LensError)
    def tuned(cls: type[P], model: Any = None) -> P:
        """The trained reader of the demo model that comes with lensscope: `definition`, with a map
        for each source layer. ``make reader`` trains such a one anew.

        Args:
            model: the model that it is to read; if it is given, its weights are looked at.

        Raises:
            BasisError: other weights than those that the reader was trained on.

        Example:
            >>> reader = ls.Patchscope.tuned(model)
            >>> reader.trained.kind, len(reader.transform.layers)
            ('tuned patchscope', 30)
        """
        fields = read_saved(Path(str(files("lensscope.patchscope").joinpath(TUNED))))
        trained = fields["trained"]
        if model is not None:
            here = backend_of(model).provenance()
            if here.fingerprint != trained.model.fingerprint:
                raise BasisError(
                    "The trained reader that comes along is for other weights.",
                    got=f"{here.model}, weights {here.fingerprint}",
                    expected=f"{trained.model.model}, weights {trained.model.fingerprint}",
                    instead="ls.Patchscope.definition().fit(model, names), which takes minutes",
                )
        return _made(cls, **fields)


def _early(fields: dict[str, Any]) -> dict[str, Any]:
    """Written early, unless a user says where."""
    chosen = {"write", "target_layer", "earliest"} & set(fields)
    return fields if chosen else {"target_layer": TARGET, **fields}


def _made(cls: type[P], *given: Any, **fields: Any) -> P:
    """A patchscope, whose constructor `Presets` does not know."""
    return cast(Any, cls)(*given, **fields)
