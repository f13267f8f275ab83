"""The tuned lens: one affine translator a layer, trained on the model's own final distribution."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch

from lensscope import checks
from lensscope.engine.capture import SitesLike
from lensscope.errors import LensError
from lensscope.lenses.corpus import Corpus, Texts, named, pieces
from lensscope.lenses.linear import LinearLens
from lensscope.lenses.origin import Origin
from lensscope.lenses.places import RESIDUAL, concrete
from lensscope.lenses.scores import scores_on
from lensscope.lenses.settings import Training
from lensscope.lenses.training import Trainer
from lensscope.lenses.translators import Translator, as_input, check_translators
from lensscope.lenses.tuned_lens_folder import read_folder, write_folder
from lensscope.model.backend import Backend
from lensscope.model.classes import backend_of
from lensscope.store.files import path_of
from lensscope.values.sites import Site, resid_post, resid_pre

if TYPE_CHECKING:
    from typing_extensions import Self

_UNLESS_BOS: Final = "the first token where it is no BOS"
_MOST_HELD_OUT: Final = 20_000
"""Pieces of text that a lens is measured on."""


@dataclass(frozen=True, eq=False, repr=False)
class TunedLens(LinearLens):
    """One affine translator a layer, ``h + A h + b``, then the model's own final norm and head.

    Belrose et al. 2023, "Eliciting Latent Predictions from Transformers with the Tuned Lens". The
    translators are trained to make the lens' distribution that of the model's last layer, in
    ``KL(final || lens)``, and start at the identity, where the lens is the logit lens.

    Example:
        >>> lens = ls.TunedLens.identity(model)
        >>> reading = lens.read(model, "The Eiffel Tower is in the city of", positions=-1)
        >>> reading.data.predicted.sel(layer=29, rank=0).item()
        ' Paris'
    """

    name: str = "tuned lens"

    @classmethod
    @checks.door(LensError)
    def identity(cls, model: Any, sites: SitesLike = resid_pre) -> Self:
        """A lens that has not been trained: the logit lens."""
        backend = backend_of(model)
        d = backend.d_model
        blank = Translator(torch.zeros(d, d), torch.zeros(d), residual=True)
        return cls(dict.fromkeys(_trained(backend, sites), blank), Origin.of(backend))

    @classmethod
    @checks.door(LensError, name=checks.text, corpus=checks.text)
    def fit(
        cls,
        model: Any,
        texts: Texts,
        *,
        sites: SitesLike = resid_pre,
        held_out: Texts | None = None,
        checkpoint: str | Path | None = None,
        name: str = "tuned lens",
        corpus: str | None = None,
        **settings: Any,
    ) -> Self:
        """Train translators on texts.

        The model is run on a batch of texts at a time, and no activations are stored. The loss of a
        layer is the mean over tokens of ``KL(final || lens)``, nats, as in Belrose et al. Their way
        to its minimum is another: SGD with Nesterov momentum (``optimizer="sgd"``) on all tokens
        of far larger batches; the default is Adam on some tokens of each, in coordinates of typical
        size. The first token of a piece without BOS is left out (``skip_first=0`` takes it in).

        Args:
            model: the model; its weights are not touched.
            texts: any iterable of texts or token ids, or the ``Path`` of a text file. A list is
                gone through as often as needed; an iterator once.
            sites: kinds of the residual stream, or some layers of them. The inputs of all blocks by
                default: those are the outputs of all blocks but the last, and the embedding.
            held_out: texts to measure on; by default some pieces of ``texts`` are kept apart.
            checkpoint: a file to keep the training in. The same call again goes on from there, and
                gives what it would have given.
            name: what the lens is called.
            corpus: what the texts are called in its scores; by default how many they are and how
                they begin.
            **settings: of `lensscope.lenses.settings.Training`: ``steps``, ``batch_size``,
                ``length``, ``tokens_per_step``, ``optimizer``, ``learning_rate``, ``momentum``,
                ``weight_decay``, ``clip``, ``bf16``, ``n_held_out``, ``skip_first``, ``seed``,
                ``checkpoint_every``.

        Returns:
            The lens; ``lens.scores()`` says what it gives on held-out text of the same kind, before
            and after, and ``lens.scores(model, texts)`` on other texts.

        Raises:
            LensError: too little text, settings that make no sense, a checkpoint of another
                training, a loss that is not finite (the last good checkpoint stays).

        Example:
            >>> from lensscope.lenses.corpus import python_docs
            >>> lens = ls.TunedLens.fit(model, python_docs()[:4], sites=ls.resid_post(20), steps=3)
            >>> lens.scores().columns.tolist()
            ['site', 'kl_before', 'kl_after', 'ce_before', 'ce_after', 'corpus']
        """
        checks.gradients_flow("a fit", LensError)
        backend = backend_of(model)
        training = Training.of(settings)
        own = training.n_held_out if held_out is None else 0
        places = _trained(backend, sites)
        shortest = max(2, (training.skip_first or 0) + 1)
        source = Corpus(
            backend,
            texts,
            training.length,
            training.batch_size,
            shortest=shortest,
            n_held_out=own,
            seed=training.seed,
        )
        apart = source.held_out
        if held_out is not None:
            found = pieces(model, held_out, training.length, shortest=shortest)
            apart = list(islice(found, _MOST_HELD_OUT + 1))
        if len(apart) > _MOST_HELD_OUT:
            raise LensError(
                "This is too much text to measure on.",
                got=f"more than {_MOST_HELD_OUT:,} pieces of held-out text",
                expected="some hundred, which are measured before and after",
                instead="held_out=texts[:500]",
            )
        if not apart:
            raise LensError(
                "There is no text to measure on.",
                got=f"held_out={held_out!r}"[:80],
                expected="at least one text of two tokens",
                instead="held_out=None, which keeps some of the texts apart",
            )
        where = None if checkpoint is None else path_of(checkpoint)
        trainer = Trainer(backend, places, source, training, where)
        trainer.run()
        translators = trainer.translators()
        check_translators(translators, "The training")
        history = scores_on(backend, apart, translators, training.skip_first)
        trainer.save()
        called = named(texts) if corpus is None else corpus
        history["losses"] = torch.tensor(trainer.losses, dtype=torch.float64)
        return cls(
            translators,
            Origin.of(backend),
            name=name,
            settings={
                **asdict(training),
                **({} if training.skip_first is not None else {"skip_first": _UNLESS_BOS}),
                "texts": source.hash,
                "bf16": trainer.bf16,
                "corpus": called,
                "measured_on": f"held out of {called}" if held_out is None else named(held_out),
            },
            history=history,
        )

    # ---------------------------------------------------------------- the tuned-lens library

    @classmethod
    @checks.door(LensError)
    def load(cls, path: str | Path, *, allow_pickle: bool = False) -> Self:
        """Read a file that `save` wrote, or a folder of the tuned-lens library.

        Args:
            path: a file, or a folder with ``config.json`` and ``params.pt`` or
                ``params.safetensors``.
            allow_pickle: let ``params.pt`` be read, which is a file of ``torch.save``; of what is
                in it, only tensors are.

        Raises:
            LensError: no such file, not whole, not a lens, or pickle that was not allowed.
        """
        if path_of(path).is_dir():
            return cls(*read_folder(path_of(path), allow_pickle=allow_pickle))
        return super().load(path)

    @checks.door(LensError)
    def to_tuned_lens(self, folder: str | Path, model: Any) -> Path:
        """Write it as a folder that the tuned-lens library loads: ``config.json``, ``params.pt``.

        Args:
            folder: where to; made if it is not there.
            model: the model that it was fitted on, whose unembedding is named in the folder.

        Raises:
            LensError: it lacks the input of a block, or was fitted on folded weights.
            BasisError: another model.
        """
        backend = backend_of(model)
        self.origin.check(backend, f"The {self.name}")
        return write_folder(self.translators, path_of(folder), backend)


def _trained(backend: Backend, sites: SitesLike) -> list[Site]:
    """Where there are translators: each place once, without the last block's output.

    Raises:
        LensError: no residual kinds, or nothing but the last block's output.
    """
    last = resid_post(backend.n_layers - 1)
    found = list(dict.fromkeys(as_input(s, backend.n_layers) for s in concrete(backend, sites)))
    wrong = [site for site in found if site.kind not in RESIDUAL]
    places = [site for site in found if site != last]
    if wrong or not places:
        raise LensError(
            "There is nothing to translate here.",
            got=", ".join(map(repr, wrong[:4])) or repr(sites),
            expected="kinds of the residual stream below the last block's output",
            instead="sites=ls.resid_pre, or [ls.resid_pre, ls.resid_mid]",
        )
    return places
