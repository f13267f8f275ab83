/** Read, write, say: one after another, for a lecture. */

import { useEffect, useState } from "preact/hooks";
import { choices, NumberField, Select } from "../parts/Field";
import { Notes, Trouble } from "../parts/Failed";
import { InspectionEditor } from "../parts/InspectionEditor";
import { PromptBox } from "../parts/PromptBox";
import { TokenText } from "../parts/TokenText";
import { TopTokens } from "../parts/TopTokens";
import { clamp, percent } from "../numbers";
import type { Cell, Question, StepAnswer, Token } from "../protocol";
import { stepOf } from "../questions";
import { useAnswer, useApp, useLatest } from "../store/hooks";
import { spoken, visible } from "../text";

const SECOND = 1000;

function TokenLine({
  tokens,
  marked,
  label,
  onPick,
}: {
  tokens: Token[];
  marked: Set<number>;
  label: string;
  onPick?: (position: number) => void;
}) {
  return (
    <div class="lsx-tokens" role="group" aria-label={label}>
      {tokens.map((token, position) => {
        const name = `lsx-chip${marked.has(position) ? " lsx-written" : ""}${token.special ? " lsx-special" : ""}`;
        return onPick ? (
          <button
            key={position}
            type="button"
            class={name}
            aria-pressed={marked.has(position)}
            aria-label={`token ${position} “${visible(token.text)}”`}
            onClick={() => onPick(position)}
          >
            <TokenText text={token.text} />
          </button>
        ) : (
          <span key={position} class={name}>
            <TokenText text={token.text} />
            {marked.has(position) && <span class="lsx-unseen"> (written here)</span>}
          </span>
        );
      })}
    </div>
  );
}

export function StepView() {
  const app = useApp();
  const state = app.state.value;
  const about = app.about.value;
  const source: Extract<Question, { kind: "tokens" }> = { kind: "tokens", prompt: state.prompt, placeholder: null };
  const known = useAnswer<"tokens">("tokens:source", source, { useful: (answer) => !!answer.tokens });
  const { entry, shown, stale } = useAnswer<"step">("step", state.cell ? stepOf(state, state.cell) : null, {
    debounce: 60,
    useful: (answer) => !!answer.inspection,
  });
  const answer: Partial<StepAnswer> = shown?.answer ?? {};
  const tokens = (entry?.answer.tokens ?? known.shown?.answer.tokens ?? answer.tokens) || [];
  const last = Math.max(0, tokens.length - 1);
  const cell: Cell = state.cell
    ? { ...state.cell, position: tokens.length ? clamp(state.cell.position, 0, last) : state.cell.position }
    : { layer: Math.floor(about.model.n_layers / 3), position: last };

  useEffect(() => {
    if (tokens.length && (!state.cell || state.cell.position > last)) app.set({ cell });
  }, [tokens.length, state.cell === null]);

  const steps = answer.steps ?? [];
  const complete = entry?.status === "done";
  const shownSteps = Math.min(state.step, steps.length);
  const [playing, setPlaying] = useState(false);
  const latest = useLatest({ steps: steps.length, complete });
  const go = (step: number) => app.set({ step: clamp(step, 0, latest.current.steps) });
  const current = steps[shownSteps - 1];

  useEffect(() => {
    if (!playing) return;
    const timer = setInterval(() => {
      const { step } = app.state.peek();
      if (step < latest.current.steps) go(step + 1);
      else if (latest.current.complete) setPlaying(false);
    }, SECOND);
    return () => clearInterval(timer);
  }, [playing]);
  useEffect(() => {
    if (current) app.say(`${spoken(current.token)}, ${percent(current.probability)}`);
  }, [shownSteps]);

  const layers = [...(answer.layers ?? [])].sort((a, b) => b.layer - a.layer);
  const setCell = (next: Cell) => app.set({ cell: next, step: 0 });
  const marked = new Set([cell.position]);

  return (
    <>
      <div class="lsx-top-area">
        <PromptBox label="Prompt" value={state.prompt} onRun={(prompt) => app.set({ prompt, step: 0 })} />
        <InspectionEditor />
      </div>
      <div class={stale ? "lsx-steps lsx-dim" : "lsx-steps"}>
        <section class="lsx-card" aria-label="Read">
          <h2>
            <span class="lsx-numeral">1</span> Read
          </h2>
          <TokenLine
            tokens={tokens}
            marked={marked}
            label="Prompt, by token"
            onPick={(position) => setCell({ ...cell, position })}
          />
          <div class="lsx-sliders">
            <NumberField
              label="Layer"
              slider
              value={cell.layer}
              low={0}
              high={about.model.n_layers - 1}
              onChange={(layer) => setCell({ ...cell, layer })}
            />
            <Select
              label="Reader"
              value={state.reader}
              options={choices(about.readers)}
              onChange={(reader) => app.set({ reader, step: 0 })}
            />
          </div>
        </section>
        <p class="lsx-flow">
          <span class="lsx-flow-arrow" aria-hidden="true">
            ↓
          </span>
          <code>{answer.read ?? `resid_post(${cell.layer})`}</code> <span aria-label="is written into">→</span>{" "}
          <code>{answer.written ?? "…"}</code>
        </p>
        <section class="lsx-card" aria-label="Write">
          <h2>
            <span class="lsx-numeral">2</span> Write
          </h2>
          {answer.inspection ? (
            <TokenLine
              tokens={answer.inspection}
              marked={new Set(answer.placeholders ?? [])}
              label="Inspection prompt, by token"
            />
          ) : (
            entry?.status === "waiting" && <span class="lsx-skeleton" aria-hidden="true" />
          )}
          <p class="lsx-hint">
            The state takes the place of the marked {(answer.placeholders?.length ?? 1) === 1 ? "token’s" : "tokens’"}{" "}
            state.
          </p>
        </section>
        <p class="lsx-flow">
          <span class="lsx-flow-arrow" aria-hidden="true">
            ↓
          </span>
        </p>
        <section class="lsx-card" aria-label="Say">
          <h2>
            <span class="lsx-numeral">3</span> Say
          </h2>
          <p class="lsx-said-line" data-testid="step-said" dir="auto">
            {steps.slice(0, shownSteps).map((step, index) => (
              <button
                key={index}
                type="button"
                class={`lsx-chip${index === shownSteps - 1 ? " lsx-written" : ""}`}
                aria-label={`${spoken(step.token)}, ${percent(step.probability)}`}
                onClick={() => go(index + 1)}
              >
                <TokenText text={step.token} />
              </button>
            ))}
            {shownSteps === 0 && <span class="lsx-muted">Nothing said yet.</span>}
          </p>
          <div class="lsx-line">
            <button type="button" class="lsx-button" disabled={shownSteps === 0} onClick={() => go(shownSteps - 1)}>
              Back
            </button>
            <button
              type="button"
              class="lsx-button lsx-primary"
              data-testid="step-next"
              disabled={shownSteps >= steps.length}
              onClick={() => go(shownSteps + 1)}
            >
              Next <kbd aria-hidden="true">→</kbd>
            </button>
            <button
              type="button"
              class="lsx-button"
              disabled={!steps.length}
              aria-pressed={playing}
              onClick={() => {
                if (!playing && shownSteps >= steps.length) go(0);
                setPlaying(!playing);
              }}
            >
              {playing ? "Pause" : "Play"}
            </button>
            <button
              type="button"
              class="lsx-button"
              disabled={shownSteps >= steps.length}
              onClick={() => go(steps.length)}
            >
              All
            </button>
            <span class="lsx-muted">
              {shownSteps} of {steps.length}
              {complete ? "" : "…"}
            </span>
          </div>
          {current && (
            <div class="lsx-alternatives">
              <h3>Token {shownSteps}: what else was probable</h3>
              <TopTokens top={current.alternatives} chosen={current.token} label="Alternatives" />
            </div>
          )}
          {answer.nothing !== undefined && shownSteps >= steps.length && steps.length > 0 && (
            <p class="lsx-sentence">
              With nothing written it says: <q dir="auto">{answer.nothing.trim()}</q>
            </p>
          )}
        </section>
        <Trouble entry={entry} what="this state, step by step" />
        <Notes notes={answer.notes} />
      </div>
      {layers.length > 0 && (
        <section class="lsx-by-layer" aria-label="What each layer says">
          <h2>What each layer says</h2>
          <ol>
            {layers.map((each) => (
              <li key={each.layer}>
                <button
                  type="button"
                  class={`lsx-layer-says${each.echo ? " lsx-echo" : ""}`}
                  aria-current={each.layer === cell.layer ? "true" : undefined}
                  onClick={() => setCell({ ...cell, layer: each.layer })}
                >
                  <span class="lsx-index">{each.layer}</span>
                  <span class="lsx-said" dir="auto">
                    {each.text.trim()}
                  </span>
                  {each.echo && <span class="lsx-badge">echo</span>}
                </button>
              </li>
            ))}
          </ol>
          {layers.some((each) => each.echo) && (
            <p class="lsx-hint">
              An echo says what is said of nothing, or the placeholder again: the state was not heard.
            </p>
          )}
        </section>
      )}
    </>
  );
}
