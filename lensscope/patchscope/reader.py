"""What a trained or kept patchscope can be: loaded, asked, saved, taken back to a vector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from lensscope import checks
from lensscope.errors import LensError, PromptError
from lensscope.lenses.corpus import Texts
from lensscope.model.classes import backend_of
from lensscope.patchscope.fitting.alignment import spread_over
from lensscope.patchscope.fitting.blocks import block_scores
from lensscope.patchscope.fitting.fit import fitted, scored
from lensscope.patchscope.fitting.settings import FitSettings
from lensscope.patchscope.layers import LayersLike, layers_of
from lensscope.patchscope.maps import LayerMaps
from lensscope.patchscope.readers.given import Given
from lensscope.patchscope.readers.loading import loaded
from lensscope.patchscope.readers.saved import write_scope
from lensscope.patchscope.readers.selfie_adapters import write_selfie
from lensscope.patchscope.reconstruction import Reconstruction
from lensscope.patchscope.trained import Trained
from lensscope.store.files import path_of
from lensscope.values.rules import Rule, as_rule
from lensscope.values.sites import Site, resid_pre
from lensscope.values.transforms import Projection

if TYPE_CHECKING:
    import pandas as pd

R = TypeVar("R", bound="Reader")


class Reader:
    """What a `Patchscope` can do if it was trained, published or saved."""

    @classmethod
    @checks.door(LensError, question=checks.text, rule=as_rule)
    def load(
        cls: type[R],
        folder: str | Path,
        model: Any,
        *,
        question: str | None = None,
        rule: Rule | None = None,
        allow_pickle: bool = False,
    ) -> R:
        """A reader that was trained and published, or a patchscope that was saved.

        Which it is, is told by its files: an Activation Oracle (a folder of PEFT, most with
        ``ao_config.json``), an oracle lens (with ``run.json``), a natural-language autoencoder
        (``nla_meta.yaml``, or ``av`` and ``ar`` with one each), a SelfIE adapter (one safetensors
        file, or an older one of ``torch.save``), or what `save` wrote. An adapter acts only while
        the reader speaks, never while states are read, and nothing of the model is changed.

        Args:
            folder: a folder or file on this machine.
            model: the model that it is for; an autoencoder brings a model of its own, and is for
                states of this one.
            question: what is asked, as `asking` does; where the files name a prompt and do not hold
                it (SelfIE adapters, oracle lenses), all of the prompt.
            rule: how states are written, in place of what the files say. Oracles of before
                2025-10-26 replace what is there, later ones add to it: where the date is not in the
                files, it must be said.
            allow_pickle: read a file of ``torch.save``; even then, tensors and plain values only.

        Raises:
            LensError: no reader, files that are missing, damaged, pickled or of another version, an
                adapter of another kind than plain LoRA, or one that nobody can tell how to read.
            BasisError: it is for another model, or would change nothing in this one.
            PromptError: a placeholder that is not one token, or that is in the question.
            ModelError: a model without linear modules, which an adapter needs.

        Example:
            >>> scope = ls.Patchscope.entity_description(max_new_tokens=5)
            >>> path = scope.save("described.safetensors")
            >>> scope = ls.Patchscope.load(path, model)
            >>> result = scope.inspect(model, "Jurassic Park", layers=[12], target_layers="same")
            >>> result.frame()["text"][0]
            ': American film franchise,'
            >>> path.unlink()
        """
        path = path_of(folder).expanduser()
        fields = loaded(Given(path, backend_of(model), question, rule, allow_pickle))
        return cls(**fields)

    @checks.door(LensError, map=checks.text, objective=checks.text)
    def fit(
        self: R,
        model: Any,
        texts: Texts,
        *,
        objective: str = "description",
        layers: LayersLike = None,
        map: str = "low_rank",
        checkpoint: str | Path | None = None,
        **settings: Any,
    ) -> R:
        """Train the map from a state to what is written of it, one for each source layer.

        A tuned patchscope is to a patchscope what the tuned lens is to the logit lens: the model is
        left as it is, and only the map is trained, by gradient through the model that speaks. What
        stands before the placeholder is run once; a row costs what follows it. Maps begin at the
        raw write, and the ones that did best on what was kept apart are given. Of a patchscope that
        always writes at one layer, source layers share what is learnt, beside a scale and a bias of
        each; of one that writes each state at its own layer, each learns by itself.

        Args:
            model: the model, which is read and speaks.
            texts: of ``"description"``, names: each is read inside a sentence, and the reader is
                taught what the model itself says where the name stands in the prompt as text. Of
                ``"next_token"``, texts as of `TunedLens.fit`: the reader is taught what the model
                says next where the state was read.
            objective: one of the two.
            layers: source layers; all by default.
            map: ``"scale"``, ``"low_rank"`` or ``"full"``.
            checkpoint: a file to keep the training in. The same call again goes on from there.
            **settings: of `lensscope.patchscope.fitting.settings.FitSettings`: ``rank``,
                ``template``, ``max_tokens``, ``stop``, ``passes``, ``steps``, ``batch_size``,
                ``learning_rate``, ``weight_decay``, ``clip``, ``n_held_out``, ``length``, ``seed``,
                ``checkpoint_every``.

        Returns:
            The patchscope with its maps; ``scope.trained.frame()`` has the scores on names or text
            that were kept apart, before and after, and `save` keeps all of it.

        Raises:
            LensError: a map or a model of its own, too few names, settings that make no sense,
                another training's checkpoint, a loss that is not finite (what was kept stays).
            PromptError: a name that is empty or there twice, a placeholder that is not one token.

        Example:
            >>> scope = ls.Patchscope("x is", ls.resid_pre(2), read=ls.resid_post)
            >>> names = ["Wales", "Japan", "Peru", "Mozart", "Hamlet", "Toyota"]
            >>> reader = scope.fit(model, names, layers=[8], rank=2, steps=2, n_held_out=2)
            >>> reader.trained.frame().columns.tolist()
            ['layer', 'nats_before', 'nats_after', 'kl_before', 'kl_after']
        """
        own = FitSettings.of({"objective": objective, "map": map, **settings})
        where = None if checkpoint is None else path_of(checkpoint)
        backend = backend_of(model)
        scope = cast(Any, self).settled(backend.n_layers)
        maps, trained = fitted(scope, backend, texts, layers, where, own)
        return cast(R, replace(scope, transform=maps, trained=trained))

    @checks.door(
        LensError,
        level=checks.share,
        resamples=checks.whole(1, checks.REPEATS, 1000),
    )
    def scores(
        self,
        model: Any,
        texts: Texts,
        *,
        layers: LayersLike = None,
        level: float = 0.95,
        resamples: int = 1000,
        seed: int = 0,
    ) -> pd.DataFrame:
        """What the training of a patchscope gives on other names or texts, by layer.

        Args:
            model: the model that it was trained on.
            texts: names, or texts, as `fit` was given; of a text all tokens.
            layers: source layers; all that it was trained on by default.
            level: of the intervals.
            resamples: how often names or tokens are drawn for them.
            seed: of these draws.

        Returns:
            A frame with a line a layer: ``lessons``, how many; ``nats`` a token of what the model
            itself says, and ``kl`` of its distribution from the reader's, with the raw write
            (``_before``) and with the trained map (``_after``); and their paired ``_difference``
            with its interval over names or tokens (``_low``, ``_high``).

        Raises:
            LensError: a patchscope that was not trained by `fit`.
            BasisError, SiteError, PromptError: another model, a layer without a map, no names.

        Example:
            >>> found = ls.Patchscope.tuned().scores(model, ["Iceland", "Mozart"], layers=[24])
            >>> bool(found.nats_difference[0] < 0)
            True
        """
        import pandas as pd

        backend = backend_of(model)
        scope = cast(Any, self).settled(backend.n_layers)
        return pd.DataFrame(scored(scope, backend, texts, layers, level, resamples, seed))

    @checks.door(LensError, names=checks.listed)
    def reading_blocks(
        self,
        model: Any,
        names: Sequence[str],
        *,
        blocks: LayersLike = None,
        layers: LayersLike = None,
        **settings: Any,
    ) -> pd.DataFrame:
        """Into which block states are best written: what the model says of names, given their
        states, by block and source layer.

        Args:
            model: the model, which is read and speaks.
            names: names to try, some tens of them.
            blocks: the blocks whose input is written; by default the first third of them.
            layers: source layers; by default six of them, evenly spread.
            **settings: ``template``, ``max_tokens`` and ``stop`` of `fit`.

        Returns:
            A frame with a line for each block and source layer: ``block``, ``source_layer``, and
            ``nats`` a token of what the model itself says of the name; the lower, the better.

        Raises:
            LensError, PromptError, SiteError: as `fit`.

        Example:
            >>> scope = ls.Patchscope.definition()
            >>> found = scope.reading_blocks(model, ["Japan", "Peru"], blocks=[2, 20], layers=[8])
            >>> int(found.set_index("block").nats.idxmin())
            2
        """
        backend = backend_of(model)
        scope = cast(Any, self)
        kind = Site((scope.read or scope.write).kind)
        n = backend.n_layers
        tried = layers_of(backend, resid_pre, blocks if blocks is not None else range(-(-n // 3)))
        spread = layers_of(backend, kind, layers)
        sites = {k: kind(k) for k in (spread if layers is not None else spread_over(spread, 6))}
        return block_scores(scope, backend, names, tried, sites, FitSettings.of(settings))

    @checks.door(LensError)
    def save(self, path: str | Path) -> Path:
        """Write it to a safetensors file: the prompt, the rule, the map, the adapter, and what is
        known of its training.

        Raises:
            LensError: a function or another model is in it, or the path is a folder.
            FileError: the disk is full, or refuses; what was there before stays.
        """
        return write_scope(Path(path), cast(Any, self))

    @checks.door(LensError)
    def to_selfie(self, path: str | Path) -> Path:
        """Write it as a SelfIE adapter, where it is one: trained on one layer, and written over the
        embedding.

        Raises:
            LensError: it is none.
            FileError: the disk is full, or refuses.
        """
        scope = cast(Any, self)
        own = scope.transform
        if isinstance(own, LayerMaps) and len(own.maps) == 1:
            own = own.maps[own.layers[0]]
        if scope.write != resid_pre(0) or not isinstance(own, Projection):
            raise LensError(
                "This patchscope is no SelfIE adapter.",
                got=f"write={scope.write!r}, transform={own!r}",
                expected="one that writes at resid_pre(0), trained on one layer",
                instead="scope.save(path), which keeps any",
            )
        return write_selfie(path_of(path), scope.inspection, own)

    @checks.door(PromptError, question=checks.text)
    def asking(self: R, question: str) -> R:
        """The same with a question in its prompt, in place of ``{question}``.

        Raises:
            PromptError: the prompt has no such place, or the question has the placeholder in it.

        Example:
            >>> prompt = ls.InspectionPrompt("Here is x . {question} A:", "x")
            >>> scope = ls.Patchscope(prompt, ls.resid_pre(2), max_new_tokens=3)
            >>> scope.asking("Is it a country?").inspection.text
            'Here is x . Is it a country? A:'
        """
        scope = cast(Any, self)
        return cast(R, replace(scope, inspection=scope.inspection.asking(question)))

    @checks.door(LensError, text=checks.text)
    def reconstruct(self, text: str, vector: Any = None) -> Reconstruction:
        """From words back to a vector, by a reader that has the way back.

        Args:
            text: what was said of a state; with explanation tags, what is between them counts.
            vector: the state that was described, to say how near the words bring one to it.

        Raises:
            LensError: there is no way back.
            PatchError: a vector of another width.
        """
        trained: Trained | None = cast(Any, self).trained
        if trained is None or trained.back is None:
            raise LensError(
                "This patchscope has no way back from words to a vector.",
                got=trained.kind if trained else "a patchscope that was not trained",
                expected="a natural-language autoencoder with both of its sides",
                instead="ls.Patchscope.load(folder, model), of a folder with av and ar in it",
            )
        return trained.back.reconstruct(text, vector)
