# ---
# title: The first patchscope
# goals:
#   - take a hidden state through the five steps of a patchscope, by hand and in one call
#   - say what early, middle and late layers give, and why late layers echo the placeholder
#   - put every reading beside its controls, in words and as a number
#   - sweep all pairs of layers, and say what a maximum over thirty tries is worth
# readings:
#   - "Ghandeharioun, Caciularu, Pearce, Dixon, Geva 2024, *Patchscopes: A Unifying Framework for
#     Inspecting Hidden Representations of Language Models* (ICML; arXiv 2401.06102), sections 1-4"
#   - "Chen, Vondrick, Mao 2024, *SelfIE: Self-Interpretation of Large Language Model Embeddings*
#     (ICML; arXiv 2403.10949)"
#   - "nostalgebraist 2020, *interpreting GPT: the logit lens* (LessWrong)"
# class:
#   - [5, "Recap: reading a state with a lens, and what a lens cannot say"]
#   - [20, "Section 1: the five steps by hand, and Exercise 5.1"]
#   - [20, "Sections 2 and 3: controls, in words and as a number, and Exercise 5.2"]
#   - [20, "Section 4: all layers, and why late ones echo, and Exercise 5.3"]
#   - [20, "Sections 5 and 6: other questions, all pairs of layers, and Exercise 5.4"]
#   - [5, "Section 7: between two states; Exercise 5.5 is homework"]
# scene:
#   prompt: "Jurassic Park"
#   position: -1
#   says: "Open the last token at layer 12, then at layer 26. In each, read the words beside those
#     of the random vector and of the mean state before you believe any of them."
# ---

# %% [markdown] tags=["slide"]
# ## A question that a lens cannot ask
#
# A lens asks one thing of a state: *which token comes next?*
#
# A **patchscope** asks whatever can be put into words. Take the vector out of one run, write it in
# the place of a word in another prompt, and let the model go on.
#
# Whatever it says, we ask: **compared with what?**

# %% [markdown] tags=["slide"]
# ## Five steps
#
# 1. Run the **source prompt**, and keep a hidden state.
# 2. **Map** it, if you like (here it stays as it is).
# 3. Run the **inspection prompt** up to the layer that is to be written.
# 4. **Patch**: write the state over the placeholder.
# 5. **Go on**, and let the model generate.
#
# The sixth step is ours: the same for the **controls**.

# %% [markdown]
# The method is from Ghandeharioun et al. 2024. In their words a patchscope has a source side (a
# prompt, a position $i$, a layer $\ell$) and a target side (a prompt, a position $i^*$, a layer
# $\ell^*$, a map $f$, a model $M^*$). We take the steps one at a time, first by hand, then in one
# call.
#
# The model is SmolLM2-135M-Instruct, from a file of 4-bit weights that is turned back into 32-bit
# floats: small, real, and fast enough for a laptop. What it says is often wrong. That is part of
# the lesson.

# %%
import re

import pandas as pd
import torch

import lensscope as ls
from lensscope.patchscope.controls import controlled

pd.set_option("display.max_colwidth", 90)
model = ls.load_model()  # fetched and converted once, then loaded from disk
print(model.cfg.model_name, model.cfg.n_layers, "layers of width", model.cfg.d_model)

# %% [markdown] tags=["slide"]
# ## 1. By hand: the source
#
# `Jurassic Park` is four tokens. The last one, ` Park`, is a common word by itself. Somewhere on
# its way up it must become *the film*. Where?

# %% [markdown]
# A *site* says where in the model: `ls.resid_post(12)` is the residual stream after block 12, and
# `.at("Park")` one token of it. `ls.capture` runs the prompt and keeps just the sites that are
# asked for; a site without a layer means every layer.

# %%
source = "Jurassic Park"
cache = ls.capture(model, source, ls.resid_post)

print("tokens:", cache.tokens[0])
state = cache[ls.resid_post(12).at("Park")][0, 0]
print("the state of ' Park' after block 12 has the shape", tuple(state.shape))

# %% [markdown] tags=["slide"]
# ## By hand: the inspection prompt
#
# > Syria: Country in the Middle East, Leonardo DiCaprio: American actor, Samsung: South Korean
# > multinational major appliance and consumer electronics corporation, **x**
#
# It shows by example that a name is followed by a description. `x` is the placeholder. It must be
# one token, because one vector is replaced.

# %%
scope = ls.Patchscope.entity_description(max_new_tokens=8)
inspection = scope.inspection
print("placeholder", repr(inspection.placeholder), "is token", inspection.places(model))

nothing_written = ls.generate(model, inspection.text, max_new_tokens=8).text
print("with nothing written, the model goes on:", repr(nothing_written))

# %% [markdown]
# This is the first control, and it costs one line: **what does the prompt say by itself?** Left
# alone, the model talks about `x`. Whenever an answer is about `x`, the patch did not get through.
#
# Now step 4. `site.set(value)` makes a *patch*: one write, as a value. Nothing has run yet.
# `ls.run` runs the prompt with the patch in place, and gives the logits.

# %%
patch = ls.resid_post(12).at("x").set(state)
print(patch)

top = ls.run(model, inspection.text, [patch]).last_logits[0].softmax(-1).topk(4)
for p, token in zip(top.values.tolist(), top.indices.tolist(), strict=True):
    print(f"{p:.3f}  {model.tokenizer.decode([token])!r}")

# %% [markdown]
# A colon: the model takes what stands there for a name and is about to describe it, as in the
# examples. Step 5 lets it go on. The patch acts once, on the token that it names, when that token
# is first processed; the new tokens see it through attention.

# %% tags=["slide"]
said = ls.generate(model, inspection.text, [patch], max_new_tokens=14).text
print(said)

# %% [markdown]
# A film franchise. The word *film* stands in neither prompt, and it is tempting to conclude: *it
# was in the vector, so at block 12 the model knows the film*. Before that, we ask what the prompt
# makes of vectors that know nothing of it.

# %% tags=["claim"]
# "film" stands in neither prompt
assert "film" in said
assert "film" not in (source + inspection.text + nothing_written).casefold()

# %% [markdown] tags=["notes"]
# Let students guess the answer to "nothing written" and to the zero vector below before they run
# them. Most expect an error or an empty text. That the prompt always gets *some* description out of
# *any* vector is what the unit stands on.

# %% [markdown] tags=["exercise"]
# ### Exercise 5.1: a vector that knows nothing
#
# **Goal** make the commonest control by hand · **Difficulty** ★☆☆ · **Minutes** 8
#
# Write a function `as_long_as(state, seed)` that gives a vector in a random direction, as long as
# the state (Euclidean norm): every direction equally likely, the same vector for the same seed,
# another for another seed. `answer` is the function itself.
#
# <details><summary>Hint 1</summary>Independent normal numbers have no preferred direction. Numbers
# between 0 and 1 do: they all point into one corner of the space.</details>
#
# <details><summary>Hint 2</summary><code>torch.Generator().manual_seed(seed)</code> makes a
# generator, and <code>torch.randn(state.shape, generator=…)</code> draws with it. Then
# scale.</details>


# %% tags=["stub"]
def as_long_as(state, seed): ...


answer = ...  # as_long_as


# %% tags=["wrong"]
def unscaled(state, seed):
    return torch.randn(state.shape, generator=torch.Generator().manual_seed(seed))


def one_corner(state, seed):
    drawn = torch.rand(state.shape, generator=torch.Generator().manual_seed(seed))
    return drawn * state.norm() / drawn.norm()


def always_the_same(state, seed):
    return as_long_as(state, 0)


def noisy_copy(state, seed):
    drawn = state + as_long_as(state, seed) / 4
    return drawn * state.norm() / drawn.norm()


wrong = [unscaled, one_corner, always_the_same, noisy_copy, as_long_as(state, 0)]


# %% tags=["solution"]
def as_long_as(state, seed):
    drawn = torch.randn(state.shape, generator=torch.Generator().manual_seed(seed))
    return drawn * state.norm() / drawn.norm()


answer = as_long_as

# %% [markdown] tags=["slide"]
# ## 2. Compared with what?
#
# | written in place of the state | asks |
# | --- | --- |
# | nothing | what does the prompt say by itself? |
# | a random vector, as long | what does it make of *any* vector? |
# | the mean of many states | … of what all states share? |
# | another prompt's state | … of a state, whosever it is? |

# %% [markdown]
# `controlled` asks all of them at once, for each layer. The *other* state is that of the first
# text's last token, and the mean is over all tokens of all texts but the first of each (which is an
# attention sink). Choose the other text well: `Central Park` ends in the same token, and differs in
# just what we want to know.

# %%
plain_texts = [
    "The weather was fine all week.",
    "She bought bread and a bottle of milk.",
    "We shall meet at the station at noon.",
    "My sister plays the violin.",
    "The river was frozen in January.",
]
texts = ["Central Park", *plain_texts]
beside = controlled(scope, model, source, layers=[2, 12, 16, 26], target_layers="same", texts=texts)


def side_by_side(found):
    table = found.frame().pivot(index="source_layer", columns="condition", values="text")
    return table[["state", "prior", "random", "mean", "other"]]


# %% tags=["slide"]
side_by_side(beside)

# %% [markdown]
# Read the row of layer 12 from left to right.
#
# - **Nothing** and the **random vector** say nothing of films. The random vector is not even taken
#   for a name: no colon follows it.
# - **Central Park** is a city. So the film does not come from the token ` Park`.
# - But the **mean state** of six plain texts, none of them about films, is described as *a movie*.
#   This prompt, with its actor, is inclined to see films.
#
# So *film* alone is weak evidence. And at layer 26 the state says exactly what another state says.

# %% tags=["claim"]
at_12 = side_by_side(beside).loc[12]
assert "film" in at_12["state"]
assert "movie" in at_12["mean"].casefold()
assert not at_12["random"].startswith(":")
assert "City" in at_12["other"]  # Central Park
at_26 = side_by_side(beside).loc[26]
assert re.search(r"\bx\b", at_26["state"])
assert at_26["state"] == at_26["other"]

# %% [markdown]
# One more control, for curiosity: no vector at all, that is, zeros.

# %%
zeros = scope.inspect(model, {"zeros": torch.zeros(model.cfg.d_model)}, target_layers=[2, 12, 25])
zeros.frame()[["target_layer", "text"]]

# %% [markdown]
# All three are descriptions of something or somebody, whose name the model makes up first. The
# *form*, a name and its description, is there without any state. It comes from the inspection
# prompt, and must never be counted as evidence.

# %% tags=["claim"]
assert all(":" in text for text in zeros.frame()["text"])
assert not any("film" in text for text in zeros.frame()["text"])

# %% [markdown] tags=["exercise"]
# ### Exercise 5.2: whose words are they?
#
# **Goal** take the controls' share out of a reading · **Difficulty** ★★☆ · **Minutes** 12
#
# Write a function `own_words(said)`. It is given a dict of texts: `said["state"]` is what was said
# of the state, and all its other keys are controls. It returns the `set` of the words of the
# state's text that are in the text of **no** control. Words are runs of the letters a to z, in
# lower case (`re.findall(r"[a-z]+", text.lower())`). `answer` is the function.
#
# Then apply it to `dict(side_by_side(beside).loc[12])`, and ask of each word that is left: is it
# about Jurassic Park?
#
# <details><summary>Hint 1</summary>Make a set of words of each text first; then it is a difference
# of sets. Looking for a word as a substring of a text would find <em>art</em> in
# <em>party</em>.</details>
#
# <details><summary>Hint 2</summary>There may be any number of controls with any names. Loop over
# <code>said.items()</code>.</details>


# %% tags=["stub"]
def own_words(said): ...


answer = ...  # own_words


# %% tags=["wrong"]
def substrings(said):
    others = " ".join(text.lower() for name, text in said.items() if name != "state")
    return {word for word in words_of(said["state"]) if word not in others}


def one_control(said):
    return words_of(said["state"]) - words_of(said.get("random", ""))


def in_all_controls(said):
    controls = [words_of(text) for name, text in said.items() if name != "state"]
    return words_of(said["state"]) - set.intersection(*controls)


def with_capitals(said):
    others = {w for name, text in said.items() if name != "state" for w in text.split()}
    return {word.lower() for word in said["state"].split() if word not in others}


called = own_words({"state": "a film", "random": "a park"})
wrong = [substrings, one_control, in_all_controls, with_capitals, called]


# %% tags=["solution"]
def words_of(text):
    return set(re.findall(r"[a-z]+", text.lower()))


def own_words(said):
    controls = [words_of(text) for name, text in said.items() if name != "state"]
    return words_of(said["state"]) - set().union(*controls)


answer = own_words
print(own_words(dict(side_by_side(beside).loc[12])))

# %% [markdown]
# Two things are worth a discussion. The words that are left need not be *right*: at layer 12 the
# state goes on to `The Hunger Games`, which no control says and which has nothing to do with
# dinosaurs. Controls are necessary, and not sufficient. And the mean state's `movie` does not take
# `film` away, for a word is not a meaning. Words are a coarse measure.

# %% tags=["claim"]
controls = at_12.drop("state")
assert "Hunger Games" in at_12["state"]
assert not controls.str.contains("Hunger").any()
assert not controls.str.contains("film").any()

# %% [markdown] tags=["slide"]
# ## 3. A number instead of words
#
# Greedy text shows only the winner. Ask for a probability:
#
# > …, **x**: American **…**
#
# How probable is *film*, *films*, *movie* or *movies* next? Now the state and its controls can be
# compared layer by layer, in one figure.

# %% [markdown]
# We chose this question after we had seen the answer. That is a second reason to put it to the
# controls: they get the same question, made to measure for the state.
#
# `ls.run_many` takes a list of patches for each row, runs all rows together, and keeps no more than
# a `metric` of the logits.

# %%
question = inspection.text + ": American"
film = [model.to_single_token(word) for word in (" film", " films", " movie", " movies")]
layers = range(model.cfg.n_layers)


def says_film(states, written=None):
    """p(film) where each layer's state is written at its own layer, or all of them at one."""
    places = [layer if written is None else written for layer in layers]
    rows = [[ls.resid_post(p).at("x").set(v)] for p, v in zip(places, states, strict=True)]
    out = ls.run_many(
        model,
        question,
        rows,
        metric=lambda logits: logits[:, -1].softmax(-1)[:, film].sum(-1),
        labels={"layer": layers},
    )
    return out.data.metric.to_series()


def last_states(prompt):
    cache = ls.capture(model, prompt, ls.resid_post)
    return [cache[ls.resid_post(layer).at(-1)][0, 0] for layer in layers]


plain = [ls.capture(model, text, ls.resid_post) for text in plain_texts]
jurassic = last_states("Jurassic Park")
noise = [torch.randn(s.shape, generator=torch.Generator().manual_seed(0)) for s in jurassic]
written = {
    "Jurassic Park": jurassic,
    "Central Park": last_states("Central Park"),
    "mean state": [
        torch.cat([c[ls.resid_post(layer)][0, 1:] for c in plain]).mean(0) for layer in layers
    ],
    "random vector": [n * s.norm() / n.norm() for n, s in zip(noise, jurassic, strict=True)],
}
alone = ls.run(model, question).last_logits[0].softmax(-1)[film].sum().item()
same = {name: says_film(states) for name, states in written.items()}
same["nothing written"] = pd.Series(alone, index=layers)

# %% tags=["slide"]
ls.course.lines(
    same, title="“x: American …”, written where it was read", x="layer", y="p(film or movie)"
)

# %% [markdown]
# Now the evidence has a size. From layer 11 to 15 the state makes *film* more than five times as
# probable as the same token of Central Park does, and two to four times as probable as the mean
# state does, which is the highest of the controls. At the first layers the state is below them. At
# the last layers it does what *nothing written* does: it does not get through at all.
#
# The nearest control is the one to beat. Against *nothing written* alone, the same curve would have
# been more than fifteen times as high.

# %% tags=["claim"]
own, controls = same["Jurassic Park"], pd.DataFrame(same).drop(columns="Jurassic Park")
middle = [11, 12, 13, 14, 15]
assert (own.loc[middle] > 1.7 * controls.loc[middle].max(axis=1)).all()
assert (own.loc[middle] > 5 * controls.loc[middle, "Central Park"]).all()
assert (controls.loc[middle, "mean state"] > 4 * alone).all()
assert (own.loc[:2] < controls.loc[:2].max(axis=1)).all()
assert ((own.loc[27:] - alone).abs() < 0.005).all()  # late: as if nothing had been written
assert (own.loc[middle] > 15 * alone).all()
assert (own.loc[middle] / controls.loc[middle, "mean state"]).between(1.7, 4.5).all()

# %% [markdown] tags=["notes"]
# Ask before the figure: which control will be the highest? Nearly everyone says Central Park,
# because it shares the token; it is among the lowest. The mean state is the highest in the middle:
# the prompt has an actor in it, and "American …" after a typical state goes on with film often
# enough.

# %% [markdown] tags=["slide"]
# ## 4. Every layer at once
#
# `scope.inspect` does the five steps for all layers, as rows of one batch. With
# `target_layers="same"` each state is written at the layer that it was read at, as in the paper.

# %%
result = scope.inspect(model, source, target_layers="same", max_new_tokens=10)
result.frame().set_index("source_layer")[["logit_lens", "text"]]

# %% [markdown]
# Beside it stands the **logit lens**: what the model's own output head makes of the same vector. It
# is of little help here: above layer 0 it shows a bracket, a comma, a slash or a blank, because its
# question is another one. It asks which token comes next after the *source* prompt, and after a
# name that is one of these. The patchscope asks what the vector is *about*.

# %% tags=["claim"]
lens = result.frame().set_index("source_layer")["logit_lens"].map(str.strip)
assert lens.loc[1:].isin(["(", ",", "/", ""]).mean() > 0.9

# %% tags=["slide"]
result.frame().set_index("source_layer").loc[[1, 3, 8, 12, 15, 18, 21, 25, 29], ["text"]]

# %% [markdown] tags=["slide"]
# ## What early, middle and late layers say
#
# - **Early** (0 to 4): the *token*. ` Park` is completed to other words that begin so: `a: …`.
# - **Middle** (about 11 to 18): the *entity*. Attention has brought in `J`, `ur` and `assic`: a
#   film, if not always the right one.
# - **Late** (from about 20): nothing of it. Numbers, and then `x` itself.

# %% tags=["claim"]
text = result.frame().set_index("source_layer")["text"]
assert text.loc[1:4].str.startswith("a:").all()
assert "film" in text[4]
assert text.loc[11:18].str.contains("film", case=False).sum() >= 7
assert text.loc[24:].str.contains(r"\bx\b").all()

# %% [markdown]
# At layer 4 there is a film, too: that of something that begins with ` Parka`. Whoever counts words
# would count it.
#
# The picture shows the same; the colour is the probability of the first token that was generated,
# so dark means sure.

# %%
result.picture()

# %% [markdown] tags=["slide"]
# ## Why late layers echo the placeholder
#
# The state is written at *one* layer. What is below was computed for `x`.
#
# The tokens that follow see the placeholder through its keys and values **in every layer**. Written
# late, the state reaches those of the last few blocks only. The rest still says `x`.
#
# This is **contamination** by the placeholder.

# %% [markdown] tags=["exercise"]
# ### Exercise 5.3: how much of it is still x?
#
# **Goal** see the contamination in the keys · **Difficulty** ★★☆ · **Minutes** 10
#
# The state of ` Park` after block `layer` is written after the same block of the inspection prompt.
# In how many of the 30 blocks are the **keys of the placeholder** still exactly those of `x`?
# Measure it: `ls.run(model, inspection.text, [patch], keep=ls.k).cache[ls.k(n)]` has the keys of
# block `n`, as `[prompt, position, head, width]`, and the placeholder is the last position.
#
# `answer` is a list of three whole numbers: for `layer` 1, 12 and 25, in this order.
#
# <details><summary>Hint 1</summary>Run once without a patch, once with it, and compare block by
# block. <code>torch.allclose(a, b, atol=1e-4)</code> forgives rounding.</details>
#
# <details><summary>Hint 2</summary><code>resid_post</code> is what comes <em>out</em> of a block.
# Did this block compute its keys before or after that?</details>


# %% tags=["stub"]
def still_x(layer): ...


answer = ...  # [still_x(1), still_x(12), still_x(25)]

# %% tags=["wrong"]
wrong = [
    [1, 12, 25],  # as if the block that is written made its keys afterwards
    [30 - still_x(layer) for layer in (1, 12, 25)],  # those that changed
    [30, 30, 30],  # looked at a token before the placeholder
    [0, 0, 0],
    still_x(12),
]

# %% tags=["solution"]
untouched = ls.run(model, inspection.text, keep=ls.k).cache


def still_x(layer):
    patch = ls.resid_post(layer).at("x").set(jurassic[layer])
    patched = ls.run(model, inspection.text, [patch], keep=ls.k).cache
    same = [
        torch.allclose(untouched[ls.k(n)][:, -1], patched[ls.k(n)][:, -1], atol=1e-4)
        for n in layers
    ]
    return sum(same)


answer = [still_x(1), still_x(12), still_x(25)]

# %% [markdown]
# If this is why late layers echo, then writing *early* must make the echo disappear, whatever layer
# is read. Source layer and target layer are two settings of their own. We take four names, read the
# last ten layers, and write them where they were read, or all of them after block 1.


# %%
def mentions_placeholder(text):
    return bool(re.search(r"\bx\b", text))


names = ["Jurassic Park", "Diana, Princess of Wales", "Alexander the Great", "The Rolling Stones"]
late_layers = range(20, 30)
late = scope.inspect(model, names, layers=late_layers, target_layers="same").frame()
early = scope.inspect(model, names, layers=late_layers, target_layers=[1]).frame()
late["echo"] = late["text"].map(mentions_placeholder)
early["echo"] = early["text"].map(mentions_placeholder)

# %% tags=["slide"]
echoes = late[late["echo"]].groupby("prompt", sort=False)["source_layer"].agg(list)
print("of", len(late), "answers, so many mention x:")
print("  written where they were read:", int(late["echo"].sum()))
print("  written after block 1:       ", int(early["echo"].sum()))
echoes.to_frame("layers that echo")

# %% [markdown]
# For every name the echo begins at the same late layer, 24, and written early it is gone. What do
# the late states say now?

# %% tags=["claim"]
assert set(echoes.index) == set(names)
assert {min(found) for found in echoes} == {24}
assert late["echo"].sum() >= 18
assert early["echo"].sum() == 0

# %%
early[early["source_layer"].isin([22, 24, 28])].pivot(
    index="source_layer", columns="prompt", values="text"
)[names]

# %% [markdown]
# It looks as if the film could now be read even from layer 28: *the movie*. But so it does for The
# Rolling Stones. Late states are on their way to the next token of *their* prompt, the inspection
# prompt makes a new paragraph of that, and a paragraph behind an actor may well have a movie in it.
# Words again; the number can tell.

# %% tags=["claim"]
said_late = early.set_index(["prompt", "source_layer"])["text"]
assert "movie" in said_late["Jurassic Park", 28]
assert "movie" in said_late["The Rolling Stones", 28]

# %%
written_early = {name: says_film(states, written=1) for name, states in written.items()}
written_early["nothing written"] = pd.Series(alone, index=layers)

# %% tags=["slide"]
ls.course.lines(
    written_early,
    title="“x: American …”, all written after block 1",
    x="layer",
    y="p(film or movie)",
)

# %% [markdown]
# From layer 14 to layer 28 the state makes *film* more than twice as probable as any control. Where
# writing at the same layer gave less than 0.05 (from layer 20 on), it is above 0.1. **The film was
# in the late states all the time; it was the writing that lost it.** "Late layers know nothing of
# it" would have been a statement on the tool, not on the model.
#
# The other way round, layers up to 5 or so say less when they are written at block 1. Neither place
# is right for all. `entity_description` writes after block 1 unless it is told otherwise, since
# names are read best in an early block (`lensscope best-block` says in which one).

# %% tags=["claim"]
own, controls = written_early["Jurassic Park"], pd.DataFrame(written_early).iloc[:, 1:]
assert (own.loc[14:28] > 2 * controls.loc[14:28].max(axis=1)).all()
assert (same["Jurassic Park"].loc[20:] < 0.05).all()
assert (own.loc[20:28] > 0.1).all()
assert own.loc[2:5].max() < 0.03 < same["Jurassic Park"].loc[5]

# %% [markdown]
# ### Which token knows?
#
# So far we read the last token. `position=ls.ALL` reads every one.

# %%
king = scope.inspect(
    model, "I like Alexander the Great", position=ls.ALL, layers=[1, 3, 8], target_layers="same"
).frame()
king[king["token"].isin([" Alexander", " the", " Great"])].pivot(
    index="source_layer", columns="token", values="text"
)[[" Alexander", " the", " Great"]]

# %% [markdown]
# ` Great` is a *reef* after block 1 and a *king* after block 3: the last token has become the name.
# ` the` says nothing of it. ` Alexander` cannot know what comes after it, for the model reads from
# left to right; that the text goes on with `the Great: King …` is the *reader's* guess, made from
# the first name alone.

# %% tags=["claim"]
of = king.set_index(["token", "source_layer"])["text"]
assert "Reef" in of[" Great", 1]
assert "King" in of[" Great", 3]
assert "King" in of[" Great", 8]
assert all("the Great" in of[" Alexander", layer] for layer in (1, 3, 8))
assert not any("King" in of[" the", layer] for layer in (1, 3, 8))

# %% [markdown] tags=["slide"]
# ## 5. Another question
#
# Any unfinished sentence is an inspection prompt:
#
# > The largest city in **x**
#
# The state of ` Japan` in *a flight to Japan* answers a question that its own prompt never asked.

# %%
city = ls.Patchscope.attribute("The largest city in x", max_new_tokens=6)
answers = controlled(
    city,
    model,
    "a flight to Japan",
    layers=[0, 4, 12, 20, 26],
    target_layers=[3],
    texts=["a train to Italy", *plain_texts],
)

# %% tags=["slide"]
side_by_side(answers)

# %% [markdown]
# The state says Tokyo, Italy's state says Rome, and no control says Tokyo. This is the pattern that
# one wants to see: the answer *moves with the state*. The controls have their own favourites, and
# some of them are cities (New York, Paris): a question for a city gets one out of many a vector.
#
# At layers 0 and 26 the state says no city at all.

# %% tags=["claim"]
cities = side_by_side(answers)
assert cities["state"].loc[[4, 12, 20]].str.contains("Tokyo").all()
assert not cities.drop(columns="state").map(lambda text: "Tokyo" in text).any(axis=None)
assert cities["other"].loc[[4, 12]].str.contains("Rome").all()
assert "Tokyo" not in cities["state"][0]
assert "Tokyo" not in cities["state"][26]
assert cities[["random", "mean"]].stack().str.contains("New York|Paris").sum() >= 2

# %% [markdown] tags=["slide"]
# ## 6. Every pair of layers
#
# Which layer is read and which is written are two choices: 30 × 30 patchscopes of one state.
#
# The **token-identity** prompt asks for one token: `cat -> cat`, `1135 -> 1135`, `hello -> hello`,
# `?`
#
# The state: ` of` in *The Eiffel Tower is in the city of*.

# %%
identity = ls.Patchscope.token_identity()
sentence = "The Eiffel Tower is in the city of"
grid = identity.inspect(model, sentence, target_layers="all")

# %%
grid.picture()

# %%
first = grid.frame().pivot(index="source_layer", columns="target_layer", values="first_token")
first = first.map(str.strip)
counts = first.stack().value_counts()
print(counts[["hello", "the", "New", "Paris", "of"]].to_string())

# %% [markdown]
# Read it from the lowest row on. Nothing is said of a city until about layer 16; then it is *a*
# city (Springfield, New …), from layer 20 on often a wrong one (San …, Sydney, Rome), and from
# layer 23 on it is Paris, if it is written late enough and not too late. Written into the first
# blocks it is not, whatever layer is read. The answer is not there all at once.
#
# What the picture does *not* show is the token's identity. The prompt is to repeat what stands at
# its placeholder, and ` of` comes out in hardly any of 900 cells; `hello`, the last example, in
# over a hundred. Here this reader has a bias of its own, and a reader's bias is what controls are
# for.

# %% tags=["claim"]
assert (first.loc[:22] == "Paris").sum().sum() < 2
assert (first.loc[24:28, 23] == "Paris").all()
assert (first.loc[24:28, 24] == "Paris").all()
assert (first.loc[23:, :8] == "Paris").sum().sum() < 3
cities = {"Springfield", "New", "London", "San", "Sydney", "Rome", "Berlin"}
assert first.loc[16:22].isin(cities).sum().sum() > 50
assert first.loc[:14].isin(cities).sum().sum() < 5
assert counts["of"] < 10
assert counts["hello"] > 100

# %% [markdown]
# These were 900 patched runs, in the time of a few dozen. `grid.plan` says how: the tokens before
# the placeholder are the same in all of them, and so is everything below the layer that is written.

# %%
print(grid.plan)

# %% [markdown]
# The same sweep by hand, for a number. A *move*, `read >> write`, is a patch whose value is read
# from a run of `source`. The rows are the product of two named axes.

# %%
paris = model.to_single_token(" Paris")


def says_paris(sentence, read_layers=layers):
    """p( Paris) for each layer that is read and each that is written."""
    moves = [
        [ls.resid_post(read).at(-1) >> ls.resid_post(write).at("?")]
        for read in read_layers
        for write in layers
    ]
    out = ls.run_many(
        model,
        identity.inspection.text,
        moves,
        source=sentence,
        metric=lambda logits: logits[:, -1].softmax(-1)[:, paris],
        labels={"read_after": read_layers, "written_after": layers},
    )
    return out.data.metric


eiffel = says_paris(sentence)

# %% tags=["slide"]
ls.course.heatmap(
    eiffel.sel(read_after=range(14, 30), written_after=range(0, 30, 2)).to_pandas(),
    title="p( Paris) by what is read and what is written",
    x="target layer",
    y="source layer",
    value="p( Paris)",
)

# %% tags=["claim"]
assert eiffel.sel(read_after=range(23)).max() < 0.1
assert eiffel.sel(read_after=[24, 25, 26], written_after=[22, 24]).min() > 0.4

# %% tags=["slide"]
best = eiffel.max("written_after").to_series()
chances = pd.DataFrame({"best of 30": best, "written after block 20": eiffel.sel(written_after=20)})
ls.course.lines(
    chances, title="p( Paris) of “… in the city of”", x="layer that is read", y="p( Paris)"
)

# %% [markdown]
# The blue line takes, for each layer, the best of 30 target layers; the other one is fixed
# beforehand. They agree on where it begins, and differ at the end: layer 29 *is* the model's answer
# when it is written at layer 29, and says nothing of it when it is written at 20.

# %% tags=["claim"]
assert best.loc[23:].min() > 0.5
assert best.loc[:22].max() < 0.15
assert best[19] > 50 * best[0]
assert best[20] < 0.03
fixed = eiffel.sel(written_after=20).to_series()
assert fixed[23] > 0.2 > 2 * fixed[22]
assert (best >= fixed).all()
assert best[29] > 20 * fixed[29]

# %% [markdown]
# Beware of "at its best". A maximum over 30 tries is larger than any one of them would be, **also
# where there is nothing to find**. Up to layer 20 the best of 30 rises more than fiftyfold over
# what it was at layer 0, and is still below three in a hundred. Is that the beginning of Paris?

# %% [markdown] tags=["exercise"]
# ### Exercise 5.4: a maximum over thirty tries
#
# **Goal** give the controls as many tries as the state · **Difficulty** ★★★ · **Minutes** 15
#
# Two other sentences, whose answer is not Paris, are the controls:
#
# - `The Colosseum is in the city of`
# - `Big Ben is in the city of`
#
# For each source layer from 16 to 29 take the best p(` Paris`) of 30 target layers: for the Eiffel
# Tower, and for each of the controls. `answer` is the **first source layer at which the Eiffel
# Tower's best is more than five times the larger of the two controls' bests**: one whole number.
#
# <details><summary>Hint 1</summary><code>says_paris(sentence, read_layers=range(16, 30))</code>
# gives an array with named axes; <code>.max("written_after").to_series()</code> makes one number
# for each layer of it.</details>
#
# <details><summary>Hint 2</summary>A control gets its own best target layer, not the one that is
# best for the Eiffel Tower.</details>

# %% tags=["stub"]
controls = ["The Colosseum is in the city of", "Big Ben is in the city of"]

answer = ...  # the number of a layer

# %% tags=["wrong"]
untold = ls.run(model, identity.inspection.text).last_logits[0].softmax(-1)[paris].item()
one_try = pd.DataFrame({each: p.sel(written_after=0).to_series() for each, p in swept.items()})
wrong = [
    int((best.loc[16:] > 5 * untold).idxmax()),  # beats nothing written
    int((best.loc[16:] > 5 * one_try.max(axis=1)).idxmax()),  # thirty tries against one
    22,  # the layer before
    21,  # ahead, and not by five times
    int((best.loc[16:] > 5 * tries.max(axis=1)).to_numpy().argmax()),  # a place in a list
]

# %% tags=["solution"]
controls = ["The Colosseum is in the city of", "Big Ben is in the city of"]
late_half = range(16, 30)
swept = {each: says_paris(each, late_half) for each in controls}
tries = pd.DataFrame({each: p.max("written_after").to_series() for each, p in swept.items()})
ahead = best.loc[16:] > 5 * tries.max(axis=1)
answer = int(ahead.idxmax())

# %% [markdown]
# Up to that layer p(` Paris`) rises for the other sentences, too. What comes up from layer 16 on is
# *a city*, and Paris is one of the likely ones. Without the controls the rise would have been taken
# for the model's first inkling of Paris.

# %% [markdown] tags=["notes"]
# If time is short, give the table of the solution and let students read off the layer; the
# discussion is worth more than the typing. Students tend to fix the target layer at the state's
# best one for the controls: then the state has had thirty tries, and the control one.

# %% [markdown] tags=["slide"]
# ## 7. Between two states
#
# Nothing says that only states of real prompts can be inspected. A mixture of two:
#
# $$h_t = (1 - t)\, h_\text{Jurassic Park} + t\, h_\text{Diana, Princess of Wales}$$
#
# What lies in between, and where is the border?

# %%
ends = [last_states(name)[12] for name in ("Jurassic Park", "Diana, Princess of Wales")]
line = {f"t = {t / 5:.1f}": (1 - t / 5) * ends[0] + t / 5 * ends[1] for t in range(6)}
mixed = scope.inspect(model, line, target_layers=[12])
lengths = pd.Series({name: vector.norm().item() for name, vector in line.items()}).round(0)

# %% tags=["slide"]
mixed.frame().set_index("prompt")[["text"]].assign(length=lengths)

# %% [markdown]
# From a film franchise over a national park and *a British film company* to a monarch and a queen:
# the middle of the line holds something of both ends. A straight line between two states need not
# pass through sense; try other pairs. It also passes through *shorter* vectors than either end, so
# a mixture is off the states' usual length, too.

# %% tags=["claim"]
between = mixed.frame().set_index("prompt")["text"]
assert "film franchise" in between["t = 0.0"]
assert "Queen" in between["t = 1.0"]
assert "park" in between["t = 0.2"]
assert "British film" in between["t = 0.4"]
assert "monarch" in between["t = 0.8"]
assert lengths[["t = 0.4", "t = 0.6"]].max() < 0.95 * lengths[["t = 0.0", "t = 1.0"]].min()

# %% [markdown] tags=["exercise"]
# ### Exercise 5.5: where is the border?
#
# **Goal** turn "in between" into a number · **Difficulty** ★★☆ · **Minutes** 12
#
# Write $h_t$ after block 12 over the placeholder of `inspection.text + ":"`, for $t$ from 0 to 1 in
# steps of 0.05. For each $t$ add up the probabilities, as the next token, of
#
# - film: ` film`, ` Film`, ` movie`, ` Movie`
# - royalty: ` Queen`, ` King`, ` queen`, ` king`, ` Royal`, ` royal`
#
# `answer` is the $t$ at which royalty overtakes film, found to within 0.02: one number between 0
# and 1.
#
# <details><summary>Hint 1</summary><code>ends</code> holds both vectors. Make one row for each $t$:
# <code>[ls.resid_post(12).at("x").set(h_t)]</code>, and let the metric give the difference of the
# two sums.</details>
#
# <details><summary>Hint 2</summary>Between two neighbouring values of $t$ a straight line is good
# enough, or take finer steps.</details>

# %% tags=["stub"]
kinds = {
    "film": [" film", " Film", " movie", " Movie"],
    "royalty": [" Queen", " King", " queen", " king", " Royal", " royal"],
}

answer = ...  # a number between 0 and 1

# %% tags=["wrong"]
wrong = [
    0.5,  # the middle, taken for granted
    1 - answer,  # from the other end
    0.8,  # where the text says queen
    float(answer > 0),
]

# %% tags=["solution"]
kinds = {
    "film": [" film", " Film", " movie", " Movie"],
    "royalty": [" Queen", " King", " queen", " king", " Royal", " royal"],
}
ids = {name: [model.to_single_token(word) for word in words] for name, words in kinds.items()}
steps = [n / 100 for n in range(30, 60)]
rows = [[ls.resid_post(12).at("x").set((1 - t) * ends[0] + t * ends[1])] for t in steps]


def royal_less_film(logits):
    p = logits[:, -1].softmax(-1)
    return p[:, ids["royalty"]].sum(-1) - p[:, ids["film"]].sum(-1)


out = ls.run_many(model, inspection.text + ":", rows, metric=royal_less_film, labels={"t": steps})
answer = float((out.data.metric.to_series() > 0).idxmax())

# %% [markdown] tags=["slide"]
# ## What to keep
#
# - A patchscope is five steps: read, map, run, write, go on.
# - It says something of **any** vector: read it beside its controls, and choose the nearest one
#   well.
# - Late layers echo the placeholder because of *where they are written*. Read and write are two
#   choices.
# - Words are coarse. A probability has a size, and can be compared.
# - Whoever takes the best of thirty gives thirty to the controls.

# %% [markdown]
# **Where to go next.** `ls.Patchscope.selfie()` writes at several placeholders and asks for a
# summary (Chen et al. 2024). `ls.Patchscope(…, model=other)` lets another model do the describing.
# Results have named axes: `result.data` is an `xarray.Dataset`, in which nothing is known by its
# number, and `result.to_html("page.html")` keeps what you found.

# %%
result.data.first_token_probability.sel(prompt="Jurassic Park").squeeze().to_series().iloc[::6]
