"""Where in a model, and what is written there: sites, and the patches and moves that they make.

``ls.resid_post`` is a site without a layer, which means every layer wherever sites are taken;
``ls.resid_post(12)`` is that layer; ``ls.resid_post(12).at("Wales")`` one token of it. The verbs of
a site make a `Patch`: one write, as a value, that holds no result and touches no model; the engine
applies it. ``read >> transform >> write`` is a `Move`: a patch whose value is still to be read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final, Literal, Protocol, SupportsIndex, TypeAlias, runtime_checkable

from torch import Tensor

from lensscope import checks
from lensscope.errors import PatchError, PositionError, SiteError
from lensscope.values import operations
from lensscope.values.operations import Map, Operation, as_map, as_number, as_value
from lensscope.values.positions import Position, PositionLike, as_position
from lensscope.values.rules import Rule, as_rule
from lensscope.values.site_kinds import KINDS, SiteKindName, place_of

When: TypeAlias = Literal["prefill", "every_step"]


@dataclass(frozen=True)
class Site:
    """Where in the model: a kind and a layer, optionally a head and a position.

    Attributes:
        kind: one of `KINDS`, or TransformerLens' name of the hook point, which says the layer too.
        layer: counted in blocks from 0, negative from the end; ``None`` means every layer.
        head: for ``q``, ``k``, ``v``, ``head_out`` and ``pattern``; ``None`` means all heads. ``k``
            and ``v`` count key-value heads, which are fewer under grouped-query attention.
        position: see `lensscope.values.positions`; ``None`` means every token.
        occurrence: which match of a substring is meant, counted over all of them, those inside
            words too.

    Raises:
        SiteError: an unknown kind, or a head at a kind without heads.

    Example:
        >>> ls.resid_post(12).at("Wales")
        resid_post(12).at('Wales')
        >>> ls.head_out(3, 5)
        head_out(3, 5)
        >>> ls.Site("blocks.3.hook_resid_post").at(-1)
        resid_post(3).at(-1)
    """

    kind: SiteKindName | str
    layer: int | None = None
    head: int | None = None
    position: Position | None = None
    occurrence: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.kind, str) or self.kind not in KINDS:
            kind, layer = place_of(self.kind)
            object.__setattr__(self, "kind", kind)
            object.__setattr__(self, "layer", layer if self.layer is None else self.layer)
        for name in ("layer", "head"):
            value = getattr(self, name)
            if value is not None and type(value) is not int:
                object.__setattr__(self, name, self._whole_number(value, name))
        if self.layer is not None and not KINDS[self.kind].has_layer:
            raise SiteError(
                f"{self.kind} has no layers.",
                got=f"layer {self.layer}",
                expected="no layer",
                instead=f"ls.{self.kind}, or ls.resid_pre({self.layer})",
            )
        if self.head is not None and KINDS[self.kind].head_axis is None:
            raise SiteError(
                f"{self.kind} has no heads.",
                got=f"head {self.head}",
                expected="a head at q, k, v, head_out or pattern only",
                instead=f"ls.head_out({self.layer}, {self.head})",
            )
        if self.position is not None:
            object.__setattr__(self, "position", as_position(self.position))
        if self.occurrence is not None:
            found = checks.whole_number(
                self.occurrence, "occurrence", -checks.INDEX, 0, PositionError
            )
            object.__setattr__(self, "occurrence", found)
            if not isinstance(getattr(self.position, "text", self.position), str):
                raise PositionError(
                    "Only a substring has occurrences.",
                    got=f"position {self.position!r}, occurrence={self.occurrence}",
                    expected="a substring or span(…) with occurrence=",
                    instead=f"site.at({self.position!r})",
                )

    @checks.door(SiteError)
    def __call__(
        self, layer: SupportsIndex | None = None, head: SupportsIndex | None = None
    ) -> Site:
        """The same kind at a layer (and a head).

        Raises:
            SiteError: not whole numbers.
        """
        given: dict[str, Any] = {"layer": layer, "head": head}
        return replace(self, **{name: n for name, n in given.items() if n is not None})

    def _whole_number(self, value: Any, name: str) -> int:
        try:
            return checks.whole_number(value, name, -checks.INDEX, 3, SiteError)
        except SiteError:
            raise SiteError(
                f"The {name} of a site is one whole number.",
                got=checks.seen(value),
                expected="an int, or nothing for all of them",
                instead=f"[ls.{self.kind}(l) for l in (3, 4, 5)] for several layers",
            ) from None

    @checks.door(PositionError)
    def at(self, position: PositionLike, occurrence: int | None = None) -> Site:
        """The same site at a position: an int, a slice, a substring, ``span("…")`` or ``ALL``.

        Raises:
            PositionError: not a position.
        """
        return replace(self, position=as_position(position), occurrence=occurrence)

    @property
    def whole(self) -> Site:
        """The same kind and layer, at all heads and positions."""
        return Site(self.kind, self.layer)

    @property
    def axes(self) -> tuple[str, ...]:
        """The axes of a cached tensor of this site, in order."""
        axes = KINDS[self.kind].axes
        return axes if self.head is None else tuple(a for a in axes if a not in ("head", "kv_head"))

    # ---------------------------------------------------------------- verbs

    # Each makes a patch; values are copied, so a patch never changes.

    @checks.door(PatchError)
    def set(self, value: Any, when: When = "prefill") -> Patch:
        """Replace the activations by ``value``, ``[…]`` or ``[pos, …]``.

        Raises:
            PatchError: not a tensor of floats, or not finite.
        """
        return Patch(self, operations.Set(as_value(value)), when, "set")

    @checks.door(PatchError)
    def add(self, value: Any, when: When = "prefill") -> Patch:
        """Add ``value`` to the activations."""
        return Patch(self, operations.Add(as_value(value)), when, "add")

    @checks.door(PatchError, factor=checks.scalar)
    def scale(self, factor: float, when: When = "prefill") -> Patch:
        """Multiply the activations by a number."""
        return Patch(self, operations.Scale(as_number(factor)), when, "scale")

    @checks.door(PatchError, weight=checks.scalar)
    def lerp(self, value: Any, weight: float, when: When = "prefill") -> Patch:
        """Go from the activations (``weight=0``) to ``value`` (``weight=1``) along a line."""
        return Patch(self, operations.Lerp(as_value(value), as_number(weight)), when, "lerp")

    @checks.door(PatchError)
    def zero(self, when: When = "prefill") -> Patch:
        """Replace the activations by zeros."""
        return Patch(self, operations.Zero(), when, "zero")

    @checks.door(PatchError)
    def map(self, function: Map, when: When = "prefill") -> Patch:
        """Replace the activations ``x``, ``[pos, …]``, by ``function(x)`` of the same shape."""
        return Patch(self, operations.Apply(as_map(function)), when, "map")

    @checks.door(PatchError)
    def project_out(self, basis: Any, when: When = "prefill") -> Patch:
        """Remove the part of the activations that lies in the span of ``basis``, ``[width]`` or
        ``[k, width]``; the rows need be neither orthogonal nor of unit length.

        Raises:
            PatchError: a basis of zeros.
        """
        return Patch(self, operations.ProjectOut.of(basis), when, "project_out")

    @checks.door(PatchError, rule=as_rule)
    def write(self, value: Any, rule: Rule, when: When = "prefill") -> Patch:
        """Write ``value``, ``[…]`` or ``[pos, …]``, by a rule of `lensscope.rules`."""
        return Patch(self, rule.operation(as_value(value)), when, "write")

    def __rshift__(self, other: Site | str | Map) -> Move:
        return Move(self) >> other

    def __repr__(self) -> str:
        numbers = [str(n) for n in (self.layer, self.head) if n is not None]
        if self.layer is None and self.head is not None:
            numbers = [f"head={self.head}"]
        text = self.kind + (f"({', '.join(numbers)})" if numbers else "")
        if self.position is not None:
            chosen = f", occurrence={self.occurrence}" if self.occurrence is not None else ""
            text += f".at({self.position!r}{chosen})"
        return text


def as_site(given: Any, *_: Any) -> Any:
    """A site from the name of its hook point; anything else as it is."""
    return Site(given) if isinstance(given, str) and "hook_" in given else given


@checks.constructor(PatchError, site=as_site)
@dataclass(frozen=True, eq=False)
class Patch:
    """One write: a site with a position, an operation, and when it acts.

    Made by the verbs of a site: ``site.set(v)``, ``add``, ``scale``, ``lerp``, ``zero``, ``map``,
    ``project_out``. Patches on the same place act in the order listed.

    Attributes:
        site: where.
        operation: what is done to the activations there.
        when: ``"prefill"`` acts on the tokens that the position names, once, when they are first
            processed; ``"every_step"`` acts on those and on every token generated after them.
        verb: the verb it was made with, for printing.

    Example:
        >>> ls.resid_post(12).at(-1).scale(0.5)
        resid_post(12).at(-1).scale(…)
    """

    site: Site
    operation: Operation
    when: When = "prefill"
    verb: str = "set"

    def __repr__(self) -> str:
        arguments = "" if self.verb == "zero" else "…"
        if self.when != "prefill":
            arguments += f'{", " if arguments else ""}when="{self.when}"'
        return f"{self.site!r}.{self.verb}({arguments})"


@runtime_checkable
class Holding(Protocol):
    """What holds the states of sites, such as a `Cache`."""

    def value(self, site: Site, prompt: int = 0) -> Tensor:
        """What one prompt had at a site, without padding."""


@dataclass(frozen=True, eq=False)
class Move:
    """``read >> transform >> write``: a patch whose value is read from a run.

    A bare ``Move`` among the patches of `run`, `generate` or `run_many` reads from an unpatched
    run of ``source`` (by default the same prompt). `patch` binds it to a cache by hand.

    Example:
        >>> ls.resid_post(12).at(-1) >> torch.tanh >> ls.resid_pre(3).at("x")
        resid_post(12).at(-1) >> tanh >> resid_pre(3).at('x')
    """

    read: Site
    transforms: tuple[Map, ...] = ()
    write: Site | None = None

    def __rshift__(self, other: Site | str | Map) -> Move:
        other = as_site(other)
        if self.write is not None:
            raise PatchError(
                "A move already ends in a site.",
                got=f"{self!r} >> {other!r}",
                expected="read >> transform >> … >> write",
                instead="put the transform before the last site",
            )
        if isinstance(other, Site):
            return Move(self.read, self.transforms, other)
        return Move(self.read, (*self.transforms, as_map(other)), None)

    def apply(self, value: Tensor) -> Tensor:
        """The transforms, in order, on what was read."""
        for transform in self.transforms:
            value = checks.called(transform, "A transform", PatchError, value.clone())
        return value

    def patch(self, cache: Holding, prompt: int = 0) -> Patch:
        """The patch that writes what ``cache`` holds at the place that is read.

        Raises:
            PatchError: the move does not end in a site.
            CacheError: the cache lacks the site.
        """
        if self.write is None:
            raise PatchError(
                "A move without an end cannot be written.",
                got=repr(self),
                expected="read >> … >> write",
                instead=f'{self!r} >> ls.resid_pre(3).at("x")',
            )
        value = self.apply(cache.value(self.read, prompt))
        return self.write.set(value)

    def __repr__(self) -> str:
        named = (getattr(t, "__name__", None) or repr(t) for t in self.transforms)
        end = [] if self.write is None else [repr(self.write)]
        return " >> ".join([repr(self.read), *named, *end])


embed: Final = Site("embed")
resid_pre: Final = Site("resid_pre")
resid_mid: Final = Site("resid_mid")
resid_post: Final = Site("resid_post")
attn_out: Final = Site("attn_out")
mlp_out: Final = Site("mlp_out")
q: Final = Site("q")
k: Final = Site("k")
v: Final = Site("v")
head_out: Final = Site("head_out")
pattern: Final = Site("pattern")
mlp_hidden: Final = Site("mlp_hidden")
