# ---
# title: The logit lens, and doubting it
# goals:
#   - read a state by hand with the final norm and the unembedding, and every layer in one call
#   - "say what a reading of an early layer is worth: beside a random vector, the mean state,
#     another prompt's state"
#   - tell "the lens does not show it" from "it is not there", and show basis drift with two means
#   - attribute a logit difference to attention, MLPs and heads, and name what this leaves out
#   - test by intervening whether what a lens reads matters to what the model says
# readings:
#   - "nostalgebraist 2020, *interpreting GPT: the logit lens* (LessWrong)"
#   - "Elhage et al. 2021, *A Mathematical Framework for Transformer Circuits*
#     (transformer-circuits.pub)"
#   - "Belrose et al. 2023, *Eliciting Latent Predictions from Transformers with the Tuned Lens*,
#     section 2 (arXiv:2303.08112)"
#   - "McGrath et al. 2023, *The Hydra Effect: Emergent Self-repair in Language Model Computations*
#     (arXiv:2307.15771)"
# class:
#   - [10, "Recap: residual stream, hook points; section 1 on the blackboard"]
#   - [20, "Section 2, exercises 3.1 and 3.2"]
#   - [20, "Section 3, exercise 3.3"]
#   - [20, "Sections 4 and 5, exercise 3.4"]
#   - [20, "Section 6, exercise 3.5, what one may say"]
# scene:
#   prompt: "The Eiffel Tower is in the city of"
#   position: -1
#   says: "Go up the last column: commas and brackets, said with confidence, up to layer 22. Open
#     one of these cells: a random vector is read as confidently."
# ---

# %% [markdown] tags=["slide"]
# ## 1. One question, asked of every layer
#
# At every layer the model holds a vector for each token: a state of the **residual stream**. Only
# the last one is turned into a prediction, by the **final norm** and the **unembedding**.
#
# The **logit lens** asks every other state the same question: *what would the model say if it
# stopped here?*

# %% [markdown]
# The model is SmolLM2-135M-Instruct: 30 layers, 576 entries a state, 49,152 tokens. (Its weights
# come from a file of 4-bit numbers, turned back into 32-bit floats. The original may say
# something else here and there.)
#
# Its final norm divides a state by its root mean square and multiplies each entry by a learnt
# gain $g$. The unembedding $W_U$ has a column for each token. For any state $h$, of whatever
# layer:
#
# $$\mathrm{lens}(h) = \Big(g \odot \frac{h}{r(h)}\Big)\, W_U, \qquad
# r(h) = \sqrt{\tfrac{1}{d}\textstyle\sum_i h_i^2 + \epsilon}$$

# %%
import pandas as pd
import torch

import lensscope as ls
from lensscope.stats.intervals import proportion

model = ls.load_model()
prompt = "The Eiffel Tower is in the city of"

gain, unembedding = model.ln_final.weight.detach(), model.W_U.detach()


def lens(h):
    """States [..., 576] to logits [..., 49152], by hand."""
    root_mean_square = (h.pow(2).mean(-1, keepdim=True) + model.cfg.eps).sqrt()
    return h / root_mean_square * gain @ unembedding


def token(number):
    return model.to_string([int(number)])


states = ls.capture(model, prompt, ls.resid_post.at(-1))  # of the last token, at every layer
for layer in (10, 20, 28, 29):
    probability, best = lens(states[ls.resid_post(layer)][0, 0]).softmax(-1).max(-1)
    print(f"layer {layer}: {token(best)!r} with probability {probability:.2f}")

# %% tags=["claim"]
# At the last layer the lens is the model itself, and the library's lens is the one above.
final = states[ls.resid_post(29)][0, 0]
middle = states[ls.resid_post(10)][0, 0]
assert torch.allclose(lens(final), ls.run(model, prompt).last_logits[0], atol=1e-2)
own = ls.LogitLens().logits(model, middle, ls.resid_post(10))
assert torch.allclose(lens(middle), own, atol=1e-2)

# %% [markdown]
# The norm is computed anew on each state. So the lens does not see how long a state is, only
# where it points:

# %% tags=["claim"]
assert torch.allclose(lens(10 * middle), lens(middle), atol=1e-2)

# %% [markdown] tags=["notes"]
# Draw the formula before anything is run. Two things that students get wrong later follow from
# it: the lens has no parameter that knows the layer (it takes every state for a last one), and it
# ignores length. Ask: what would the lens say of a random vector? Nearly everyone says "a flat
# distribution". Keep their answer for section 3.

# %% [markdown] tags=["slide"]
# ## 2. In one call
#
# `ls.LogitLens().read(model, prompt)` reads all layers and tokens. Rows are layers, columns are
# tokens; a cell shows the most probable token, the darker the surer.

# %% tags=["slide"]
reading = ls.LogitLens().read(model, prompt, measures="all", targets=[" Paris", " London", " Rome"])
reading.picture()

# %% [markdown]
# The top row is what the model really says: ` Paris` after the last token. (The first column is
# another matter: token 0 is an attention sink in this model, as the reading's `notes` say. We
# leave it out below.) In the last column ` Paris` comes first only at layers 28 and 29. Up to
# layer 22 London and Rome are ahead of it at most layers, far behind commas and blanks. Follow
# the three through the layers:

# %% tags=["slide"]
ls.course.picture(
    reading.trajectories_svg("target_log_probability"), "three answers through the layers"
)

# %% tags=["claim"]
ranks = reading.data["target_rank"].isel(prompt=0, position=-1).to_pandas()  # [layer, target]
assert (ranks[" Paris"] == 0).to_numpy().nonzero()[0].tolist() == [28, 29]
assert "attention sink" in reading.notes[0]
early = ranks.loc[:22]
assert ((early[" London"] < early[" Paris"]) & (early[" Rome"] < early[" Paris"])).mean() > 0.7
assert early.min().min() > 1000  # of 49,152

# %% [markdown]
# A reading has named axes (`reading.data`) and is a tidy table as well (`reading.frame()`):

# %%
frame = reading.frame().query("layer == 28 and position == 8")
frame[["rank", "predicted", "log_probability"]].head(3)

# %% [markdown] tags=["exercise"]
# ### Exercise 3.1: among the first ten
#
# **Goal** read a rank from a reading, and say exactly what "from layer … on" means ·
# **Difficulty** ★☆☆ · **Minutes** 5
#
# A rank of 0 is the most probable token. From which layer on is ` Paris` among the **ten** most
# probable tokens, at the last position, at that layer and at all later ones? `answer` is the
# number of the layer (layers are counted from 0).
#
# <details><summary>Hint 1</summary>The table `ranks` above has a row for each layer and a column
# for each target.</details>
# <details><summary>Hint 2</summary>Among the first ten is a rank below 10.</details>

# %% tags=["wrong"]
wrong = [
    28,  # where it is first
    26,  # below a hundred, not below ten
    int((ranks[" Paris"] < 10).sum()),  # how many layers, not which
]

# %% tags=["solution"]
answer = int(ranks.index[ranks[" Paris"] < 10].min())

# %% [markdown] tags=["slide"]
# ### One prompt is an anecdote
#
# From here on: twelve prompts of one form, *The capital of … is the city of*, whose answers are
# single tokens that the model gets right. (They were chosen for that. We ask *how* it answers,
# not how often.)

# %%
capitals = {
    "Japan": " Tokyo",
    "France": " Paris",
    "Germany": " Berlin",
    "Italy": " Rome",
    "Greece": " Athens",
    "Hungary": " Budapest",
    "Portugal": " Lisbon",
    "Ireland": " Dublin",
    "Denmark": " Copenhagen",
    "Cuba": " Havana",
    "Kenya": " Nairobi",
    "England": " London",
}
prompts = [f"The capital of {country} is the city of" for country in capitals]
answers = torch.tensor([model.to_single_token(capital) for capital in capitals.values()])
n, n_layers = len(prompts), model.cfg.n_layers


def last_states(texts):
    """States of the last token [prompt, layer, 576]."""
    cache = ls.capture(model, texts, ls.resid_post.at(-1))
    return torch.stack([cache[ls.resid_post(layer)][:, 0] for layer in range(n_layers)], 1)


h = last_states(prompts)
read = lens(h)  # [prompt, layer, token]
best = read.argmax(-1)  # [prompt, layer]
pd.DataFrame(
    {layer: [token(number) for number in best[:, layer]] for layer in (0, 10, 20, 23, 26, 28, 29)},
    index=list(capitals),
).map(repr)

# %% tags=["claim"]
hits = (best == answers[:, None]).float().mean(0)  # [layer]: how often the lens names the capital
assert hits[29] == 1
assert hits[:26].max() == 0
assert 0 < hits[28] < 0.8

# %% [markdown] tags=["exercise"]
# ### Exercise 3.2: where a prediction settles
#
# **Goal** turn "from which layer on" into a function · **Difficulty** ★★☆ · **Minutes** 10
#
# Write `settled(predicted)`. It is given a list with the most probable token of each layer, from
# layer 0 to the last, and returns the number of the first layer from which on the prediction is
# the final one **and never leaves it again**. `answer` is the function.
#
# <details><summary>Hint 1</summary>The final prediction may turn up early, be lost, and come
# back. The first layer that shows it is not what is asked.</details>
# <details><summary>Hint 2</summary>Begin at the end and go backwards as long as the token is the
# final one.</details>


# %% tags=["stub"]
def settled(predicted):
    """The first layer from which on the prediction is the final one."""


answer = ...  # settled

# %% tags=["wrong"]
wrong = [
    lambda predicted: predicted.index(predicted[-1]),  # the first time it is seen
    lambda predicted: settled(predicted) - 1,  # the last layer that says something else
    lambda predicted: predicted.count(predicted[-1]),  # how many layers say it
    settled([",", " Paris", " Paris"]),  # a number, not the function
]


# %% tags=["solution"]
def settled(predicted):
    """The first layer from which on the prediction is the final one."""
    layer = len(predicted) - 1
    while layer > 0 and predicted[layer - 1] == predicted[-1]:
        layer -= 1
    return layer


print({country: settled(row.tolist()) for country, row in zip(capitals, best, strict=True)})
answer = settled

# %% [markdown] tags=["notes"]
# All twelve settle within the last four layers. Students now want to say that the model "decides"
# there. Write it on the board as a hypothesis: section 6 refutes it.

# %% [markdown] tags=["slide"]
# ## 3. Early layers, and their controls
#
# Up to layer 22 the lens reads blanks, commas and brackets, often with a probability above a
# half. Is that what the model "thinks" there? **Compared with what?**
#
# - a **random vector** (its length does not matter to the lens)
# - the **mean state** of the other eleven prompts
# - the state of **another prompt**

# %%
others = (h.sum(0, keepdim=True) - h) / (n - 1)  # the mean of the others, for each prompt
neighbour = h.roll(-1, 0)  # Japan gets France, France gets Germany, …
noise = torch.randn(n, n_layers, h.shape[-1], generator=torch.Generator().manual_seed(0))
controls = {"own state": h, "mean of the others": others, "random vector": noise}

confidence = pd.DataFrame(
    {name: lens(x).softmax(-1).amax(-1).mean(0).tolist() for name, x in controls.items()}
)

# %% tags=["slide"]
ls.course.lines(
    dict(confidence),
    title="How sure the lens is, averaged over twelve prompts",
    x="layer",
    y="probability of its most probable token",
)

# %% tags=["claim"]
first23 = confidence.loc[:22].mean()
assert (lens(h[:, :23]).softmax(-1).amax(-1) > 0.5).float().mean() > 0.3  # "often"
assert not any(token(number).strip().isalpha() for number in best[:, 1:23].unique())
assert first23.min() > 0.35  # all three are read with confidence, the random vector too
assert abs(first23["own state"] - first23["random vector"]) < 0.15

# %% [markdown]
# A random direction of the residual stream is read with about as much confidence as a state of an
# early layer. A confident reading is a property of the norm and the unembedding: they turn *any*
# direction into a peaked distribution. So confidence is no evidence.
#
# Does the reading at least depend on the prompt? Two measures:
#
# - how often the lens says of a state what it says of the mean of the *others* (which knows
#   nothing of this country);
# - whether it ranks the prompt's own capital above the other eleven. By chance that happens for
#   one in twelve.

# %%
among = read[:, :, answers]  # [prompt, layer, capital]: only the twelve capitals
first_of_twelve = (among.argmax(-1) == torch.arange(n)[:, None]).float().mean(0)
like_the_mean = (best == lens(others).argmax(-1)).float().mean(0)
like_neighbour = (best == best.roll(-1, 0)).float().mean(0)
pd.DataFrame(
    {
        "says what the mean says": like_the_mean,
        "says what the neighbour says": like_neighbour,
        "own capital first of twelve": first_of_twelve,
        "names the capital": hits,
    }
).iloc[[0, 4, 8, 12, 16, 20, 22, 23, 24, 26, 28, 29]].round(2)

# %% tags=["claim"]
assert like_the_mean[:23].mean() > 0.75  # what is read is what all prompts share
assert (first_of_twelve[:23] < 0.26).all()  # chance is 1/12
assert (first_of_twelve[23:] > 0.6).all()  # and then, from one layer to the next

# %% [markdown] tags=["slide"]
# ### What the table says
#
# - Up to layer 22 the lens says the same of nearly all twelve countries, and of their mean.
# - The own capital is no better placed than the other eleven.
# - At **layer 23** that changes in one step.
# - And at layer 23 the lens still *names* none of the capitals.

# %% [markdown] tags=["exercise"]
# ### Exercise 3.3: a rank of five
#
# **Goal** give a rank its control · **Difficulty** ★★☆ · **Minutes** 10
#
# A reading also knows the **rank of the next token**. At layer 10, after ` city`, the token that
# really follows, ` of`, has rank 5 among 49,152. Impressive? ` of` is a common word; perhaps it
# has a good rank everywhere.
#
# `table` below has, at layer 10, a row for each position of the prompt (without token 0, the
# sink) and a column for each of the seven tokens that follow one of these positions: the rank of
# that token, read at that position. For how many of the seven tokens is the rank **at the
# position that it follows** better (smaller) than its rank at **each** of the other positions?
# `answer` is that number. (By chance it would be about 0.9: one in eight, seven times.)
#
# <details><summary>Hint 1</summary>The token in column k follows the position in row k. The last
# row is the last token, after which nothing comes: it is a control only.</details>
# <details><summary>Hint 2</summary>Compare `table.iloc[k, k]` with the smallest of the rest of
# column k.</details>

# %%
words = model.to_str_tokens(prompt)
elsewhere = ls.LogitLens().read(model, prompt, ls.resid_post(10), slice(1, None), targets=words[2:])
table = pd.DataFrame(
    elsewhere.data["target_rank"].values[0, 0].astype(int), index=words[1:], columns=words[2:]
)
table.head(8)

# %% tags=["wrong"]
wrong = [
    int(sum(table.iloc[k, k] <= 10 for k in range(7))),  # good ranks, without a control
    int(sum(table.iloc[k, k] < table.iloc[:, k].median() for k in range(7))),  # better than half
]

# %% tags=["solution"]
answer = sum(table.iloc[k, k] < table.iloc[:, k].drop(words[k + 1]).min() for k in range(7))

# %% [markdown] tags=["notes"]
# The count is well above chance, at a layer whose most probable tokens are blanks and brackets.
# So "early readings are worthless" is too strong, too: a reading is worth what it differs from
# its control. Which of the tokens is it? Mostly the function words. Ask whether the rank of a
# rare word in the ten thousands, "better than elsewhere", would convince anyone.

# %% [markdown] tags=["slide"]
# ## 4. Not shown is not absent
#
# What stands for ` Paris` at layer 23 need not point where ` Paris` is read at layer 29: **basis
# drift**. Its simplest part is an offset. Take away what the states of a layer share, and add
# what the last states share:
#
# $$h \;\to\; h - \bar h_{\,l} + \bar h_{\,29}$$

# %%
shift = others[:, -1:] - others  # both means are of the other eleven prompts
moved = (lens(h + shift).argmax(-1) == answers[:, None]).float().mean(0)
control = (lens(neighbour + shift).argmax(-1) == answers[:, None]).float().mean(0)
shown = slice(16, 30)

# %% tags=["slide"]
ls.course.lines(
    {"as it is": hits[shown], "moved": moved[shown], "moved, of the neighbour": control[shown]},
    at=range(16, 30),
    title="Does the logit lens name the capital?",
    x="layer",
    y="share of twelve prompts",
)

# %%
for name, share in (("as it is", hits), ("moved", moved), ("moved, of the neighbour", control)):
    low, high = proportion(float(share[25]) * n, n)
    print(f"layer 25, {name}: {share[25]:.2f}, 95% interval {low:.2f} to {high:.2f}")

# %% tags=["claim"]
assert hits[23:26].max() == 0
assert moved[24:].min() > 0.5
assert moved[:23].max() == 0
assert control.max() == 0  # it is the state that knows, not the two means
# states of the last token all point the same way up to layer 22, and not the way of last states
cosine = torch.nn.functional.cosine_similarity
assert cosine(h[:, :23], others[:, :23], dim=-1).min() > 0.97
assert cosine(h[:, :23], others[:, -1:], dim=-1).max() < 0.2

# %% [markdown]
# No parameter was trained. Two means were enough to find at layer 25, for most of the twelve
# prompts, what the plain lens shows for none of them. Up to layer 22 nothing is found either way.
# That does not prove that nothing is there: a better lens might find more. Unit 4 trains some.

# %% [markdown] tags=["notes"]
# The control "moved, of the neighbour" matters: the means contain eleven other capitals, so a
# sceptic may say that the shift brings the answer along. It cannot bring the *own* one, since the
# means leave the own prompt out. Ask what the twelve prompts share (everything but the country),
# and why the shift is then so effective. On a mixture of texts an offset does far less for the
# most probable token, as unit 4 shows.

# %% [markdown] tags=["slide"]
# ## 5. Who writes the answer?
#
# The last state is a **sum**: the embedding, and what each attention and each MLP added. Once the
# length of the last state is held fixed, the lens is linear. So a logit is a sum, too: **direct
# logit attribution**.
#
# We attribute: the logit of the own capital, less the mean of the other eleven.

# %%
components = ls.capture(
    model,
    prompts,
    [ls.embed.at(-1), ls.attn_out.at(-1), ls.mlp_out.at(-1), ls.resid_post(29).at(-1)],
)
last = components[ls.resid_post(29)][:, 0]
length = (last.pow(2).mean(-1, keepdim=True) + model.cfg.eps).sqrt()  # of the whole, not of a part
directions = gain[:, None] * unembedding[:, answers]  # [576, capital]


def advantage(part):
    """What a part of the last state [prompt, 576] adds to the own capital's lead [prompt]."""
    logits = part / length @ directions  # [prompt, capital]
    own = logits.diagonal()
    return own - (logits.sum(-1) - own) / (n - 1)


layers = range(n_layers)
attention = torch.stack([advantage(components[ls.attn_out(k)][:, 0]) for k in layers], 1)
mlp = torch.stack([advantage(components[ls.mlp_out(k)][:, 0]) for k in layers], 1)
total = advantage(last)  # [prompt]
by_layer = {"attention": attention.mean(0)[16:], "MLP": mlp.mean(0)[16:]}

# %% tags=["slide"]
ls.course.lines(
    by_layer,
    at=range(16, 30),
    title="Who writes the capital's lead? Mean of twelve prompts",
    x="layer",
    y="contribution (logits)",
)

# %% tags=["claim"]
parts = advantage(components[ls.embed][:, 0]) + attention.sum(1) + mlp.sum(1)
assert torch.allclose(parts, total, atol=0.05)  # nothing is left over
assert attention.mean(0).argmax() == 23  # the attention of block 23 writes most,
assert 0.3 < attention.mean(0)[23] / total.mean() < 0.6  # a third to a half of it,
assert (attention[:, 23] > 0).all()  # for every prompt
assert attention.mean(0)[:23].abs().max() < 0.3  # and before it there is next to nothing

# %% [markdown]
# Attention adds up over heads, so each head can be given its part: its output (`head_out`) goes
# through its own rows of $W_O$.

# %%
late = range(20, 30)
n_heads = model.cfg.n_heads
cache = ls.capture(model, prompts, [ls.head_out(k, i).at(-1) for k in late for i in range(n_heads)])
written = {
    (k, i): cache[ls.head_out(k, i)][:, 0] @ model.blocks[k].attn.W_O[i].detach()
    for k in late
    for i in range(n_heads)
}
of_heads = {head: advantage(value) for head, value in written.items()}
grid = pd.DataFrame(
    [[float(of_heads[k, i].mean()) for i in range(n_heads)] for k in late], index=late
)

# %% tags=["slide"]
ls.course.heatmap(
    grid,
    title="Direct logit attribution of heads, mean of twelve prompts",
    x="head",
    y="layer",
    value="contribution (logits)",
)

# %% tags=["claim"]
assert torch.allclose(sum(of_heads[23, i] for i in range(n_heads)), attention[:, 23], atol=0.05)
assert grid.loc[23, 4] > 2  # head 4 of block 23,
assert (of_heads[23, 4] > 0).all()  # for every prompt
assert grid.loc[29, 0] < -2  # and one that works against it,
assert (of_heads[29, 0] < 0).all()

# %% [markdown] tags=["exercise"]
# ### Exercise 3.4: the three that matter most
#
# **Goal** rank contributions without losing their sign · **Difficulty** ★★☆ · **Minutes** 10
#
# Which three heads of blocks 20 to 29 move the capital's lead **most, whichever way**, on average
# over the twelve prompts? `answer` is a list of three pairs `(layer, head)`, in any order.
#
# <details><summary>Hint 1</summary>`of_heads` has what each head adds, for each prompt.</details>
# <details><summary>Hint 2</summary>A head that takes three logits away matters as much as one
# that gives three.</details>

# %% tags=["wrong"]
lead = {head: float(value.mean()) for head, value in of_heads.items()}
in_23 = [head for head in lead if head[0] == 23]
wrong = [
    sorted(lead, key=lead.get)[-3:],  # only those that help
    [(i, k) for k, i in answer],  # head and layer exchanged
    sorted(in_23, key=lead.get)[-3:],  # of the block that writes most
]

# %% tags=["solution"]
mean = {head: abs(float(value.mean())) for head, value in of_heads.items()}
answer = sorted(mean, key=mean.get)[-3:]
print(answer)

# %% [markdown] tags=["slide"]
# ### Two warnings about attribution
#
# - **The lens on a component alone is not its contribution.** The norm is computed on the
#   component, so a whisper is read like a shout.
# - **A direct contribution is not the whole effect.** What a head writes is also read by later
#   blocks, which may add to it, or undo it.

# %% [markdown]
# The first warning. `LogitLens` reads heads, too: which of the late ones say what of the Eiffel
# Tower?

# %%
late_heads = ls.LogitLens().read(
    model, prompt, [ls.head_out(k) for k in (23, 24, 25)], -1, top_k=3, targets=[" Paris"]
)
said = late_heads.data.isel(prompt=0, position=0)
summary = pd.DataFrame(
    {
        "says": [" ".join(map(repr, row)) for row in said["predicted"].values],
        "probability": said["log_probability"].values[:, 0],
        "rank of Paris": said["target_rank"].values[:, 0].astype(int),
    },
    index=said["site"].values,
)
summary["probability"] = summary["probability"].map(lambda x: round(2.718281828**x, 3))
summary.sort_values("rank of Paris").head(3)

# %%
summary.sort_values("probability").tail(3)

# %% tags=["claim"]
assert summary["rank of Paris"].idxmin() == "head_out(23, 4)"
assert summary["rank of Paris"].min() == 0  # the lens finds the head that attribution found
# but of head 25.8 it is nearly certain, and that head adds next to nothing to any capital's lead
assert summary.loc["head_out(25, 8)", "probability"] > 0.95
assert of_heads[25, 8].abs().max() < 0.3

# %% [markdown]
# The second warning. Silence head 23.4 (its output becomes zero at the last token) and measure
# how much of the lead goes. If the direct contribution were all, it would be as much as the heat
# map says.

# %%
silent = ls.run(model, prompts, [ls.head_out(23, 4).at(-1).zero()], keep=ls.resid_post(29).at(-1))


def lead_of(logits):
    """The lead of the own capital [prompt], from the model's logits [prompt, token]."""
    chosen = logits[:, answers]
    return chosen.diagonal() - (chosen.sum(-1) - chosen.diagonal()) / (n - 1)


lost = lead_of(read[:, -1]) - lead_of(silent.last_logits)
pd.DataFrame({"direct": of_heads[23, 4], "lost when silent": lost}, index=list(capitals)).round(1)

# %% tags=["claim"]
assert lost.mean() - of_heads[23, 4].mean() > 0.5  # more is lost than the head wrote itself

# %% [markdown]
# More is lost than head 23.4 wrote itself: later blocks read what it wrote, and carry on from
# there. (In larger models the opposite has been found as well: later blocks make up for a head
# that is silenced, McGrath et al. 2023. Either way the direct contribution is not the effect.)

# %% [markdown] tags=["slide"]
# ## 6. Does it matter? Intervene
#
# A lens shows what *can be read* from a state. Whether the model *uses* it is another question,
# and needs an intervention:
#
# 1. write another prompt's state: does the output follow?
# 2. take one direction out: does the output care?

# %% [markdown]
# First the whole state. Into each prompt we write, at one layer, the state of the next country's
# prompt: at the last token, or at the token of the country. Does the model now name the next
# country's capital? Beside it stands a control: a random vector as long as the state.

# %%
at_layers = [0, 12, 20, 22, 23, 24, 26, 28]
country = ls.capture(model, prompts, ls.resid_post.at(3))  # "The| capital| of| Japan"
vectors = noise / noise.norm(dim=-1, keepdim=True) * h.norm(dim=-1, keepdim=True)


def swept(write, at):
    """The model's logits [prompt, layer, token] when write(prompt, layer) is written."""
    rows = [(p, k) for p in range(n) for k in at]
    out = ls.run_many(model, [prompts[p] for p, _ in rows], [[write(p, k)] for p, k in rows])
    return out.logits[:, 0].reshape(n, len(at), -1)


def share(logits, wanted):
    """How often each layer's output is what is wanted [layer]."""
    return (logits.argmax(-1) == wanted[:, None]).float().mean(0)


def swap_last(p, k):
    return ls.resid_post(k).at(-1).set(neighbour[p, k])


def swap_country(p, k):
    return ls.resid_post(k).at(3).set(country[ls.resid_post(k)][(p + 1) % n, 0])


def scramble(p, k):
    return ls.resid_post(k).at(-1).set(vectors[p, k])


swapped = swept(swap_last, at_layers)
follows = {
    "written at the last token": share(swapped, answers.roll(-1)),
    "written at the country": share(swept(swap_country, at_layers), answers.roll(-1)),
    "what the lens names": hits[at_layers],
}
kept_own = share(swapped, answers)
survives = share(swept(scramble, [0, 12, 22]), answers)
print("answers kept with a random vector at layers 0, 12 and 22:", survives.tolist())

# %% tags=["slide"]
ls.course.lines(
    follows,
    at=at_layers,
    title="Does the output follow the state that is written?",
    x="layer",
    y="share of twelve prompts",
)

# %% tags=["claim"]
step = at_layers.index(23)
at_last, at_country, _ = follows.values()
assert at_last[:step].max() == 0  # before block 23: never
assert at_last[step:].min() > 0.9  # from it on: (nearly) always
assert at_country[:step].min() > 0.9  # at the country it is the other way round
assert at_country[step:].max() < 0.1
assert kept_own[:step].min() > 0.8  # the last token's state is not about the country before
assert survives.max() < 0.2  # though a random vector there destroys the answer: it does matter

# %% [markdown] tags=["slide"]
# ### What the intervention says
#
# - Up to layer 22 the country's token decides; from layer 23 on the last token does. Block 23
#   carries the answer over.
# - The lens names no answer before layer 26. It is late: where it begins to show is not where it
#   is settled.
# - Up to layer 22 the last state matters (noise destroys the answer), but not for *which*
#   country.

# %% [markdown]
# Is this about these twelve sentences? The same step, in another sentence of another form:

# %%
flights = [f"The flight to {name} landed in the capital," for name in capitals]
h_flights = last_states(flights)
correct = lens(h_flights[:, -1]).argmax(-1) == answers
rows = [(p, k) for p in range(n) for k in (22, 23)]
out = ls.run_many(
    model,
    [flights[p] for p, _ in rows],
    [[ls.resid_post(k).at(-1).set(h_flights[(p + 1) % n, k])] for p, k in rows],
)
followed = (out.logits[:, 0].argmax(-1).reshape(n, 2) == answers.roll(-1)[:, None]).float().mean(0)
print(f"right: {int(correct.sum())} of {n}; follows at layers 22 and 23: {followed.tolist()}")

# %% tags=["claim"]
assert correct.float().mean() > 0.8
assert followed[0] == 0
assert followed[1] > 0.9

# %% [markdown] tags=["slide"]
# ### The direction that the lens reads
#
# The lens reads ` Paris` along one direction: $g \odot W_U[\text{Paris}]$. Does the model use
# *that*?
#
# Along this direction alone, give the state what the other prompts have on average. The control:
# the same with the direction of another capital. And, for scale: the whole state replaced by that
# average.

# %%
unit = (directions / directions.norm(dim=0)).T  # [capital, 576], each of length 1
log_p = read[:, -1].log_softmax(-1)[torch.arange(n), answers]  # of the own capital, untouched


def levelled(p, k, capital):
    """The state with the average of the other prompts along one capital's direction."""
    d = unit[capital]
    value = h[p, k] + d * ((others[p, k] - h[p, k]) @ d)
    return ls.resid_post(k).at(-1).set(value)


def change(logits):
    """The mean change of the own capital's log-probability [layer]."""
    rows = logits.log_softmax(-1)[torch.arange(n), :, answers]
    return (rows - log_p[:, None]).mean(0)


at_layers = [20, 22, 23, 25, 27, 28]
levels = {
    "own capital's direction": lambda p, k: levelled(p, k, p),
    "another capital's direction": lambda p, k: levelled(p, k, (p + 1) % n),
    "the whole state": lambda p, k: ls.resid_post(k).at(-1).set(others[p, k]),
}
effects = {name: change(swept(write, at_layers)) for name, write in levels.items()}

# %% tags=["slide"]
ls.course.lines(
    effects,
    at=at_layers,
    title="What is lost when a direction is levelled",
    x="layer",
    y="change of log-probability (nats)",
)

# %% tags=["claim"]
change_own, change_other, change_all = effects.values()
at_23 = at_layers.index(23)
assert change_other.abs().max() < 0.15  # the control does nothing,
assert change_own[at_23:].max() < -0.1  # so what the own direction does is about that capital,
assert change_own[at_23] / change_all[at_23] < 0.25  # but at 23 it is a small part of what is there
assert change_own[:at_23].abs().max() < 0.1
assert change_all[:at_23].abs().max() < 0.3

# %% [markdown]
# At layer 23 the whole state carries the answer (levelling it costs nats), and the direction that
# the lens looks along carries a small part of it. The rest lies where the logit lens does not
# look. By the last layer it is where the lens looks: the lens is right, and late.
#
# Why levelled, and not simply projected out? Projecting out sets the component to **zero**, and
# zero is not neutral: the average state lies well below zero along these directions. So
# `ls.resid_post(22).at(-1).project_out(d)`, which takes the direction of ` Paris` out, makes `
# Paris` *likelier*:

# %%
out = ls.run_many(
    model, prompts, [[ls.resid_post(22).at(-1).project_out(unit[p])] for p in range(n)]
)
gained = out.logits[:, 0].log_softmax(-1)[torch.arange(n), answers] - log_p
print(f"the own capital's direction projected out at layer 22: {gained.mean():+.2f} nats")

# %% tags=["claim"]
assert gained.mean() > 0.05  # the answer becomes likelier,
along = (others[:, 22] * unit).sum(-1) / others[:, 22].norm(dim=-1)
assert along.max() < -0.05  # for along this direction the average state is below zero

# %% [markdown] tags=["exercise"]
# ### Exercise 3.5: fool the lens
#
# **Goal** show that a reading can be wrong about the model · **Difficulty** ★★★ · **Minutes** 15
#
# Make the lens say one capital while the model says another. At one layer, at the last token, add
# to each prompt's state the unit direction of the **next** country's capital, `unit[(p + 1) %
# n]`, times some multiple of the state's length. Find a layer and a multiple such that
#
# - the lens, reading the changed state at that layer, names the **next** country's capital for at
#   least three quarters of the prompts, and
# - the model, run with the changed state, still says the **own** capital for at least three
#   quarters of them.
#
# `answer` is a dict: `{"layer": …, "multiple": …, "lens": …, "model": …}`, the last two being
# these two shares.
#
# <details><summary>Hint 1</summary>The lens sees the change at once. The model has blocks left in
# which to overwrite it: how many of them is your choice.</details>
# <details><summary>Hint 2</summary>Between layers 12 and 20 multiples from 0.4 to 0.6 are worth a
# try.</details>
# <details><summary>Hint 3</summary>`changed = h[p, k] + multiple * h[p, k].norm() * unit[(p + 1)
# % n]`; `ls.run_many` takes a prompt and a list of patches for each row.</details>

# %% tags=["stub"]
answer = ...  # {"layer": …, "multiple": …, "lens": …, "model": …}

# %% tags=["wrong"]
wrong = [
    tried(18, 0.2),  # too little: the lens is not fooled
    tried(26, 0.5),  # too late: the model is fooled, too
    {"layer": answer["layer"], "multiple": 0.5, "lens": answer["model"], "model": 0.0},  # exchanged
]


# %% tags=["solution"]
def fooled(p, k, multiple):
    return h[p, k] + multiple * h[p, k].norm() * unit[(p + 1) % n]


def tried(layer, multiple):
    states = torch.stack([fooled(p, layer, multiple) for p in range(n)])
    said = lens(states).argmax(-1) == answers.roll(-1)
    run = ls.run_many(model, prompts, [[ls.resid_post(layer).at(-1).set(s)] for s in states])
    kept = run.logits[:, 0].argmax(-1) == answers
    return {
        "layer": layer,
        "multiple": multiple,
        "lens": float(said.float().mean()),
        "model": float(kept.float().mean()),
    }


answer = tried(16, 0.5)
print(answer)

# %% [markdown] tags=["slide"]
# ## 7. What one may say
#
# - "The lens reads X at layer 12": a fact about the lens. Say what it reads of the mean state,
#   too.
# - "The lens does not show X": not that X is absent.
# - "The model knows X from layer 28 on": no. It was carried over at layer 23.
# - "X is used": only after an intervention, with its control.

# %% [markdown]
# And what one may not conclude from this notebook: that *large* models behave like this one,
# which has 135 million parameters; that block 23 does this for other questions (we looked at
# capitals, in two forms of sentence); that twelve prompts are many. With twelve, a share of 0.75
# may as well be 0.43 or 0.95.

# %% tags=["claim"]
low, high = proportion(9, 12)
assert 0.42 < low < 0.44
assert 0.94 < high < 0.95

# %% [markdown] tags=["notes"]
# Closing question: nostalgebraist's pictures of GPT-2 show guesses that improve layer by layer,
# and these do not. Is the model worse, or the lens? (Belrose et al. report the same of other
# families: how well the plain lens reads is a property of the model that it is used on.) Next
# week: lenses that learn what the logit lens lacks, and what *they* hide.
