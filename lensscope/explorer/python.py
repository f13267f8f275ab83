"""A question as the lines of Python that answer it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from lensscope.explorer.lab import RAW, Lab
from lensscope.explorer.mattering import SITES, pair_of
from lensscope.explorer.questions import (
    Cell,
    Circuits,
    Grid,
    Inspection,
    Matters,
    Patched,
    PatchSpec,
    Prompt,
    Question,
    Step,
    Tokens,
    Words,
)
from lensscope.explorer.saying import STOP, can_read, written_at
from lensscope.values.chats import Chat
from lensscope.values.sites import resid_post
from lensscope.values.transforms import BySite


def python_of(lab: Lab, question: Question) -> str:
    """Lines that give what the answer to a question shows."""
    body = _BODIES[type(question)](lab, question)
    wanted = [f"# {name}: the one that ls.explore was given" for name in _given(lab, body)]
    used = [line for name, line in _IMPORTS.items() if any(f"{name}(" in one for one in body)]
    return "\n".join(["import lensscope as ls", *used, "", *lab.loading, *wanted, *body]) + "\n"


def given_as(kind: str, name: str) -> str:
    """What something that was given is called in lines of Python."""
    plain = "".join(sign if sign.isalnum() else "_" for sign in name).strip("_")
    return f"{kind}_{plain}" if plain.isascii() and plain != kind else kind


def _given(lab: Lab, body: Sequence[str]) -> list[str]:
    """The names in some lines that stand for what was given."""
    lines = (*lab.lens_lines.values(), *lab.reader_lines.values())
    names = dict.fromkeys(line for line in lines if line.isidentifier())
    return [name for name in names if any(name in line for line in body)]


_IMPORTS = {
    "affine_lens": "from lensscope.explorer.lenses import affine_lens",
    "control_texts": "from lensscope.studies.texts import control_texts",
    "controlled": "from lensscope.patchscope.controls import controlled",
    "lens_of": "from lensscope.patchscope.lens_names import lens_of",
    "reader_of": "from lensscope.patchscope.reader_names import reader_of",
}


def _tokens(lab: Lab, question: Tokens) -> list[str]:
    if question.placeholder is None:
        return [f"run = ls.run(model, {_prompt(question.prompt)})", "print(run.tokens[0])"]
    made = f"ls.InspectionPrompt({_prompt(question.prompt)}, {question.placeholder!r})"
    return [f"prompt = {made}", "print(prompt.tokens(model).labels, prompt.places(model))"]


def _grid(lab: Lab, question: Grid) -> list[str]:
    return [
        f"lens = {lab.lens_lines[question.lens]}",
        f"reading = lens.read(model, {_prompt(question.prompt)}, ls.resid_post, top_k=1, "
        'measures=("entropy", "kl"))',
        "print(reading)",
        "reading.plot()",
    ]


def _cell(lab: Lab, question: Cell) -> list[str]:
    return [
        f"lenses = [{', '.join(lab.lens_lines[name] for name in _reading(lab, question.layer))}]",
        f"prompt = {_prompt(question.prompt)}",
        "for lens in lenses:",
        f"    reading = lens.read(model, prompt, ls.resid_post({question.layer}), "
        f'{question.position}, top_k=5, measures=("entropy", "kl"))',
        "    print(reading)",
    ]


def _reading(lab: Lab, layer: int) -> list[str]:
    """The lenses that read a layer."""
    site = resid_post(layer)
    return [name for name, lens in lab.lenses.items() if lens.knows(lab.backend, site)]


def _words(lab: Lab, question: Words) -> list[str]:
    readers = [RAW, *(n for n, scope in lab.trained.items() if can_read(scope, question.layer))]
    return [
        "texts = control_texts()",
        f"readers = [{', '.join(_reader(lab, name, question.inspection) for name in readers)}]",
        f"prompt = {_prompt(question.prompt)}",
        "for reader in readers:",
        f"    found = controlled(reader, model, prompt, {question.position}, [{question.layer}], "
        f"texts=texts, {_said(question.inspection)})",
        "    print(found)",
    ]


def _step(lab: Lab, question: Step) -> list[str]:
    return [
        f"scope = {_reader(lab, question.reader, question.inspection)}",
        f"result = scope.inspect(model, {_prompt(question.prompt)}, {question.position}, "
        f"{_said(question.inspection)})",
        f'print(result.frame().set_index("source_layer")["text"][{question.layer}])',
        "result.plot()",
        *_alternatives(lab, question),
    ]


def _alternatives(lab: Lab, question: Step) -> list[str]:
    """What else was probable at each token; of a reader that speaks with this model as it is."""
    scope = lab.reader(question.reader, question.inspection)
    if scope.model is not None or scope.adapter is not None:
        return []
    read = f"ls.resid_post({question.layer})"
    mapped = "scope.transform(state)"
    if isinstance(scope.transform, BySite):
        mapped = f"scope.transform.at({read})(state)"
    at = written_at(lab, scope, question.layer)
    return [
        f"cache = ls.capture(model, {_prompt(question.prompt)}, {read})",
        f"state = cache.value({read}.at({question.position}))[0]",
        *([] if scope.transform is None else [f"state = {mapped}"]),
        f"site = ls.{scope.write.kind}({at})",
        "inspection = scope.inspection.tokens(model)",
        "places = scope.inspection.places(model)",
        "patches = [scope.patch(site.at(place), state) for place in places]",
        f"said = ls.generate(model, inspection, patches, {_said(question.inspection)})",
        "ids = [*inspection.ids, *said.token_ids[0][:-1]]",
        "logits = ls.run(model, ids, patches).logits[0, len(inspection) - 1 :]",
        "print(said.labels[0], logits.softmax(-1).topk(5))",
    ]


def _patched(lab: Lab, question: Patched) -> list[str]:
    return [
        f"prompts = [{', '.join(map(_prompt, question.prompts))}]",
        "caches = [ls.capture(model, prompt, ls.resid_post) for prompt in prompts]",
        "patches = [[], []]",
        *map(_patch, question.patches),
        "for prompt, own in zip(prompts, patches):",
        "    out = ls.run_many(model, prompt, [[], own], "
        f"max_new_tokens={question.max_new_tokens})",
        "    before, after = out.generation.texts",
        "    print(repr(before), repr(after))",
        "    log_p = out.logits[:, 0].log_softmax(-1)",
        "    print(log_p.exp().topk(5))",
        "    print('KL', (log_p[0].exp() * (log_p[0] - log_p[1])).sum().item())",
    ]


def _patch(one: PatchSpec) -> str:
    to = f"ls.resid_post({one.to.layer}).at({one.to.position})"
    if one.source is None:
        return f"patches[{one.to.prompt}].append({to}.scale({one.amount!r}))"
    read = f"ls.resid_post({one.source.layer}).at({one.source.position})"
    times = "" if one.amount == 1 or one.how == "project_out" else f" * {one.amount!r}"
    value = f"caches[{one.source.prompt}].value({read})[0]{times}"
    return f"patches[{one.to.prompt}].append({to}.{one.how}({value}))"


def _matters(lab: Lab, question: Matters) -> list[str]:
    kind = SITES[question.site].kind
    return [
        *_pair(lab, question),
        f"estimate = ls.attribution_patching(model, clean, corrupted, ls.{kind}, metric)",
        f"exact = ls.activation_patching(model, clean, corrupted, ls.{kind}, metric)",
        "print(exact)",
        "exact.plot()",
    ]


def _circuit(lab: Lab, question: Circuits) -> list[str]:
    return [
        *_pair(lab, question),
        "effect = ls.attribution_patching(model, clean, corrupted, [ls.head_out, ls.mlp_out], "
        "metric)",
        f"circuit = effect.circuit(threshold={question.threshold!r})",
        "print(circuit)",
        "print(circuit.faithfulness(model, clean, corrupted, metric).recovered)",
    ]


def _pair(lab: Lab, question: Matters | Circuits) -> list[str]:
    pair = pair_of(lab, question)
    return [
        f"clean = {_prompt(question.clean)}",
        f"corrupted = {_prompt(question.corrupted)}",
        f"metric = ls.logit_difference({pair.answer!r}, {pair.wrong!r})",
    ]


def _said(inspection: Inspection) -> str:
    """How texts go on, as arguments."""
    given: dict[str, Any] = {"max_new_tokens": inspection.max_new_tokens, "stop": list(STOP)}
    if inspection.temperature:
        given |= {"temperature": inspection.temperature, "top_p": inspection.top_p}
    if inspection.temperature or inspection.seed:
        given["seed"] = inspection.seed
    return ", ".join(f"{name}={value!r}" for name, value in given.items() if value is not None)


def _reader(lab: Lab, name: str, inspection: Inspection) -> str:
    if name != RAW:
        return lab.reader_lines[name]
    made = f"ls.InspectionPrompt({_prompt(inspection.text)}, {inspection.placeholder!r})"
    where = "ls.resid_post"
    if inspection.target != "same":
        where = f"ls.resid_pre({inspection.target}), read=ls.resid_post"
    return f"ls.Patchscope({made}, {where})"


def _prompt(prompt: Prompt) -> str:
    if not isinstance(prompt, Chat):
        return repr(prompt)
    messages: Sequence[Any] = [asdict(message) for message in prompt.messages]
    return f"ls.chat({messages!r})"


_BODIES: dict[type, Any] = {
    Tokens: _tokens,
    Grid: _grid,
    Cell: _cell,
    Words: _words,
    Step: _step,
    Patched: _patched,
    Matters: _matters,
    Circuits: _circuit,
}
