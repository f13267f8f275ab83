"""Training the maps of a patchscope, by gradient through the model that speaks."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from jaxtyping import Float
from torch import Tensor

from lensscope.errors import LensError
from lensscope.lenses.files import resume, save
from lensscope.lenses.training import divergence
from lensscope.patchscope.fitting.alignment import RAW, early, spread_over
from lensscope.patchscope.fitting.learning import Learnt
from lensscope.patchscope.fitting.lessons import GOAL, Lessons, Teacher
from lensscope.patchscope.fitting.settings import FitSettings
from lensscope.patchscope.fitting.speech import Speech
from lensscope.progress import progress

_KIND: Final = "tuned patchscope checkpoint"
_LOOKS: Final = 6
"""How often in a training it is measured on what was kept apart, to keep the best."""
_FEW, _SOME, _TRIED = 48, 4, 10
"""Lessons and layers of such a measurement; layers among which the anchor is looked for."""


@dataclass(eq=False)
class MapTrainer:
    """Maps of some layers, as they are learnt (see `Learnt`) from a teacher's lessons.

    Each update is of lessons at layers that are drawn for them; of a patchscope that writes at
    several layers, of all lessons at every layer.
    """

    speech: Speech
    teacher: Teacher
    layers: Sequence[int]
    settings: FitSettings
    checkpoint: Path | None = None
    step: int = 0
    losses: list[float] = field(default_factory=list)
    looks: list[tuple[int, list[float]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        own = self.settings
        scope = self.speech.scope
        apart = scope.write.layer is None
        if apart:
            anchors = {n: GOAL if n < scope.earliest else n for n in self.layers}
        else:
            anchor = self._anchor() if own.anchor is None else own.anchor
            anchors = dict.fromkeys(self.layers, anchor)
        device = self.speech.backend.device
        self.learnt = Learnt(self.teacher.samples, anchors, own, device, apart=apart)
        self.optimizer = torch.optim.AdamW(
            list(self.learnt.parameters.values()),
            lr=own.rate,
            betas=(0.9, 0.99),
            weight_decay=own.weight_decay,
        )
        if own.blend and own.start == "aligned" and not apart:
            self._lean(anchor)

    def _lean(self, anchor: int) -> None:
        """Begin, at early layers, with as much of the raw write as is read best."""
        few = self._few
        for layer in early(self.layers, self.speech.backend.n_layers):
            if layer == anchor:
                continue
            n, states = list(self.layers).index(layer), few.states[layer].float()
            with torch.no_grad():
                brought = self.learnt.written(states, torch.full((len(few),), n))
                mixes = [raw * states + (1 - raw) * brought for raw in RAW]
                losses = [float(self._of_values(mix, few, layer)) for mix in mixes]
            self.learnt.aligned.lean(n, RAW[losses.index(min(losses))])

    @property
    def _few(self) -> Lessons:
        apart = self.teacher.apart[0]
        return apart.some(range(min(_FEW, len(apart))))

    def _anchor(self) -> int:
        """The layer whose states are read best as they are."""
        tried = spread_over(self.layers, _TRIED)
        few = self._few
        with torch.no_grad():
            losses = {n: float(self._of_values(few.states[n].float(), few, n)) for n in tried}
        return min(losses, key=lambda layer: losses[layer])

    # ---------------------------------------------------------------- training

    def run(self) -> None:
        """Train to the end, from the last checkpoint if there is one.

        Raises:
            LensError: a loss that is not finite, or another training's checkpoint.
        """
        self._resume()
        steps = self.teacher.steps
        if not self.looks:
            self._look()  # where nothing is better than the start, the start is given
        every = max(1, -(-steps // _LOOKS))
        with progress(steps, "tuned patchscope", "step", initial=self.step) as bar:
            try:
                while self.step < steps:
                    self._update()
                    if self.step % every == 0 or self.step == steps:
                        self._look()
                    bar.set_postfix_str(f"loss {self.losses[-1]:.3f}", refresh=False)
                    bar.update()
            except KeyboardInterrupt:
                if not self._moving:  # halfway through an update there is nothing to go on from
                    self.save()
                raise

    def _update(self) -> None:
        own = self.settings
        lessons = self.teacher.lessons(self.step)
        draws = self._draws(lessons)
        gradients = [torch.zeros_like(held) for held in self.learnt.parameters.values()]
        found = 0.0
        for states, at in draws:
            with torch.enable_grad():
                loss = self._loss(states, at, lessons)
                # asked for by name, so that none is made for the model's own weights
                some = torch.autograd.grad(loss, list(self.learnt.parameters.values()))
            for whole, part in zip(gradients, some, strict=True):
                whole += part
            found += float(loss.detach()) / len(draws)
        if not math.isfinite(found):
            raise self._not_finite()
        if self.step and self.step % own.checkpoint_every == 0:
            self.save()  # now that what it has come to is known to give finite losses
        self.learnt.follow(gradients)
        for group in self.optimizer.param_groups:
            group["lr"] = own.rate_at(self.step, self.teacher.steps)
        self._moving = True
        self.optimizer.step()
        self.losses.append(found)
        self.step += 1
        self._moving = False

    def _draws(self, lessons: Lessons) -> list[tuple[Tensor, Tensor]]:
        """The states of an update, and the places of their layers: each lesson at a layer of its
        own, or all of them at every layer, one after another."""
        n = len(lessons)
        if self.learnt.apart:
            return [
                (lessons.states[layer].float(), torch.full((n,), at))
                for at, layer in enumerate(self.layers)
            ]
        draw = random.Random(f"{self.settings.seed}/layers/{self.step}")
        drawn = [draw.randrange(len(self.layers)) for _ in range(n)]
        states = [lessons.states[self.layers[i]][k] for k, i in enumerate(drawn)]
        return [(torch.stack(states).float(), torch.tensor(drawn))]

    def _loss(self, states: Tensor, at: Tensor, lessons: Lessons) -> Float[Tensor, ""]:
        """The mean over tokens of ``KL(said || said of what is written)``, nats."""
        return self._of_values(self.learnt.written(states, at), lessons, self.layers[int(at[0])])

    def _of_values(self, values: Tensor, lessons: Lessons, layer: int) -> Float[Tensor, ""]:
        logits = self.speech.logits(values.to(self.speech.backend.dtype), lessons.ids, layer)
        return divergence(logits, self.speech.log_p(lessons.last)) / len(logits)

    def _look(self) -> None:
        """Measure what is kept apart to say when to stop, and keep the best so far: the maps of
        some layers by their mean, or those of each layer that learns by itself."""
        few, apart = self._few, self.learnt.apart
        found = []
        with torch.no_grad():
            for layer in self.layers if apart else spread_over(self.layers, _SOME):
                at = torch.full((len(few),), list(self.layers).index(layer))
                found.append(float(self._loss(few.states[layer].float(), at, few)))
        self.looks.append((self.step, found if apart else [sum(found) / len(found)]))
        every = [losses for _, losses in self.looks]
        best = [min(own) for own in zip(*every, strict=True)]
        self.learnt.keep([n for n, loss in enumerate(every[-1]) if loss == best[n]])

    def _not_finite(self) -> LensError:
        kept = "" if self._saved is None else f"; {self.checkpoint} holds step {self._saved}"
        return LensError(
            f"The loss is not finite at step {self.step}.",
            got="NaN or infinity",
            expected="finite losses; a lower learning_rate or clip may keep them so",
            instead=f"learning_rate={self.settings.rate / 10:g}{kept}",
        )

    # ---------------------------------------------------------------- checkpoints

    _saved: int | None = None
    _moving: bool = False

    def _header(self) -> dict[str, Any]:
        """What must be the same for a training to go on."""
        return {
            **{k: v for k, v in self.settings.told.items() if k != "checkpoint_every"},
            "lessons": self.teacher.hash,
            "weights": self.speech.backend.provenance().fingerprint,
            "layers": list(self.layers),
            "scope": repr(self.speech.scope),
        }

    def _tensors(self) -> dict[str, Tensor]:
        """All that training goes on from, by name."""
        tensors = {f"best.{name}": held for name, held in self.learnt.best.items()}
        for name, parameter in self.learnt.parameters.items():
            state = self.optimizer.state[parameter]
            tensors[name] = parameter
            for key in ("exp_avg", "exp_avg_sq"):
                tensors[f"{name}.{key}"] = state.get(key, parameter)
            tensors[f"{name}.step"] = torch.as_tensor(state.get("step", 0.0), dtype=torch.float32)
        return tensors

    def save(self) -> None:
        """Keep all that is needed to go on from here, if there is a file for it."""
        if self.checkpoint is None or not self.losses:
            return
        header = {"kind": _KIND, "step": self.step, "settings": self._header()}
        told = {
            "losses": torch.tensor(self.losses, dtype=torch.float64),
            "looks": torch.tensor([[n, *own] for n, own in self.looks], dtype=torch.float64),
        }
        save(self.checkpoint, header, {**self._tensors(), **told})
        self._saved = self.step

    def _resume(self) -> None:
        found = resume(
            self.checkpoint, _KIND, self._header(), "training", self._tensors(), ["step"]
        )
        if found is None:
            return
        header, tensors = found
        if not {"losses", "looks"} <= tensors.keys() or len(tensors["losses"]) != header["step"]:
            raise LensError(
                f"{self.checkpoint} is not a whole checkpoint of this training.",
                got="no losses, or not one for each step",
                expected=f"losses of {header['step']} steps",
                instead=f"delete {self.checkpoint}, and the same call begins anew",
            )
        self.step = self._saved = header["step"]
        self.losses = tensors["losses"].tolist()
        self.looks = [(int(step), losses) for step, *losses in tensors["looks"].tolist()]
        with torch.no_grad():
            for name, parameter in self.learnt.parameters.items():
                parameter.copy_(tensors[name])
                self.learnt.best[name] = tensors[f"best.{name}"].to(parameter.device)
                keys = ("exp_avg", "exp_avg_sq", "step")
                self.optimizer.state[parameter] = {k: tensors[f"{name}.{k}"].clone() for k in keys}
