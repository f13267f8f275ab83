"""What all studies are: independent parts, run anywhere, kept as they finish."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, TypeAlias

import torch
from torch import Tensor

from lensscope import checks
from lensscope.errors import StudyError
from lensscope.model.backend import Backend
from lensscope.model.classes import backend_of
from lensscope.model.loading import loader_of
from lensscope.progress import one_bar, progress
from lensscope.signs import cut
from lensscope.store.files import path_of, refusals
from lensscope.studies.executors import Measure, Workers, local, on_ray
from lensscope.studies.folder import Folder
from lensscope.studies.parts import Part
from lensscope.studies.result import StudyResult
from lensscope.studies.session import session

if TYPE_CHECKING:
    import pandas as pd

Executor: TypeAlias = Literal["local", "ray"]
Loader: TypeAlias = Callable[[], Any]

_TOLD: Final = 60
"""So many characters of what a study was given are shown in a line."""
BUDGET: Final = 1 << 30
"""Bytes for the batches of a part. Fixed, so that every machine cuts the same batches."""


@dataclass(frozen=True, eq=False)
class Study(ABC):
    """An experiment of many independent cells, cut into parts.

    A study is a value: nothing is run before `run`, and what cannot be run is refused when it is
    made, or, where functions load its models, when they are loaded. Each part depends on the
    arguments, the models and what `prepare` found, and on no other part; so parts may be run in
    any order, anywhere, and a run that was broken off goes on where it stopped.

    Attributes:
        model: a ``HookedTransformer`` or ``TransformerBridge``; or a function without arguments
            that loads one, which other processes need unless `load_model` loaded it.
        seed: of everything that is drawn.
        memory_budget: bytes that the batches of a part may take.
    """

    model: Any
    seed: int
    memory_budget: int
    kind: ClassVar[str]

    def __post_init__(self) -> None:
        ready = [model for model in self.models.values() if not _is_loader(model)]
        for model in ready:
            backend_of(model)
        if len(ready) == len(self.models):
            self.check()

    @abstractmethod
    def arguments(self) -> dict[str, Any]:
        """Everything that decides the results, as JSON has it."""

    @abstractmethod
    def parts(self) -> list[Part]:
        """The parts, in order."""

    @abstractmethod
    def check(self) -> None:
        """Refuse what was given and cannot be run, when the study is made."""

    def check_whole(self) -> None:
        """Also what comes along and does not suit the model, before anything is run."""
        self.check()

    @abstractmethod
    def prepare(self) -> Mapping[str, Tensor]:
        """What all parts need of the models, found once."""

    @abstractmethod
    def measure(self, part: Part, shared: Mapping[str, Tensor]) -> pd.DataFrame:
        """One part: a line a cell."""

    @classmethod
    @abstractmethod
    def summary(cls, folder: Folder) -> StudyResult:
        """What the finished parts say, from the folder alone, in memory that does not grow with
        them."""

    def keys(self) -> list[str]:
        """What the parts are called on disk, in order."""
        return [part.key for part in self.parts()]

    @property
    def backend(self) -> Backend:
        """The model as lensscope uses it."""
        return backend_of(self.model)

    @property
    def models(self) -> dict[str, Any]:
        """The models by the names of their fields."""
        return {"model": self.model}

    def provenances(self) -> dict[str, Any]:
        """What tells each model apart, as JSON has it."""
        found = {}
        for name, model in self.models.items():
            own = asdict(backend_of(model).provenance())
            del own["tokens"], own["versions"]
            found[name] = own
        return found

    def loaded(self) -> Study:
        """The same study with its models in memory."""
        models = self.models.items()
        found: dict[str, Any] = {name: m() if _is_loader(m) else m for name, m in models}
        return replace(self, **found)

    def __repr__(self) -> str:
        given = [(f.name, getattr(self, f.name)) for f in fields(self) if f.name not in self.models]
        told = [f"{name}={cut(repr(value), _TOLD)}" for name, value in given]
        models = [f"{name}={_named(model)}" for name, model in self.models.items()]
        return f"{type(self).__name__}({', '.join([*models, *told])})"

    # ---------------------------------------------------------------- running

    @checks.door(
        StudyError,
        executor=checks.one_of("local", "ray"),
        num_workers=checks.whole(1, 100_000, 2),
        num_gpus=checks.real(0, instead=1),
        address=checks.text,
    )
    def run(
        self,
        out: str | Path | None = None,
        executor: Executor = "local",
        num_workers: int | None = None,
        num_gpus: float = 0,
        address: str | None = None,
    ) -> StudyResult:
        """Run what is not run yet, and sum it up.

        Finished parts are kept in ``out`` as parquet files. The same call again does only what is
        missing, also after the process was killed; with other arguments it is refused.

        Args:
            out: a folder; by default a temporary one, which goes with the result.
            executor: ``"local"``, one part after another in this process; or ``"ray"``, where each
                worker is an actor that loads the model once, and what a worker that died was at is
                run again by another.
            num_workers: of Ray: how many actors; by default one for each CPU of the cluster, or
                as many as its GPUs serve.
            num_gpus: of Ray: GPUs for each worker.
            address: of Ray: of a cluster that runs, such as ``"auto"`` or ``"10.0.0.1:6379"``;
                by default what ``ray.init()`` was called with, or else this machine.

        Raises:
            StudyError: the folder holds something else, or a part that is damaged or none of its
                own, the disk is full, the cluster cannot be reached, or a worker cannot load the
                model.
            FileError: no path.
            PromptError, SiteError, PositionError, ModelError: see there.

        Example:
            >>> study = ls.studies.entity_resolution(
            ...     model, ls.studies.entities(limit=2), layers=[8], max_new_tokens=3)
            >>> study.run().data.sizes["source_layer"]
            1
        """
        if executor == "local" and (num_workers not in (None, 1) or num_gpus or address):
            raise StudyError(
                "Workers, GPUs of workers and addresses are Ray's.",
                got=f"num_workers={num_workers}, num_gpus={num_gpus}, address={address!r} with "
                'executor="local"',
                expected="one process, which uses the device of the model",
                instead='executor="ray"',
            )
        study = self.loaded()
        study.check_whole()
        temporary = out is None
        folder = Folder(_place(out))
        parts = study.parts()
        keys = [part.key for part in parts]
        manifest: dict[str, Any] = {
            "study": study.kind,
            "arguments": study.arguments(),
            "models": study.provenances(),
            "parts": len(keys),
            "keys": keys,
        }
        try:
            with folder.locked():
                folder.begin(manifest, session(executor))
                with one_bar():
                    shared = folder.shared(study._prepared)
                folder.check_parts()
                finished = folder.done()
                missing = [part for part in parts if part.key not in finished]
                with progress(len(keys), study.kind, "part", initial=len(finished)) as bar:
                    if executor == "local":
                        done = local(study.measure, missing, shared)
                    else:
                        loaders: dict[str, Any] = {n: _loader(m) for n, m in self.models.items()}
                        # no model is sent: those that are loaded have a loader in their place
                        begin = partial(_begun, replace(self, **loaders), manifest["models"])
                        workers = Workers(num_workers, num_gpus, address)
                        done = on_ray(begin, missing, shared, workers)
                    for part, frame in done:
                        folder.write(part.key, frame)
                        bar.update(1)
            result = self.summary(folder)
        except BaseException:
            if temporary:
                shutil.rmtree(folder.path, ignore_errors=True)
            raise
        if temporary:
            weakref.finalize(result, shutil.rmtree, str(folder.path), ignore_errors=True)
        return result

    def _prepared(self) -> Mapping[str, Tensor]:
        with torch.no_grad():
            # safetensors keeps no empty file
            return {"none": torch.zeros(1), **self.prepare()}


def _place(out: str | Path | None) -> Path:
    """Where a study is kept, from the root; a temporary folder if nothing is said.

    Raises:
        FileError: no path, or no temporary folder.
    """
    with refusals("the temporary folder" if out is None else path_of(out)):
        return Path(
            tempfile.mkdtemp(prefix="lensscope-") if out is None else os.path.abspath(path_of(out))
        )


def _is_loader(model: Any) -> bool:
    """Whether it is a function that loads a model."""
    return callable(model) and not isinstance(model, torch.nn.Module)


def _named(model: Any) -> str:
    return getattr(model, "__name__", "a loader") if _is_loader(model) else backend_of(model).name


def _loader(model: Any) -> Loader:
    """A function that loads a model elsewhere.

    Raises:
        StudyError: nobody knows how.
    """
    if _is_loader(model):
        loader: Loader = model
        return loader
    found = loader_of(model)
    if found is None:
        raise StudyError(
            "Other processes cannot load this model.",
            got=f"a {type(model).__name__} that ls.load_model did not load",
            expected="a model of ls.load_model, or a function without arguments that loads one",
            instead="def load(): …, and model=load",
        )
    return found


def _begun(study: Study, expected: Mapping[str, Any]) -> Measure:
    """What runs a part, where a study's models are loaded anew.

    Raises:
        StudyError: they are others than `expected`.
    """
    loaded = study.loaded()
    found = loaded.provenances()
    differ = [name for name in expected if found[name] != expected[name]]
    if differ:
        raise StudyError(
            "A worker loads another model than this process has.",
            got=repr(found[differ[0]]),
            expected=repr(expected[differ[0]]),
            instead="ls.load_model with the same arguments on all machines; a model whose "
            "weights were edited needs a function that loads and edits it",
        )
    return loaded.measure
