# ---
# title: Lenses that learn, and what learning hides
# goals:
#   - fit an affine lens by least squares, by hand and in one call, and score it on held-out text
#   - say what precision@1, surprisal and KL each reward, and choose between them
#   - compare a lens with lenses that do not look, that only shift, and that only see the token
#   - name what a corpus leaves in a lens, and measure it on text of another kind
#   - compare logit, affine, tuned and Jacobian lens and a patchscope as a lens, with intervals
# readings:
#   - "Belrose et al. 2023, *Eliciting Latent Predictions from Transformers with the Tuned Lens*
#     (arXiv:2303.08112)"
#   - "Ghandeharioun et al. 2024, *Patchscopes: A Unifying Framework for Inspecting Hidden
#     Representations of Language Models*, section 4.1 (arXiv:2401.06102)"
#   - "Din et al. 2023, *Jump to Conclusions: Short-Cutting Transformers With Linear
#     Transformations* (arXiv:2303.09435)"
#   - "Hewitt, Liang 2019, *Designing and Interpreting Probes with Control Tasks*
#     (arXiv:1909.03368)"
# class:
#   - [10, "Recap: basis drift; section 1"]
#   - [20, "Section 2, exercise 4.1"]
#   - [25, "Section 3, exercises 4.2 and 4.3"]
#   - [15, "Section 4, exercise 4.4"]
#   - [20, "Sections 5 to 8, exercise 4.5"]
# scene:
#   prompt: "The Eiffel Tower is in the city of"
#   position: -1
#   says: "Switch between the logit and the affine lens in the middle layers: commas become words of
#     the corpus. Ask which of the two is nearer to what the model thinks, and how one would know."
# ---

# %% [markdown] tags=["slide"]
# ## 1. Learn what the logit lens lacks
#
# Last week two means found capitals that the logit lens did not show. So give a lens parameters:
#
# - **affine lens**: $A h + b$, least squares onto the last state
# - **tuned lens**: $h + A h + b$, trained so that the *distribution* is the final one
# - **Jacobian lens**: $J h$, the mean Jacobian of the last state

# %% [markdown]
# All of them end with the model's own final norm and unembedding. Two that have no parameters
# stand beside them:
#
# | lens | what it does with the state $h$ of a layer |
# | --- | --- |
# | logit lens | nothing |
# | affine lens | $A h + b$, fitted by least squares |
# | tuned lens | $h + A h + b$, trained on the KL of the distributions |
# | Jacobian lens | $J h$, with the mean Jacobian of the last state |
# | token identity | writes $h$ into another prompt; the model says what it is: a patchscope |
#
# A lens with parameters can be *wrong in a new way*: what it says may be in its parameters, and
# not in the state. That is the question of this unit. Its parts are: text to learn from, text
# that was kept apart, and controls.
#
# The text is the Python language reference, which Python brings along for its `help()`: technical
# English and code, half a million characters. That is a narrow corpus; section 7 comes back to
# it. The last fifth of its chapters is kept apart. (Chapters differ a little between versions of
# Python, and so will your numbers.)

# %%
import random
import tempfile
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path

import pandas as pd
import torch

import lensscope as ls
from lensscope.lenses.corpus import pieces, python_docs

model = ls.load_model()  # SmolLM2-135M-Instruct, 30 layers, 4-bit weights turned back into floats

docs = python_docs()
kept_apart = len(docs) // 5
draw = random.Random(0)


def drawn(texts, length, number):
    """Some pieces of texts, as token ids."""
    return [
        list(p) for p in draw.sample(list(pieces(model, texts, length, shortest=length)), number)
    ]


train = drawn(docs[:-kept_apart], 33, 32)
test = drawn(docs[-kept_apart:], 26, 32)
print(model.to_string(train[0]))

# %% [markdown] tags=["slide"]
# ## 2. The affine lens, by hand
#
# Run the model once over 32 pieces of text. For each token keep its state at some layers, $x$,
# and its last state, $y$. Then solve
#
# $$\min_{A,\,b} \; \sum_{\text{tokens}} \lVert A x + b - y \rVert^2 \;+\; \text{ridge}$$
#
# No gradient, no learning rate: one linear system for each layer.

# %%
layers = [0, 4, 12, 20, 24, 28]
last = 29


def states(texts, positions):
    """Of some tokens of each text: the states at the layers, the last, and the embedding."""
    sites = {"embedding": ls.embed, **{k: ls.resid_post(k) for k in (*layers, last)}}
    cache = ls.capture(model, texts, [site.at(positions) for site in sites.values()])
    return {name: cache[site].flatten(0, 1) for name, site in sites.items()}


# token 0 is an attention sink, many times as long as the rest: it would be all that a square sees
x = states(train, slice(1, None))
z = states(test, slice(8, None, 8))  # three tokens of each held-out piece
y = x[last]
print(len(y), "tokens to fit on,", len(z[last]), "held out")


def fitted(x, y, ridge=0.1):
    """The map of the affine lens: A and b."""
    x_mean, y_mean = x.mean(0), y.mean(0)
    centred = x - x_mean
    gram = centred.T @ centred
    gram += ridge * torch.diag(gram.diagonal())
    matrix = torch.linalg.solve(gram, centred.T @ (y - y_mean)).T
    return matrix, y_mean - matrix @ x_mean


# %% [markdown] tags=["exercise"]
# ### Exercise 4.1: how much text?
#
# **Goal** count parameters against data · **Difficulty** ★☆☆ · **Minutes** 6
#
# A state has 576 entries. Take the ridge away, and let the tokens be in general position (no
# accidental dependencies). What is the **largest number of tokens** that an affine map `A x + b`
# can always fit without any error, whatever their last states are? `answer` is that number.
#
# <details><summary>Hint 1</summary>Each entry of the last state is fitted for itself: one row of
# A and one entry of b against one number for each token.</details>
# <details><summary>Hint 2</summary>With one entry in the state (a line in the plane), the answer
# would be 2 points.</details>

# %% tags=["wrong"]
wrong = [
    576,  # without b
    576 * 577,  # all parameters, as if one token gave one equation
    576 * 576,
]

# %% tags=["solution"]
answer = 576 + 1

# %% [markdown]
# Below that number a lens repeats what it was given, and its score *on the text it was fitted on*
# says nothing. The same fit without a ridge, on more and more tokens, at layer 12. **KL** is the
# mean of $\mathrm{KL}(p_\text{final} \,\|\, p_\text{lens})$ over tokens, in nats: 0 where the
# lens gives the model's own final distribution.

# %%
gain, unembedding = model.ln_final.weight.detach(), model.W_U.detach()


def head(h):
    """The model's own final norm and unembedding: the logit lens."""
    return h / (h.pow(2).mean(-1, keepdim=True) + model.cfg.eps).sqrt() * gain @ unembedding


def scored(final, lens):
    """Precision@1 and KL (nats) of logits of a lens, given the model's own [token, vocabulary]."""
    p, q = final.log_softmax(-1), lens.log_softmax(-1)
    agrees = p.argmax(-1) == q.argmax(-1)
    return {
        "precision@1": float(agrees.float().mean()),
        "KL": float((p.exp() * (p - q)).sum(-1).mean()),
    }


def unpenalised(x, y):
    """Least squares without a ridge, in 64 bits."""
    with_one = torch.cat([x, torch.ones(len(x), 1)], 1).double()
    solution = torch.linalg.lstsq(with_one, y.double(), driver="gelsd").solution.float()
    return solution[:-1].T, solution[-1]


final, final_seen = head(z[last]), head(y[:96])
by_tokens = {}
for tokens in (200, 400, 577, 800, 1024):
    matrix, bias = unpenalised(x[12][:tokens], y[:tokens])
    seen = scored(final_seen, head(x[12][:96] @ matrix.T + bias))
    held_out = scored(final, head(z[12] @ matrix.T + bias))
    by_tokens[tokens] = {"KL, fitted on": seen["KL"], "KL, held out": held_out["KL"]}
pd.DataFrame(by_tokens).T.clip(lower=0).rename_axis("tokens").round(2)

# %% tags=["claim"]
on_seen = {tokens: row["KL, fitted on"] for tokens, row in by_tokens.items()}
on_held_out = {tokens: row["KL, held out"] for tokens, row in by_tokens.items()}
assert max(on_seen[200], on_seen[400], on_seen[577]) < 0.01  # perfect, on what it was fitted on
assert min(on_held_out.values()) > 2  # and far from it on what it was not
assert on_held_out[577] == max(on_held_out.values())  # worst where it just fits everything
ridged = scored(final, head(z[12] @ fitted(x[12], y)[0].T + fitted(x[12], y)[1]))
assert ridged["KL"] < on_held_out[1024]  # the ridge helps

# %% [markdown] tags=["slide"]
# ### Held out, or nothing
#
# - Up to 577 tokens the fit is perfect **on the text it was fitted on**.
# - On held-out text it is worst exactly there: the map bends to fit every accident.
# - A penalty (ridge) keeps the map small, and helps.
# - From here on every score is of chapters that no lens has seen.

# %% [markdown] tags=["notes"]
# The peak at 577 is "double descent" in its smallest form. Students like to see that it stands
# where exercise 4.1 says. Do not let it take more than five minutes. If you have a class that
# knows regression, ask what the ridge does to the peak.

# %% [markdown] tags=["slide"]
# ## 3. Compared with what?
#
# Before the affine lens is praised: two lenses that hardly learn.
#
# - **constant**: always $\bar y$, the mean last state of the training text. It does not look at
#   the state at all.
# - **offset**: $h - \bar x + \bar y$. It only shifts, like last week's.

# %%
blind = scored(final, head(y.mean(0).expand_as(z[last])))
rows = [{"lens": "constant", "layer": k, **blind} for k in layers]
for k in layers:
    matrix, bias = fitted(x[k], y)
    logits = {
        "logit": head(z[k]),
        "offset": head(z[k] - x[k].mean(0) + y.mean(0)),
        "affine": head(z[k] @ matrix.T + bias),
    }
    rows += [{"lens": name, "layer": k, **scored(final, q)} for name, q in logits.items()]

scores = pd.DataFrame(rows)
kl = scores.pivot(index="layer", columns="lens", values="KL")
precision = scores.pivot(index="layer", columns="lens", values="precision@1")
order = ["logit", "constant", "offset", "affine"]

# %% tags=["slide"]
ls.course.lines(
    {name: kl[name] for name in order}, title="KL on held-out text", x="layer", y="nats (0 is best)"
)

# %% tags=["slide"]
ls.course.lines(
    {name: precision[name] for name in order},
    title="Precision@1 on held-out text",
    x="layer",
    y="share of tokens (1 is best)",
)

# %% tags=["claim"]
assert (kl["affine"] < kl["offset"]).all()
assert (kl["offset"] < kl["logit"]).all()
assert (kl["logit"] > 10).loc[:20].all()  # the logit lens is far off up to layer 20
assert ((kl["logit"] - kl["offset"]) / (kl["logit"] - kl["affine"])).loc[20] > 0.6
assert abs(precision["offset"] - precision["logit"]).loc[20] < 0.1
assert (precision["affine"] - precision["logit"]).loc[20] > 0.1

# %% [markdown] tags=["slide"]
# ### Two measures, two stories
#
# At layer 20:
#
# - **KL**: the offset alone cures most of what the affine lens cures.
# - **Precision@1**: the offset cures next to nothing. The affine lens raises it clearly.
#
# KL punishes being *surely wrong*, and the logit lens is surely wrong. A lens that says "I don't
# know" has a good KL and finds nothing.

# %% [markdown]
# A third measure is the one of the Patchscopes paper: **surprisal**. It asks how improbable the
# model, in the end, finds the token that the lens puts first: $-\log p_\text{final}(\arg\max
# p_\text{lens})$. A lens that names a synonym is forgiven, and one that names nonsense is not.

# %% [markdown] tags=["exercise"]
# ### Exercise 4.2: surprisal
#
# **Goal** keep two distributions apart · **Difficulty** ★★☆ · **Minutes** 8
#
# Write `surprisal(final, lens)`. Both arguments are **logits** `[token, vocabulary]`, the first
# of the model's last layer, the second of a lens. Return the mean surprisal over the tokens, in
# nats, as one number. `answer` is the function.
#
# <details><summary>Hint 1</summary>The lens only points at a token. The probability is the
# model's own.</details>
# <details><summary>Hint 2</summary>`log_softmax(-1)`, then `gather(1, best[:, None])`.</details>


# %% tags=["stub"]
def surprisal(final, lens):
    """How improbable the model finds what a lens puts first (nats)."""


answer = ...  # surprisal

# %% tags=["wrong"]
wrong = [
    lambda final, lens: -lens.log_softmax(-1).amax(-1).mean(),  # how sure the lens is
    lambda final, lens: (
        -lens.log_softmax(-1).gather(1, final.argmax(-1)[:, None]).mean()
    ),  # the lens' probability of the model's token
    lambda final, lens: -final.gather(1, lens.argmax(-1)[:, None]).mean(),  # logits as they are
    lambda final, lens: final.softmax(-1).gather(1, lens.argmax(-1)[:, None]).mean(),  # no log
    surprisal(final, final),
]


# %% tags=["solution"]
def surprisal(final, lens):
    """How improbable the model finds what a lens puts first (nats)."""
    log_p = final.log_softmax(-1)
    return -log_p.gather(1, lens.argmax(-1)[:, None]).mean()


matrix, bias = fitted(x[20], y)
shown = {"logit": head(z[20]), "affine": head(z[20] @ matrix.T + bias), "the model": final}
print({name: round(float(surprisal(final, q)), 2) for name, q in shown.items()})
answer = surprisal

# %% [markdown] tags=["exercise"]
# ### Exercise 4.3: better than not looking
#
# **Goal** read a table with its control · **Difficulty** ★★☆ · **Minutes** 6
#
# The constant lens never looks at the state. From which of the six layers on, and at all later
# ones, is the **logit lens** better than the constant lens, **by KL**? `answer` is the number of
# the layer.
#
# <details><summary>Hint 1</summary>`kl` has a row for each layer and a column for each lens.
# Smaller is better.</details>
# <details><summary>Hint 2</summary>What does precision@1 say? Think about why the two disagree,
# before you write down the answer.</details>

# %% tags=["wrong"]
wrong = [
    12,  # by precision@1
    24,
    0,  # taking larger for better
    layers.index(28),  # its place in the list
]

# %% tags=["solution"]
better = kl["logit"] < kl["constant"]
answer = int(better[better].index.min())
print(pd.DataFrame({"by KL": better, "by precision@1": precision["logit"] > precision["constant"]}))

# %% [markdown] tags=["notes"]
# Nearly everyone expects the logit lens to beat a lens that looks at nothing. By KL it does so
# only at the very end. Let them find the reason in unit 3: it reads *any* vector with confidence.
# The moral is not "KL is bad" but "say which measure, and what a blind lens scores by it".

# %% [markdown] tags=["slide"]
# ## 4. What learning hides
#
# Even at **layer 0** the affine lens beats the constant lens by more than a nat. Has the model
# predicted anything after one block? Or does the *lens* know what tends to follow a token?
#
# Controls that cannot know:
#
# - **noise**: random vectors in place of states
# - **shuffled**: real states, last states of other tokens
# - **token only**: the embedding, before any block

# %%
generator = torch.Generator().manual_seed(0)
noise, fresh = (torch.randn(len(v), 576, generator=generator) for v in (y, z[last]))
shuffle = torch.randperm(len(y), generator=generator)

controls = {}
for name, (given, target, asked) in {
    "noise": (noise, y, fresh),
    "shuffled, layer 12": (x[12], y[shuffle], z[12]),
    "token only": (x["embedding"], y, z["embedding"]),
    "layer 0": (x[0], y, z[0]),
    "layer 12": (x[12], y, z[12]),
    "layer 24": (x[24], y, z[24]),
}.items():
    matrix, bias = fitted(given, target)
    seen = scored(head(target[:96]), head(given[:96] @ matrix.T + bias))
    held_out = scored(final, head(asked @ matrix.T + bias))
    controls[name] = {
        "KL, fitted on": seen["KL"],
        "KL, held out": held_out["KL"],
        "precision@1, held out": held_out["precision@1"],
    }
controls["constant"] = {
    "KL, fitted on": scored(final_seen, head(y.mean(0).expand(96, -1)))["KL"],
    "KL, held out": kl["constant"][0],
    "precision@1, held out": precision["constant"][0],
}
controls = pd.DataFrame(controls).T

# %% tags=["slide"]
controls.round(2)

# %% tags=["claim"]
seen, held_out, right = (controls[name] for name in controls.columns)
# noise: on the text that it was fitted on, a good score
assert seen["noise"] < held_out["constant"] - 1.5
assert held_out["noise"] > held_out["constant"]  # and held out it is worse than not looking
assert held_out["shuffled, layer 12"] > held_out["constant"] - 0.3
# the token alone gives a good part of what layer 0 and layer 12 give
assert held_out["constant"] - held_out["layer 0"] > 1
assert held_out["constant"] - held_out["token only"] > 0.8
assert abs(held_out["token only"] - held_out["layer 0"]) < 0.6
assert held_out["token only"] - held_out["layer 12"] > 0.5
assert right["noise"] < right["layer 12"]

# %% [markdown]
# Three things to see in the table:
#
# - **Noise** has a good KL on the text it was fitted on. There is nothing in noise: all of it is
#   in the parameters. Held out, it is worse than the constant lens.
# - **Shuffled** shows the same with real states: held out, it is no better than not looking, give
#   or take.
# - **Token only** is another matter. It is good on held-out text, honestly so: from a token one
#   *can* tell a part of what comes next. But then this is a fact about tokens and the lens, not
#   about what the model has computed by layer 0.

# %% [markdown] tags=["exercise"]
# ### Exercise 4.4: a lens that counts
#
# **Goal** build the simplest control of a lens that learns · **Difficulty** ★★☆ · **Minutes** 12
#
# A **bigram table** knows for each token which one followed it most often in the training text.
# It has never seen a state. Write `bigrams(texts)`: it is given a list of texts, each a list of
# token ids, and returns a dict that gives for each token id the id that followed it most often
# (of several, the one that was seen first). `answer` is the function.
#
# Then use it on all of the training chapters and compare it with the affine lens at layer 0.
#
# <details><summary>Hint 1</summary>`pairwise(text)` gives pairs of neighbours. Texts are not to
# be joined: the last token of one is not followed by the first of the next.</details>
# <details><summary>Hint 2</summary>A `collections.Counter` for each token; `most_common(1)` keeps
# the order of first sight among equals.</details>


# %% tags=["stub"]
def bigrams(texts):
    """For each token id, the id that followed it most often."""


answer = ...  # bigrams


# %% tags=["wrong"]
def joined(texts):
    return bigrams([[token for text in texts for token in text]])


def backwards(texts):
    return bigrams([text[::-1] for text in texts])


def latest(texts):
    return {a: b for text in texts for a, b in pairwise(text)}


wrong = [joined, backwards, latest, bigrams([[1, 2]])]


# %% tags=["solution"]
def bigrams(texts):
    """For each token id, the id that followed it most often."""
    after = defaultdict(Counter)
    for text in texts:
        for token, following in pairwise(text):
            after[token][following] += 1
    return {token: counts.most_common(1)[0][0] for token, counts in after.items()}


table = bigrams([list(piece) for piece in pieces(model, docs[:-kept_apart], 33)])
asked = [text[k] for text in test for k in (8, 16, 24)]
guesses = torch.tensor([table.get(token, -1) for token in asked])
agrees = float((guesses == final.argmax(-1)).float().mean())
print(f"bigrams {agrees:.2f}, affine lens at layer 0 {precision['affine'][0]:.2f}")
answer = bigrams

# %% [markdown] tags=["exercise"]
# ### Exercise 4.5: how much of it is the token?
#
# **Goal** take a score apart by its controls · **Difficulty** ★★★ · **Minutes** 12
#
# The affine lens at layer 12 has a lower KL than the constant lens: it *saves* some nats. What
# share of that saving does a lens make that is fitted on the **embedding** alone (ridge 0.1, the
# same text, the same held-out tokens)?
#
# `answer` is a dict with four numbers: `{"constant": …, "token": …, "layer 12": …, "share": …}`:
# the three KLs on held-out text, and the share.
#
# <details><summary>Hint 1</summary>`x["embedding"]` and `z["embedding"]` are the states before
# any block.</details>
# <details><summary>Hint 2</summary>Saved by the token: constant less token. Saved by layer 12:
# constant less layer 12. </details>

# %% tags=["wrong"]
ratio = {**answer, "share": answer["token"] / answer["constant"]}  # what is left, not what is saved
against = {**answer, "share": answer["layer 12"] / answer["token"]}  # no constant lens
seen_only = {**answer, "token": float(seen["token only"])}  # on the text it was fitted on
wrong = [ratio, against, seen_only]

# %% tags=["solution"]
matrix, bias = fitted(x["embedding"], y)
token = scored(final, head(z["embedding"] @ matrix.T + bias))["KL"]
matrix, bias = fitted(x[12], y)
layer_12 = scored(final, head(z[12] @ matrix.T + bias))["KL"]
constant = scored(final, head(y.mean(0).expand_as(z[12])))["KL"]
share = (constant - token) / (constant - layer_12)
answer = {"constant": constant, "token": token, "layer 12": layer_12, "share": share}
print({name: round(value, 2) for name, value in answer.items()})

# %% [markdown] tags=["slide"]
# ## 5. In one call, and by gradient
#
# `ls.AffineLens.fit` does what we did by hand. `ls.TunedLens.fit` has maps of the same form and
# another aim: not the last *state*, but the final *distribution*.
#
# $$\mathrm{KL}\big(p_\text{final} \,\|\, \mathrm{softmax}(\mathrm{head}(h + A h + b))\big)$$
#
# It starts at $A = 0$, $b = 0$, which is the logit lens, and goes down by gradient.

# %%
two = [ls.resid_post(24), ls.resid_post(28)]
affine = ls.AffineLens.fit(model, train, sites=two, length=33, ridge=0.1, max_tokens=None)

# %% tags=["claim"]
matrix, _ = fitted(x[24], y)
difference = (affine.at(ls.resid_post(24)).matrix - matrix).norm() / matrix.norm()
assert difference < 0.01  # the same lens (the library sums in 64 bits)

# %% [markdown]
# A fitted lens reads like any other, at the layers that it was fitted at (and the last, where
# every lens is the model). Beside it the logit lens, at the same states:

# %% tags=["slide"]
prompt = "Rome is the capital of"
sites = [*two, ls.resid_post(last)]
plain, learnt = (
    lens.read(model, prompt, sites, slice(1, None)) for lens in (ls.LogitLens(), affine)
)
ls.course.picture(plain.to_svg(beside=learnt), "the logit lens, and the affine lens beside it")

# %% tags=["claim"]
at_the_end = [reading.data["predicted"].sel(layer=29, rank=0) for reading in (plain, learnt)]
assert (at_the_end[0] == at_the_end[1]).all()  # at the last layer every lens is the model

# %% [markdown]
# (The affine lens is what the Patchscopes paper compares with under the name of tuned lens. The
# paper's published code fits to states *after* the final norm and writes them *before* it; here
# the target is the last state itself.)
#
# The tuned lens has to run the model and unembed every layer at every step. So in class: two
# layers, twelve steps of a single short piece. Nothing of the activations is stored. (A step
# draws its own text; `held_out=` is what is measured on. `bf16=False` keeps to 32 bits on every
# machine.)

# %%
tuned = ls.TunedLens.fit(
    model,
    docs[:-kept_apart],
    sites=two,
    steps=12,
    batch_size=1,
    length=33,
    tokens_per_step=16,
    bf16=False,
    held_out=test[:8],
)
tuned.scores().drop(columns="corpus").round(2)

# %% tags=["slide"]
losses = tuned.history["losses"]
ls.course.lines(
    {"layer 24": losses[:, 0], "layer 28": losses[:, 1]},
    title="Training a tuned lens for twelve steps",
    x="step",
    y="KL (nats)",
)

# %% tags=["claim"]
gained = tuned.scores()
assert (gained["kl_after"] < gained["kl_before"] * 0.9).all()
assert kl["constant"][24] < kl["logit"][24]

# %% [markdown]
# "KL before" is the logit lens, "after" the tuned lens, on the same held-out pieces: a step down.
# **Compared with what?** With the logit lens, which at layer 24 a blind lens beats by this
# measure. The next section has the other comparisons.
#
# A real training has hundreds of steps of several longer pieces, at all layers, and takes minutes
# on a laptop. At home, from the shell (broken off, it goes on from where it was):
#
#     lensscope lens train --out tuned.safetensors

# %% [markdown] tags=["slide"]
# ## 6. Five lenses, side by side
#
# - The **Jacobian lens** asks how a small change of a state moves the last one, on average. That
#   takes a backward pass for each of 576 entries and each piece of text: here *one* piece of 10
#   tokens.

# %% [markdown] tags=["slide"]
# ### A patchscope as a lens
#
# **Token identity** has nothing to fit. At its own layer it writes the state over the `?` of the
# prompt below, and reads what the model says next.
#
# ```text
# cat -> cat
# 1135 -> 1135
# hello -> hello
# ?
# ```

# %%
jacobian = ls.JacobianLens.fit(model, train, layers=[24, 28], length=10, skip_first=4, max_pieces=1)
identity = ls.Patchscope.token_identity().as_lens()

report = ls.compare(
    model,
    [(piece, [8, 16, 24]) for piece in test],
    [ls.LogitLens(), affine, tuned, jacobian, identity],
    layers=[24, 28],
)
print(report)

# %% [markdown]
# `ls.compare` gives precision@1 and surprisal as the paper defines them, KL, entropy, and rank
# and log-probability of the next token of the text, each with a 95% interval over **pieces**
# (tokens of one piece are not independent).

# %%
frame = report.frame().set_index(["layer", "lens"])
frame[["precision_at_1", "precision_at_1_low", "precision_at_1_high", "kl", "surprisal"]].round(2)

# %% tags=["slide"]
ls.course.picture(report.to_svg(None, "surprisal"), "surprisal of five lenses, with intervals")

# %% tags=["claim"]
at_24 = frame.loc[24]
assert at_24["precision_at_1"].idxmax() == "token identity"  # never fitted, and best
assert at_24["kl"].idxmin() == "token identity"
assert at_24.loc["token identity", "precision_at_1_low"] > at_24.loc["logit lens", "precision_at_1"]
# a tuned lens that was stopped early finds no more than the logit lens
assert at_24.loc["tuned lens", "kl"] > 1.5 * at_24.loc["affine lens", "kl"]
found = at_24["precision_at_1"]
assert found["tuned lens"] < found["logit lens"] + 0.1
low, high = (at_24.loc["affine lens", f"precision_at_1_{end}"] for end in ("low", "high"))
assert high - low > 0.1  # 96 tokens of 32 pieces are few

# %% [markdown]
# Further down? The states are there (`z`), and a lens reads states directly, `lens.logits(model,
# states, site)`:

# %%
readings = {"affine": precision["affine"], "logit": precision["logit"]}
at_24_and_28 = frame["precision_at_1"].xs("token identity", level="lens")


def agreement(state, layer):
    """Precision@1 of token identity on states of a layer."""
    return scored(final, identity.logits(model, state, ls.resid_post(layer)))["precision@1"]


below = {k: agreement(z[k], k) for k in (4, 12, 20)}
readings["token identity"] = pd.Series({**below, **at_24_and_28})
of_another = agreement(z[24].roll(1, 0), 24)
print(f"of another token's state at layer 24: {of_another:.2f}")

# %% tags=["slide"]
ls.course.lines(
    readings,
    title="Precision@1 on held-out text: fitted, plain, and a patchscope",
    x="layer",
    y="share of tokens",
)

# %% tags=["claim"]
said = readings["token identity"]
assert (said.loc[20:] > precision["affine"].loc[20:]).all()  # late layers: the patchscope
assert said.loc[4] < precision["affine"].loc[4] + 0.1  # early ones: not
assert said.loc[28] > 0.8
assert of_another < 0.25  # it is the state that says it

# %% [markdown] tags=["slide"]
# ### What the comparison says
#
# - In late layers **token identity** agrees best with the model, without having been fitted. So
#   the paper found, on models fifty times as large.
# - In early layers it has no lead: a lens that has learnt what follows a token is hard to beat
#   there.

# %% [markdown] tags=["slide"]
# ### And what it does not say
#
# - Twelve steps lowered the KL of the tuned lens (section 5), but at layer 24 it finds no more
#   than the logit lens: two measures, two stories, again.
# - Twelve steps and one piece are **too few** for a tuned and a Jacobian lens. Their rows are
#   about our budget.

# %% [markdown] tags=["notes"]
# Students want a winner. Give them the intervals first: they are of 32 pieces, and several
# overlap. Then the budgets: a tuned lens that has seen some hundred tokens against an affine lens
# that has seen a thousand. Ask for the comparison that would be fair (the same text, each trained
# until it gets no better, several corpora). Tried with the chapters of Python 3.10 to 3.13: the
# claims below the pictures hold for all of them, the second decimals do not.

# %% [markdown] tags=["slide"]
# ## 7. The corpus speaks
#
# All of this was Python documentation, fitted and tested. What do the lenses score on text of
# another kind? And whose words does it use?

# %%
everyday = [
    "My grandmother kept her recipes in a small tin box on the shelf above the stove.",
    "The teacher asked the class to open their books, but half of the pupils had left theirs.",
    "Bees visit flowers to collect nectar, and they carry pollen from one plant to another.",
    "After the storm had passed, the fishermen went down to the beach to look for their boats.",
    "The heart pumps blood through the body, bringing oxygen to the muscles and to the brain.",
    "She paid for the bread with a large coin, counted the change and put it into her pocket.",
    "In the northern half of the world, the longest day of the year falls in the month of June.",
    "Because the bridge was being repaired, all the buses had to take a long way around the lake.",
    "The moon does not shine by itself; what we see at night is the light of the sun.",
    "He had promised to call her as soon as the plane landed, but his phone was out of power.",
]
cache = ls.capture(model, everyday, [ls.resid_post(k) for k in (*layers, last)])
e = {
    k: torch.cat([cache[ls.resid_post(k)][n, 5 : len(p) - 1] for n, p in enumerate(cache.prompts)])
    for k in (*layers, last)
}
final_e = head(e[last])
print(len(final_e), "tokens")

table = {}
for k in (12, 20, 24, 28):
    matrix, bias = fitted(x[k], y)
    for name, logits in {"logit": head(e[k]), "affine": head(e[k] @ matrix.T + bias)}.items():
        away = scored(final_e, logits)
        table[k, name] = {
            "KL, docs": kl[name][k],
            "KL, everyday": away["KL"],
            "precision@1, docs": precision[name][k],
            "precision@1, everyday": away["precision@1"],
        }
both = pd.DataFrame(table).T.rename_axis(["layer", "lens"])

# %% tags=["slide"]
both.round(2)

# %% tags=["claim"]
affine_rows, logit_rows = both.xs("affine", level="lens"), both.xs("logit", level="lens")
assert (affine_rows["KL, everyday"] > 1.4 * affine_rows["KL, docs"]).all()  # worse away from home
assert (affine_rows["KL, everyday"] < logit_rows["KL, everyday"]).all()  # but still less wrong
lead = affine_rows - logit_rows
assert lead["precision@1, docs"].mean() > 0.1
assert lead["precision@1, everyday"].mean() < 0.5 * lead["precision@1, docs"].mean()

# %% [markdown] tags=["slide"]
# ### Away from home
#
# - On everyday sentences the affine lens loses: its KL is far higher than at home. By KL it still
#   beats the logit lens.
# - At home it names the model's token more often than the logit lens. Away, less than **half of
#   that lead** is left.

# %% [markdown]
# `lens.scores(model, texts)` measures a lens on texts of yours, and every score names its corpus:

# %%
affine.scores(model, everyday[:5], corpus="everyday sentences").round(2)

# %% [markdown]
# The same in words. A lens answers from the world that it was fitted on. How much probability
# does it give to a dozen words of programming, on sentences about bees and bread? Beside it: the
# logit lens, which was never fitted, and the model.

# %%
programming = " Python class object function method string expression value module type code list"
jargon = [model.to_single_token(f" {word}") for word in programming.split()]
matrix, bias = fitted(x[12], y)
given = {
    "affine lens, layer 12": head(e[12] @ matrix.T + bias),
    "logit lens, layer 12": head(e[12]),
    "the model": final_e,
}
share = {name: float(q.softmax(-1)[:, jargon].sum(-1).mean()) for name, q in given.items()}
print({name: f"{value:.2%}" for name, value in share.items()})

# %% [markdown]
# And on one sentence, with the most probable tokens after each word:

# %%
prompt = "The Eiffel Tower is in the city of"
here = ls.capture(model, prompt, [ls.resid_post(12), ls.resid_post(last)])
through = head(here[ls.resid_post(12)][0] @ matrix.T + bias)
itself = head(here[ls.resid_post(last)][0])


def words(logits, number=4):
    best = logits.topk(number).indices.tolist()
    return [" ".join(repr(model.to_string([t])) for t in row) for row in best]


pd.DataFrame(
    {"affine lens, layer 12": words(through), "the model": words(itself)},
    index=model.to_str_tokens(prompt),
).iloc[1:]

# %% tags=["claim"]
assert share["affine lens, layer 12"] > 3 * share["the model"]
assert share["affine lens, layer 12"] > 3 * share["logit lens, layer 12"]

# %% [markdown] tags=["slide"]
# ## 8. Keep it
#
# A fitted lens is a file: its maps, the fingerprint of the model it was fitted on, the text and
# the settings. It refuses another model.

# %%
with tempfile.TemporaryDirectory() as folder:
    file = affine.save(Path(folder) / "affine.safetensors")
    again = ls.AffineLens.load(file)
    print(f"{file.stat().st_size / 1e6:.1f} MB, fitted on {again.settings['corpus']}")

# %% tags=["claim"]
states_24 = z[24][:2]
one, other = (lens.logits(model, states_24, ls.resid_post(24)) for lens in (affine, again))
assert torch.equal(one, other)

# %% [markdown] tags=["slide"]
# ### What one may say
#
# - "An affine map, fitted on this text, reads X in this state." With its score on held-out text,
#   and of which kind.
# - Not: "the model believes X at this layer". What can be read need not be used (unit 3), and may
#   be the lens' own knowledge.
# - A score beside its controls: blind, token only, another kind of text.

# %% [markdown]
# At home, with an hour of computing, and the reading of section 6 in mind:
#
# - train all layers (`lensscope lens train --out tuned.safetensors`, then `ls.TunedLens.load`)
#   and draw section 6 anew. Does the tuned lens overtake the affine one?
# - the identity prompt is one of many. Average three with other words in them, and see whether
#   the order changes:
#
# ```python
# others = [
#     ls.Patchscope.token_identity(words=words)
#     for words in (("dog", "2024", "blue"), ("table", "37", "run"))
# ]
# three = ls.Patchscope.token_identity().as_lens(*others, name="three identities")
# ```
#
# - where has a lens settled (exercise 3.2), by layer, over all test pieces? The comparison's
#   `values` has every token. (Here there are two layers; with a lens for all layers it is a
#   curve.)
#
# ```python
# agrees = report.values["precision_at_1"].sel(lens="tuned lens").to_pandas()  # layers down
# agrees[::-1].cummin()[::-1].mean(axis=1)
# ```

# %% [markdown] tags=["notes"]
# If time is short, drop sections 5 and 8 and show the pictures of section 6 only. The lecturer's
# question at the end: *which of the five would you use to claim that a model plans ahead?* The
# answer that earns marks: none alone. A lens tells what can be read; the claim needs an
# intervention, and a control that knows only what is trivially there.
