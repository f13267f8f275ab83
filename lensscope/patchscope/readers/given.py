"""What loading is given, and files that are read without trust."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lensscope.errors import BasisError, LensError
from lensscope.model.backend import Backend
from lensscope.patchscope.inspection import InspectionPrompt
from lensscope.store.json_text import conform, read_json
from lensscope.values.rules import Rule


@dataclass(frozen=True)
class Given:
    """What loading is given.

    Attributes:
        path: the folder or file.
        backend: the model.
        question: what is asked, or all of the prompt where the files do not have it.
        rule: how is written, in place of what the files say.
        allow_pickle: whether a file of ``torch.save`` may be read.
    """

    path: Path
    backend: Backend
    question: str | None = None
    rule: Rule | None = None
    allow_pickle: bool = False

    def asked(self, inspection: InspectionPrompt) -> InspectionPrompt:
        """A prompt with its question, if there is one, whose placeholder is looked at now.

        Raises:
            PromptError: the placeholder is missing, in the question, or not one token.
        """
        found = inspection if self.question is None else inspection.asking(self.question)
        tried = found if self.question is not None else inspection.asking("Say")
        tried.repeated(2).placed(self.backend)
        return found

    def check_basis(self, width: int, what: str, processing: str = "raw") -> None:
        """Refuse a reader of another width, or of weights that were processed in another way.

        Raises:
            BasisError: with both.
        """
        here = self.backend
        if width != here.d_model:
            raise BasisError(
                f"The {what} is for a model of another width.",
                got=f"width {width} in {self.path}",
                expected=f"width {here.d_model} of {here.name}",
                instead="the model that it was trained on",
            )
        if processing != here.processing:
            raise BasisError(
                f"The {what} reads states in another basis than the model's.",
                got=f"{here.processing} weights in {here.name}",
                expected=f"{processing} weights",
                instead=f"ls.load_model(name, processing={processing!r})",
            )


def not_whole(path: Path, what: str, got: object, expected: str) -> LensError:
    """What is raised of files that are not as they were published."""
    return LensError(
        f"{path} is no whole {what}.",
        got=got,
        expected=expected,
        instead="the files as they were published",
    )


def json_of(path: Path, what: str, shape: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a JSON file says, which must have these fields.

    Raises:
        LensError: it is not there, not whole, or lacks one.
    """
    try:
        told: Mapping[str, Any] = read_json(path.read_text(encoding="utf-8"))
        conform(told, shape, path.name)
    except (OSError, ValueError) as error:
        names = ", ".join(name for name in shape if not name.endswith("?"))
        raise not_whole(path, what, f"{type(error).__name__}: {error}", names) from error
    return told
