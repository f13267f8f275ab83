"""What is written of what was read, and whether it fits where it is written."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from lensscope import checks
from lensscope.errors import BasisError, PatchError
from lensscope.model.backend import Backend
from lensscope.patchscope.writing import Writer
from lensscope.values.operations import as_value
from lensscope.values.sites import Site
from lensscope.values.transforms import BySite


def mapped(
    scope: Writer, state: Float[Tensor, " d_in"], target: Backend, site: Site | None
) -> Float[Tensor, " d_out"]:
    """What is written of a state read at a site: transformed, on the target's device.

    Raises:
        PatchError: a map for each site, and a state of none; or a map that gives no vector.
    """
    transform = scope.transform
    if isinstance(transform, BySite):
        if site is None:
            raise PatchError(
                "Raw vectors come from no site, so there is no map for them.",
                got=repr(transform),
                expected="a map for all vectors",
                instead="transform=lens.at(ls.resid_post(12))",
            )
        transform = transform.at(site)
    value = state
    if transform is not None:
        value = checks.called(transform, "The transform", PatchError, state.clone())
        value = as_value(value)
    return value if scope.model is None else value.to(target.device, target.dtype)


def check_width(scope: Writer, here: Backend, target: Backend, width: int, read: int) -> None:
    """Refuse what is too wide or too narrow for where it is written.

    Args:
        scope: the patchscope.
        here: the model that it was read from.
        target: the model that it is written into.
        width: of what is written.
        read: the width of what was read.

    Raises:
        BasisError: with the widths.
    """
    expected = target.shape(Site(scope.write.kind, 0), 1, 1)[-1]
    head = scope.read.head if scope.read and scope.read.kind == "head_out" else None
    matrix = "A" if head is None else f"model.blocks[layer].attn.W_O[{head}].T"
    if width != expected:
        raise BasisError(
            "What is read does not fit where it is written.",
            got=f"width {width} from {here.name}",
            expected=f"width {expected} of {scope.write.kind} in {target.name}",
            instead=f"Patchscope(…, transform=ls.affine({matrix})), a matrix of shape "
            f"[{expected}, {read}]",
        )


def check_models(scope: Writer, here: Backend, target: Backend) -> None:
    """Refuse to go from one model to another without a map, or by one of other models.

    Raises:
        BasisError: two bases, or a map that was fitted on other models.
    """
    if isinstance(scope.transform, BySite):
        scope.transform.check_maps(here, target)
    elif (
        scope.transform is None
        and target.model is not here.model
        and here.processing != target.processing
    ):
        raise BasisError(
            "The two models are in different bases.",
            got=f"{here.processing} weights in {here.name}",
            expected=f"{target.processing} weights, as in {target.name}",
            instead="load both with the same processing=, or give a transform",
        )
