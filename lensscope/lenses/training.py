"""Training translators on the divergence from the model's final distribution, step by step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from jaxtyping import Float
from torch import Tensor

from lensscope.errors import LensError
from lensscope.lenses.corpus import Corpus, counted, some_rows
from lensscope.lenses.files import resume, save
from lensscope.lenses.places import States
from lensscope.lenses.settings import Training
from lensscope.lenses.states import Asked, gathered
from lensscope.lenses.translators import Translator
from lensscope.model.backend import Backend
from lensscope.model.head import rows_at_once, unembed
from lensscope.model.tokens import tokenize
from lensscope.progress import progress
from lensscope.values.sites import Site

_PAIR: Final = ("matrix", "bias")
_KIND: Final = "TunedLens checkpoint"
_SHOWN: Final = 5


class _Divergence(torch.autograd.Function):
    """The sum of ``KL(p || softmax(logits))`` over rows, with its gradient ``softmax - p`` made in
    the same pass, in place."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, log_p: Tensor) -> Tensor:
        with torch.autocast(logits.device.type, enabled=False):
            log_q = logits.to(torch.promote_types(logits.dtype, log_p.dtype)).log_softmax(-1)
            log_p = log_p.to(log_q.dtype)
            p = log_p.exp()
            loss = torch.linalg.vecdot(p, log_p.clamp_min(-1e4) - log_q).sum()
        ctx.save_for_backward(log_q.exp_().sub_(p))
        ctx.dtype = logits.dtype
        return loss

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (difference,) = ctx.saved_tensors
        return (difference * grads[0]).to(ctx.dtype), None


def divergence(
    logits: Float[Tensor, "row d_vocab"], log_p: Float[Tensor, "row d_vocab"]
) -> Float[Tensor, ""]:
    """``sum over rows of KL(p || softmax(logits))``, in nats; the loss of a tuned lens."""
    return _Divergence.apply(logits, log_p)  # type: ignore[no-untyped-call]


@dataclass(eq=False)
class Trainer:
    """Translators on their way from the identity.

    A translator is trained as ``x + s_out * (A (x / s_in) + b)``, with the typical size of each
    entry of the state and of the last residual, so that one learning rate does for entries that
    differ a thousandfold. That is another way to write the same maps (the tuned-lens library has no
    such scales), and weight decay still pulls to the identity.
    """

    backend: Backend
    sites: Sequence[Site]
    corpus: Corpus
    training: Training
    checkpoint: Path | None = None
    step: int = 0
    losses: list[list[float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        d = self.backend.d_model
        self.device = self.backend.device
        self._plain: dict[str, Any] = {"device": self.device, "dtype": torch.float32}
        self.parameters = [
            (torch.zeros(d, d, **self._plain), torch.zeros(d, **self._plain)) for _ in self.sites
        ]
        self.scale_in = torch.ones(len(self.sites), d, **self._plain)
        self.scale_out = torch.ones(d, **self._plain)
        flat = [p.requires_grad_() for pair in self.parameters for p in pair]
        t = self.training
        if t.optimizer == "adam":
            self.optimizer: Any = torch.optim.AdamW(
                flat, lr=t.rate, betas=(0.9, 0.99), weight_decay=t.weight_decay
            )
        else:
            self.optimizer = torch.optim.SGD(
                flat,
                lr=t.rate,
                momentum=t.momentum,
                nesterov=t.momentum > 0,
                weight_decay=t.weight_decay,
            )
        self.bf16 = _has_bf16(self.device) if t.bf16 is None else t.bf16

    # ---------------------------------------------------------------- training

    def run(self) -> None:
        """Train to the end, from the last checkpoint if there is one.

        Raises:
            LensError: a loss that is not finite, another training's checkpoint, too little text.
        """
        self._resume()
        t = self.training
        with progress(t.steps, "tuned lens", "step", initial=self.step) as bar:
            try:
                while self.step < t.steps:
                    self._update()
                    bar.set_postfix_str(self._shown(), refresh=False)
                    bar.update()
            except KeyboardInterrupt:
                if not self._moving:  # halfway through an update there is nothing to go on from
                    self.save()
                raise

    def _update(self) -> None:
        """One step: run a batch, and move every translator."""
        t = self.training
        batch = [tokenize(self.backend, list(p))[0] for p in self.corpus.batch(self.step)]
        (part,) = gathered(
            self.backend,
            [Asked(p, counted(self.backend, p.ids, t.skip_first)) for p in batch],
            self.sites,
            together=True,
        )
        assert part.last is not None
        if self.step == 0:
            self._set_scales(part.states, part.last)
        chosen = some_rows(len(part.last), t.tokens_per_step, t.seed, self.step)
        with torch.no_grad():
            final = unembed(self.backend, part.last[chosen]).float().log_softmax(-1)
        losses = []
        casts = torch.autocast(self.device.type, torch.bfloat16) if self.bf16 else nullcontext()
        with torch.enable_grad(), casts:
            for n, site in enumerate(self.sites):
                losses.append(self._gradient(n, part.states[site][chosen], final))
        wrong = [s for s, loss in zip(self.sites, losses, strict=True) if not math.isfinite(loss)]
        if wrong:
            raise LensError(
                f"The loss is not finite at step {self.step}.",
                got=f"NaN or infinity at {wrong[0]!r}",
                expected="finite losses; a lower learning_rate or clip may keep them so",
                instead=f"learning_rate={t.rate / 10:g}"
                + (
                    f", with another checkpoint=; {self.checkpoint} holds step {self._saved}"
                    if self.checkpoint is not None and self._saved is not None
                    else "; checkpoint=path keeps the last good state"
                ),
            )
        if self.step and self.step % t.checkpoint_every == 0:
            self.save()  # now that what it has come to is known to give finite losses
        for group in self.optimizer.param_groups:
            group["lr"] = t.rate_at(self.step)
        self._moving = True
        self.optimizer.step()
        self.losses.append(losses)
        self.step += 1
        self._moving = False
        self.optimizer.zero_grad(set_to_none=True)

    def _gradient(self, n: int, states: Tensor, log_p: Tensor) -> float:
        """Leave the gradient of one translator with it; its mean loss."""
        pair, total = self.parameters[n], 0.0
        for rows in torch.split(torch.arange(len(states)), rows_at_once(self.backend)):
            translated = self._translated(n, states[rows].float())
            loss = divergence(unembed(self.backend, translated), log_p[rows]) / len(states)
            # asked for by name, so that none is made for the model's own weights
            for parameter, grad in zip(pair, torch.autograd.grad(loss, pair), strict=True):
                parameter.grad = grad if parameter.grad is None else parameter.grad + grad
            total += float(loss.detach())
        torch.nn.utils.clip_grad_norm_(pair, self.training.clip)
        return total

    def _translated(self, n: int, states: Tensor) -> Tensor:
        matrix, bias = self.parameters[n]
        with torch.autocast(self.device.type, enabled=False):
            return states + self.scale_out * (states / self.scale_in[n] @ matrix.mT + bias)

    def _set_scales(self, states: States, last: Tensor) -> None:
        """The typical size of each entry, of the first batch: 1.48 medians, which a few tokens of
        enormous states do not move."""
        sizes = [states[site].float().abs().median(0).values for site in self.sites]
        self.scale_in = 1.4826 * torch.stack(sizes).clamp_min(1e-6).to(self.device)
        self.scale_out = 1.4826 * last.float().abs().median(0).values.to(self.device)

    def translators(self) -> dict[Site, Translator]:
        """What has been learnt, in the coordinates of the states."""
        found = {}
        for n, site in enumerate(self.sites):
            matrix, bias = (p.detach() for p in self.parameters[n])
            matrix = self.scale_out[:, None] * matrix / self.scale_in[n]
            found[site] = Translator(matrix.cpu(), (self.scale_out * bias).cpu(), residual=True)
        return found

    def _shown(self) -> str:
        """The losses of a few layers, evenly spread."""
        n = len(self.sites)
        places = sorted({round(i * (n - 1) / (_SHOWN - 1)) for i in range(_SHOWN)})
        return " ".join(f"{self.sites[i].layer}:{self.losses[-1][i]:.2f}" for i in places)

    # ---------------------------------------------------------------- checkpoints

    _saved: int | None = None
    _moving: bool = False

    def _header(self) -> dict[str, Any]:
        """What must be the same for a training to go on."""
        settings = {k: v for k, v in asdict(self.training).items() if k != "checkpoint_every"}
        return {
            **settings,
            "bf16": self.bf16,
            "texts": self.corpus.hash,
            "weights": self.backend.provenance().fingerprint,
            "sites": [[site.kind, site.layer] for site in self.sites],
        }

    def save(self) -> None:
        """Keep all that is needed to go on from here, if there is a file for it."""
        if self.checkpoint is None or not self.losses:
            return
        tensors = {"scale_in": self.scale_in, "scale_out": self.scale_out}
        tensors["losses"] = torch.tensor(self.losses, dtype=torch.float64)
        for name, parameter in self._named().items():
            tensors[name] = parameter
            for key, value in self.optimizer.state[parameter].items():
                tensors[f"{name}.{key}"] = torch.as_tensor(value)
        header = {"kind": _KIND, "step": self.step, "settings": self._header()}
        save(self.checkpoint, header, tensors)
        self._saved = self.step

    def _needed(self) -> dict[str, Tensor]:
        """What a checkpoint must have, by name; with what the optimizer keeps."""
        t = self.training
        kept = ["exp_avg", "exp_avg_sq"] if t.optimizer == "adam" else []
        kept += ["momentum_buffer"] if t.optimizer == "sgd" and t.momentum else []
        needed = {"scale_in": self.scale_in, "scale_out": self.scale_out}
        for name, parameter in self._named().items():
            needed |= dict.fromkeys((name, *(f"{name}.{key}" for key in kept)), parameter)
            if t.optimizer == "adam":
                needed[f"{name}.step"] = torch.tensor(0.0)
        return needed

    def _named(self) -> dict[str, Tensor]:
        pairs = enumerate(self.parameters)
        return {
            f"{n}.{which}": own for n, pair in pairs for which, own in zip(_PAIR, pair, strict=True)
        }

    def _resume(self) -> None:
        found = resume(self.checkpoint, _KIND, self._header(), "training", self._needed(), ["step"])
        if found is None:
            return
        header, tensors = found
        losses = tensors.get("losses")
        if losses is None or losses.shape != (header["step"], len(self.sites)):
            raise LensError(
                f"{self.checkpoint} is not a whole checkpoint of this training.",
                got="no losses" if losses is None else f"losses of shape {tuple(losses.shape)}",
                expected=f"losses of {header['step']} steps at {len(self.sites)} sites",
                instead=f"delete {self.checkpoint}, and the same call begins anew",
            )
        self.step = self._saved = header["step"]
        self.losses = losses.tolist()
        self.scale_in = tensors["scale_in"].to(self.device)
        self.scale_out = tensors["scale_out"].to(self.device)
        with torch.no_grad():
            for name, parameter in self._named().items():
                parameter.copy_(tensors[name])
                self.optimizer.state[parameter] = {
                    key.removeprefix(f"{name}."): value.clone()
                    for key, value in tensors.items()
                    if key.startswith(f"{name}.")
                }


def _has_bf16(device: torch.device) -> bool:
    """Whether products of bfloat16 matrices are fast here."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    has: Any = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return device.type == "cpu" and bool(has is not None and has())
