"""The result of a study from the folder that it was run in."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Final

from lensscope import checks
from lensscope.errors import StudyError
from lensscope.studies.folder import Folder
from lensscope.studies.result import StudyResult

_CLASSES: Final = {
    "entity_resolution": "EntityResolution",
    "attribute_extraction": "AttributeExtraction",
    "next_token": "NextToken",
    "multihop": "Multihop",
    "cross_model": "CrossModel",
}


@checks.door(StudyError)
def load(folder: str | Path) -> StudyResult:
    """What a study found, from its folder alone: no model is needed.

    Args:
        folder: what ``study.run(out=folder)`` wrote, finished or not.

    Raises:
        StudyError: not the folder of a study, or a part that is not whole.

    Example:
        >>> import tempfile
        >>> out = tempfile.mkdtemp()
        >>> study = ls.studies.entity_resolution(
        ...     model, ls.studies.entities(limit=2), layers=[8], max_new_tokens=3)
        >>> _ = study.run(out)
        >>> ls.studies.load(out).finished
        True
    """
    found = Folder(Path(folder))
    kind = found.manifest()["study"]
    if kind not in _CLASSES:
        raise StudyError(
            "This lensscope does not know the study.",
            got=repr(kind),
            expected=", ".join(_CLASSES),
            instead="the version of lensscope that made the folder",
        )
    study = getattr(import_module(f"lensscope.studies.{kind}"), _CLASSES[kind])
    result: StudyResult = study.summary(found)
    return result
