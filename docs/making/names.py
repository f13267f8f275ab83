"""The public names: what each is of, where it is defined, and which page it has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import griffe

ROOT: Final = Path(__file__).parents[2]

MODULES: Final = {
    "rules": "lensscope.values.rules",
    "studies": "lensscope.studies",
    "pairs": "lensscope.pairs",
    "course": "lensscope.course",
}
"""The public names that are modules, each with names of its own."""

GROUPS: Final[dict[str, tuple[str, str]]] = {
    "Sites and patches": (
        "Where in a model, and what is written there.",
        "Site embed resid_pre resid_mid resid_post attn_out mlp_out q k v head_out pattern "
        "mlp_hidden span ALL Patch Move affine identity scaled_to rules chat Cache Provenance",
    ),
    "Running": (
        "A model, and what comes out of it: as it is, patched, or under many lists of patches.",
        "load_model support Support capture run generate run_many Plan Run Generation Runs explore "
        "__version__",
    ),
    "Patchscopes": (
        "States in words.",
        "Patchscope InspectionPrompt PatchscopeResult names",
    ),
    "Lenses": (
        "States as distributions over the vocabulary.",
        "Lens LogitLens TunedLens AffineLens JacobianLens compare LensReading LensComparison",
    ),
    "Patching": (
        "What matters in a run, and by how much.",
        "activation_patching attribution_patching path_patching causal_trace attention_knockout "
        "logit_difference log_probability probability kl_divergence rank PatchingResult",
    ),
    "Circuits": (
        "The components that carry an effect, and how far they do so alone.",
        "Circuit Faithfulness FaithfulnessCurve",
    ),
    "Studies": ("Experiments with controls, in resumable parts.", "studies"),
    "Pairs": ("Clean and corrupted prompts, with their answers.", "pairs"),
    "Course": ("What the course needs beside all this.", "course"),
    "Errors": (
        "What is raised, and what to write instead.",
        "LensscopeError ModelError ModelNotFoundError PromptError PositionError SiteError "
        "PatchError SweepError CheckpointError CircuitError CacheError BasisError LensError "
        "StudyError FileError CourseError PlanError BudgetError",
    ),
}
"""The groups of the reference, as the README has them: what they are about, and their names."""


MET: Final = {
    "Chat": "lensscope.values.chats.Chat",
    "Means": "lensscope.values.means.Means",
    "PairMetric": "lensscope.effects.metrics.PairMetric",
    "Explorer": "lensscope.explorer.explorer.Explorer",
    "Study": "lensscope.studies.study.Study",
    "Trained": "lensscope.patchscope.trained.Trained",
    "Reconstruction": "lensscope.patchscope.reconstruction.Reconstruction",
    "controlled": "lensscope.patchscope.controls.controlled",
    "Controlled": "lensscope.patchscope.controlled.Controlled",
    "Picture": "lensscope.show.picture.Picture",
    "python_docs": "lensscope.lenses.corpus.python_docs",
}
"""What public names give or take, and is not public itself, with where it is imported from."""


@dataclass(frozen=True)
class Public:
    """A public name.

    Attributes:
        name: as it is written: ``ls.studies.relation``.
        target: where it is defined.
        group: of the reference.
        member: what the package says of it.
    """

    name: str
    target: str
    group: str
    member: griffe.Object | griffe.Alias

    @property
    def own(self) -> str:
        """The name alone."""
        return self.name.rpartition(".")[2]

    @property
    def page(self) -> str:
        """Its page; a class that differs from a function by a capital has a page of another name,
        since some disks do not tell capitals apart."""
        if self.group == "Also met":
            return f"reference/met/{self.name}{'-class' if self.name == 'Controlled' else ''}.md"
        stem = self.name.removeprefix("ls.").replace("__version__", "version")
        alone = stem.lower() not in _others(self.name)
        return f"reference/{stem if alone or not self.is_class else stem + '-class'}.md"

    @property
    def is_class(self) -> bool:
        return bool(self.member.is_class)

    @property
    def is_error(self) -> bool:
        return self.group == "Errors"

    @property
    def docstring(self) -> str:
        return self.member.docstring.value if self.member.docstring else ""

    @property
    def says(self) -> str:
        """The first sentence of its docstring."""
        first = " ".join(self.docstring.partition("\n\n")[0].split())
        return first.partition(". ")[0].rstrip(".") + "." if first else ""


@cache
def package() -> Any:
    """The package, as its source has it: nothing is imported."""
    import griffe

    return griffe.load("lensscope", search_paths=[ROOT])


@cache
def names() -> tuple[Public, ...]:
    """All public names, in the order of the reference."""
    return tuple(_names())


def _names() -> Iterator[Public]:
    import lensscope

    for group, (_, listed) in GROUPS.items():
        for own in listed.split():
            if own in MODULES:
                module = package()[MODULES[own].removeprefix("lensscope.")]
                yield Public(f"ls.{own}", MODULES[own], group, module)
                for each in sorted(module.exports, key=lambda one: (one[0].isupper(), one)):
                    # a function may be called as the file that it is from: entities
                    path = module.imports.get(str(each), f"{MODULES[own]}.{each}")
                    member = package()[path.removeprefix("lensscope.")]
                    yield Public(f"ls.{own}.{each}", path, group, member)
            elif own == "__version__":
                yield Public("ls.__version__", "lensscope.__version__", group, package()[own])
            else:
                path = f"{lensscope._HOME_OF[own]}.{own}"
                yield Public(f"ls.{own}", f"lensscope.{path}", group, package()[path])


@cache
def _others(name: str) -> frozenset[str]:
    every = [each for listed in GROUPS.values() for each in listed[1].split()]
    for own, path in MODULES.items():
        every += [f"{own}.{each}" for each in package()[path.removeprefix("lensscope.")].exports]
    stem = name.removeprefix("ls.")
    return frozenset(each.lower() for each in every if each != stem)


@cache
def met() -> tuple[Public, ...]:
    """What is met on the way."""
    return tuple(
        Public(name, path, "Also met", package()[path.removeprefix("lensscope.")])
        for name, path in MET.items()
    )


@cache
def by_word() -> dict[str, Public]:
    """The public names, by how they are written in texts: with ``ls.``, and alone."""
    alone = {each.own: each for each in names() if each.name.count(".") == 1 and each.own[1:]}
    alone |= {each.name: each for each in met()}
    return {**alone, **{each.name: each for each in names()}}
