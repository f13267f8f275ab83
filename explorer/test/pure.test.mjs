import assert from "node:assert/strict";
import test from "node:test";
import { build } from "esbuild";

const { outputFiles } = await build({
  stdin: {
    contents: ["text", "key", "answer", "colour", "check", "shapes", "numbers", "store/permalink", "transport/events"]
      .map((name) => `export * as ${name.split("/").pop()} from "./src/${name}";`)
      .join("\n"),
    resolveDir: new URL("..", import.meta.url).pathname,
  },
  bundle: true,
  write: false,
  format: "esm",
});
const { text, key, answer, permalink, events, shapes, numbers } = await import(
  "data:text/javascript;base64," + Buffer.from(outputFiles[0].text).toString("base64")
);

test("what cannot be seen gets a sign, what belongs together stays together", () => {
  assert.equal(text.visible(" Wales"), "·Wales");
  assert.equal(text.visible("a b "), "a b·");
  assert.equal(text.visible("\n\n\t"), "⏎⏎⇥");
  assert.equal(text.visible("\u0000\u001b"), "␀␛");
  assert.equal(text.visible("\u200fab\u202e"), "U+200FabU+202E");
  assert.equal(text.visible("👩🏽‍🔬"), "👩🏽‍🔬");
  assert.equal(text.visible("\ufe0f"), "U+FE0F");
  assert.equal(text.visible("\u0301"), "◌\u0301");
  assert.equal(text.visible(""), "∅");
  assert.equal(text.visible("      "), "·×6");
  assert.equal(text.cut("👩🏽‍🔬👩🏽‍🔬👩🏽‍🔬", 2), "👩🏽‍🔬…");
});

test("texts that say the same are known", () => {
  assert.ok(text.sameWords(" The  UK.", "the uk"));
  assert.ok(!text.sameWords("the uk", "the us"));
  assert.ok(!text.sameWords("!", "?"));
});

test("what differs is found by words", () => {
  assert.deepEqual(text.differences(" Tokyo is big", " Cardiff is big"), [
    [
      { text: " Tokyo", changed: true },
      { text: " is big", changed: false },
    ],
    [
      { text: " Cardiff", changed: true },
      { text: " is big", changed: false },
    ],
  ]);
  assert.deepEqual(text.differences("", ""), [[], []]);
});

test("one question has one key", () => {
  assert.equal(
    key.keyOf({ kind: "grid", prompt: "a", lens: "b" }),
    key.keyOf({ lens: "b", prompt: "a", kind: "grid" }),
  );
});

test("rows grow, and a later one of the same place takes it", () => {
  let sum = answer.merge("grid", {}, { tokens: [], layers: [0, 1], rows: [{ layer: 1 }] });
  sum = answer.merge("grid", sum, { rows: [{ layer: 0 }] });
  assert.deepEqual(
    sum.rows.map((row) => row.layer),
    [1, 0],
  );
  assert.deepEqual(sum.layers, [0, 1]);
  let words = answer.merge("words", {}, { said: [{ reader: "raw", condition: "state", text: "a", done: false }] });
  words = answer.merge("words", words, { said: [{ reader: "raw", condition: "state", text: "ab", done: true }] });
  assert.deepEqual(words.said, [{ reader: "raw", condition: "state", text: "ab", done: true }]);
});

test("a link is read back, and a malformed one refused", () => {
  const state = { view: "grid", prompt: "naïve 🦆", cell: { layer: 3, position: 1 } };
  assert.deepEqual(permalink.decode("#" + permalink.encode(state)), state);
  for (const bad of [
    "#%%%",
    "#abc",
    "#" + permalink.encode({ view: "other" }),
    "#" + permalink.encode({ cell: { layer: -1, position: 0 } }),
  ])
    assert.throws(() => permalink.decode(bad));
});

test("events come in any pieces", () => {
  const feed = events.eventReader();
  assert.deepEqual(feed(": hello\n\nda"), []);
  assert.deepEqual(feed('ta: {"a":1}\n\ndata: {"b"'), ['{"a":1}']);
  assert.deepEqual(feed(":2}\r\n\r\n"), ['{"b":2}']);
});

test("a file of something else is refused", () => {
  for (const bad of [null, 1, [], {}, { format: "lensscope explorer", version: 2 }])
    assert.throws(() => shapes.checkRecorded(bad));
});

test("numbers are short and true", () => {
  assert.equal(numbers.signed(-0.001), "0.00");
  assert.equal(numbers.signed(-0.5), "−0.50");
  assert.equal(numbers.percent(0.0004), "<0.1 %");
  assert.equal(numbers.quantile([3, 1, 2], 1), 3);
});
