"""Patchscopes as files: a safetensors file with all but the numbers in its header."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Protocol

from torch import Tensor

from lensscope.errors import LensError, LensscopeError
from lensscope.model.adapters import Adapter, LowRank
from lensscope.patchscope.inspection import InspectionPrompt
from lensscope.patchscope.readers.given import Given, not_whole
from lensscope.patchscope.readers.transforms import told_of, transform_of
from lensscope.patchscope.trained import Trained
from lensscope.patchscope.writing import Writer
from lensscope.store.files import path_of, refusals
from lensscope.store.json_text import conform
from lensscope.store.tensors import DamagedError, read_tensors, write_tensors
from lensscope.values import rules
from lensscope.values.chats import Chat, Message
from lensscope.values.provenance import HEADER as PROVENANCE
from lensscope.values.provenance import Provenance, versions_here
from lensscope.values.sites import Site

_FORMAT: Final = "lensscope-patchscope-1"
_SITE: Final = [(str, int, None)]
_CHAT: Final = {
    "messages": [{"role": str, "content": str}],
    "add_generation_prompt": bool,
    "template_arguments": dict,
}
_HEADER: Final = {
    "format": str,
    "versions": {str: str},
    "inspection": {"text": (str, dict), "placeholder": str, "prepend_bos": (bool, None)},
    "write": _SITE,
    "read": (list, None),
    "transform": (dict, None),
    "rule": (dict, None),
    "mix": (int, float),
    "match_norm": bool,
    "max_new_tokens": int,
    "target_layer?": (int, None),
    "earliest?": int,
    "adapter": (dict, None),
    "trained": (dict, None),
}
_RULES: Final[Mapping[str, type[rules.Rule]]] = {
    "replace": rules.Replace,
    "add": rules.Added,
    "interpolate": rules.Interpolate,
}


class Saveable(Writer, Protocol):
    """What is saved of a `Patchscope`."""

    @property
    def max_new_tokens(self) -> int:
        """How much is written."""

    @property
    def target_layer(self) -> int | None:
        """Where it is written unless told otherwise."""


def write_scope(path: Path, scope: Saveable) -> Path:
    """Write a patchscope; what is at ``path`` is replaced only once all is written.

    Raises:
        LensError: a function, another model or a map of another file in it; or a folder.
        FileError: the disk is full, or refuses.
    """
    path = path_of(path)
    with refusals(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = path.is_dir()
    if folder or scope.model is not None:
        raise LensError(
            "A patchscope is saved in a file, without a model.",
            got=f"the folder {path}" if folder else f"model={type(scope.model).__name__}",
            expected="the path of a file, and a patchscope without a model of its own",
            instead="scope.save('scope.safetensors'); a whole model stays in its folder",
        )
    transform, tensors = told_of(scope.transform)
    inspection = asdict(scope.inspection)
    trained, adapter = scope.trained, scope.adapter
    header = {
        "format": _FORMAT,
        "versions": versions_here(),
        "inspection": inspection,
        "write": _site(scope.write),
        "read": None if scope.read is None else _site(scope.read),
        "transform": transform,
        "rule": None if scope.rule is None else _rule(scope.rule),
        "mix": scope.mix,
        "match_norm": scope.match_norm,
        "max_new_tokens": scope.max_new_tokens,
        "target_layer": scope.target_layer,
        "earliest": scope.earliest,
        "adapter": None,
        "trained": None,
    }
    if adapter is not None:
        times = {name: part.times for name, part in adapter.parts.items()}
        header["adapter"] = {"base": adapter.base, "times": times}
        for name, part in adapter.parts.items():
            tensors[f"adapter.{name}.down"], tensors[f"adapter.{name}.up"] = part.down, part.up
    if trained is not None:
        header["trained"] = {
            "kind": trained.kind,
            "model": asdict(trained.model),
            "layers": trained.layers,
            "notes": trained.notes,
            "settings": trained.settings,
            "scores": trained.scores,
        }
    # each on its own: safetensors refuses tensors that share memory
    whole = {name: held.detach().cpu().contiguous().clone() for name, held in tensors.items()}
    return write_tensors(path, header, whole)


def load_saved(given: Given) -> dict[str, Any]:
    """The fields of a patchscope that `write_scope` wrote.

    Raises:
        LensError: not whole, or of another version.
        BasisError: it is for another model.
        PromptError: there is nothing to ask, or the question has the placeholder in it.
    """
    fields = read_saved(given.path)
    trained, adapter = fields["trained"], fields["adapter"]
    if trained is not None:
        given.check_basis(trained.model.d_model, trained.kind, trained.model.processing)
    if adapter is not None:
        fields["adapter"] = adapter.placed(given.backend)
    if given.rule is not None:
        fields |= {"rule": given.rule, "mix": 1.0, "match_norm": False}
    if given.question is not None:
        fields["inspection"] = fields["inspection"].asking(given.question)
    return fields


def read_saved(path: Path) -> dict[str, Any]:
    """As `load_saved`, whatever model it is for.

    Raises:
        LensError: not whole, or of another version.
    """
    expected = f"a safetensors file of format {_FORMAT}, as scope.save(path) wrote it"
    try:
        header, tensors = read_tensors(path)
        conform(header, {"format": str}, "the header")
        if header["format"] != _FORMAT:
            raise DamagedError(f"format {header['format'][:80]!r}")
        conform(header, _HEADER, "the header")
        fields = _fields(header, tensors)
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, LensscopeError) and not isinstance(error, LensError):
            raise
        got = f"{type(error).__name__}: {error}"[:400]
        raise not_whole(path, "patchscope", got, expected) from error
    return fields


def _fields(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    inspection, read, trained = header["inspection"], header["read"], header["trained"]
    rule, adapter = header["rule"], header["adapter"]
    text = inspection["text"]
    if isinstance(text, dict):
        conform(text, _CHAT, "the chat")
        messages = tuple(Message(**message) for message in text["messages"])
        text = Chat(messages, text["add_generation_prompt"], text["template_arguments"])
    if adapter is not None:
        conform(adapter, {"base": str, "times": {str: (int, float)}}, "the adapter")
        parts = {
            name: LowRank(tensors[f"adapter.{name}.down"], tensors[f"adapter.{name}.up"], times)
            for name, times in adapter["times"].items()
        }
        adapter = Adapter(parts, adapter["base"])
    if trained is not None:
        shape = {"kind": str, "model": PROVENANCE, "layers": (list, None), "notes": [str]}
        shape |= {"settings?": dict, "scores?": [dict]}
        conform(trained, shape, "what is known of its training")
        layers = trained["layers"]
        trained = Trained(
            trained["kind"],
            Provenance.from_header(trained["model"]),
            None if layers is None else tuple(layers),
            notes=tuple(trained["notes"]),
            settings=trained.get("settings", {}),
            scores=tuple(trained.get("scores", ())),
        )
    return {
        "inspection": InspectionPrompt(text, inspection["placeholder"], inspection["prepend_bos"]),
        "write": Site(*header["write"]),
        "read": None if read is None else Site(*read),
        "transform": transform_of(header["transform"], tensors),
        "rule": None if rule is None else _RULES[rule.pop("kind")](**rule),
        "mix": header["mix"],
        "match_norm": header["match_norm"],
        "max_new_tokens": header["max_new_tokens"],
        "target_layer": header.get("target_layer"),
        "earliest": header.get("earliest", 0),
        "adapter": adapter,
        "trained": trained,
    }


def _site(site: Site) -> list[Any]:
    return [site.kind, site.layer, site.head]


def _rule(rule: rules.Rule) -> dict[str, Any]:
    (kind,) = [name for name, one in _RULES.items() if type(rule) is one]
    return {"kind": kind, **vars(rule)}
