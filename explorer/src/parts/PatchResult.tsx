import { nats, percent, signed } from "../numbers";
import type { PatchAnswer } from "../protocol";
import { type Change, differences } from "../text";
import { TokenText } from "./TokenText";
import { TopTokens } from "./TopTokens";

type Result = PatchAnswer["results"][number];

function Text({ parts, kind }: { parts: Change[]; kind: "before" | "after" }) {
  return (
    <p class="lsx-continued" dir="auto">
      {parts.length === 0 && <span class="lsx-muted">(nothing)</span>}
      {parts.map((part, index) =>
        part.changed ? (
          kind === "before" ? (
            <del key={index}>{part.text}</del>
          ) : (
            <ins key={index}>{part.text}</ins>
          )
        ) : (
          part.text
        ),
      )}
    </p>
  );
}

interface Both {
  text: string;
  before: number | null;
  after: number | null;
}

function pairUp(result: Result): Both[] {
  const { before, after } = result;
  const found = new Map<string, Both>();
  for (const guess of after?.top ?? [])
    found.set(guess.text, { text: guess.text, before: null, after: guess.probability });
  for (const guess of before.top) {
    const row = found.get(guess.text);
    if (row) row.before = guess.probability;
    else found.set(guess.text, { text: guess.text, before: guess.probability, after: null });
  }
  return [...found.values()];
}

export function PatchResult({ result }: { result: Result }) {
  const name = result.prompt === 0 ? "A" : "B";
  const { before, after } = result;
  if (!after)
    return (
      <section
        class="lsx-result"
        data-testid={`patch-result-${result.prompt}`}
        aria-label={`Prompt ${name}, not patched`}
      >
        <h3>
          Prompt {name} <span class="lsx-muted">not patched</span>
        </h3>
        <Text parts={before.text.trim() ? [{ text: before.text.trimStart(), changed: false }] : []} kind="before" />
        <TopTokens top={before.top} label={`Prompt ${name}: next tokens`} />
      </section>
    );
  const [left, right] = differences(before.text.trimStart(), after.text.trimStart());
  const floor = (list: { probability: number }[]) => Math.min(...list.map((guess) => guess.probability), 1);
  const low = { before: floor(before.top), after: floor(after.top) };
  const bar = (value: number | null, kind: string) => (
    <span class={`lsx-thin ${kind}`} style={{ width: `${Math.min(1, value ?? 0) * 100}%` }} />
  );
  return (
    <section class="lsx-result" data-testid={`patch-result-${result.prompt}`} aria-label={`Prompt ${name}, patched`}>
      <h3>
        Prompt {name}{" "}
        {result.kl !== null && (
          <span
            class="lsx-muted"
            title="Kullback–Leibler divergence of the next token's distribution, patched from unpatched, in nats"
          >
            KL {nats(result.kl)} nats
          </span>
        )}
      </h3>
      <div class="lsx-before-after">
        <div>
          <h4>Before</h4>
          <Text parts={left} kind="before" />
        </div>
        <div>
          <h4>After</h4>
          <Text parts={right} kind="after" />
        </div>
      </div>
      {after.top.length > 0 && <table class="lsx-compare">
        <thead>
          <tr>
            <th scope="col">Next token</th>
            <th scope="col">
              <span class="lsx-unseen">Bars</span>
            </th>
            <th scope="col">before</th>
            <th scope="col">after</th>
            <th scope="col">change</th>
          </tr>
        </thead>
        <tbody>
          {pairUp(result).map((row) => (
            <tr key={row.text}>
              <th scope="row">
                <TokenText text={row.text} />
              </th>
              <td class="lsx-bars" aria-hidden="true">
                {bar(row.before, "lsx-was")}
                {bar(row.after, "lsx-is")}
              </td>
              <td>{row.before === null ? `< ${percent(low.before)}` : percent(row.before)}</td>
              <td>{row.after === null ? `< ${percent(low.after)}` : percent(row.after)}</td>
              <td>
                {row.before !== null && row.after !== null
                  ? signed((row.after - row.before) * 100, 1, true)
                  : row.after !== null
                    ? "↑ new"
                    : "↓ out"}
              </td>
            </tr>
          ))}
        </tbody>
      </table>}
    </section>
  );
}
