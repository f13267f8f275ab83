"""The surface: names, types, docstrings."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import subprocess
import sys

import lensscope as ls

PUBLIC = [
    "ALL",
    "AffineLens",
    "BasisError",
    "BudgetError",
    "Cache",
    "CacheError",
    "CheckpointError",
    "Circuit",
    "CircuitError",
    "FileError",
    "Generation",
    "InspectionPrompt",
    "JacobianLens",
    "Lens",
    "LensComparison",
    "LensError",
    "LensReading",
    "LensscopeError",
    "LogitLens",
    "ModelError",
    "ModelNotFoundError",
    "Move",
    "Patch",
    "PatchError",
    "PatchingResult",
    "Patchscope",
    "PatchscopeResult",
    "Plan",
    "PlanError",
    "PositionError",
    "PromptError",
    "Provenance",
    "Run",
    "Runs",
    "Site",
    "SiteError",
    "StudyError",
    "SweepError",
    "TunedLens",
    "__version__",
    "activation_patching",
    "affine",
    "attention_knockout",
    "attn_out",
    "attribution_patching",
    "capture",
    "causal_trace",
    "compare",
    "embed",
    "generate",
    "head_out",
    "identity",
    "k",
    "kl_divergence",
    "load_model",
    "log_probability",
    "logit_difference",
    "mlp_hidden",
    "mlp_out",
    "pairs",
    "path_patching",
    "pattern",
    "probability",
    "q",
    "rank",
    "resid_mid",
    "resid_post",
    "resid_pre",
    "run",
    "run_many",
    "scaled_to",
    "span",
    "studies",
    "support",
    "v",
]


def test_the_public_names():
    assert sorted(ls.__all__) == sorted(PUBLIC)
    for name in ls.__all__:
        assert getattr(ls, name) is not None
    assert set(ls.__all__) <= set(dir(ls))


def test_importing_it_is_light():
    script = "import lensscope, sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "False"


def test_everything_public_is_described():
    lacking = []
    for info in pkgutil.walk_packages(ls.__path__, "lensscope."):
        if info.name.endswith("__main__"):
            continue
        module = importlib.import_module(info.name)
        if not module.__doc__:
            lacking.append(info.name)
        for name, value in vars(module).items():
            own = getattr(value, "__module__", None) == info.name and callable(value)
            if own and not name.startswith("_") and not inspect.getdoc(value):
                lacking.append(f"{info.name}.{name}")
    assert lacking == []


def test_public_functions_say_what_they_raise_and_show_an_example():
    functions = {
        name: getattr(ls, name)
        for name in (
            *("capture", "run", "generate", "run_many", "load_model", "compare"),
            *("activation_patching", "attribution_patching", "path_patching", "causal_trace"),
            "attention_knockout",
        )
    }
    studies = ("entity_resolution", "attribute_extraction", "next_token", "multihop", "cross_model")
    functions |= {name: getattr(ls.studies, name) for name in studies}
    fits = {f"{kind.__name__}.fit": kind.fit for kind in (ls.TunedLens, ls.AffineLens)}
    for name, function in {**functions, **fits, "Lens.read": ls.Lens.read}.items():
        text = inspect.getdoc(function) or ""
        assert "Raises:" in text and "Example:" in text and ">>>" in text, name
        hints = inspect.signature(function)
        assert hints.return_annotation is not inspect.Signature.empty


_LATER = ("transformer_lens", "graph", "drawing", "inspecting", "growth")


def test_imports_run_one_way():
    """Lower files do not know higher ones."""
    from pathlib import Path

    order = """
        errors distributions intervals given_prompts token_texts prompts positions operations
        patches sites transforms provenance cache cache_file progress sampling backend backends
        head batch
        planning runs hooks unpatched outputs budget joining decoding passes execution engine
        readout inspection kept gguf_files demo_model checkpoints agreement repairs hooked models
        showing results plots charts patchscope lenses.checks lenses.files lenses.origin
        lenses.measures lenses.lens lenses.states lenses.components lenses.logit lenses.corpus
        lenses.settings lenses.training lenses.scores lenses.linear lenses.tuned
        lenses.tuned_lens_folder lenses.moments lenses.affine lenses.jacobian lenses.patchscope
        lenses.named lenses.reading lenses.reader lenses.comparison lenses.compare lenses.fit_report
        lens_plots answers metrics pairs.alignment pairs.words pairs.data pairs.drafts pairs.tasks
        pairs.files patching.pairing patching.grid patching.measuring patching.result
        patching.heatmaps patching.activation patching.estimates patching.verification
        patching.attribution patching.receivers patching.sending patching.paths patching.tracing
        patching.knockout circuits.naming circuits.ablation circuits.scores circuits.curve
        circuits.circuit circuits.transformer_lens circuits.graph circuits.drawing
        circuits.inspecting circuits.growth circuits.from_effects report terminal studies.controls
        studies.entities studies.executors studies.folder studies.given studies.multihop_sweep
        studies.places studies.probing studies.questions studies.relations studies.scoring
        studies.tables studies.texts studies.cross_model_identity studies.folds studies.axes
        studies.summary studies.figures studies.report studies.result studies.study
        studies.attribute_summary studies.cells studies.entity_summary studies.loading
        studies.next_token_summary studies.sweep_lines studies.sweep studies.attribute_extraction
        studies.cross_model_summary studies.entity_resolution studies.multihop_summary
        studies.next_token studies.cross_model studies.multihop cli_lenses cli_pairs
        cli_patching cli_circuit cli_study_options cli_studies cli
    """.split()  # noqa: SIM905
    allowed_back = {
        ("results", "plots"),  # what a result looks like is only needed when it is shown
        ("results", "report"),
        ("showing", "report"),
        ("lenses.reading", "report"),
        ("lenses.reading", "lens_plots"),
        ("lenses.comparison", "report"),
        ("lenses.lens", "lenses.reader"),  # a lens reads, and a reader is given a lens
        ("lenses.tuned", "lenses.tuned_lens_folder"),
        ("patchscope", "lenses.patchscope"),  # as_lens, from one to the other
        ("cache", "cache_file"),  # and how it is stored when it is stored
        ("patches", "sites"),  # >> asks whether what follows is a site
        ("patching.result", "patching.heatmaps"),
        ("patching.result", "report"),
        ("patching.result", "circuits.from_effects"),  # effect.circuit, from one to the other
        # what a circuit can be asked for is imported when it is asked for
        *(("circuits.circuit", f"circuits.{name}") for name in _LATER),
        ("studies.result", "studies.report"),
        ("joining", "execution"),  # whether rows can join is tried out by running some
    }
    for n, name in enumerate(order):
        path = Path(ls.__file__).parent / f"{name.replace('.', '/')}.py"
        source = re.sub(r"if TYPE_CHECKING:\n(    .*\n|\n)*", "", path.read_text())
        for later in order[n + 1 :]:
            if f"from lensscope.{later} import" in source:
                assert (name, later) in allowed_back, f"{name} imports {later}"
