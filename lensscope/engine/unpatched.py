"""The run without patches that the rows of a prompt differ from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from lensscope.engine.batch import Batch, Row
from lensscope.engine.hooks import hooks_for
from lensscope.engine.planning import Held
from lensscope.engine.states import KeptStates
from lensscope.model.backend import Backend
from lensscope.model.key_values import KeyValues
from lensscope.model.layouts import site_at
from lensscope.model.passing import Hook
from lensscope.values.site_kinds import Place


@dataclass(frozen=True, eq=False)
class Unpatched:
    """What a prompt gives without patches, as far as its rows share it.

    Attributes:
        key_values: of all its tokens, if they are of use.
        held: what it has where rows write.
        logits: by token, where rows ask for them before their last token.
    """

    key_values: KeyValues | None
    held: Mapping[Place, Held]
    logits: Mapping[int, Tensor]


def run_unpatched(
    backend: Backend,
    rows: Sequence[Row],
    asked: Sequence[int],
    states: KeptStates,
    *,
    compare: bool,
    share: bool,
) -> Unpatched:
    """Run a prompt without patches, once.

    Args:
        backend: the model.
        rows: of the prompt.
        asked: tokens whose logits rows may not come to themselves.
        states: takes what is kept, for all rows; what they change they overwrite.
        compare: whether to hold what the rows' writes are to be compared with.
        share: whether to hold keys and values.
    """
    batch = Batch([rows[0].unpatched], "left")
    written: dict[Place, set[int]] = {}
    for write in (w for row in rows for w in row.writes):
        written.setdefault(write.place, set()).update(write.tokens)
    held: dict[Place, Held] = {}

    def holder(place: Place) -> Hook:
        layout = backend.layout(place)

        def hook(tensor: Tensor) -> None:
            columns = sorted(written[place])
            given = layout.by_axes(tensor)[0, columns].clone()
            held[place] = Held({t: n for n, t in enumerate(columns)}, given)

        return hook

    hooks = hooks_for(backend, batch, states)
    for kind, layer in written if compare else ():
        if kind != "pattern":  # a value has a number for each key: nothing to compare with
            point = backend.hook_point(site_at((kind, layer)))
            hooks.setdefault(point, []).append(holder((kind, layer)))
    key_values = backend.new_key_values(1) if share else None
    columns = list(asked)
    with backend.attached(hooks):
        logits = backend.run(
            batch.tokens(backend),
            key_values=key_values,
            pick=(lambda residual: residual[:, columns]) if columns else None,
        )
    by_token = {} if logits is None else dict(zip(columns, logits[0], strict=True))
    return Unpatched(key_values, held, by_token)
