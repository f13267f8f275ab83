"""The affine lens: the least-squares map from a layer to the last residual, or to any other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from lensscope import checks
from lensscope.engine.capture import SitesLike
from lensscope.errors import LensError
from lensscope.lenses.corpus import Corpus, Piece, Texts, named
from lensscope.lenses.linear import LinearLens
from lensscope.lenses.moments import Moments
from lensscope.lenses.notes import begins_with_bos
from lensscope.lenses.origin import HEADER as ORIGIN
from lensscope.lenses.origin import Origin
from lensscope.lenses.places import RESIDUAL, concrete
from lensscope.lenses.states import Asked, gathered
from lensscope.lenses.translators import Translator, as_input, check_translators
from lensscope.model.backend import Backend
from lensscope.model.classes import backend_of
from lensscope.model.tokens import tokenize
from lensscope.progress import progress
from lensscope.store.json_text import conform
from lensscope.values.prompts import TokenizedPrompt
from lensscope.values.sites import Site, resid_post

if TYPE_CHECKING:
    from typing_extensions import Self

_BATCH: Final = 16


@dataclass(frozen=True, eq=False, repr=False)
class AffineLens(LinearLens):
    """The least-squares affine map from a layer to the last residual, then final norm and head.

    This is the baseline that the Patchscopes paper calls tuned lens (Ghandeharioun et al. 2024,
    section 4.1). The paper's published code fits to transformers' last ``hidden_states``, which
    come *after* the final norm, and writes what it predicts *before* that norm, so it is normed
    twice. Here the target is the last residual itself, which the norm has not touched.

    Fitted to another site, or to another model, it is no lens but a transform: `at` gives the map
    of a site, and ``Patchscope(…, transform=lens, model=other)`` uses that of each layer it reads.

    Attributes:
        target: the site that is foretold, with its layer.
        into: the model that it is a site of.

    Example:
        >>> from lensscope.lenses.corpus import python_docs
        >>> lens = ls.AffineLens.fit(model, python_docs()[:1], sites=ls.resid_post(20))
        >>> lens.at(ls.resid_post(20))
        affine[576 -> 576]
    """

    name: str = "affine lens"
    target: Site = field(default=resid_post)
    into: Origin | None = None

    @classmethod
    @checks.door(LensError, name=checks.text, corpus=checks.text)
    def fit(
        cls,
        model: Any,
        texts: Texts,
        *,
        sites: SitesLike = resid_post,
        target: Site | None = None,
        target_model: Any = None,
        ridge: float = 1e-3,
        length: int = 64,
        skip_first: int = 1,
        max_tokens: int | None = 20_000,
        name: str = "affine lens",
        corpus: str | None = None,
    ) -> Self:
        """Fit a map for each site by ridge regression, from one pass over texts.

        With ``ridge=0`` it is plain least squares, as in the paper. Only sums of products are
        kept, in float64: no activations.

        Args:
            model: the model whose states are mapped.
            texts: any iterable of texts or token ids, or the ``Path`` of a text file.
            sites: kinds of the residual stream, or some layers of them.
            target: what is foretold; the last residual by default.
            target_model: the model that ``target`` is a site of; the same by default. Two
                tokenizers that cut differently are matched where tokens end at the same character.
            ridge: the penalty, relative to the variance of each entry of a state.
            length: tokens of a piece of text.
            skip_first: tokens at the start of each piece that are left out. The states of the first
                one are many times larger than the others in most models, and a sum of squares would
                be about little else.
            max_tokens: read about so many tokens at most.
            name: what the lens is called.
            corpus: what the texts are called in its settings; by default how many they are and how
                they begin.

        Raises:
            LensError: too little text, no residual kinds, a ridge below zero.

        Example:
            >>> from lensscope.lenses.corpus import python_docs
            >>> halfway = ls.AffineLens.fit(
            ...     model, python_docs()[:1], sites=ls.resid_post(5), target=ls.resid_post(15))
            >>> halfway.at(ls.resid_post(5))(torch.zeros(576)).shape
            torch.Size([576])
        """
        here = backend_of(model)
        there = here if target_model is None else backend_of(target_model)
        own_last = resid_post(there.n_layers - 1)
        (goal,) = concrete(there, own_last if target is None else target)[:1]
        one = target is None or len(concrete(there, target)) == 1
        places = [s for s in concrete(here, sites) if there is not here or s != goal]
        wrong = [s for s in (*places, goal) if s.kind not in RESIDUAL]
        if wrong or not places or not one:
            raise LensError(
                "An affine lens cannot be fitted like this.",
                got=f"sites={sites!r}, target={target!r}",
                expected="residual sites other than the target, and one target with its layer",
                instead="ls.AffineLens.fit(model, texts, sites=ls.resid_post)",
            )
        source = Corpus(here, texts, length, _BATCH, shortest=skip_first + 1)
        sums = {
            as_input(place, here.n_layers): Moments(here.d_model, there.d_model) for place in places
        }
        n_tokens = 0
        with progress(max_tokens or 0, name, "token") as bar:
            for batch in source.once():
                done = _add(here, there, batch, sums, goal, skip_first)
                n_tokens += done
                bar.update(done)
                if max_tokens is not None and n_tokens >= max_tokens:
                    break
        if not n_tokens:
            raise LensError(
                "There is too little text to fit a lens on.",
                got=f"no token beyond the first {skip_first} of a piece, in both models",
                expected="longer texts",
                instead=f"pieces of more than {skip_first} tokens",
            )
        translators = {}
        for place, moments in sums.items():
            matrix, bias = moments.solve(ridge)
            translators[place] = Translator(matrix.float(), bias.float())
        check_translators(translators, f"The fit of the {name}")
        settings: dict[str, Any] = {"ridge": ridge, "length": length, "skip_first": skip_first}
        settings |= {"tokens": n_tokens, "texts": source.hash}
        settings |= {"corpus": named(texts) if corpus is None else corpus}
        into = None if there is here else Origin.of(there)
        return cls(
            translators, Origin.of(here), name=name, settings=settings, target=goal, into=into
        )

    @property
    def to_the_end(self) -> bool:
        """Whether it foretells the last residual of its own model."""
        last = resid_post(self.origin.provenance.n_layers - 1)
        return self.into is None and self.target == last

    def check_maps(self, here: Backend, target: Backend) -> None:
        """Refuse other models than it maps between.

        Raises:
            BasisError: another model, basis or unembedding.
        """
        self.origin.check(here, f"The {self.name}")
        (self.into or self.origin).check(target, f"The {self.name}, as to where it leads,")

    def check(self, backend: Backend, sites: Sequence[Site]) -> None:
        """Refuse as a `LinearLens` does, and to read what does not foretell the last residual.

        Raises:
            BasisError: another model, basis or unembedding.
            LensError: sites that it lacks, or a target that is not the last residual.
        """
        if not self.to_the_end:
            raise LensError(
                "This map does not lead to the last residual, so it reads nothing.",
                got=f"a map to {self.target!r}"
                + (f" of {self.into.provenance.model}" if self.into is not None else ""),
                expected="a map to the last residual of the same model",
                instead="Patchscope(…, transform=lens), or lens.at(site) >> …",
            )
        super().check(backend, sites)

    _shape = {"target": [(str, int, None)], "into": (dict, None)}  # noqa: RUF012

    def _header(self) -> dict[str, Any]:
        into = None if self.into is None else self.into.to_json()
        return {"target": [self.target.kind, self.target.layer], "into": into}

    @classmethod
    def _extra(cls, header: Mapping[str, Any]) -> dict[str, Any]:
        into = header["into"]
        if into is not None:
            conform(into, ORIGIN, "into")
        return {
            "target": Site(*header["target"]),
            "into": None if into is None else Origin.from_json(into),
        }


def _add(
    here: Backend,
    there: Backend,
    batch: Sequence[Piece],
    sums: Mapping[Site, Moments],
    goal: Site,
    skip_first: int,
) -> int:
    """Take in a batch of pieces; how many tokens that was."""
    prompts = [tokenize(here, list(piece))[0] for piece in batch]
    if there is here:
        tokens = [tuple(range(skip_first, len(p))) for p in prompts]
        pairs = [(p, t, p, t) for p, t in zip(prompts, tokens, strict=True) if t]
    else:
        pairs = [p for prompt in prompts if (p := _matched(here, prompt, there, skip_first))]
    if not pairs:
        return 0
    sources = [Asked(prompt, tokens) for prompt, tokens, _, _ in pairs]
    places = [goal, *sums] if there is here else list(sums)
    (own,) = gathered(here, sources, places, final=False, together=True)
    if there is here:
        y = own.states[goal]
    else:
        targets = [Asked(prompt, tokens) for _, _, prompt, tokens in pairs]
        (other,) = gathered(there, targets, [goal], final=False, together=True)
        y = other.states[goal]
    for place, moments in sums.items():
        moments.add(own.states[place], y)
    return len(y)


def _matched(
    here: Backend, prompt: TokenizedPrompt, there: Backend, skip_first: int
) -> tuple[TokenizedPrompt, tuple[int, ...], TokenizedPrompt, tuple[int, ...]] | None:
    """The same text in another model's tokens, and where both have a token end.

    The other model follows its own default about BOS, unless this one was made not to.
    """
    if here.tokenizer is None or there.tokenizer is None:
        raise LensError(
            "Tokens of two models are matched by their text.",
            got="a model without a tokenizer",
            expected="two models with tokenizers",
            instead="model.tokenizer = …",
        )
    has_bos = begins_with_bos(here, prompt.ids)
    (bare,) = tokenize(here, list(prompt.ids[has_bos:])) if len(prompt) > has_bos else (prompt,)
    own = has_bos == here.default_prepend_bos
    (other,) = tokenize(there, bare.text, None if own else has_bos)
    (again,) = tokenize(here, bare.text, False)
    # Spans from text give each part of a character its end, and the last part is the one that is
    # there. What does not tokenize as it was made has spans from ids, where a part of a character
    # has the end of what comes before it.
    ends: dict[int, int] = {}
    for n, (_, end) in enumerate((again if again.ids == bare.ids else bare).char_spans):
        if again.ids == bare.ids or end not in ends:
            ends[end] = n + int(has_bos)
    theirs_at = {end: n for n, (_, end) in enumerate(other.char_spans) if end}
    both = [
        (n, theirs_at[end])
        for end, n in ends.items()
        if n >= skip_first and end in theirs_at and theirs_at[end] >= skip_first
    ]
    if not both:
        return None
    mine, theirs = (tuple(axis) for axis in zip(*both, strict=True))
    return prompt, mine, other, theirs
