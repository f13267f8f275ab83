# ---
# title: Sites, hooks, caches, patches
# goals:
#   - read a hidden state with a hook of your own, and with one call, and say why they agree
#   - say where in a model something is, as a site with a position, and take the stream apart
#   - recognise an attention sink, and keep it out of means and comparisons
#   - write into a run with patches and moves, beside the controls that say what a write shows
# readings:
#   - "Elhage et al. 2021, *A Mathematical Framework for Transformer Circuits*
#     (transformer-circuits.pub)"
#   - "Nanda and Bloom 2022, *TransformerLens* (github.com/TransformerLensOrg/TransformerLens)"
#   - "Xiao et al. 2023, *Efficient Streaming Language Models with Attention Sinks*,
#     arXiv 2309.17453"
#   - "Sun et al. 2024, *Massive Activations in Large Language Models*, arXiv 2402.17762"
# class:
#   - [5, "Recap: the residual stream of unit 1"]
#   - [20, "Sections 1 and 2, exercise 2.1"]
#   - [20, "Sections 3 to 5, exercises 2.2 and 2.3"]
#   - [15, "Section 6, exercise 2.4"]
#   - [30, "Sections 7 to 9, exercise 2.5"]
# scene:
#   prompt: "The capital of Japan is the city of"
#   position: 3
#   says: "One site, the residual stream at ' Japan', block by block: which next token a lens reads
#     there, what the model says of it in words, and what it says of the controls."
# ---

# %% [markdown] tags=["slide"]
# ## 1. Hook points
#
# We want to look inside a model, and to reach inside, while it runs.
#
# - A **hook** is a function of yours that is called when a module has computed its output.
# - It may keep the output, or return another in its place.
# - A **hook point** is a place with a name where this can be done.

# %% [markdown]
# First by hand, in plain PyTorch, on the model of this course: SmolLM2-135M-Instruct, from a file
# of 4-bit weights turned back into 32-bit floats. We keep what block 12 puts out.

# %%
import tempfile
from pathlib import Path

import pandas as pd
import torch

import lensscope as ls

model = ls.load_model()
text = "The Eiffel Tower is in the city of"
tokens = model.to_tokens(text)
print(model.to_str_tokens(text))

kept = []
handle = model.blocks[12].register_forward_hook(lambda block, given, out: kept.append(out.clone()))
with torch.no_grad():
    model(tokens)
handle.remove()
by_hand = kept[0]
print("block 12 put out", tuple(by_hand.shape), "= prompt, position, d_model")

# %% [markdown]
# Three things are easy to forget: to copy the tensor (a later layer may change it in place), to
# turn gradients off, and to remove the hook. A hook that stays is called in every later run.
#
# TransformerLens gives every hook point of every model the same name, and removes the hook by
# itself:

# %%
kept = []
with torch.no_grad():
    model.run_with_hooks(
        tokens,
        fwd_hooks=[("blocks.12.hook_resid_post", lambda state, hook: kept.append(state.clone()))],
    )
by_name = kept[0]

# %% [markdown]
# lensscope calls the place a **site**, and keeps what you ask for in a **cache**. The run ends as
# soon as the last site has been read: nothing above block 12 is computed.

# %%
site = ls.resid_post(12)
cache = ls.capture(model, text, site)
by_site = cache[site]
print(cache)

for name, state in {"TransformerLens": by_name, "lensscope": by_site}.items():
    print(f"{name}: differs from the hook by hand by at most {(state - by_hand).abs().max():.1g}")

# %% tags=["claim"]
assert torch.allclose(by_hand, by_name)
assert torch.allclose(by_hand, by_site)
assert ls.Site("blocks.12.hook_resid_post") == ls.resid_post(12)  # its names are taken, too

# %% [markdown] tags=["notes"]
# Ask first: what would go wrong if the handle were not removed? Let them run the first cell without
# `handle.remove()` and count the entries of `kept` after another run. Then exercise 2.1.
#
# `model.tokenizer.encode(text)` puts a beginning-of-text token in front, `model.to_tokens(text)`
# does not for this model. A student who compares states of the two sees other numbers, and section
# 6 says why.

# %% [markdown] tags=["exercise"]
# ### Exercise 2.1: a hook that cleans up
#
# **Goal** write the function that all of this stands on · **Difficulty** ★★☆ · **Minutes** 12
#
# Write `output_of(net, name, x)`. It runs `net(x)` and returns what the submodule called `name` put
# out. It is tried on small networks with names such as `"0"` and `"1"`. It must
#
# - give the output as it was at that moment, also if a later layer changes the tensor in place,
# - leave no hook behind, also if the run raises an error.
#
# `answer` is the function.
#
# <details><summary>Hint 1</summary><code>net.get_submodule(name)</code> finds the
# module.</details>
# <details><summary>Hint 2</summary>What stands in <code>finally:</code> is done in any case, after
# <code>try:</code>.</details>


# %% tags=["stub"]
def output_of(net, name, x):
    """What a submodule of a network puts out."""


answer = ...  # output_of


# %% tags=["wrong"]
def left_behind(net, name, x):
    found = []
    net.get_submodule(name).register_forward_hook(lambda m, i, out: found.append(out.clone()))
    net(x)
    return found[0]


def left_behind_after_errors(net, name, x):
    found = []
    hook = net.get_submodule(name).register_forward_hook(lambda m, i, o: found.append(o.clone()))
    net(x)
    hook.remove()
    return found[0]


def not_copied(net, name, x):
    found = []
    hook = net.get_submodule(name).register_forward_hook(lambda m, i, out: found.append(out))
    try:
        net(x)
    finally:
        hook.remove()
    return found[0]


wrong = [
    left_behind,
    left_behind_after_errors,
    not_copied,
    lambda net, name, x: net(x),
    lambda net, name, x: net.get_submodule(name)(x),  # its own run, on another input
    output_of(torch.nn.Sequential(torch.nn.Linear(2, 2)), "0", torch.zeros(2)),
]


# %% tags=["solution"]
def output_of(net, name, x):
    """What a submodule of a network puts out."""
    found = []
    hook = net.get_submodule(name).register_forward_hook(lambda m, i, o: found.append(o.clone()))
    try:
        with torch.no_grad():
            net(x)
    finally:
        hook.remove()
    return found[0]


answer = output_of

# %% [markdown] tags=["slide"]
# ## 2. The residual stream is a sum
#
# In every block
#
# $$x_\text{post} = x_\text{pre} + \text{attention} + \text{MLP}$$
#
# - `ls.resid_pre(12)`, `ls.attn_out(12)`, `ls.mlp_out(12)`, `ls.resid_post(12)`
# - All in all: the embedding and 60 additions.
#
# That is a claim about this model. It can be checked.

# %%
everything = ls.capture(
    model, text, [ls.embed, ls.resid_pre, ls.attn_out, ls.mlp_out, ls.resid_post]
)
for layer in (0, 12, 29):
    total = (
        everything[ls.resid_pre(layer)]
        + everything[ls.attn_out(layer)]
        + everything[ls.mlp_out(layer)]
    )
    off = (total - everything[ls.resid_post(layer)]).abs().max()
    print(f"block {layer}: the sum is off by at most {off:.1g}")

terms = {"embed": everything[ls.embed][0]}
for layer in range(30):
    terms[f"attn_out({layer})"] = everything[ls.attn_out(layer)][0]
    terms[f"mlp_out({layer})"] = everything[ls.mlp_out(layer)][0]
last = everything[ls.resid_post(29)][0]
off = (sum(terms.values()) - last).norm() / last.norm()
print(f"{len(terms)} terms: the sum is off by {off:.0e} of the whole")

# %% tags=["claim"]
assert len(terms) == 61
assert off < 1e-5
for layer in range(30):
    parts = [everything[kind(layer)] for kind in (ls.resid_pre, ls.attn_out, ls.mlp_out)]
    assert torch.allclose(sum(parts), everything[ls.resid_post(layer)], rtol=1e-4, atol=1e-2)

# %% tags=["slide"]
ls.course.lines(
    {
        "the residual stream": [everything[ls.resid_post(n)][0, -1].norm() for n in range(30)],
        "added by attention": [terms[f"attn_out({n})"][-1].norm() for n in range(30)],
        "added by the MLP": [terms[f"mlp_out({n})"][-1].norm() for n in range(30)],
    },
    title="Lengths at the last token",
    x="block",
    y="length of the vector",
)

# %% [markdown]
# The stream grows, and the last blocks add the longest vectors. A patch of a fixed length is
# therefore large in an early block and small in a late one: lengths must be compared with the
# length of what is there.
#
# Mind what a length does *not* say. Two long vectors may cancel. What part of the final state a
# term makes up is a question of direction, too: exercise 2.2.

# %% tags=["claim"]
lengths = torch.stack([everything[ls.resid_post(n)][0, -1].norm() for n in range(30)])
added = torch.stack([terms[f"mlp_out({n})"][-1].norm() for n in range(30)])
assert lengths[29] > 10 * lengths[0]
assert added[26:].min() > added[:20].max()

# %% [markdown] tags=["exercise"]
# ### Exercise 2.2: shares of a sum
#
# **Goal** say how much of a state each part makes up · **Difficulty** ★★☆ · **Minutes** 10
#
# Let $x = \sum_i t_i$. Give each term a share, so that the shares sum to 1, a term that is
# orthogonal to $x$ has a share of 0, and a term that works against $x$ has a negative one. (It is
# the part of $t_i$ along $x$, in units of the length of $x$.)
#
# Write `shares(terms)` for a tensor of terms, `[term, d_model]`; it returns a tensor `[term]`. Then
# try it on the 61 terms at the last token: is the longest term also the one with the largest share,
# and is it as much larger than the others?
#
# `answer` is the function.
#
# <details><summary>Hint 1</summary>The part of $t$ along $x$ has the length
# $t \cdot x / \lVert x \rVert$.</details>
# <details><summary>Hint 2</summary>If the shares do not sum to 1, what did you divide
# by?</details>


# %% tags=["stub"]
def shares(terms):
    """The share of each term in the sum of all."""


answer = ...  # shares

# %% tags=["wrong"]
wrong = [
    lambda terms: terms.norm(dim=-1) / terms.norm(dim=-1).sum(),  # lengths
    lambda terms: torch.cosine_similarity(terms, terms.sum(0), dim=-1),  # sums to anything
    lambda terms: terms @ terms.sum(0) / terms.sum(0).norm(),  # not in units of the length
    lambda terms: (terms @ terms.sum(0)).abs() / (terms @ terms.sum(0)).abs().sum(),  # no signs
    lambda terms: (terms @ terms.sum(0)).softmax(-1),
    shares(torch.ones(2, 2)),
]


# %% tags=["solution"]
def shares(terms):
    """The share of each term in the sum of all."""
    whole = terms.sum(0)
    return terms @ whole / (whole @ whole)


at_last = torch.stack([term[-1] for term in terms.values()])
table = pd.DataFrame(
    {"share": shares(at_last), "length, of the whole": at_last.norm(dim=-1) / last[-1].norm()},
    index=list(terms),
)
print(table.nlargest(6, "length, of the whole").round(2))

answer = shares

# %% [markdown] tags=["notes"]
# The last MLP is far the longest term, two thirds of the whole in length, and yet makes up less
# than a fifth of the state: most of it is orthogonal to the sum. The attention of block 24, less
# than half as long, has nearly the same share.

# %% [markdown] tags=["slide"]
# ## 3. Kinds of site
#
# | | |
# | --- | --- |
# | residual stream | `embed`, `resid_pre`, `resid_mid`, `resid_post` |
# | attention | `q`, `k`, `v`, `pattern`, `head_out`, `attn_out` |
# | MLP | `mlp_hidden`, `mlp_out` |
#
# `ls.resid_post` is every layer, `ls.resid_post(12)` one, `ls.head_out(7, 2)` one head.

# %%
kinds = [ls.resid_post, ls.q, ls.k, ls.v, ls.pattern, ls.head_out, ls.attn_out, ls.mlp_hidden]
some = ls.capture(model, text, [kind(3) for kind in kinds])
pd.DataFrame(
    {
        "site": [repr(kind(3)) for kind in kinds],
        "axes": [", ".join(kind.axes) for kind in kinds],
        "shape": [tuple(some[kind(3)].shape) for kind in kinds],
    }
).set_index("site")

# %% [markdown]
# Read the shapes. There are nine heads of queries and three of keys and values: three heads of
# queries share one of keys (grouped-query attention). A pattern has a query and a key; the query
# stands second, as the position does everywhere. A hidden layer of an MLP is wider than the stream.

# %% tags=["claim"]
assert some[ls.q(3)].shape[2] == 9
assert some[ls.k(3)].shape[2] == some[ls.v(3)].shape[2] == 3
assert some[ls.pattern(3)].shape == (1, 9, 9, 9)
assert torch.allclose(some[ls.pattern(3)].sum(-1), torch.ones(1, 9, 9), atol=1e-4)
assert some[ls.mlp_hidden(3)].shape[-1] > some[ls.resid_post(3)].shape[-1]

# %% [markdown] tags=["slide"]
# ## 4. Positions
#
# `site.at(…)` says which token:
#
# - an index, from the start (`0`) or from the end (`-1`);
# - a `slice(1, 4)`, or `ls.ALL`;
# - a substring: the token that holds its **last** character;
# - `ls.span("…")`: every token of a substring.
#
# Whole words are looked for first. What is not clear is refused.

# %%
royal = "Diana, Princess of Wales, met the Prince of Denmark"
where = ls.capture(model, royal, ls.resid_post(0))
asked = {
    "-1": -1,
    "slice(1, 4)": slice(1, 4),
    '"Diana"': "Diana",
    '"Prince"': "Prince",
    '"of Wales"': "of Wales",
    'ls.span("Princess of Wales")': ls.span("Princess of Wales"),
}
rows = {}
for name, position in asked.items():
    places = where.positions(ls.resid_post(0).at(position))[0]
    rows[name] = (list(places), [where.tokens[0][n] for n in places])
pd.DataFrame(rows, index=["indices", "tokens"]).transpose()

# %% [markdown]
# - `"Diana"` is two tokens, and its last one is meant: only there has the model read the whole
#   name.
# - `"Prince"` is found as the word, not as a part of *Princess*.
#
# What a name means is looked up on the tokens of *each* prompt, so it stays right where prompts
# differ in length.

# %% tags=["claim"]
assert rows['"Diana"'] == ([1], ["iana"])
assert rows['"Prince"'][1] == [" Prince"]
assert rows['ls.span("Princess of Wales")'][1] == [" Princess", " of", " Wales"]

# %% [markdown] tags=["exercise"]
# ### Exercise 2.3: which token is it?
#
# **Goal** predict what a position means · **Difficulty** ★☆☆ · **Minutes** 6
#
# The prompt `Niger borders Nigeria and Chad` has six tokens:
#
# `N` · `iger` · ` borders` · ` Nigeria` · ` and` · ` Chad`
#
# Which index, counted from 0, does each of these mean? Predict, then let
# `cache.positions(site)` tell you.
#
# 1. `.at("Niger")`
# 2. `.at("Niger", occurrence=1)`
# 3. `.at("borders")`
# 4. `.at(-2)`
# 5. the *first* token of `.at(ls.span("Niger borders"))`
#
# `answer` is a list of five whole numbers, in this order.
#
# <details><summary>Hint 1</summary>Of a substring, the token with its last character is
# meant.</details>
# <details><summary>Hint 2</summary><code>occurrence</code> counts all matches, also those inside
# words. Where does "Niger" stand a second time?</details>

# %% tags=["stub"]
answer = ...  # five indices

# %% tags=["wrong"]
wrong = [
    [0, 3, 2, 4, 0],  # the first token of a name
    [2, 4, 3, 5, 1],  # counted from 1
    [1, 1, 2, 4, 0],
    [1, 3, 2, 4, 1],
    ["iger", " Nigeria", " borders", " and", "N"],
]

# %% tags=["solution"]
niger = ls.capture(model, "Niger borders Nigeria and Chad", ls.resid_post(0))
every = [
    ls.resid_post(0).at("Niger"),
    ls.resid_post(0).at("Niger", occurrence=1),
    ls.resid_post(0).at("borders"),
    ls.resid_post(0).at(-2),
    ls.resid_post(0).at(ls.span("Niger borders")),
]
answer = [niger.positions(each)[0][0] for each in every]

# %% [markdown]
# ## 5. Errors that teach
#
# What is wrong is refused before anything runs, in three parts: what failed; what was got and
# expected; what to write instead. Read them: the second line often shows the tokens.

# %%
mistakes = [
    lambda: ls.capture(model, text, ls.resid_post(12).at("Rome")),
    lambda: ls.capture(model, "Wales is Wales", ls.resid_post(12).at("Wales")),
    lambda: ls.capture(model, text, ls.resid_post(30)),
    lambda: ls.resid_post(3, 5),
    lambda: ls.run(model, text, [ls.resid_post(12).at(-1).set(torch.zeros(64))]),
    lambda: cache[ls.resid_post(3)],
]
raised = []
for mistake in mistakes:
    try:
        mistake()
    except ls.LensscopeError as error:
        raised.append(type(error).__name__)
        print(f"{type(error).__name__}: {error}\n")

# %% tags=["claim"]
assert len(raised) == len(mistakes)

# %% [markdown] tags=["slide"]
# ## 6. The first token is no token like the others
#
# Softmax makes every head look *somewhere* (unit 1). Trained heads rest at the first token: an
# **attention sink**.
#
# - This model's prompts begin without a beginning-of-text token.
# - So whatever stands first becomes the sink.
#
# Compared with what? With the other tokens of the same text.

# %% tags=["slide"]
streams = torch.stack([everything[ls.resid_post(n)][0] for n in range(30)])
log_lengths = streams.norm(dim=-1).log10()
ls.course.lines(
    {
        "token 0, 'The'": log_lengths[:, 0],
        "token 6, ' the'": log_lengths[:, 6],
        "median of the others": log_lengths[:, [1, 2, 3, 4, 5, 7, 8]].median(-1).values,
    },
    title="How long the states are",
    x="block",
    y="length, as a power of ten",
)

# %%
patterns = ls.capture(model, text, ls.pattern)
to_first = torch.stack([patterns[ls.pattern(n)][0, 1:, :, 0].mean() for n in range(30)])
values = ls.capture(model, text, ls.v)
v_lengths = torch.stack([values[ls.v(n)][0].norm(dim=-1).mean(-1) for n in range(30)])
ratio = v_lengths[:, 0] / v_lengths[:, 1:].mean(-1)
even = (1 / torch.arange(2, 10)).mean()  # an even spread over what each query may see
print(f"attention to token 0: {to_first.mean():.2f} of all; an even spread: {even:.2f}")
print(f"its values are {ratio.median():.2f} times as long as others (median over blocks)")

names = ["Japan", "France", "Music", "City"]
similar = torch.cosine_similarity
for lead, place in (("", 0), ("They were talking about ", -1)):
    read_at = site.at(place)
    states = ls.capture(model, [lead + name for name in names], read_at)[read_at][:, 0]
    long = states.norm(dim=-1)
    cosines = similar(states[:, None], states[None], dim=-1)[torch.ones(4, 4).triu(1).bool()]
    print(f"{lead or 'at token 0':24} lengths {long.min():.0f} to {long.max():.0f},", end=" ")
    print(f"cosines {cosines.min():.3f} to {cosines.max():.3f}")

# %%
ls.course.lines(
    {"attention": to_first, "an even spread": even.expand(30)},
    title="Attention to token 0",
    x="block",
    y="share of all attention",
)

# %% [markdown]
# From block 11 to block 26 the state of the first token is thirty to a hundred and more times as
# long as others, and it is the same whatever the word: *Japan*, *France*, *Music* and *City* cannot
# be told apart by direction. Whoever reads a name at token 0 reads the sink. Inside a sentence the
# same names have ordinary lengths, and differ.
#
# More than half of all attention goes there, and the values that are fetched from there are short:
# the heads rest, as our tiny model's did in exercise 1.3.
#
# Look closer, for the textbook's picture is simpler. After blocks 9 and 10 the first token's state
# is as long as any other; attention to it falls, and in block 11 it is *less* than an even share.
# And a second token, ` the`, has a state as long as the first's after blocks 2 to 8; in blocks 4 to
# 8, the two tokens that come after it look more at it than at the first. Long states and attention
# come and go together. Which of the two makes the other, a picture cannot say.
#
# The cure is to put something in front: a lead-in, or a beginning-of-text token
# (`prepend_bos=True`), which then becomes the sink. Readings in lensscope say in their `notes` when
# they read a first token.

# %% tags=["claim"]
lengths = streams.norm(dim=-1)
others = lengths[:, [1, 2, 3, 4, 5, 7, 8]].median(-1).values
assert (lengths[11:27, 0] > 30 * others[11:27]).all()
assert lengths[11, 0] > 100 * others[11]
assert (lengths[2:9, 6] > 3 * others[2:9]).all()
assert (lengths[2:9, 6] / lengths[2:9, 0] - 1).abs().max() < 0.2
assert (lengths[9:11, 0] < 2 * others[9:11]).all()
for n in range(4, 9):
    pattern = patterns[ls.pattern(n)][0, 7:]
    assert pattern[:, :, 6].mean() > pattern[:, :, 0].mean()
assert to_first[11] < even
assert to_first[12:].min() > 2 * even
assert to_first.mean() > 0.5
assert ratio.median() < 0.5
at_first = ls.capture(model, names, site.at(0))[site.at(0)][:, 0]
assert similar(at_first[:, None], at_first[None], dim=-1).min() > 0.999
assert cosines.max() < 0.95  # inside a sentence
with_bos = ls.capture(model, "Japan", site, prepend_bos=True)[site][0].norm(dim=-1)
assert with_bos[0] > 10_000
assert with_bos[1] < 1_000

# %% [markdown] tags=["notes"]
# Students have met softmax often, and rarely ask where a head looks that has nothing to look at.
# Let them say it before the picture is shown.
#
# The trap is practical. A mean over tokens that contains first tokens is mostly sink (exercise
# 2.4), and so is a "mean ablation" made of it; a comparison of two names at token 0 finds them
# equal.

# %% [markdown] tags=["slide"]
# ## 7. Caches are values
#
# A cache is what a run had, and keeps: `cache[site]` is `[prompt, position, …]`.
#
# - slice it: `cache.sel(layer=12, position=-1)`
# - average it: `cache.mean()`; subtract means: a direction
# - save it, with its provenance: model, weights, tokens, versions
#
# It is read-only, and gives copies.

# %%
template = "The capital of {} is the city of"
countries = ["Italy", "Germany", "Spain", "China", "Egypt", "Peru", "Canada", "Sweden"]
of_countries = ls.capture(model, [template.format(c) for c in countries], ls.resid_post)

with tempfile.TemporaryDirectory() as folder:
    path = of_countries.save(Path(folder) / "countries.safetensors")
    again = ls.Cache.load(path)
    same = torch.equal(again[ls.resid_post(8)], of_countries[ls.resid_post(8)])
    print(f"{path.stat().st_size / 1e6:.0f} MB on disk; the same again: {same}")
    print(again.provenance.model, again.provenance.processing, again.lengths)

mean_country = of_countries.sel(position=3).mean()
print(mean_country[ls.resid_post(8)].shape)

# %% tags=["claim"]
assert same
assert set(of_countries.lengths) == {8}  # every country is one token, and stands at index 3
assert [tokens[3] for tokens in of_countries.tokens] == [f" {c}" for c in countries]

# %% [markdown] tags=["exercise"]
# ### Exercise 2.4: a mean that means something
#
# **Goal** see what a sink does to a mean · **Difficulty** ★☆☆ · **Minutes** 7
#
# Capture the residual stream after block 12 of the five sentences below. Take the mean state over
# all their tokens, each token counted once, and then the mean over all tokens but the first of each
# sentence. How long is each of the two mean vectors?
#
# `answer` is a dict with the names `"all tokens"` and `"without the first"`, and two lengths
# (Euclidean norms).
#
# <details><summary>Hint 1</summary><code>cache.mean()[site]</code> is the mean state at a site,
# over all tokens that the cache holds.</details>
# <details><summary>Hint 2</summary><code>cache.sel(position=slice(1, None))</code> is the cache
# without first tokens.</details>

# %%
sentences = [
    "The Eiffel Tower is in the city of Paris",
    "Jurassic Park is a film about dinosaurs",
    "My sister plays the violin every morning",
    "Water boils at one hundred degrees",
    "The old man walked slowly to the market",
]

# %% tags=["stub"]
answer = ...  # {"all tokens": …, "without the first": …}

# %% tags=["wrong"]
padded = [many.value(site, n) for n in range(5)]
wrong = [
    {
        "all tokens": torch.cat(padded).norm(dim=-1).mean(),
        "without the first": torch.cat([each[1:] for each in padded]).norm(dim=-1).mean(),
    },  # the mean of lengths
    {
        "all tokens": many.mean(over="prompt")[site].norm(),
        "without the first": many.sel(position=slice(1, None)).mean(over="prompt")[site].norm(),
    },  # each sentence counted once
    dict.fromkeys(answer, answer["all tokens"]),
    {"all tokens": answer["all tokens"]},
    list(answer.values()),
]

# %% tags=["solution"]
many = ls.capture(model, sentences, site)
with_sink, without_sink = many.mean()[site], many.sel(position=slice(1, None)).mean()[site]
print("cosine of the first mean with the first token's state:", end=" ")
print(f"{similar(with_sink, many.value(site)[0], dim=0):.3f}")

answer = {"all tokens": with_sink.norm(), "without the first": without_sink.norm()}

# %% [markdown] tags=["notes"]
# Five tokens of forty decide the mean: its direction is the sink's. Ask what a "mean control" made
# from it would be a control of.

# %% [markdown] tags=["slide"]
# ## 8. Patches are values, too
#
# A patch is one write, and nothing has run yet: `ls.resid_post(8).at("Japan").zero()`
#
# - `set(v)`, `add(v)`, `scale(c)`, `zero()`
# - `lerp(v, w)`: some way along the line to `v`
# - `project_out(v)`: remove the part along `v`
#
# `ls.run(model, prompt, [patch, …])` runs with patches in place.

# %%
japan, france = template.format("Japan"), template.format("France")
tokyo, paris = model.to_single_token(" Tokyo"), model.to_single_token(" Paris")
here = ls.resid_post(8).at("Japan")
there = ls.resid_post(8).at("France")
own = ls.capture(model, japan, here).value(here)[0]
other = ls.capture(model, france, there).value(there)[0]
difference = other - own
generator = torch.Generator().manual_seed(0)


def random_of(length):
    """A random vector of some length."""
    vector = torch.randn(576, generator=generator)
    return vector * (length / vector.norm())


patches = {
    "nothing": [],
    "set: its own state": [here.set(own)],
    "set: the state of France": [here.set(other)],
    "add: France - Japan": [here.add(difference)],
    "add: random, as long": [here.add(random_of(difference.norm()))],
    "scale: by 2": [here.scale(2)],
    "zero": [here.zero()],
    "set: random, as long": [here.set(random_of(own.norm()))],
    "set: the mean country": [here.set(mean_country[ls.resid_post(8)])],
    "project_out: random": [here.project_out(random_of(1))],
    "project_out: France - Japan": [here.project_out(difference)],
}


# %% tags=["slide"]
def answered(run):
    """The most probable next token, its probability, and that of two capitals."""
    p = run.last_logits[0].softmax(-1)
    top = model.tokenizer.decode([p.argmax().item()])
    return [top, p.max().item(), p[tokyo].item(), p[paris].item()]


runs = {name: ls.run(model, japan, made) for name, made in patches.items()}
columns = ["says", "with", "p( Tokyo)", "p( Paris)"]
after = pd.DataFrame.from_dict(
    {name: answered(each) for name, each in runs.items()}, orient="index", columns=columns
)
after.index.name = "at ' Japan', after block 8"
after.round(2)

# %% [markdown]
# One random vector is one draw. `ls.run_many` runs many lists of patches at once, and keeps a
# metric of the logits of each.


# %%
def two_capitals(logits):
    """The probabilities of " Tokyo" and " Paris" as the next token."""
    return logits[:, -1].softmax(-1)[:, [tokyo, paris]]


draws = [[here.set(random_of(own.norm()))] for _ in range(20)]
at_random = ls.run_many(model, japan, draws, metric=two_capitals).metric
print(f"20 random vectors: p( Tokyo) at most {at_random[:, 0].max():.2f},", end=" ")
print(f"p( Paris) at most {at_random[:, 1].max():.2f}")

# %% [markdown]
# **The laws.** Writing back what was read changes nothing. Writing something else does.
#
# **Breaking is easy.** Zeros, random vectors and the mean country all take ` Tokyo` away. That
# Tokyo is gone says only that something was broken. What speaks for the state of France is what
# *comes*: ` Paris`, with a probability that no control comes near. Look at probabilities, not at
# words: where the country cannot be read, the model still says something, with little confidence.
#
# **Strength is not meaning.** Twice the state is still Japan. The direction carries it.
#
# **Removing is not neutral.** Projecting out France − Japan is meant to take away what tells the
# two apart. Here it gives Paris: the foot of the perpendicular on the line from Japan to France
# lies nearer to France. Projecting out a *random* direction changes nothing to speak of.

# %% tags=["claim"]
plain = runs["nothing"].logits
assert torch.allclose(plain, runs["set: its own state"].logits, atol=1e-3)
assert not torch.allclose(plain, runs["set: the state of France"].logits, atol=1.0)
p_tokyo, p_paris, says = after["p( Tokyo)"], after["p( Paris)"], after["says"]
assert says["nothing"] == says["set: its own state"] == says["scale: by 2"] == " Tokyo"
for broken in ("zero", "set: random, as long", "set: the mean country"):
    assert p_tokyo[broken] < 0.2
    assert p_paris[broken] < 0.3
    assert after["with"][broken] < 0.3
assert at_random[:, 0].max() < 0.4
assert at_random[:, 1].max() < 0.4
assert p_paris["set: the state of France"] > 0.8
assert p_paris["add: France - Japan"] > 0.8
assert p_paris["add: random, as long"] < 0.1
assert says["project_out: France - Japan"] == " Paris"
assert p_tokyo["project_out: random"] > 0.7
share_of_way = -(own @ difference) / (difference @ difference)
assert 0.55 < share_of_way < 0.8  # where the foot lies between Japan (0) and France (1)

# %% [markdown]
# A sweep has named axes. How far along the line from Japan must one go for the answer to turn:
# towards France, towards the mean country, and towards a random vector?

# %%
ways = [n / 10 for n in range(11)]
towards = {
    "France": other,
    "the mean country": mean_country[ls.resid_post(8)],
    "random": random_of(own.norm()),
}

sweep = ls.run_many(
    model,
    japan,
    [[here.lerp(end, way)] for end in towards.values() for way in ways],
    metric=two_capitals,
    labels={"towards": list(towards), "way": ways},
)
print(dict(sweep.data.metric.sizes))

# %% tags=["slide"]
read = sweep.data.metric
ls.course.lines(
    {
        "Tokyo, towards France": read.sel(towards="France")[:, 0].to_series(),
        "Paris, towards France": read.sel(towards="France")[:, 1].to_series(),
        "Tokyo, towards the mean country": read.sel(towards="the mean country")[:, 0].to_series(),
        "Tokyo, towards a random vector": read.sel(towards="random")[:, 0].to_series(),
    },
    title="On a line between two states",
    x="way from the state of Japan",
    y="probability",
)

# %% [markdown]
# The state moves evenly, the answer does not: it stays, and then turns within a fifth of the way.
# Half way to France the model still says Tokyo. Towards the mean country Tokyo lasts longer than
# towards a random vector: two controls, two answers, and a reason to show more than one.

# %% tags=["claim"]
to_france = read.sel(towards="France").values
assert to_france[4, 0] > 0.8
assert to_france[5, 0] > to_france[5, 1]
assert to_france[6, 1] > 0.7
assert read.sel(towards="the mean country", way=0.6).values[0] > 0.5
assert read.sel(towards="random", way=0.6).values[0] < 0.2

# %% [markdown] tags=["slide"]
# ## 9. Moves: read, transform, write
#
# $$\text{read} \;\texttt{>>}\; \text{transform} \;\texttt{>>}\; \text{write}$$
#
# `ls.resid_post(8).at("France") >> ls.resid_post(8).at("Japan")`
#
# A **move** is a patch whose value is read from another run, the *source*. Patchscopes (unit 5)
# and activation patching (unit 8) are moves.

# %%
move = there >> here
print(move)
moved = ls.generate(model, japan, [move], 4, source=france).text
left_alone = ls.generate(model, japan, [], 4).text
print(f"patched: {moved!r}, unpatched: {left_alone!r}")

# a transform in between: an early state, made as long as the one that it replaces
as_long = ls.resid_post(2).at("France") >> ls.scaled_to(own.norm().item()) >> here
early = answered(ls.run(model, japan, [as_long], source=france))
print(f"{as_long} says {early[0]!r} with {early[1]:.2f}")


def hooks():
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


before = hooks()
try:
    ls.run(model, japan, [here.map(lambda state: state / 0)])
except ls.LensscopeError as error:
    print("\nrefused:", str(error).splitlines()[0])
print("hooks before and after:", before, hooks(), "(TransformerLens has some of its own)")
unpatched = ls.run(model, japan)

# %% [markdown]
# Nothing is left behind: after every run, also one that ended in an error, the model is what it
# was. So the order of your cells does not change what they show.

# %% tags=["claim"]
assert moved.startswith(" Paris")
assert left_alone.startswith(" Tokyo")
assert early[0] == " Paris"
assert before == hooks()
assert torch.allclose(unpatched.logits, plain, atol=1e-4)

# %% [markdown] tags=["notes"]
# A patch acts on the tokens that it names, when they are first processed. Steering every new token
# is `when="every_step"` (unit 12).
#
# Before exercise 2.5, let the class bet: at which block does the country stop to matter where it
# stands, and at which does the last token know?

# %% [markdown] tags=["exercise"]
# ### Exercise 2.5: when does the country leave its token?
#
# **Goal** a sweep of moves with its control · **Difficulty** ★★★ · **Minutes** 15
#
# Move the state of one token of the prompt on France to the same place of the prompt on Japan,
# after the same block, for every block: once at the country, once at the last token. ` Paris`
# "comes" where its probability is above 0.5.
#
# `answer` is a list of three whole numbers:
#
# 1. the *last* block after which a move at the country brings ` Paris`,
# 2. the *first* block after which a move at the last token does,
# 3. the control: of the same 60 moves, but with the prompt on *Italy* as the source, how many bring
#    ` Paris`?
#
# <details><summary>Hint 1</summary>One call of <code>ls.run_many</code> does 30 moves:
# <code>[[ls.resid_post(n).at("France") >> ls.resid_post(n).at("Japan")] for n in range(30)]</code>,
# with <code>source=</code> and <code>metric=two_capitals</code>.</details>
# <details><summary>Hint 2</summary>The result's <code>.metric</code> is a tensor,
# <code>[block, capital]</code>.</details>


# %% tags=["stub"]
def paris_by_block(source, read_at, write_at):
    """The probability of " Paris" after moving a state, for each block."""


answer = ...  # [last block at the country, first block at the last token, cells of the control]

# %% tags=["wrong"]
wrong = [
    [23, 24, 0],  # resid_pre in place of resid_post
    [22, 23, 30],  # cells of the control in which Tokyo is gone
    [23, 22, 0],  # the other way round
    [29, 0, 0],
    [22, 23],
    [paris_by_block(template.format("France"), "France", "Japan").argmax().item(), 23, 0],
]


# %% tags=["solution"]
def paris_by_block(source, read_at, write_at):
    """The probability of " Paris" after moving a state, for each block."""
    moves = [[ls.resid_post(n).at(read_at) >> ls.resid_post(n).at(write_at)] for n in range(30)]
    return ls.run_many(model, japan, moves, source=source, metric=two_capitals).metric[:, 1]


found = {}
for country in ("France", "Italy"):
    prompt = template.format(country)
    found[country, "country"] = paris_by_block(prompt, country, "Japan")
    found[country, "last token"] = paris_by_block(prompt, -1, -1)

at_country = found["France", "country"] > 0.5
at_last = found["France", "last token"] > 0.5
control = sum(int((found["Italy", place] > 0.5).sum()) for place in ("country", "last token"))
display(
    ls.course.lines(
        {f"{of}, moved at the {place}": p for (of, place), p in found.items()},
        title="A state moved into the prompt on Japan",
        x="block",
        y="p( Paris)",
    )
)
answer = [at_country.nonzero().max().item(), at_last.nonzero().min().item(), control]

# %% [markdown] tags=["notes"]
# Both curves are steps, and they change between the same two blocks: the attention of one block
# brings the country to the last token, at once. Which head does it is a question for units 8 and 9.
#
# A good discussion: at early blocks, "the state of France" is hardly more than the token's
# embedding. Moving it is close to writing *France* into the prompt. That it works shows that the
# place matters at that block, not that the state already holds a capital.

# %% [markdown] tags=["slide"]
# ## What was compared with what
#
# - A hook by hand with two libraries: the same numbers.
# - The first token with the others: not the same kind of thing.
# - A moved state with its own state, nothing, zeros, a random vector, a mean state, another
#   country's state.
#
# Next: reading every layer with the logit lens, and doubting it.
