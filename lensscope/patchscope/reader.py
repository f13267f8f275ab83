"""What a trained or kept patchscope can be: loaded, asked, saved, taken back to a vector."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, cast

from lensscope import checks
from lensscope.errors import LensError, PromptError
from lensscope.model.classes import backend_of
from lensscope.patchscope.readers.given import Given
from lensscope.patchscope.readers.loading import loaded
from lensscope.patchscope.readers.saved import write_scope
from lensscope.patchscope.reconstruction import Reconstruction
from lensscope.patchscope.trained import Trained
from lensscope.store.files import path_of
from lensscope.values.rules import Rule, as_rule

R = TypeVar("R", bound="Reader")


class Reader:
    """What a `Patchscope` can do if it was trained, published or saved."""

    @classmethod
    @checks.door(LensError, question=checks.text, rule=as_rule)
    def load(
        cls: type[R],
        folder: str | Path,
        model: Any,
        *,
        question: str | None = None,
        rule: Rule | None = None,
        allow_pickle: bool = False,
    ) -> R:
        """A reader that was trained and published, or a patchscope that was saved.

        Which it is, is told by its files: an Activation Oracle (a folder of PEFT, most with
        ``ao_config.json``), an oracle lens (with ``run.json``), a natural-language autoencoder
        (``nla_meta.yaml``, or ``av`` and ``ar`` with one each), a SelfIE adapter (one safetensors
        file, or an older one of ``torch.save``), or what `save` wrote. An adapter acts only while
        the reader speaks, never while states are read, and nothing of the model is changed.

        Args:
            folder: a folder or file on this machine.
            model: the model that it is for; an autoencoder brings a model of its own, and is for
                states of this one.
            question: what is asked, as `asking` does; where the files name a prompt and do not hold
                it (SelfIE adapters, oracle lenses), all of the prompt.
            rule: how states are written, in place of what the files say. Oracles of before
                2025-10-26 replace what is there, later ones add to it: where the date is not in the
                files, it must be said.
            allow_pickle: read a file of ``torch.save``; even then, tensors and plain values only.

        Raises:
            LensError: no reader, files that are missing, damaged, pickled or of another version, an
                adapter of another kind than plain LoRA, or one that nobody can tell how to read.
            BasisError: it is for another model, or would change nothing in this one.
            PromptError: a placeholder that is not one token, or that is in the question.
            ModelError: a model without linear modules, which an adapter needs.

        Example:
            >>> scope = ls.Patchscope.entity_description(max_new_tokens=5)
            >>> path = scope.save("described.safetensors")
            >>> scope = ls.Patchscope.load(path, model)
            >>> scope.inspect(model, "Jurassic Park", layers=[12]).frame()["text"][0]
            ': American film franchise,'
            >>> path.unlink()
        """
        path = path_of(folder).expanduser()
        fields = loaded(Given(path, backend_of(model), question, rule, allow_pickle))
        return cls(**fields)

    @checks.door(LensError)
    def save(self, path: str | Path) -> Path:
        """Write it to a safetensors file: the prompt, the rule, the map, the adapter, and what is
        known of its training.

        Raises:
            LensError: a function or another model is in it, or the path is a folder.
            FileError: the disk is full, or refuses; what was there before stays.
        """
        return write_scope(Path(path), cast(Any, self))

    @checks.door(PromptError, question=checks.text)
    def asking(self: R, question: str) -> R:
        """The same with a question in its prompt, in place of ``{question}``.

        Raises:
            PromptError: the prompt has no such place, or the question has the placeholder in it.

        Example:
            >>> prompt = ls.InspectionPrompt("Here is x . {question} A:", "x")
            >>> scope = ls.Patchscope(prompt, ls.resid_pre(2), max_new_tokens=3)
            >>> scope.asking("Is it a country?").inspection.text
            'Here is x . Is it a country? A:'
        """
        scope = cast(Any, self)
        return cast(R, replace(scope, inspection=scope.inspection.asking(question)))

    @checks.door(LensError, text=checks.text)
    def reconstruct(self, text: str, vector: Any = None) -> Reconstruction:
        """From words back to a vector, by a reader that has the way back.

        Args:
            text: what was said of a state; with explanation tags, what is between them counts.
            vector: the state that was described, to say how near the words bring one to it.

        Raises:
            LensError: there is no way back.
            PatchError: a vector of another width.
        """
        trained: Trained | None = cast(Any, self).trained
        if trained is None or trained.back is None:
            raise LensError(
                "This patchscope has no way back from words to a vector.",
                got=trained.kind if trained else "a patchscope that was not trained",
                expected="a natural-language autoencoder with both of its sides",
                instead="ls.Patchscope.load(folder, model), of a folder with av and ar in it",
            )
        return trained.back.reconstruct(text, vector)
