"""What is known of how a reader was trained, and what a result has to say of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lensscope.model.backend import Backend
from lensscope.patchscope.reconstruction import WayBack
from lensscope.values.provenance import Provenance

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Trained:
    """What is known of how a reader was trained.

    Attributes:
        kind: what it is, such as ``"activation oracle"``.
        model: the model that it was loaded for.
        layers: the layers whose states it was trained on; ``None`` if that is not known.
        back: the way back from its words to a vector, if it has one.
        notes: what else must be known to read its words right.
        settings: how it was trained, of one that was trained here.
        scores: what it gave on what was kept apart, by layer, before and after.
    """

    kind: str
    model: Provenance = field(hash=False)
    layers: tuple[int, ...] | None = None
    back: WayBack | None = None
    notes: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False, repr=False)
    scores: tuple[Mapping[str, Any], ...] = field(default=(), hash=False, repr=False)

    def frame(self) -> pd.DataFrame:
        """The scores of one that was trained here, a line a layer: nats a token of what the model
        itself says, and the divergence of its distribution from the reader's, with the raw write
        and with the trained map."""
        import pandas as pd

        return pd.DataFrame(list(self.scores))

    def notes_on(self, target: Backend, layers: Iterable[int | None]) -> tuple[str, ...]:
        """What is to be said of words about states of these layers."""
        notes = [
            f"In the words of a trained reader ({self.kind}), which says something of any vector."
        ]
        here = target.provenance()
        if here.fingerprint != self.model.fingerprint:
            notes.append(
                f"The reader was loaded for {self.model.model} (weights {self.model.fingerprint}), "
                f"and speaks through {here.model} (weights {here.fingerprint})."
            )
        known = self.layers
        others = sorted({n for n in layers if n is not None and known and n not in known})
        if known and others:
            notes.append(
                f"The reader was trained on states of layers {_listed(known)}, not of "
                f"{_listed(others)}."
            )
        return (*notes, *self.notes)

    def __repr__(self) -> str:
        return f"Trained({self.kind} for {self.model.model})"


def _listed(layers: Iterable[int]) -> str:
    return ", ".join(map(str, layers))
