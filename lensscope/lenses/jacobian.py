"""The Jacobian lens: a state by its mean first-order effect on the last residual."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from jaxtyping import Float
from torch import Tensor

from lensscope import checks
from lensscope.checks import Layers, several
from lensscope.errors import BasisError, LensError
from lensscope.lenses.components import as_residual
from lensscope.lenses.corpus import Corpus, Texts, named
from lensscope.lenses.files import load_pickled, resume, save
from lensscope.lenses.jacobians import piece_jacobians
from lensscope.lenses.linear import LinearLens
from lensscope.lenses.origin import Origin
from lensscope.lenses.places import COMPONENTS
from lensscope.lenses.translators import Translator, as_input, check_translators
from lensscope.model.backend import Backend
from lensscope.model.classes import backend_of
from lensscope.progress import progress
from lensscope.store.files import path_of
from lensscope.values.sites import Site, resid_post, resid_pre

if TYPE_CHECKING:
    from typing_extensions import Self

_KIND: Final = "JacobianLens checkpoint"


@dataclass(frozen=True, eq=False, repr=False)
class JacobianLens(LinearLens):
    """``J h``, then final norm and head, with the mean Jacobian ``J`` of the last residual.

    Gurnee et al. 2026, "Verbalizable Representations Form a Global Workspace in Language Models".
    For block ``l`` and a prompt with the tokens ``V`` that count, with ``t`` and ``t'`` in ``V``,

    ``J_l = mean over prompts of 1/|V| sum_t sum_{t' >= t} d h_last[t'] / d h_l[t]``,

    of block outputs, before the final norm. ``V`` leaves out some tokens at the start, whose states
    are of another kind, and the last. It is linear, so a component's output can be read as well: by
    what it adds to its block's output. The definition is that of TransformerLens 4.x, whose files
    load, and which `to_transformer_lens` gives.

    Example:
        >>> from lensscope.lenses.corpus import python_docs
        >>> lens = ls.JacobianLens.fit(
        ...     model, python_docs()[:1], layers=[28], max_pieces=1, length=8, skip_first=2)
        >>> lens.at(ls.resid_post(28)).matrix.shape
        torch.Size([576, 576])
    """

    name: str = "Jacobian lens"

    @classmethod
    @checks.door(LensError, name=checks.text, corpus=checks.text, rows=checks.whole(1, instead=16))
    def fit(
        cls,
        model: Any,
        texts: Texts,
        *,
        layers: Iterable[int] | int | slice | None = None,
        length: int = 128,
        skip_first: int = 16,
        max_pieces: int | None = 100,
        rows: int = 16,
        checkpoint: str | Path | None = None,
        seed: int = 0,
        name: str = "Jacobian lens",
        corpus: str | None = None,
    ) -> Self:
        """Average Jacobians over texts, exactly: a backward pass for each entry of the residual.

        Each piece of text takes as many backward passes as the residual is wide (over ``rows`` at a
        time), through all blocks above the lowest layer. Some tens of pieces do.

        Args:
            model: the model; best in float32.
            texts: any iterable of texts or token ids, or the ``Path`` of a text file.
            layers: of block outputs; all below the last by default.
            length: tokens of a piece.
            skip_first: tokens at the start of a piece that do not count.
            max_pieces: so many pieces at most.
            rows: backward passes at a time.
            checkpoint: a file to keep the sums in; the same call again goes on from there.
            seed: of the order of the pieces.
            name: what the lens is called.
            corpus: what the texts are called in its settings; by default how many they are and how
                they begin.

        Raises:
            LensError: no piece long enough, a layer that has no Jacobian, another fit's checkpoint,
                a Jacobian that is not finite.
        """
        checks.gradients_flow("a fit", LensError)
        backend = backend_of(model)
        below = backend.n_layers - 1
        wanted = list(range(below))
        if layers is not None:
            wanted = several(Layers(layers).among(below + 1), "layers", "layers=[10, 20]")
        found = [s.layer for n in wanted for s in backend.concrete(resid_post(n))]
        chosen = sorted({n for n in found if n is not None})
        if not chosen or chosen[-1] >= below:
            raise LensError(
                "The last block's output needs no Jacobian.",
                got=f"layers={wanted}",
                expected=f"layers below {below}",
                instead="layers=None",
            )
        source = Corpus(backend, texts, length, 1, shortest=skip_first + 2, seed=seed)
        settings = {
            "length": length,
            "skip_first": skip_first,
            "max_pieces": max_pieces,
            "texts": source.hash,
            "layers": chosen,
            "weights": backend.provenance().fingerprint,
        }
        where = None if checkpoint is None else path_of(checkpoint)
        sums, done = _resumed(where, settings, backend.d_model)
        with progress(max_pieces or 0, name, "piece") as bar:
            for n, (piece,) in enumerate(source.once()):
                if max_pieces is not None and n >= max_pieces:
                    break
                if n < done:
                    continue
                sums += piece_jacobians(backend, piece, chosen, skip_first, rows)
                done = n + 1
                if not bool(sums.isfinite().all()):
                    raise LensError(
                        f"The Jacobian of piece {n} is not finite.",
                        got="NaN or infinity",
                        expected="finite gradients; float32 weights keep them so",
                        instead="ls.load_model(dtype=torch.float32)",
                    )
                if where is not None:
                    header = {"kind": _KIND, "done": done, "settings": settings}
                    save(where, header, {"sums": sums})
                bar.update()
        translators = {
            as_input(resid_post(layer), backend.n_layers): Translator(sums[i] / done)
            for i, layer in enumerate(chosen)
        }
        called = named(texts) if corpus is None else corpus
        return cls(
            translators,
            Origin.of(backend),
            name=name,
            settings={**settings, "n_prompts": done, "corpus": called},
        )

    @property
    def target_layer(self) -> int | None:
        """The block whose output it foretells; ``None`` for the last."""
        layer = self.settings.get("target_layer")
        n_layers = self.origin.provenance.n_layers
        return None if layer is None or layer in (-1, n_layers - 1) else int(layer)

    @property
    def to_the_end(self) -> bool:
        """Whether it foretells the last residual, as far as that is known without a model."""
        return self.target_layer is None

    def check(self, backend: Backend, sites: Sequence[Site]) -> None:
        """Refuse as a `LinearLens` does, and to read what foretells another block's output.

        Raises:
            BasisError: another model, basis or unembedding, or layers that the model has not.
            LensError: sites that it lacks, or another target than the last block's output.
        """
        super().check(backend, sites)
        last = backend.n_layers - 1
        if self.target_layer not in (None, last):
            raise LensError(
                f"The {self.name} was fitted to another layer, so it reads nothing.",
                got=f"target_layer={self.target_layer}",
                expected=f"{last}, the last block of {backend.name}",
                instead="a lens fitted to the last block: JacobianLens.fit(model, texts)",
            )
        above = [s for s in self.translators if s.layer is not None and s.layer > last]
        if above:
            raise BasisError(
                f"The {self.name} was fitted on another model.",
                got=f"a Jacobian of block {(above[0].layer or 0) - 1}",
                expected=f"blocks below {last}, the last of {backend.name}",
                instead="the model that it was fitted on, or a lens fitted on this one",
            )

    def _place(self, site: Site) -> Site:
        return resid_post(site.layer) if site.kind in COMPONENTS else site

    def translated(
        self, backend: Backend, site: Site, states: Float[Tensor, "row d_in"]
    ) -> Float[Tensor, "row d_out"]:
        """States, or what components add, as their mean effect on the last residual."""
        states = as_residual(backend, site, states)
        return super().translated(backend, self._place(site), states)

    # ---------------------------------------------------------------- TransformerLens

    @classmethod
    @checks.door(LensError)
    def load(cls, path: str | Path, *, allow_pickle: bool = False) -> Self:
        """Read a file that `save` wrote, or a ``.pt`` file of TransformerLens or of the reference
        implementation.

        Args:
            path: the file.
            allow_pickle: let a ``.pt`` file be read; of what is in it, only tensors and plain
                values are.

        Raises:
            LensError: no such file, not whole, not a lens, or pickle that was not allowed.
        """
        if path_of(path).suffix not in (".pt", ".pth"):
            return super().load(path)
        payload = load_pickled(path_of(path), allow_pickle=allow_pickle)
        matrices = payload.get("J") if isinstance(payload, dict) else None
        whole = isinstance(matrices, dict) and all(
            isinstance(n, int) and isinstance(m, Tensor) and m.ndim == 2 and len(m) == m.shape[1]
            for n, m in matrices.items()
        )
        if not whole or not matrices:
            named = isinstance(payload, dict)
            got = ", ".join(map(str, payload))[:200] if named else type(payload).__name__
            raise _not_one(path, got, "a file with square matrices J by layer, and n_prompts")
        known, n_prompts = payload.get("metadata") or {}, payload.get("n_prompts") or 0
        if not isinstance(known, dict) or not isinstance(n_prompts, int) or min(matrices) < 0:
            got = f"n_prompts={n_prompts!r:.40}, metadata={known!r:.80}, layer {min(matrices)}"
            raise _not_one(path, got, "a number of prompts, metadata by name, layers from 0 on")
        known = dict(known)
        if payload.get("target_layer") is not None:  # where the reference implementation has it
            known.setdefault("target_layer", payload["target_layer"])
        return cls._elsewhere(matrices, n_prompts, known)

    @classmethod
    def from_transformer_lens(cls, lens: Any) -> Self:
        """A ``transformer_lens.tools.analysis.JacobianLens``, as one of lensscope's."""
        return cls._elsewhere(lens.jacobians, lens.n_prompts, lens.metadata)

    @classmethod
    def _elsewhere(
        cls, jacobians: Mapping[Any, Tensor], n_prompts: int, known: Mapping[str, Any]
    ) -> Self:
        first = next(iter(jacobians.values()))
        origin = Origin.elsewhere(
            str(known.get("model_name") or ""), "TransformerBridge", len(first)
        )
        translators = {
            resid_pre(int(layer) + 1): Translator(matrix.float())
            for layer, matrix in sorted(jacobians.items())
        }
        check_translators(translators, "The Jacobian lens")
        target = known.get("target_layer")
        if not isinstance(target, int | None) or isinstance(target, bool):
            raise LensError(
                "The Jacobian lens does not say which layer it was fitted to.",
                got=f"target_layer={target!r} in its metadata",
                expected="the number of a block, or nothing, which means the last",
                instead="the file as it was published",
            )
        return cls(translators, origin, settings={"n_prompts": n_prompts, **dict(known)})

    def to_transformer_lens(self) -> Any:
        """The same as a ``JacobianLens`` of TransformerLens, for its interventions and files.

        Raises:
            LensError: it was fitted on folded weights, for which TransformerLens has no such lens.
        """
        from transformer_lens.tools.analysis import JacobianLens as Theirs

        there, known = self.origin.provenance, self.settings.get("target_layer")
        if there.processing != "raw":
            raise LensError(
                "TransformerLens has Jacobian lenses of raw weights only.",
                got=f"{there.processing} weights of {there.model}",
                expected="raw weights",
                instead='ls.load_model(processing="raw")',
            )
        target = there.n_layers - 1 if known is None and there.n_layers else known
        names = {"model_name": there.model or None, "target_layer": target}
        return Theirs(
            {(s.layer or 0) - 1: t.matrix for s, t in self.translators.items()},
            n_prompts=int(self.settings.get("n_prompts", 0)),
            d_model=there.d_model,
            metadata={name: value for name, value in names.items() if value is not None},
        )


def _not_one(path: str | Path, got: str, expected: str) -> LensError:
    return LensError(
        f"{path} is not a Jacobian lens.",
        got=got,
        expected=expected,
        instead="JacobianLens.save of TransformerLens writes one",
    )


def _resumed(
    path: Path | None, settings: Mapping[str, Any], d_model: int
) -> tuple[Float[Tensor, "layer d_model d_model"], int]:
    """The sums so far, and of how many pieces they are."""
    none = torch.zeros(len(settings["layers"]), d_model, d_model, dtype=torch.float32)
    found = resume(path, _KIND, settings, "fit", {"sums": none}, ["done"])
    if found is None:
        return none, 0
    header, tensors = found
    return tensors["sums"], int(header["done"])
