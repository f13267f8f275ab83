"""One exception tree for everything a user can get wrong.

::

    LensscopeError
    ├── ModelError          not a usable TransformerLens model, or one in training mode
    │   └── ModelNotFoundError  a name that leads to no model
    ├── PromptError         an empty prompt, one over the context length, a bad placeholder
    ├── PositionError       a position that names no token, or several
    ├── SiteError           a site that the model lacks, a layer or head out of range
    ├── PatchError          a value of the wrong width, dtype or device, or not finite
    │   ├── SweepError          a patching measurement that cannot be made as it was asked
    │   │   └── CheckpointError     a checkpoint that it cannot go on from (a LensError too)
    │   └── CircuitError        a circuit that cannot be made, measured or read
    ├── CacheError          a site that a cache lacks, or a file that is not a cache
    ├── BasisError          two models or two bases mixed where it makes no sense
    ├── LensError           a lens or reader that lacks a layer, cannot be fitted, or is no file
    ├── StudyError          an output folder of something else, a worker or disk that fails
    ├── FileError           a path that is none, a full disk, a file that cannot be written
    ├── CourseError         an exercise that the course lacks, or what it cannot draw
    ├── PlanError           a plan, metric or top_k that a sweep cannot follow
    └── BudgetError         a memory budget that not even one row fits

Every message has three parts: what failed, what was got and expected, what to write instead.
"""

from __future__ import annotations

from typing import Final

from lensscope.signs import cut, without_control

_LONGEST: Final = 800
"""Characters of each part of a message; a prompt in it may have any number."""


class LensscopeError(Exception):
    """The root of all errors that lensscope raises on purpose.

    Args:
        what: what failed, one sentence.
        got: what was found.
        expected: what would have been right.
        instead: what to write instead.

    Example:
        >>> try:
        ...     ls.capture(model, "Paris", ls.resid_post(99))
        ... except ls.LensscopeError as error:
        ...     print(type(error).__name__, "|", error.instead)
        SiteError | ls.resid_post(29)
    """

    def __init__(self, what: str, *, got: object, expected: object, instead: str) -> None:
        self.what = what
        self.got = got
        self.expected = expected
        self.instead = instead
        parts = (
            cut(without_control(f"{part}"), _LONGEST) for part in (what, got, expected, instead)
        )
        super().__init__("{}\n  got:      {}\n  expected: {}\n  instead:  {}".format(*parts))


class ModelError(LensscopeError, ValueError):
    """The model cannot be used as it is.

    Example:
        >>> try:
        ...     ls.capture("gpt2", "Paris", ls.resid_post(3))
        ... except ls.ModelError as error:
        ...     print(error)
        This is not a TransformerLens model.
          got:      builtins.str
          expected: a HookedTransformer (TransformerLens 3.x) or a TransformerBridge (3.x, 4.x)
          instead:  TransformerBridge.boot_transformers(name, hf_model=model), or ls.load_model()
    """


class ModelNotFoundError(ModelError):
    """A name that leads to no model.

    Example:
        >>> try:
        ...     ls.load_model("no-such-folder/model.gguf")
        ... except ls.ModelNotFoundError as error:
        ...     print(error)
        There is no such file or folder.
          got:      no-such-folder/model.gguf
          expected: an existing folder or .gguf file
          instead:  the right path, from ...
    """


class PromptError(LensscopeError, ValueError):
    """A prompt that cannot be run.

    Example:
        >>> try:
        ...     ls.capture(model, "", ls.resid_post(3))
        ... except ls.PromptError as error:
        ...     print(error)
        The prompt is empty.
          got:      ''
          expected: at least one token
          instead:  some text, such as "Hello"
    """


class PositionError(LensscopeError, ValueError):
    """A position that names no token of the prompt, or more than one candidate.

    Example:
        >>> try:
        ...     ls.capture(model, "Paris, then Paris", ls.resid_post(3).at("Paris"))
        ... except ls.PositionError as error:
        ...     print(error)
        The substring 'Paris' occurs 2 times.
          got:      occurrence=0: …'Paris, then Paris'…, occurrence=1: …'Paris, then Paris'…
          expected: exactly one occurrence, as a word or else inside one, or a choice among them
          instead:  site.at('Paris', occurrence=0), or occurrence=-1 for the last
    """


class SiteError(LensscopeError, ValueError):
    """A site that the model does not have.

    Example:
        >>> try:
        ...     ls.capture(model, "Paris", ls.resid_post(99))
        ... except ls.SiteError as error:
        ...     print(error)
        Layer 99 is out of range.
          got:      99
          expected: -30 to 29
          instead:  ls.resid_post(29)
    """


class CourseError(LensscopeError, ValueError):
    """An exercise that the course does not have.

    Example:
        >>> try:
        ...     ls.course.check("99.1", 3)
        ... except ls.CourseError as error:
        ...     print(error)
        The course has no such exercise.
          got:      '99.1'
          expected: the number of a unit and of one of its exercises: 1.1 to ...
          instead:  ls.course.check("3.2", answer)
    """


class PatchError(LensscopeError, ValueError):
    """A patch whose value or operation does not fit its site.

    Example:
        >>> try:
        ...     ls.run(model, "Paris", [ls.resid_post(3).at(-1).set(torch.zeros(5))])
        ... except ls.PatchError as error:
        ...     print(error)
        The value of resid_post(3).at(-1).set(…) has the wrong shape.
          got:      (5,)
          expected: [d_model] = (576,) or [position, d_model] = (1, 576)
          instead:  a value of the site's width; ls.affine(A, b) maps from another
    """


class SweepError(PatchError):
    """A patching measurement that cannot be made, or read, as it was asked.

    Example:
        >>> try:
        ...     ls.causal_trace(model, "The capital of Japan is", "Japan", noise=-1)
        ... except ls.SweepError as error:
        ...     print(error)
        noise is a number.
          got:      noise=-1
          expected: at least 0
          instead:  noise=3
    """


class CircuitError(PatchError):
    """A circuit that cannot be made, measured or read.

    Example:
        >>> try:
        ...     ls.Circuit.from_json("{}")
        ... except ls.CircuitError as error:
        ...     print(error)
        This is not a circuit.
          got:      ValueError: the circuit has no 'nodes'
          expected: what circuit.to_json() gives, as it was given; ...
          instead:  ls.Circuit.from_json(Path("circuit.json"))
    """


class CacheError(LensscopeError, KeyError):
    """A cache that does not hold what was asked for, or a file that is not a cache.

    Example:
        >>> cache = ls.capture(model, "Paris", ls.resid_post(3))
        >>> try:
        ...     cache[ls.resid_post(4)]
        ... except ls.CacheError as error:
        ...     print(error)
        The cache does not hold resid_post(4).
          got:      resid_post(3)
          expected: a site, head and position within what was kept
          instead:  ls.capture(model, prompt, [resid_post(4)])
    """

    def __str__(self) -> str:
        return str(self.args[0])


class BasisError(LensscopeError, ValueError):
    """Values of one model or basis used in another where it makes no sense.

    Example:
        >>> from dataclasses import replace
        >>> here = ls.capture(model, "Paris", ls.resid_post(3)).provenance
        >>> folded = replace(here, processing="folded")
        >>> try:
        ...     here.check_basis(folded, "This cache")
        ... except ls.BasisError as error:
        ...     print(error)
        This cache lives in another basis than the model.
          got:      raw weights of SmolLM2-135M-Instruct
          expected: folded weights of SmolLM2-135M-Instruct
          instead:  read it again from this model, or load both with the same processing=
    """


class LensError(LensscopeError, ValueError):
    """A lens or reader that cannot read what is asked for, cannot be fitted, or is no such file.

    Example:
        >>> try:
        ...     ls.LogitLens().read(model, "Paris", ls.q(3))
        ... except ls.LensError as error:
        ...     print(error)
        A lens cannot read this.
          got:      q(3)
          expected: one of resid_pre, resid_mid, resid_post, attn_out, mlp_out, head_out
          instead:  ls.resid_post, or [ls.resid_post(12), ls.resid_post(20)]
    """


class CheckpointError(SweepError, LensError):
    """A file that patching cannot go on from; a `LensError` too, as which it was caught before.

    Example:
        >>> import tempfile; from pathlib import Path
        >>> path = Path(tempfile.mkdtemp(), "half.safetensors")
        >>> _ = path.write_bytes(b"not whole")
        >>> pairs = ls.pairs.country_capital(model, 2)
        >>> try:
        ...     ls.activation_patching(model, pairs.clean, pairs.corrupted, ls.mlp_out(3),
        ...         pairs.metric, checkpoint=path)
        ... except ls.CheckpointError as error:
        ...     print(error.expected)
        a safetensors file of format lensscope-lens-1, as it was written
    """


class PlanError(LensscopeError, ValueError):
    """A plan, metric or top_k that a sweep cannot follow.

    Example:
        >>> try:
        ...     ls.run_many(model, "Paris", [[]], plan={"speed": True})
        ... except ls.PlanError as error:
        ...     print(error)
        There is no such plan.
          got:      {'speed': True}
          expected: switches for source, prefix, depth, unchanged, outputs, chunks
          instead:  plan=ls.Plan(depth=False)
    """


class StudyError(LensscopeError, RuntimeError):
    """A study that cannot be run, gone on with or read as it was asked for.

    Example:
        >>> try:
        ...     ls.studies.relation("mother tongue")
        ... except ls.StudyError as error:
        ...     print(error)
        There is no such relation.
          got:      'mother tongue'
          expected: animal_young, capital, ..., or the path of a .json file
          instead:  ls.studies.relation('capital')
    """


class FileError(LensscopeError, OSError):
    """A path that leads nowhere, or a file that cannot be written; what was there before stays.

    Example:
        >>> try:
        ...     ls.PatchscopeResult.load("nowhere.safetensors")
        ... except ls.FileError as error:
        ...     print(error)
        nowhere.safetensors does not hold a PatchscopeResult.
          got:      ...
          instead:  PatchscopeResult.load(path) of such a file, or make it again
    """


class BudgetError(LensscopeError, MemoryError):
    """A memory budget that not even one row fits into.

    Example:
        >>> try:
        ...     ls.run_many(model, "Paris", [[]], memory_budget=1000)
        ... except ls.BudgetError as error:
        ...     print(error)
        The memory budget does not hold the results and a single row.
          got:      1,000 bytes
          expected: at least ... bytes
          instead:  memory_budget=...
    """
