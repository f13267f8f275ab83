"""lensscope: let a language model explain its own hidden states."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lensscope import course as course
    from lensscope import pairs as pairs
    from lensscope import studies as studies
    from lensscope.circuits.circuit import Circuit as Circuit
    from lensscope.circuits.curve import FaithfulnessCurve as FaithfulnessCurve
    from lensscope.circuits.faithfulness import Faithfulness as Faithfulness
    from lensscope.effects.metrics import kl_divergence as kl_divergence
    from lensscope.effects.metrics import log_probability as log_probability
    from lensscope.effects.metrics import logit_difference as logit_difference
    from lensscope.effects.metrics import probability as probability
    from lensscope.effects.metrics import rank as rank
    from lensscope.engine.capture import capture as capture
    from lensscope.engine.generate import generate as generate
    from lensscope.engine.planning import Plan as Plan
    from lensscope.engine.run import run as run
    from lensscope.engine.run_many import run_many as run_many
    from lensscope.engine.runs import Generation as Generation
    from lensscope.engine.runs import Run as Run
    from lensscope.engine.runs import Runs as Runs
    from lensscope.engine.support import Support as Support
    from lensscope.engine.support import support as support
    from lensscope.errors import BasisError as BasisError
    from lensscope.errors import BudgetError as BudgetError
    from lensscope.errors import CacheError as CacheError
    from lensscope.errors import CheckpointError as CheckpointError
    from lensscope.errors import CircuitError as CircuitError
    from lensscope.errors import CourseError as CourseError
    from lensscope.errors import FileError as FileError
    from lensscope.errors import LensError as LensError
    from lensscope.errors import LensscopeError as LensscopeError
    from lensscope.errors import ModelError as ModelError
    from lensscope.errors import ModelNotFoundError as ModelNotFoundError
    from lensscope.errors import PatchError as PatchError
    from lensscope.errors import PlanError as PlanError
    from lensscope.errors import PositionError as PositionError
    from lensscope.errors import PromptError as PromptError
    from lensscope.errors import SiteError as SiteError
    from lensscope.errors import StudyError as StudyError
    from lensscope.errors import SweepError as SweepError
    from lensscope.explorer.explorer import explore as explore
    from lensscope.lenses.affine import AffineLens as AffineLens
    from lensscope.lenses.compare import compare as compare
    from lensscope.lenses.comparison import LensComparison as LensComparison
    from lensscope.lenses.jacobian import JacobianLens as JacobianLens
    from lensscope.lenses.lens import Lens as Lens
    from lensscope.lenses.logit import LogitLens as LogitLens
    from lensscope.lenses.reading import LensReading as LensReading
    from lensscope.lenses.tuned import TunedLens as TunedLens
    from lensscope.model.loading import load_model as load_model
    from lensscope.patching.activation import activation_patching as activation_patching
    from lensscope.patching.attribution import attribution_patching as attribution_patching
    from lensscope.patching.knockout import attention_knockout as attention_knockout
    from lensscope.patching.paths import path_patching as path_patching
    from lensscope.patching.result import PatchingResult as PatchingResult
    from lensscope.patching.tracing import causal_trace as causal_trace
    from lensscope.patchscope.inspection import InspectionPrompt as InspectionPrompt
    from lensscope.patchscope.names import names as names
    from lensscope.patchscope.result import PatchscopeResult as PatchscopeResult
    from lensscope.patchscope.scope import Patchscope as Patchscope
    from lensscope.values import rules as rules
    from lensscope.values.cache import Cache as Cache
    from lensscope.values.chats import chat as chat
    from lensscope.values.positions import ALL as ALL
    from lensscope.values.positions import span as span
    from lensscope.values.provenance import Provenance as Provenance
    from lensscope.values.sites import Move as Move
    from lensscope.values.sites import Patch as Patch
    from lensscope.values.sites import Site as Site
    from lensscope.values.sites import attn_out as attn_out
    from lensscope.values.sites import embed as embed
    from lensscope.values.sites import head_out as head_out
    from lensscope.values.sites import k as k
    from lensscope.values.sites import mlp_hidden as mlp_hidden
    from lensscope.values.sites import mlp_out as mlp_out
    from lensscope.values.sites import pattern as pattern
    from lensscope.values.sites import q as q
    from lensscope.values.sites import resid_mid as resid_mid
    from lensscope.values.sites import resid_post as resid_post
    from lensscope.values.sites import resid_pre as resid_pre
    from lensscope.values.sites import v as v
    from lensscope.values.transforms import affine as affine
    from lensscope.values.transforms import identity as identity
    from lensscope.values.transforms import scaled_to as scaled_to

# Names are imported when first used: `lensscope --help` must not wait for torch.
_HOMES = {
    "circuits.circuit": "Circuit",
    "circuits.curve": "FaithfulnessCurve",
    "circuits.faithfulness": "Faithfulness",
    "effects.metrics": "kl_divergence log_probability logit_difference probability rank",
    "engine.capture": "capture",
    "engine.generate": "generate",
    "engine.planning": "Plan",
    "engine.run": "run",
    "engine.run_many": "run_many",
    "engine.runs": "Generation Run Runs",
    "engine.support": "Support support",
    "errors": "BasisError BudgetError CacheError CheckpointError CircuitError CourseError "
    "FileError "
    "LensError LensscopeError ModelError ModelNotFoundError PatchError PlanError "
    "PositionError PromptError SiteError StudyError SweepError",
    "explorer.explorer": "explore",
    "lenses.affine": "AffineLens",
    "lenses.compare": "compare",
    "lenses.comparison": "LensComparison",
    "lenses.jacobian": "JacobianLens",
    "lenses.lens": "Lens",
    "lenses.logit": "LogitLens",
    "lenses.reading": "LensReading",
    "lenses.tuned": "TunedLens",
    "model.loading": "load_model",
    "patching.activation": "activation_patching",
    "patching.attribution": "attribution_patching",
    "patching.knockout": "attention_knockout",
    "patching.paths": "path_patching",
    "patching.result": "PatchingResult",
    "patching.tracing": "causal_trace",
    "patchscope.inspection": "InspectionPrompt",
    "patchscope.result": "PatchscopeResult",
    "patchscope.names": "names",
    "patchscope.scope": "Patchscope",
    "values.cache": "Cache",
    "values.chats": "chat",
    "values.positions": "ALL span",
    "values.provenance": "Provenance",
    "values.sites": "attn_out embed head_out k mlp_hidden mlp_out Move Patch pattern q resid_mid "
    "resid_post resid_pre Site v",
    "values.transforms": "affine identity scaled_to",
}
# Modules that are used as such: `ls.pairs.ioi(model)`.
_MODULES = {"course": "course", "pairs": "pairs", "rules": "values.rules", "studies": "studies"}
_HOME_OF = {name: home for home, every in _HOMES.items() for name in every.split()}

__version__ = "0.1.0"
__all__ = sorted([*_HOME_OF, *_MODULES, "__version__"])


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"lensscope.{_MODULES[name]}")
    if name not in _HOME_OF:
        raise AttributeError(f"module 'lensscope' has no attribute {name!r}")
    value = getattr(import_module(f"lensscope.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
