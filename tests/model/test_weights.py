"""The fingerprint follows the weights' values, however they are written."""

from __future__ import annotations

import copy
import gc
import weakref

import pytest
import torch

import lensscope as ls
from lensscope.model.weights import _line, fingerprint, weights_hash
from tests import families

PROMPT = families.prompt(5)


@pytest.fixture
def model():
    return families.wrap(copy.deepcopy(families.hf_model("llama")))


def edited(model, name, edit):
    """The fingerprint with an edit through ``.data``, which PyTorch does not count."""
    parameter = dict(model.named_parameters())[name]
    held, version = parameter.data.clone(), parameter._version
    edit(parameter.data)
    assert parameter._version == version
    found = fingerprint(model)
    parameter.data.copy_(held)
    return found


def matrices(model):
    return [(n, p.shape) for n, p in model.named_parameters() if p.ndim == 2]


def test_it_is_the_hash_of_the_weights_and_stays(model):
    first = fingerprint(model)
    assert first == weights_hash(sorted(model.named_parameters(), key=lambda item: item[0]))
    ls.generate(model, PROMPT, [ls.resid_post(1).at(2).zero()], 2)
    assert fingerprint(model) == first == ls.run(model, PROMPT).provenance.fingerprint
    assert fingerprint(copy.deepcopy(model)) == first


def test_edits_of_any_row_column_or_whole_tensor_are_seen(model):
    first = fingerprint(model)
    for name, (rows, columns) in matrices(model):
        for row in range(rows):
            assert edited(model, name, lambda w, row=row: w[row].add_(1e-3)) != first
        for column in range(columns):
            assert edited(model, name, lambda w, c=column: w[:, c].mul_(1.01)) != first
        for whole in (lambda w: w.mul_(1.0001), lambda w: w.add_(1e-4), lambda w: w.neg_()):
            assert edited(model, name, whole) != first
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            for n in range(len(parameter)):
                assert edited(model, name, lambda w, n=n: w[n].add_(1e-3)) != first
    assert fingerprint(model) == first


@pytest.mark.parametrize("shape", [(7, 7), (23, 5), (5, 23), (6, 3), (1, 4), (4, 1), (1, 1)])
@pytest.mark.parametrize("kind", ["dense", "transposed", "of a wider one", "every other"])
def test_the_sample_meets_every_row_and_column(shape, kind):
    rows, columns = shape
    found = {
        "dense": torch.zeros(rows, columns),
        "transposed": torch.zeros(columns, rows).T,
        "of a wider one": torch.zeros(rows, 3 * columns)[:, columns : 2 * columns],
        "every other": torch.zeros(2 * rows, 2 * columns)[::2, ::2],
    }[kind]
    assert found.shape == shape
    for view in _line(found):
        view.fill_(1)
    assert found.any(0).all()
    assert found.any(1).all() or not columns


def test_an_edit_of_one_head_is_seen(model):
    first = fingerprint(model)
    for head in range(4):
        rows = slice(8 * head, 8 * head + 8)
        for end, edit in (
            ("q_proj._original_component.weight", lambda w, r=rows: w[r].zero_()),
            ("o_proj._original_component.weight", lambda w, r=rows: w[:, r].zero_()),
        ):
            names = [name for name, _ in matrices(model) if name.endswith(end)]
            assert len(names) == 3
            assert all(edited(model, name, edit) != first for name in names)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_other_dtypes_and_weights_that_are_not_numbers(model, dtype):
    model.to(dtype)
    first = fingerprint(model)
    name = matrices(model)[1][0]
    assert edited(model, name, lambda w: w[3].add_(0.5)) != first
    weight = dict(model.named_parameters())[name]
    weight.data[2, 2] = torch.nan
    broken = fingerprint(model)
    assert broken == fingerprint(model)


def test_weights_that_do_not_lie_row_by_row(model):
    name = matrices(model)[2][0]
    weight = dict(model.named_parameters())[name]
    for turned in (weight.data.T.contiguous().T, weight.data.repeat(2, 2)[: len(weight), ::2]):
        weight.data = turned
        first = fingerprint(model)
        for row in range(len(weight)):
            assert edited(model, name, lambda w, row=row: w[row].add_(1e-3)) != first


def test_modules_and_parameters_that_are_replaced_are_seen(model):
    first = fingerprint(model)
    inner = model.original_model.model.layers[1].mlp
    up = inner.up_proj
    weight = next(up.parameters())
    held = next(module for module in up.modules() if "weight" in module._parameters)
    held.weight = torch.nn.Parameter(2 * weight.detach())
    second = fingerprint(model)
    assert second != first
    held.weight = weight
    assert fingerprint(model) == first
    with torch.no_grad():
        weight[0, 0] += 1  # PyTorch counts it
    assert fingerprint(model) != first


def test_an_old_cache_is_refused_after_an_edit(model):
    site = ls.resid_post(1).at(2)
    cache = ls.capture(model, PROMPT, site)
    move = site >> ls.resid_post(1).at(2)
    ls.run(model, PROMPT, [move], source=cache)
    next(p for p in model.parameters() if p.ndim == 2).data[5] *= 1.1
    with pytest.raises(ls.BasisError, match="another model"):
        ls.run(model, PROMPT, [move], source=cache)


def test_a_model_that_nobody_uses_is_let_go(model):
    made = families.wrap(copy.deepcopy(families.hf_model("llama")))
    ls.run(made, PROMPT)
    gone = weakref.ref(made)
    del made
    gc.collect()
    assert gone() is None
