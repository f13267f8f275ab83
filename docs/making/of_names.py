"""What is said of public names that can have no docstring; the examples are doctests."""

from __future__ import annotations

from typing import Final

_SITES: Final = {
    "embed": (
        "What the token embedding gives, before the first block. It has no layer. (Where positions "
        "are learned and added to it, as in GPT-2, `ls.resid_pre(0)` is the sum.)",
        """
>>> ls.capture(model, "The Eiffel Tower", ls.embed)[ls.embed].shape
torch.Size([1, 4, 576])
""",
    ),
    "resid_pre": (
        "The residual stream as a block finds it. `ls.resid_pre(n)` is `ls.resid_post(n - 1)`, and "
        "`ls.resid_pre(0)` is what goes into the first block.",
        """
>>> cache = ls.capture(model, "The Eiffel Tower", [ls.resid_pre(4), ls.resid_post(3)])
>>> bool((cache[ls.resid_pre(4)] == cache[ls.resid_post(3)]).all())
True
""",
    ),
    "resid_mid": (
        "The residual stream within a block, after its attention and before its MLP. Models whose "
        "attention and MLP stand side by side (GPT-J, GPT-NeoX) have no such place.",
        """
>>> sites = [ls.resid_pre(4), ls.attn_out(4), ls.resid_mid(4)]
>>> cache = ls.capture(model, "The Eiffel Tower", sites)
>>> added = cache[ls.resid_pre(4)] + cache[ls.attn_out(4)]
>>> torch.allclose(added, cache[ls.resid_mid(4)], atol=1e-3)
True
""",
    ),
    "resid_post": (
        "The residual stream as a block leaves it. Of the last block it is the last residual, "
        "before the final norm. `layers=[3, 5]` means these.",
        """
>>> ls.resid_post(-1).at("Tower")
resid_post(-1).at('Tower')
>>> ls.capture(model, "The Eiffel Tower", ls.resid_post(-1).at("Tower"))[ls.resid_post(29)].shape
torch.Size([1, 1, 576])
""",
    ),
    "attn_out": (
        "What a block's attention adds to the residual stream.",
        """
>>> silent = ls.attn_out(12).at(-1).zero()
>>> ls.run(model, "The Eiffel Tower is in", [silent]).logits.shape
torch.Size([1, 6, 49152])
""",
    ),
    "mlp_out": (
        "What a block's MLP adds to the residual stream.",
        """
>>> half = [[ls.mlp_out(layer).at("Tower").scale(0.5)] for layer in range(30)]
>>> len(ls.run_many(model, "The Eiffel Tower is in", half, top_k=1).frame())
30
""",
    ),
    "q": (
        "The queries of a block's heads, one for each head.",
        """
>>> ls.capture(model, "The Eiffel Tower", ls.q(3))[ls.q(3)].shape
torch.Size([1, 4, 9, 64])
""",
    ),
    "k": (
        "The keys of a block's attention. Under grouped-query attention several heads share one, "
        "so there are fewer of them: `head` counts key-value heads.",
        """
>>> ls.capture(model, "The Eiffel Tower", ls.k(3))[ls.k(3)].shape
torch.Size([1, 4, 3, 64])
""",
    ),
    "v": (
        "The values of a block's attention. Under grouped-query attention several heads share one, "
        "so there are fewer of them: `head` counts key-value heads.",
        """
>>> ls.capture(model, "The Eiffel Tower", ls.v(3, 2).at("Tower"))[ls.v(3, 2)].shape
torch.Size([1, 1, 64])
""",
    ),
    "head_out": (
        "What each head gives, before the output projection: TransformerLens' `z`. A lens of a "
        "head reads what it adds to the residual stream.",
        """
>>> ls.head_out(7, 2).at(-1).zero()
head_out(7, 2).at(-1).zero()
>>> ls.capture(model, "The Eiffel Tower", ls.head_out(7))[ls.head_out(7)].shape
torch.Size([1, 4, 9, 64])
""",
    ),
    "pattern": (
        "Attention patterns, `[prompt, position, head, key]`: the position is the query's, and "
        "stands second as in every other kind. To keep tokens from looking at others, "
        "`ls.attention_knockout` masks before the softmax.",
        """
>>> pattern = ls.capture(model, "The Eiffel Tower", ls.pattern(4))[ls.pattern(4)]
>>> pattern.shape, bool(torch.allclose(pattern.sum(-1), torch.ones(1, 4, 9), atol=1e-5))
(torch.Size([1, 4, 9, 4]), True)
""",
    ),
    "mlp_hidden": (
        "The activations of a block's MLP, after its non-linearity and gate: its neurons.",
        """
>>> ls.capture(model, "The Eiffel Tower", ls.mlp_hidden(3).at(-1))[ls.mlp_hidden(3)].shape
torch.Size([1, 1, 1536])
""",
    ),
}

TEXTS: Final[dict[str, tuple[str, str]]] = {
    **{f"ls.{name}": text for name, text in _SITES.items()},
    "ls.ALL": (
        "Every token of the prompt. Where positions make cells, as in patching, it means all of "
        "them at once.",
        """
>>> ls.resid_post(3).at(ls.ALL)
resid_post(3).at(ALL)
>>> ls.capture(model, "The Eiffel Tower", ls.resid_post(3).at(ls.ALL))[ls.resid_post(3)].shape
torch.Size([1, 4, 576])
""",
    ),
    "ls.__version__": (
        "The version of lensscope, as text. Every cache, lens and result keeps it, with those of "
        "the libraries beneath.",
        """
>>> ls.__version__.count(".")
2
""",
    ),
    "ls.pairs.TASKS": (
        "The tasks whose pairs lensscope makes, by name, each a function of a model and a number.",
        """
>>> list(ls.pairs.TASKS)
['ioi', 'greater_than', 'country_capital', 'gendered_pronoun']
>>> ls.pairs.TASKS["country_capital"](model, 2)
Pairs(country_capital: 2 pairs; positions country, end)
""",
    ),
}
"""For each name what it is, and an example."""
