/** Answers that look like a model's: for the look of the page, and for its limits. */

const WORDS = {
  small: [
    "<|endoftext|>",
    "Diana",
    ",",
    " Princess",
    " of",
    " Wales",
    ",",
    " met",
    "\n",
    " مرحبا",
    " 👩🏽‍🔬",
    "\u200f東京",
  ],
  chat: [
    "<|im_start|>",
    "user",
    "\n",
    "Who",
    " is",
    " Diana",
    ",",
    " Princess",
    " of",
    " Wales",
    "?",
    "<|im_end|>",
    "\n",
    "<|im_start|>",
    "assistant",
    "\n",
  ],
};
const VOCABULARY = [
  " the",
  " Princess",
  " of",
  " Wales",
  " and",
  " Diana",
  " Queen",
  " royal",
  ",",
  " England",
  " married",
  " Charles",
  "\n",
  " in",
  " was",
  "Park",
  " family",
  " people",
  "ness",
  " 東京",
  " عربي",
  " UNIVERSITY",
  " internationalization",
];

function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

function hash(value) {
  let sum = 7;
  for (const character of JSON.stringify(value)) sum = (Math.imul(sum, 31) + character.charCodeAt(0)) >>> 0;
  return sum;
}

export function about(big) {
  const layers = big ? 80 : 30;
  const inspection = {
    preset: "entity_description",
    text: "Syria: Country in the Middle East, Leonardo DiCaprio: American actor, Samsung: South Korean multinational major appliance and consumer electronics corporation, x",
    placeholder: " x",
    target: 2,
    max_new_tokens: 12,
    temperature: 0,
    top_p: null,
    seed: 0,
  };
  const identity = {
    ...inspection,
    preset: "token_identity",
    text: "cat->cat; 1135->1135; hello->hello; ?->",
    placeholder: "?",
    target: "same",
    max_new_tokens: 4,
  };
  const model = {
    name: big ? "example/large-80" : "HuggingFaceTB/SmolLM2-135M-Instruct",
    fingerprint: "sha256:5f2d9c0a",
    processing: "fold_ln=False, center_writing_weights=False",
    dtype: "float32",
    n_layers: layers,
    d_model: 576,
    n_ctx: 8192,
    chat: !big,
  };
  return {
    format: "lensscope explorer",
    version: 1,
    libraries: { lensscope: "1.4.0", "transformer-lens": "3.0.1", torch: "2.8.0" },
    live: true,
    model,
    lenses: [
      { id: "logit", name: "Logit lens", about: "The state through the last norm and the unembedding" },
      { id: "tuned", name: "Tuned lens", about: "With an affine map for each layer" },
      { id: "jacobian", name: "Jacobian lens", about: "With the mean Jacobian of the layers above" },
    ],
    readers: [
      { id: "raw", name: "Raw", about: "The model reads the state as it is", trained: false },
      { id: "trained", name: "Trained", about: "Through maps that were trained to be read", trained: true },
    ],
    presets: [
      { id: "entity_description", name: "Describe the entity", inspection },
      { id: "token_identity", name: "Which token is it", inspection: identity },
    ],
    state: {
      version: 1,
      view: "grid",
      prompt: big ? "A long text of 200 tokens" : "Diana, Princess of Wales, met",
      lens: "logit",
      colour: "probability",
      cell: { layer: 8, position: 5 },
      inspection,
      reader: "raw",
      step: 0,
      prompts: ["Diana, Princess of Wales", "The largest city in x is"],
      patches: [],
      new_tokens: 12,
      clean: "The capital of France is",
      corrupted: "The capital of Italy is",
      answer: "",
      wrong: "",
      site: "resid_pre",
      threshold: 0.05,
      matters_cell: null,
      circuit: false,
      quiz: null,
      presenter: false,
      theme: "auto",
    },
    limits: { prompt: 2048, max_new_tokens: 60, patches: 12 },
  };
}

function tokensOf(prompt, big) {
  if (typeof prompt !== "string")
    return WORDS.chat.map((text, at) => ({
      text,
      special: /^<\|/.test(text),
      message: at > 2 && at < 11 ? 0 : null,
      role: at > 2 && at < 11 ? "user" : null,
    }));
  if (big && prompt.includes("200"))
    return Array.from({ length: 200 }, (_, at) => ({ text: VOCABULARY[hash(at) % VOCABULARY.length] }));
  if (prompt.startsWith("Diana, Princess of Wales, met"))
    return WORDS.small.map((text, at) => ({ text, special: at === 0 }));
  return [
    { text: "<|endoftext|>", special: true },
    ...(prompt.match(/\s*[\p{L}\p{N}]+|\s*[^\s\p{L}\p{N}]+|\s+/gu) ?? []).map((text) => ({ text })),
  ];
}

function top(next, count = 5) {
  let left = 1;
  return Array.from({ length: count }, (_, at) => {
    const probability = left * (0.25 + 0.5 * next());
    left -= probability;
    return { text: VOCABULARY[(Math.floor(next() * VOCABULARY.length) + at) % VOCABULARY.length], probability };
  });
}

const SAID = {
  state: "Wales: Country in the United Kingdom, Cardiff: the capital",
  nothing: "x: A letter of the Latin alphabet",
  random: "a type of fish found in the waters of the Pacific",
  mean: "A letter of the Latin alphabet",
  shuffled: "Japanese city, home of the national museum",
};

export async function* answer(question, big, pause) {
  const seed = hash(question);
  const next = random(seed);
  const python = `import lensscope as ls\n\nmodel = ls.load_model()\nscope = ls.Patchscope.entity_description()\n# ${question.kind}\nprint(scope.inspect(model, "Diana, Princess of Wales", layers=[8]))\n`;
  const n_layers = big ? 80 : 30;
  const layers = Array.from({ length: n_layers }, (_, layer) => layer);
  const text = JSON.stringify(question);
  if (text.includes("FAIL")) {
    yield {
      error: {
        what: "The prompt cannot be run",
        got: "a prompt of 9000 tokens",
        expected: "at most 8192 tokens",
        instead: "Shorten the prompt, or load the model with a longer context",
      },
    };
    return;
  }
  if (question.kind === "tokens") {
    const tokens = tokensOf(question.prompt, big);
    const wanted = (question.placeholder ?? "\0").trim();
    const placeholders = tokens.flatMap((token, at) => (token.text.trim() === wanted ? [at] : []));
    if (question.placeholder && question.placeholder.length > 6) {
      yield {
        error: {
          what: "The placeholder is not one token",
          got: `${question.placeholder}, which is split into 3 tokens`,
          expected: "a placeholder that is one token",
          instead: 'Take a shorter one, such as " x"',
        },
      };
      return;
    }
    yield { part: { tokens, placeholders } };
  } else if (question.kind === "grid") {
    const tokens = tokensOf(question.prompt, big);
    yield { part: { tokens, layers, python } };
    const chunk = big ? 4 : 3;
    for (let at = n_layers - chunk; at > -chunk; at -= chunk) {
      await pause(big ? 40 : 60);
      yield {
        part: {
          rows: layers.slice(Math.max(0, at), at + chunk).map((layer) => {
            const depth = layer / n_layers;
            const row = { layer, texts: [], probability: [], entropy: [], kl: [] };
            tokens.forEach((_, position) => {
              const a = random(hash([layer, position, question.lens, question.prompt]))();
              row.texts.push(
                VOCABULARY[hash([Math.floor(depth * 6), position, Math.floor(a * 2.4)]) % VOCABULARY.length],
              );
              row.probability.push(Math.min(0.999, Math.max(0.001, depth ** 2 * (0.3 + 0.9 * a) + 0.05 * a)));
              row.entropy.push((1 - depth) * 8 * (0.6 + 0.5 * a) + 0.2);
              row.kl.push((1 - depth) * 9 * a + (a > 0.985 ? 20 : 0));
            });
            return row;
          }),
        },
      };
      yield { progress: { done: n_layers - Math.max(0, at), total: n_layers, what: "Layers" } };
    }
    yield { part: { notes: big ? [] : ["The tuned lens was trained on 4,000 texts of English"] } };
  } else if (question.kind === "cell") {
    yield { part: { tokens: tokensOf(question.prompt, big), model: top(next), python } };
    for (const lens of ["logit", "tuned", "jacobian"]) {
      await pause(60);
      yield { part: { lenses: [{ lens, top: top(next), entropy: next() * 8, kl: next() * 6 }] } };
    }
  } else if (question.kind === "words") {
    yield { part: { shuffled_text: "The Tokyo National Museum was founded in 1872", mean_of: 24, python } };
    for (const condition of ["state", "nothing", "random", "mean", "shuffled"])
      for (const reader of ["raw", "trained"]) {
        const echo = question.layer < 6 && condition === "state" && reader === "raw";
        const whole = echo
          ? SAID.nothing.toUpperCase() + "."
          : condition === "state" && reader === "trained"
            ? "the Princess of Wales, " + SAID.state
            : SAID[condition];
        const parts = whole.split(/(?= )/);
        for (let count = 3; count < parts.length; count += 3) {
          await pause(25);
          yield { part: { said: [{ reader, condition, text: parts.slice(0, count).join(""), done: false }] } };
        }
        yield { part: { said: [{ reader, condition, text: whole, done: true }] } };
        yield { progress: { done: 1, total: 10, what: "Words" } };
      }
  } else if (question.kind === "step") {
    const { inspection } = question;
    const tokens = tokensOf(inspection.text, big);
    yield {
      part: {
        tokens: tokensOf(question.prompt, big),
        inspection: tokens,
        python,
        placeholders: tokens.flatMap((token, at) => (token.text.trim() === inspection.placeholder.trim() ? [at] : [])),
        read: `resid_post(${question.layer})`,
        written: `resid_pre(${inspection.target === "same" ? question.layer : inspection.target})`,
        nothing: SAID.nothing,
      },
    };
    for (const token of SAID.state.match(/\s*\S+/g).slice(0, inspection.max_new_tokens)) {
      await pause(40);
      const alternatives = top(next);
      yield {
        part: {
          steps: [
            {
              token,
              probability: alternatives[0].probability,
              alternatives: [{ text: token, probability: alternatives[0].probability }, ...alternatives.slice(1)],
            },
          ],
        },
      };
    }
    for (const layer of layers) {
      await pause(20);
      const echo = layer < 5 || layer > 24;
      yield {
        part: {
          layers: [
            { layer, text: echo ? SAID.nothing : layer < 12 ? "a part of the United Kingdom" : SAID.state, echo },
          ],
        },
      };
    }
  } else if (question.kind === "patch") {
    await pause(200);
    yield {
      part: {
        tokens: question.prompts.map((prompt) => tokensOf(prompt, big)),
        python,
        results: [...new Set(question.patches.map(({ to }) => to.prompt))].map((prompt) => {
          const before = top(next);
          const after = top(next);
          after[1].text = before[0].text;
          return {
            prompt,
            kl: next() * 4,
            before: { text: " Tokyo, which is the capital of Japan and its largest city.", top: before },
            after: { text: " Cardiff, which is the capital of Wales and its largest city.", top: after },
          };
        }),
      },
    };
  } else if (question.kind === "matters") {
    const clean = tokensOf(question.clean, big);
    const effect = (layer, position) => {
      const a = random(hash([layer, position, question.site]))();
      const differs = clean[position].text.trim() === "France";
      const depth = layer / n_layers;
      if (differs) return Math.max(0, 1 - depth * 1.4) + (a - 0.5) * 0.1;
      if (position === clean.length - 1) return Math.max(0, depth * 1.6 - 0.6) + (a - 0.5) * 0.1;
      return (a - 0.5) * 0.25;
    };
    yield {
      part: {
        clean,
        corrupted: tokensOf(question.corrupted, big),
        answer: question.answer || " Paris",
        wrong: question.wrong || " Rome",
        baselines: { clean: 4.31, corrupted: -3.87 },
        layers,
        python,
        estimate: layers.map((layer) => clean.map((_, position) => effect(layer, position) * 0.8 + 0.03)),
      },
    };
    for (const layer of layers) {
      await pause(50);
      yield { part: { exact: [{ layer, effects: clean.map((_, position) => effect(layer, position)) }] } };
      yield { progress: { done: layer + 1, total: n_layers, what: "Effects, layer by layer" } };
    }
  } else if (question.kind === "circuit") {
    const clean = tokensOf(question.clean, big);
    const count = Math.round(4 / question.threshold ** 0.6 / 1.5);
    const nodes = Array.from({ length: count }, (_, at) => {
      const layer = Math.floor(next() * n_layers);
      const head = next() < 0.6 ? Math.floor(next() * 9) : null;
      const position = next() < 0.5 ? clean.length - 1 : Math.floor(next() * clean.length);
      return {
        name: head === null ? `MLP ${layer}` : `head ${layer}.${head}`,
        site: (head === null ? `mlp_out(${layer})` : `head_out(${layer}, ${head})`) + `.at(${position})#${at}`,
        layer,
        head,
        position,
        effect: (question.threshold + 0.5 * (1 - at / count) ** 3) * (next() < 0.2 ? -0.6 : 1),
      };
    });
    yield { part: { clean, answer: " Paris", wrong: " Rome", layers, nodes, python } };
    await pause(900);
    yield { part: { faithfulness: 0.63 } };
  }
  yield { done: true };
}
