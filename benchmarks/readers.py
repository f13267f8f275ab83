"""What a step of training a reader takes, against plain full forwards of the prompt.

    python -m benchmarks.readers [--write]

The same rows, the same loss and the same gradient: once as lensscope trains (what stands before the
placeholder is run once, and only the tokens of the loss are unembedded), once by running all of the
prompt for each row with a hook at the placeholder.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import torch

import lensscope as ls
from benchmarks import machine
from lensscope.lenses.training import divergence
from lensscope.model.classes import backend_of
from lensscope.patchscope.fitting.lessons import Descriptions, Lessons
from lensscope.patchscope.fitting.settings import FitSettings
from lensscope.patchscope.fitting.speech import Speech
from lensscope.patchscope.fitting.training import MapTrainer

ROUNDS = 5
PLACE = Path(__file__).parent / "readers.md"


def plainly(model: Any, speech: Speech, values: torch.Tensor, lessons: Lessons) -> torch.Tensor:
    """The loss by whole forwards of the prompt and what is said, hooked at the placeholder."""
    prompt = speech.inspection.tokens(model)
    (place,) = speech.inspection.places(model)
    width = max(map(len, lessons.ids))
    rows = [[*prompt.ids, *ids[:-1], *([0] * (width - len(ids)))] for ids in lessons.ids]

    def write(state: torch.Tensor, hook: Any) -> torch.Tensor:
        out = state.clone()
        out[:, place] = values
        return out

    hooks = [("blocks.2.hook_resid_pre", write)]
    logits = model.run_with_hooks(torch.tensor(rows), fwd_hooks=hooks, return_type="logits")
    start = len(prompt.ids) - 1
    own = [logits[n, start : start + len(ids)] for n, ids in enumerate(lessons.ids)]
    return divergence(torch.cat(own), speech.log_p(lessons.last)) / sum(map(len, lessons.ids))


def main() -> None:
    """Print the table, and keep it if told to."""
    model = ls.load_model()
    scope = ls.Patchscope.definition()
    backend = backend_of(model)
    settings = FitSettings.of({"map": "full", "n_held_out": 16, "steps": ROUNDS})
    speech = Speech(backend, scope)
    sites = {layer: ls.resid_post(layer) for layer in (8, 16)}
    names = ls.names(kinds=["animal"])[: 16 + 32 * 3]
    trainer = MapTrainer(speech, Descriptions(speech, names, sites, settings), [8, 16], settings)
    parameters = list(trainer.learnt.parameters.values())
    times: dict[str, list[float]] = {"lensscope": [], "plain full forwards": []}
    apart = []
    for n in range(ROUNDS):
        lessons = trainer.teacher.lessons(n)
        at = torch.zeros(len(lessons), dtype=torch.long)
        losses = []
        for way, own in times.items():
            start = time.perf_counter()
            values = trainer.learnt.written(lessons.states[8].float(), at)
            if way == "lensscope":
                loss = trainer._of_values(values, lessons, 8)
            else:
                loss = plainly(model, speech, values, lessons)
            torch.autograd.grad(loss, parameters, allow_unused=True)
            own.append(time.perf_counter() - start)
            losses.append(float(loss.detach()))
        apart.append(abs(losses[0] - losses[1]))
    fast, slow = (min(own) for own in times.values())
    lines = [
        "# Training a reader",
        "",
        *machine.describe(),
        "",
        "| a step of 32 rows, forward and gradient | seconds, least of five |",
        "| --- | --- |",
        f"| lensscope | {fast:.2f} |",
        f"| plain full forwards of the prompt | {slow:.2f} |",
        f"| times as fast | {slow / fast:.1f} |",
        "",
        f"Largest difference of the losses: {torch.tensor(apart).max():.1e} nats.",
    ]
    print("\n".join(lines))
    if "--write" in sys.argv:
        PLACE.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
