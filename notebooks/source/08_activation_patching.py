# ---
# title: Activation patching
# goals:
#   - patch one state of one run into another by hand, and give its effect between 0 and 1
#   - choose a metric and a direction (denoising or noising), and say what each cannot see
#   - set an effect against controls, and see where a high effect means nothing
#   - estimate all effects at once by attribution patching, and find out where the estimate fails
#   - tell "this state matters" from "this state says the answer", with a patchscope beside the map
# readings:
#   - "Heimersheim and Nanda 2024, *How to Use and Interpret Activation Patching*, arXiv 2404.15255"
#   - "Zhang and Nanda 2023, *Towards Best Practices of Activation Patching in Language Models*,
#     arXiv 2309.16042"
#   - "Meng, Bau, Andonian, Belinkov 2022, *Locating and Editing Factual Associations in GPT*,
#     arXiv 2202.05262"
#   - "Kramár, Lieberum, Shah, Nanda 2024, *AtP\\*: An efficient and scalable method for localizing
#     LLM behaviour to components*, arXiv 2403.00745"
# class:
#   - [5, "What a patchscope cannot say: where a state matters"]
#   - [20, "Sections 1 and 2, exercise 8.1"]
#   - [20, "Sections 3 and 4: the map, the patchscope, the controls"]
#   - [20, "Sections 5 and 6, exercises 8.2 and 8.3"]
#   - [10, "Section 7: many pairs, and a pair that says nothing"]
#   - [15, "Sections 8 and 9, exercise 8.4; exercise 8.5 at home"]
# scene:
#   prompt: "When Mary and John went to the store, John gave a drink to"
#   position: -1
#   says: "The last token, block by block: the name is said from block 23 on. The patching map of
#     this unit jumps at the same block, but begins to rise before it."
# ---

# %% [markdown] tags=["slide"]
# ## 1. A pair of prompts, and one number
#
# A patchscope says **what** a state holds. Patching says **where** it matters.
#
# - A **clean** prompt, after which the model says the right thing.
# - A **corrupted** prompt, as alike as possible, after which it says another.
# - A **metric**: one number of the last logits that tells the two apart.
#
# Then: write one state of one run into the other, and read the number.

# %% [markdown]
# The behaviour is *indirect object identification* (Wang et al. 2022): after "When Mary and John
# went to the store, John gave a drink to" comes the name that was not repeated. The corrupted
# prompt repeats the other name. Names are abbreviated as in the paper: **IO**, the indirect object
# (Mary), **S1**, the first mention of the subject (John), **S2**, the second, and **end**, the
# last token.
#
# The metric is the **logit difference**, the logit of the right name less that of the wrong one.

# %%
import pandas as pd
import torch

import lensscope as ls

model = ls.load_model()  # SmolLM2-135M-Instruct, from 4-bit weights turned back into floats
scene = "When {} and {} went to the store, {} gave a drink to"
clean = scene.format("Mary", "John", "John")
corrupted = scene.format("Mary", "John", "Mary")
MARY, JOHN = (model.to_single_token(name) for name in (" Mary", " John"))


def difference(logits):
    """The logit of Mary less that of John, at the last token."""
    return logits[..., -1, MARY] - logits[..., -1, JOHN]


runs = {name: ls.run(model, text) for name, text in (("clean", clean), ("corrupted", corrupted))}
ends = {name: difference(run.logits).item() for name, run in runs.items()}
print(list(enumerate(runs["clean"].tokens[0])))
print(ends)

# %% [markdown]
# Before anything is taken apart: does the model do it at all? `ls.pairs.ioi` draws prompts from
# twenty templates, checked on the model's own tokenizer. `corruption="swap"` is the one above.

# %%
pairs = ls.pairs.ioi(model, 24, corruption="swap", seed=8)
out = ls.run_many(model, list(pairs.clean), [[] for _ in pairs.clean], top_k=1)
said = [model.tokenizer.decode([int(token)]) for token in out.top_tokens[:, 0, 0]]
right = sum(word == answers[0] for word, answers in zip(said, pairs.correct, strict=True))
print(f"{right} of {len(pairs)}: the right name is the most probable of all tokens")
pairs.frame()[["clean", "corrupted", "correct"]].head(3)

# %% tags=["claim"]
assert 5.5 < ends["clean"] < 6.7  # Mary after the clean prompt
assert -6 < ends["corrupted"] < -5  # John after the corrupted one
assert right >= 18  # and so it is after most prompts

# %% [markdown] tags=["notes"]
# Insist on the order: accuracy first. Without it one takes apart a behaviour that is not there.
# Ask why the two prompts must have as many tokens, token for token (so that token 9 of one can be
# written over token 9 of the other), and what would go wrong with a corrupted prompt about
# something else (everything differs, so everything has an effect).

# %% [markdown] tags=["slide"]
# ## 2. One state, by hand
#
# Run the corrupted prompt, and write **one** state of the clean run into it:
#
# $$\text{effect} = \frac{m(\text{patched}) - m(\text{corrupted})}
# {m(\text{clean}) - m(\text{corrupted})}$$
#
# **0**: as if nothing had been done. **1**: the clean answer is back.

# %% [markdown]
# A *move*, `read >> write`, is a patch whose value is read from a run of `source`. This one takes
# what the repeated name, token 9, has become after block 10.

# %%
move = ls.resid_post(10).at(9) >> ls.resid_post(10).at(9)
patched = ls.run(model, corrupted, [move], source=clean)


def effect(value):
    """0 for the corrupted run, 1 for the clean one."""
    return (value - ends["corrupted"]) / (ends["clean"] - ends["corrupted"])


print(f"logit difference {difference(patched.logits).item():.2f}")
print(f"effect {effect(difference(patched.logits)).item():.3f}")

# %% tags=["claim"]
assert 0.95 < effect(difference(patched.logits)) < 1.05

# %% [markdown]
# One vector of 576 numbers, and the model says Mary as if it had read the clean prompt.

# %% [markdown] tags=["exercise"]
# ### Exercise 8.1: another state
#
# **Goal** know what an effect is a share of · **Difficulty** ★☆☆ · **Minutes** 6
#
# Write the clean state of the **last** token after block **22** into the corrupted run.
# `answer` is the effect, a number: 0 is the corrupted run, 1 the clean one.
#
# <details><summary>Hint 1</summary>Only the two sites of the move change.</details>
# <details><summary>Hint 2</summary>The effect is not the logit difference itself: see the formula.
# </details>

# %% tags=["wrong"]
later = [ls.resid_post(23).at(-1) >> ls.resid_post(23).at(-1)]
noised = ls.run(model, clean, last, source=corrupted)
wrong = [
    difference(ls.run(model, corrupted, last, source=clean).logits),  # not yet a share
    1 - answer,  # measured from the clean run
    difference(ls.run(model, corrupted, later, source=clean).logits) / ends["clean"],
    effect(difference(ls.run(model, corrupted, later, source=clean).logits)),  # block 23
    effect(difference(noised.logits)),  # written into the clean run
]

# %% tags=["solution"]
last = [ls.resid_post(22).at(-1) >> ls.resid_post(22).at(-1)]
answer = effect(difference(ls.run(model, corrupted, last, source=clean).logits))

# %% [markdown] tags=["slide"]
# ## 3. Every block, every token
#
# `activation_patching` does the same for every cell of a map, and shares the work between them.
#
# - Left of token 9 the two prompts do not differ, and a token cannot see what comes after it. There
#   is nothing to patch.
# - All embeddings together must give exactly 1. This is the first law of patching, and a test.

# %%
metric = ls.logit_difference(" Mary", " John")
law = ls.activation_patching(model, clean, corrupted, ls.embed, metric, positions=ls.ALL)
print("all embeddings:", law.data.effect.item())

blocks = [*range(0, 18, 3), *range(18, 30)]
after_blocks = [ls.resid_post(n) for n in blocks]
tokens = [9, 10, 11, 12, 13]
everywhere = ls.activation_patching(model, clean, corrupted, after_blocks, metric, positions=tokens)

# %% tags=["slide"]
everywhere.picture()

# %%
grid = everywhere.data.effect.squeeze("pair").to_pandas()
s2, end = grid[9], grid[13]
pd.DataFrame({"S2": s2, "end": end}).loc[[0, 9, 18, 19, 20, 22, 23, 24, 29]].T.round(2)

# %% tags=["claim"]
assert abs(law.data.effect.item() - 1) < 1e-3
assert s2.loc[:18].between(0.95, 1.05).all()  # up to block 18 all of it is at the repeated name
assert end.loc[:18].abs().max() < 0.05
assert (s2.loc[20:22] > 0.5).all()
assert (end.loc[20:22].between(0.25, 0.5)).all()
assert end.loc[23:].min() > 0.85
assert s2.loc[23:].abs().max() < 0.1
assert grid[[10, 11, 12]].abs().max().max() < 0.15  # the tokens between carry next to nothing

# %% [markdown]
# Three stretches:
#
# - **Up to block 18** the answer hangs on one token, the repeated name.
# - **From block 23 on** it hangs on the last token.
# - **In between**, from block 20 on, it hangs on both: about a third of the effect is at the end
#   already. Something has arrived there. Is it the name?

# %% [markdown] tags=["slide"]
# ### Where does the state begin to say the name?
#
# Beside the map, at the last token of the clean prompt:
#
# - the token-identity **patchscope**: how probable is ` Mary`, if the state is written over `?` in
#   `cat -> cat … ?`,
# - the **logit lens** at the same state,
# - the same patchscope on the *corrupted* prompt, as a control.

# %%
scope = ls.Patchscope.token_identity()
late = range(18, 30)


def patchscope_says(prompt):
    """The probability of Mary, each block's state written after the same block at the ?."""
    moves = [[ls.resid_post(n).at(-1) >> ls.resid_post(n).at("?")] for n in late]
    out = ls.run_many(model, scope.inspection.text, moves, source=prompt)
    return out.logits[:, -1].softmax(-1)[:, MARY]


states = ls.capture(model, clean, ls.resid_post)
lens = ls.LogitLens()
lens_says = [
    lens.logits(model, states[ls.resid_post(n)][0, -1:], ls.resid_post(n)).softmax(-1)[0, MARY]
    for n in late
]
beside = {
    "patching: effect at S2": s2.loc[18:],
    "patching: effect at the end": end.loc[18:],
    "patchscope at the end: p( Mary)": patchscope_says(clean),
    "the same, corrupted prompt": patchscope_says(corrupted),
    "logit lens at the end: p( Mary)": lens_says,
}

# %% tags=["slide"]
ls.course.lines(
    beside, title="Matters, and says", x="block", y="effect or probability", at=list(late)
)

# %% tags=["claim"]
says = dict(zip(late, beside["patchscope at the end: p( Mary)"].tolist(), strict=True))
assert max(says[n] for n in late if n <= 22) < 0.1
assert says[23] > 0.3
assert max(beside["the same, corrupted prompt"]) < 0.1
assert max(lens_says[:-1]) < 0.3  # the lens sees the name in the last block at the earliest
assert end[22] > 0.25  # the state mattered before it said anything

# %% [markdown]
# At block 23 the two views agree: there the answer moves to the last token, and there the
# patchscope begins to say it, long before the logit lens does. But in blocks 20 to 22 the state
# of the last token has an effect and does not say the name. **To matter is not to hold the
# answer.** What it holds instead is exercise 8.5.

# %% [markdown] tags=["notes"]
# This is the picture of the unit. Let them describe it before you do: which line rises first? The
# usual explanation is "the patchscope is too weak to see the name". Do not settle it here: exercise
# 8.5 does, with states of prompts in which neither Mary nor John stands.

# %% [markdown] tags=["slide"]
# ## 4. Compared with what?
#
# The clean state at the end of block 22 has an effect of more than a third. Is that much? Write
# other states in its place:
#
# - of **another task**, whose prompt knows of no Mary and no John,
# - of the same scene with **three other names**,
# - the **mean** of other prompts' last states,
# - **random** vectors of the same length.

# %%
some = [20, 21, 22, 23, 24, 26, 28]
sites = [ls.resid_post(n).at(-1) for n in some]


def last_states(prompts):
    """The states of the last token after some blocks, averaged over prompts."""
    cache = ls.capture(model, prompts, sites)
    return torch.stack([cache[site][:, 0].mean(0) for site in sites])


own = last_states(clean)
generator = torch.Generator().manual_seed(0)
drawn = [torch.randn(own.shape, generator=generator) for _ in range(5)]
written = {
    "the clean run": own,
    "another task": last_states("The capital of Japan is the city of"),
    "three other names": last_states(scene.format("Tom", "Anna", "Kate")),
    "mean of other prompts": last_states(list(pairs.clean[:6])),
} | {
    f"random {n}": noise * own.norm(dim=1, keepdim=True) / noise.norm(dim=1, keepdim=True)
    for n, noise in enumerate(drawn)
}
patches = [
    [site.set(vector)]
    for vectors in written.values()
    for site, vector in zip(sites, vectors, strict=True)
]
out = ls.run_many(model, corrupted, patches)
logits = out.logits[:, -1]


def table(values):
    """Numbers of the rows, as states by blocks."""
    return pd.DataFrame(values.reshape(len(written), -1).tolist(), list(written), some)


compared = table(effect(difference(out.logits)))
random = compared.filter(like="random", axis=0)
shown = compared.drop(random.index)
shown.loc["random, lowest of 5"], shown.loc["random, highest of 5"] = random.min(), random.max()
shown.round(2)

# %% tags=["slide"]
ls.course.lines(dict(shown.T), title="Written over the last token", x="block", y="effect")

# %% tags=["claim"]
assert shown.loc["another task", [20, 21, 22]].min() > shown.loc["the clean run", 22] + 0.1
assert random.max().max() > 0.6
assert random.mean().between(0.1, 0.8).all()
assert shown.loc["mean of other prompts", [23, 24, 26, 28]].between(0.35, 0.65).all()
others = shown.drop(index="the clean run")
assert (shown.loc["the clean run", [23, 24, 26, 28]] > 0.85).all()
assert shown.loc["the clean run", 23] > others[23].max() + 0.1

# %% [markdown]
# In blocks 20 to 22 a state that has nothing to do with Mary "restores" **more** than the clean
# state does. The reason is the swap: the two runs lie at about +6 and −5, so whatever merely
# *erases* the wrong answer ends near the middle, and the middle is called 0.5. Compare effects
# with that, not with 0. At block 23 the clean state stands above all controls; before, an effect
# of a third is no evidence by itself.
#
# (With a corruption that leaves neither name repeated, `corruption="s2"`, the corrupted run lies
# nearer to 0 logits, and erasing has less to gain. Unit 10 uses it.)

# %% [markdown] tags=["notes"]
# Let them guess the controls before the picture is shown; nearly everybody expects 0. Then ask:
# which corruption would have made these controls 0? The second point: a maximum of five random
# vectors at seven blocks is the best of 35 tries, and is to be read as such.

# %% [markdown] tags=["slide"]
# ## 5. What to measure
#
# | metric | sees | is blind to |
# | --- | --- | --- |
# | logit difference | right against wrong | all other tokens |
# | log-probability | the right answer against all | which other token gains |
# | probability | what would be said | all that is too small to be said |
# | KL from the clean run | any change | whether it is the answer that changed |
# | rank | the order | how far apart |

# %%
best = random.stack().idxmax()  # the luckiest of the random vectors, and its block
rows = {
    "corrupted": runs["corrupted"].last_logits[0],
    "clean state, block 22": logits[some.index(22)],
    "clean state, block 23": logits[some.index(23)],
    "luckiest random vector": logits[
        list(written).index(best[0]) * len(some) + some.index(best[1])
    ],
    "clean": runs["clean"].last_logits[0],
}
last = torch.stack(list(rows.values()))
log_p = last.log_softmax(-1)
metrics = pd.DataFrame(
    {
        "logit difference": last[:, MARY] - last[:, JOHN],
        "log-probability": log_p[:, MARY],
        "probability": log_p[:, MARY].exp(),
        "KL": (log_p[-1].exp() * (log_p[-1] - log_p)).sum(-1),
        "rank": (last > last[:, MARY, None]).sum(-1),
    },
    index=list(rows),
)
metrics.round(2)

# %% tags=["slide"]
base, top = metrics.loc["corrupted"], metrics.loc["clean"]
effects = (metrics - base) / (top - base)
effects.drop(index=["corrupted", "clean"]).round(2)

# %% tags=["claim"]
half_way, lucky = effects.loc["clean state, block 22"], effects.loc["luckiest random vector"]
assert half_way["probability"] < 0.1
assert 0.3 < half_way["logit difference"] < 0.5
assert half_way["log-probability"] > 0.5
assert half_way["KL"] > 0.5
assert half_way["rank"] > 0.67
assert (effects.loc["clean state, block 23"] > 0.85).all()
assert lucky["logit difference"] > 0.6
assert lucky["probability"] < 0.1
assert lucky[["log-probability", "KL", "rank"]].max() < 0.3

# %% [markdown]
# One patched run (block 22) is less than a tenth or more than two thirds of the way, depending on
# whom you ask: probability says next to nothing has happened, for ` Mary` is still unlikely; rank
# says most of it is done. None
# of them lies. And the random vector that does so well by logit difference has not brought Mary
# back at all: it has ruined both names, the wrong one more. Look at two metrics, of which one sees
# all tokens.

# %% [markdown] tags=["exercise"]
# ### Exercise 8.2: up and down
#
# **Goal** see what a logit difference cannot see · **Difficulty** ★★☆ · **Minutes** 8
#
# A tiny vocabulary has four tokens: the right answer, the wrong answer, and two others. Invent a
# patch: the four logits before it and after it, such that the **logit difference** of right and
# wrong rises by at least 2, while the **probability** of the right answer falls to less than half
# of what it was.
#
# `answer` is a pair of lists, `(before, after)`, each of four numbers in the order above.
#
# <details><summary>Hint 1</summary>The probability of the right answer depends on all four logits,
# the difference on two of them.</details>
# <details><summary>Hint 2</summary>What did the luckiest random vector do?</details>

# %% tags=["wrong"]
wrong = [
    ([0.0, 0.0, 0.0, 0.0], [3.0, 0.0, 0.0, 0.0]),  # both rise
    ([2.0, 0.0, 0.0, 0.0], [2.0, -3.0, 0.0, 0.0]),  # less of the wrong one is more of the right
    ([2.0, -4.0, 3.0, 3.0], [2.0, 0.0, 0.0, 0.0]),  # after and before
    ([2.0, 0.0, 0.0, 0.0], [1.0, 0.0, 4.0, 4.0]),  # both fall
    [2.0, 0.0, 0.0, 0.0],
]

# %% tags=["solution"]
answer = ([2.0, 0.0, 0.0, 0.0], [2.0, -3.0, 5.0, 5.0])

# %% [markdown] tags=["slide"]
# ## 6. Two directions
#
# - **Denoising** writes *clean* states into the *corrupted* run: what **suffices** to bring the
#   answer back?
# - **Noising** writes *corrupted* states into the *clean* run: what is **necessary** to keep it?
#
# They differ where parts depend on each other:
#
# | | denoising one part | noising one part |
# | --- | --- | --- |
# | **and**: needs both | 0 | 1 |
# | **or**: either will do | 1 | 0 |

# %% [markdown]
# The second direction is one more argument, and effects are turned around so that 1 is still
# "all of it" (here: the answer is lost). Three names stand in the scene; corrupted is now the scene
# with three other names. Each name's embedding is patched by itself.

# %%
unlike = scene.format("Tom", "Anna", "Kate")
names = {"IO": 1, "S1": 3, "S2": 9}
directions = {
    direction: ls.activation_patching(
        model, clean, unlike, ls.embed, metric, direction, positions=names
    )
    .data.effect.squeeze("pair")
    .to_pandas()
    for direction in ("denoising", "noising")
}
by_name = pd.DataFrame(directions).rename_axis("name")
by_name.loc["sum"] = by_name.sum()

# %% tags=["slide"]
by_name.round(2)

# %% tags=["claim"]
assert by_name.loc["S2", "denoising"] < 0.3
assert by_name.loc["S2", "noising"] > 0.5
assert by_name.loc["S1", "denoising"] < 0 < 0.2 < by_name.loc["S1", "noising"]
assert by_name.loc["IO", "noising"] > by_name.loc["IO", "denoising"] + 0.3
assert by_name.loc["sum", "denoising"] < 0.7
assert by_name.loc["sum", "noising"] > 1.5

# %% [markdown]
# By denoising, the second subject S2 hardly matters, and S1 even hurts. By noising, each is needed.
# Both are right: the name that stands at S2 means something only if the *same* name stands at S1.
# That is an **and**, and its signature is in the last line: denoising effects add up to far less
# than 1, noising effects to far more.
#
# A case of the other kind, at the last token: heads 20.0 and 19.2 (block 20, head 0; block 19,
# head 2). Unit 9 says what they do. Here each is noised alone, then both.

# %%
pair_of_heads = {
    "20.0": [ls.head_out(20, 0).at(-1)],
    "19.2": [ls.head_out(19, 2).at(-1)],
    "both": [ls.head_out(20, 0).at(-1), ls.head_out(19, 2).at(-1)],
}
lost = {}
for direction, into, source in (("denoising", corrupted, clean), ("noising", clean, corrupted)):
    moves = [[head >> head for head in heads] for heads in pair_of_heads.values()]
    out = ls.run_many(model, into, moves, source=source, metric=difference)
    found = effect(out.metric.flatten())
    lost[direction] = (found if direction == "denoising" else 1 - found).tolist()
lost = pd.DataFrame(lost, index=list(pair_of_heads))
lost.loc["sum of the two alone"] = lost.loc["20.0"] + lost.loc["19.2"]
lost.round(2)

# %% tags=["claim"]
assert lost.loc["both", "noising"] > lost.loc["sum of the two alone", "noising"] + 0.1
assert abs(lost.loc["both", "denoising"] - lost.loc["sum of the two alone", "denoising"]) < 0.08

# %% [markdown]
# Without one of them, the other stands in for part of it: both together lose clearly more than the
# sum of the two alone. Whoever noises one head at a time finds too little.

# %% [markdown] tags=["exercise"]
# ### Exercise 8.3: and, or, plus
#
# **Goal** tell the two directions apart for good · **Difficulty** ★★☆ · **Minutes** 10
#
# A toy model has two nodes. Its metric is `f(a, b)`, where each argument is 1 if that node is in
# its clean state and 0 if it is in its corrupted one; so `f(1, 1)` is the clean run. Write
# `both_effects(f)`, which returns `(denoising, noising)`: the two effects of patching node
# **a** alone, each normalised so that 0 is nothing and 1 is all of it. `answer` is the function.
#
# <details><summary>Hint 1</summary>In which run do you start, and what is then the state of b?
# </details>
# <details><summary>Hint 2</summary>For <code>f = min</code> (and) it is (0, 1), for
# <code>f = max</code> (or) it is (1, 0).</details>


# %% tags=["stub"]
def both_effects(f):
    """The effects of patching node a: by denoising, by noising."""


answer = ...  # both_effects


# %% tags=["wrong"]
def other_node(f):
    gap = f(1, 1) - f(0, 0)
    return (f(0, 1) - f(0, 0)) / gap, (f(1, 1) - f(1, 0)) / gap


def not_turned(f):
    gap = f(1, 1) - f(0, 0)
    return (f(1, 0) - f(0, 0)) / gap, (f(0, 1) - f(1, 1)) / gap


def no_share(f):
    return f(1, 0) - f(0, 0), f(1, 1) - f(0, 1)


def exchanged(f):
    return both_effects(f)[::-1]


wrong = [other_node, not_turned, no_share, exchanged, both_effects(min)]


# %% tags=["solution"]
def both_effects(f):
    """The effects of patching node a: by denoising, by noising."""
    gap = f(1, 1) - f(0, 0)
    return (f(1, 0) - f(0, 0)) / gap, (f(1, 1) - f(0, 1)) / gap


answer = both_effects

# %% [markdown] tags=["slide"]
# ## 7. Many pairs
#
# One scene is one scene. Prompts of several templates have their names at different places, so
# **named groups** of tokens are patched: `IO`, `S1`, `S2`, `end`.
#
# - The effect of a set is a **ratio of means**: how far the mean metric moves, of how far it could.
# - The interval is over pairs.

# %%
few = pairs[:5]
groups = {name: few.groups[name] for name in ("S2", "end")}
several = ls.activation_patching(
    model,
    few.clean,
    few.corrupted,
    [ls.resid_post(n) for n in (18, 20, 22, 23, 26)],
    few.metric,
    positions=groups,
)
over_pairs = several.mean().to_dataframe()[["effect", "effect_low", "effect_high"]]
over_pairs.round(2)

# %% tags=["claim"]
at = over_pairs["effect"]
assert at[18, "S2"] > 0.95
assert abs(at[18, "end"]) < 0.05
assert 0.15 < at[22, "S2"] < 0.5
assert 0.4 < at[22, "end"] < 0.75
assert at[23, "end"] > 0.8
assert abs(at[23, "S2"]) < 0.1
assert over_pairs["effect_low"][23, "end"] > over_pairs["effect_high"][22, "end"]

# %% [markdown]
# The three stretches of the one scene are there in sentences of other templates too.

# %% [markdown] tags=["slide"]
# ### A pair whose corruption changes nothing
#
# Effects are shares of a gap. What if there is none?
#
# `drink` becomes `book`: Mary is still right, and the logit difference hardly moves. The
# effects look like a discovery.

# %%
nothing = clean.replace("drink", "book")
empty = ls.activation_patching(
    model,
    clean,
    nothing,
    [ls.resid_post(n) for n in (2, 6, 10, 14, 18, 22, 26)],
    metric,
    positions={"end": -1},
)
gap = (empty.data.clean - empty.data.corrupted).item()
in_logits = (empty.data.metric - empty.data.corrupted).squeeze().to_pandas()
of_nothing = pd.DataFrame({"effect": empty.data.effect.squeeze().to_pandas(), "logits": in_logits})
print(f"the gap between the two runs: {gap:.2f} logits")

# %% tags=["slide"]
of_nothing.T.round(2)

# %% tags=["claim"]
assert abs(gap) < 0.5
assert of_nothing["effect"].abs().max() > 0.8
assert of_nothing["effect"].min() < -0.8
assert of_nothing["logits"].abs().max() < 0.5

# %% [markdown]
# Large effects of either sign, all of them fractions of a logit. Look at the two baselines before
# you look at a map. It is also why the effect of a set is a ratio of means: in a mean of ratios a
# single pair like this one drowns all others.

# %% [markdown] tags=["slide"]
# ## 8. All effects at once: attribution patching
#
# To first order, the effect of writing $a_{\text{clean}}$ over $a$ is
#
# $$\nabla_a m \cdot (a_{\text{clean}} - a_{\text{corrupted}})$$
#
# - Two forwards and one backward for **all** cells, whatever their number.
# - It is an estimate: exact where the metric is linear in the state, and nowhere else.
# - `verify=10` runs the ten largest, and as many others at random, exactly.

# %%
components = ls.attribution_patching(
    model,
    clean,
    corrupted,
    [ls.head_out, ls.mlp_out],
    metric,
    positions=ls.ALL,
    verify=10,
    sample=10,
)
report = components.settings["verified"]
print(components)
print(report)

# %% tags=["claim"]
assert report["rank_correlation"] > 0.8  # the order is about right
assert report["overlap"] > 0.85  # and so is the list of the ten largest
assert report["largest_error"] > 0.5  # but one of the values is far off
sizes = components.data.effect.to_series().abs()
assert 5 <= (sizes > 0.1).sum() <= 15
assert len(sizes.dropna()) == 300
assert components.top(10)["exact"].min() < -0.1  # some work against the answer
exact = components.data.exact.squeeze("pair")
assert float(exact.sel(site="mlp_out", layer=0, head=-1)) > 0.95
assert float(components.data.effect.squeeze("pair").sel(site="mlp_out", layer=0, head=-1)) < 0.4

# %% [markdown]
# Of 300 components, heads and MLPs, at all tokens together, about ten matter, and some of these
# work against the answer. The list is right. A single value is not: MLP 0 is estimated at a
# quarter, and is *everything* (written from the clean run, it alone brings the answer back). An
# estimate says where to look; an exact run says what is there.
#
# Where does it fail? The residual stream at S2, block by block: exact, estimated, and estimated
# with **integrated gradients** (gradients at five points on the way from one run to the other).

# %%
estimates = {"exact": s2}
for name, steps in (("estimate", 1), ("integrated gradients, 5 steps", 5)):
    found = ls.attribution_patching(
        model, clean, corrupted, after_blocks, metric, positions=[9], ig_steps=steps
    )
    estimates[name] = found.data.effect.squeeze().to_pandas()
unlikely = ls.attribution_patching(
    model, clean, corrupted, ls.resid_post(23), ls.probability(" Mary"), positions=[13]
).data.effect.item()
print(f"end of block 23, by probability: estimated {unlikely:.2f}, ", end="")
print(f"exact {effects.loc['clean state, block 23', 'probability']:.2f}")

# %% tags=["slide"]
ls.course.lines(estimates, title="The repeated name, S2", x="block", y="effect")

# %% tags=["claim"]
rough, finer = estimates["estimate"], estimates["integrated gradients, 5 steps"]
assert rough.loc[:12].max() < 0.4
assert s2.loc[:12].min() > 0.95
assert finer.loc[:12].min() > 0.65
assert (rough.loc[23:] - s2.loc[23:]).abs().max() < 0.1  # good where little is left to compute
assert unlikely < 0.1
assert effects.loc["clean state, block 23", "probability"] > 0.8

# %% [markdown]
# - **Many blocks ahead**: early at S2 it sees less than a third of the effect. The name passes
#   through attention patterns and norms, and none of these is linear.
# - **Saturation**: by *probability* the gradient is next to zero where the answer is next to
#   impossible, and so is the estimate, though the exact effect is nearly 1. Estimate with logits.

# %% [markdown] tags=["exercise"]
# ### Exercise 8.4: attribution patching in three lines
#
# **Goal** know what the estimate is, and of which run · **Difficulty** ★★☆ · **Minutes** 12
#
# Write `estimate(metric, clean, corrupted)`. `metric` takes a state (a vector) to a number, and the
# other two are states. Return the estimated **denoising** effect of the state: gradient times
# difference, as a share of `metric(clean) - metric(corrupted)`, a number. `answer` is the function.
# It is tried on a linear metric, where it must be 1, on a curved one and on one that saturates.
#
# <details><summary>Hint 1</summary>Denoising starts in the corrupted run: there the gradient is
# taken.</details>
# <details><summary>Hint 2</summary><code>state = corrupted.clone().requires_grad_()</code>, then
# <code>torch.autograd.grad(metric(state), state)</code>, which gives a tuple.</details>


# %% tags=["stub"]
def estimate(metric, clean, corrupted):
    """The effect of writing the clean state, to first order."""


answer = ...  # estimate


# %% tags=["wrong"]
def gradient_at(metric, state):
    state = state.clone().requires_grad_()
    return torch.autograd.grad(metric(state), state)[0]


def from_the_clean_run(metric, clean, corrupted):
    return estimate(metric, corrupted, clean)


def no_share_of_the_gap(metric, clean, corrupted):
    return (gradient_at(metric, corrupted) @ (clean - corrupted)).item()


def gradient_times_state(metric, clean, corrupted):
    gap = metric(clean) - metric(corrupted)
    return (gradient_at(metric, corrupted) @ clean / gap).item()


wrong = [
    from_the_clean_run,
    no_share_of_the_gap,
    gradient_times_state,
    estimate(torch.sum, torch.ones(2), torch.zeros(2)),
]


# %% tags=["solution"]
def estimate(metric, clean, corrupted):
    """The effect of writing the clean state, to first order."""
    state = corrupted.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(metric(state), state)
    return (gradient @ (clean - corrupted) / (metric(clean) - metric(corrupted))).item()


answer = estimate

# %% [markdown] tags=["slide"]
# ## 9. Two relatives
#
# - **Causal tracing** (Meng et al. 2022): there is no corrupted prompt; the subject's embeddings
#   are blurred by noise, and one clean state at a time is given back.
# - **Attention knockout** (Geva et al. 2023): nothing is replaced; some tokens are kept from
#   looking at others, a few blocks at a time.

# %% [markdown]
# A fact for a change: "The capital of Japan is the city of", traced with noise, and beside it
# patched from the same sentence about Italy. Both by the probability of ` Tokyo`.

# %%
fact = "The capital of {} is the city of"
every_third = [ls.resid_post(n) for n in range(2, 30, 3)]
places = {"Japan": 3, "end": -1}
traced = ls.causal_trace(
    model, fact.format("Japan"), "Japan", " Tokyo", samples=3, site=every_third, positions=places
)
exchanged = ls.activation_patching(
    model,
    fact.format("Japan"),
    fact.format("Italy"),
    every_third,
    ls.probability(" Tokyo"),
    positions=places,
)
given_back = pd.concat(
    {
        name: found.data.effect.squeeze("pair").to_pandas()
        for name, found in (("noise", traced), ("Italy", exchanged))
    },
    axis=1,
)
given_back.T.round(2)

# %%
cut = ls.attention_knockout(
    model,
    clean,
    {"IO": 1, "S1": 3, "S2": 9},
    layers=list(range(4, 29, 2)),
    metric=metric,
    window=5,
)
knocked = cut.data.effect.squeeze("pair").to_pandas()

# %% tags=["slide"]
ls.course.lines(
    dict(knocked),
    title="The last token kept from looking at a name",
    x="block, the middle of five",
    y="share of the logit difference lost",
)

# %% tags=["claim"]
for corruption in ("noise", "Italy"):
    assert given_back[corruption, "Japan"][2] > 0.9  # early: at the country
    assert given_back[corruption, "end"][20] < 0.1
    assert given_back[corruption, "end"][23] > 0.9  # from block 23 on: at the end
    assert given_back[corruption, "Japan"][23] < 0.1
assert given_back["Italy", "Japan"][20] > 0.75
assert given_back["noise", "Japan"][20] < 0.5
assert knocked.loc[:16].abs().max().max() < 0.1  # nothing is fetched before block 16
assert knocked.loc[22:24, "IO"].min() > 0.5
assert knocked.loc[22:24, "S2"].min() > 0.3
assert knocked.loc[20, "S2"] > 0.1 > knocked.loc[20, "IO"]  # first S2, then IO
assert knocked.loc[22:24, "S1"].max() < 0

# %% [markdown]
# Two tasks, three methods, the same blocks: what stands at "Japan" early is at the end from block
# 23 on. Noise and Italy do not agree on all of it: at block 20 the state of "Japan" is still nearly
# everything if the rest of the sentence is about Italy, and less than half of it if it was blurred.
# Noise breaks more than a name.
#
# The knockout adds the *way*: up to block 16 the last token may be kept from looking at any of the
# names, and nothing is lost; then it looks at S2, and only after that at IO. Kept from looking at
# S1, it does *better*: the line is below 0.
#
# From a terminal: `lensscope patch` and `lensscope trace` do this on prompts of your own.

# %% [markdown] tags=["exercise"]
# ### Exercise 8.5: what is there before the name?
#
# **Goal** find out what a state carries, by writing states that share one thing with it ·
# **Difficulty** ★★★ · **Minutes** 15
#
# After block 22 the last state matters and says no name. Here are three prompts without Mary and
# without John. Write the last state of each, after block **22**, into the **clean** run.
#
# `answer` is a dict with the same three keys: the **noising** effect of each (0: nothing has
# changed; 1: the corrupted run). Then say what the state carries, before you look at the solution.
#
# <details><summary>Hint 1</summary>A run for each: <code>ls.run(model, clean, [site >> site],
# source=prompt)</code>.</details>
# <details><summary>Hint 2</summary><code>effect</code> measures from the corrupted run. Noising
# begins with the clean one and measures from there.</details>

# %% tags=["stub"]
prompts = {
    "same roles": "After Sarah and Peter met at the park, Peter handed a book to",
    "roles exchanged": "After Sarah and Peter met at the park, Sarah handed a book to",
    "another task": "The capital of Japan is the city of",
}
answer = ...  # {"same roles": …, "roles exchanged": …, "another task": …}

# %% tags=["wrong"]
before, after = ls.resid_post(22).at(-1), ls.resid_post(23).at(-1)


def through(site, into, source):
    return difference(ls.run(model, into, [site >> site], source=source).logits).item()


wrong = [
    {name: through(before, clean, text) for name, text in prompts.items()},  # logits
    {name: effect(through(before, clean, text)) for name, text in prompts.items()},
    {name: 1 - effect(through(after, clean, text)) for name, text in prompts.items()},
    {name: effect(through(before, corrupted, text)) for name, text in prompts.items()},
]

# %% tags=["solution"]
prompts = {
    "same roles": "After Sarah and Peter met at the park, Peter handed a book to",
    "roles exchanged": "After Sarah and Peter met at the park, Sarah handed a book to",
    "another task": "The capital of Japan is the city of",
}
site = ls.resid_post(22).at(-1)
answer = {
    name: 1 - effect(difference(ls.run(model, clean, [site >> site], source=text).logits)).item()
    for name, text in prompts.items()
}

# %% [markdown] tags=["notes"]
# The solution in words. The state of *same roles* knows neither Mary nor John, and the clean run
# goes on as if nothing had happened: the effect is next to 0. *Roles exchanged* is no better than a
# state of another task, which erases. So what the last token carries after block 22 is which of the
# two **places** (or roles) is to be avoided, not a name: the signal of the S-inhibition heads of
# unit 9. One block later, the same experiment gives about the same for both: then it is a name.
#
# What this does not settle: the two prompts have their names at the same tokens as the clean one.
# Is it the place, or the order (first, second)? A good question for home.

# %% [markdown]
# ## Where to go on
#
# - Unit 9 gives names to the heads between the two stretches, and tests the names.
# - Unit 10 makes a circuit of them, and asks whether it does the task alone.
# - `everywhere.to_html("map.html")`, `.to_latex()`, `.save("map.safetensors")`: what you found, as
#   a page, a table, and a file that opens a year later.
