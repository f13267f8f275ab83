/** The target side of a patchscope: where a state is written, and what is asked of it there. */

import { useEffect, useId, useState } from "preact/hooks";
import { canonical } from "../key";
import type { Inspection, Question } from "../protocol";
import { useAnswer, useApp } from "../store/hooks";
import { Select, NumberField } from "./Field";
import { FailurePanel } from "./Failed";
import { ChatToggle, PromptEditor } from "./PromptBox";
import { TokenText } from "./TokenText";

/** Written texts are asked with once nobody types. */
const SETTLED = 500;

export function InspectionEditor({ open = false }: { open?: boolean }) {
  const app = useApp();
  const { presets, limits, model } = app.about.value;
  const { inspection } = app.state.value;
  const [draft, setDraft] = useState(inspection);
  const [preset, setPreset] = useState(inspection.preset || (presets[0]?.id ?? ""));
  const id = useId();
  const known = canonical(inspection);
  useEffect(() => {
    setDraft(inspection);
    if (inspection.preset) setPreset(inspection.preset);
  }, [known]);

  const question: Extract<Question, { kind: "tokens" }> = {
    kind: "tokens",
    prompt: draft.text,
    placeholder: draft.placeholder || null,
  };
  const { entry, shown } = useAnswer<"tokens">("tokens:inspection", question, {
    debounce: 120,
    useful: (answer) => !!answer.tokens,
  });
  const tokens = shown?.answer.tokens ?? [];
  const placeholders = new Set(shown?.answer.placeholders ?? []);
  const none = entry?.status === "done" && !entry.answer.placeholders?.length;
  const fit = entry?.status === "done" && !none;

  useEffect(() => {
    if (!fit || canonical(draft) === known) return;
    const timer = setTimeout(() => app.set({ inspection: draft }), SETTLED);
    return () => clearTimeout(timer);
  }, [fit, canonical(draft), known]);

  const edit = (change: Partial<Inspection>) => setDraft({ ...draft, preset: "", ...change });
  const set = (change: Partial<Inspection>) => {
    const next = { ...draft, ...change };
    setDraft(next);
    if (fit) app.set({ inspection: next });
  };
  const begin = (chosen: string) => {
    const found = presets.find((each) => each.id === chosen);
    if (found) app.set({ inspection: { ...found.inspection, preset: found.id } });
  };
  const origin = presets.find((each) => each.id === preset);
  const same = draft.target === "same";

  return (
    <details class="lsx-inspection" open={open}>
      <summary>
        <h2>Inspection prompt</h2>
        <span class="lsx-muted lsx-summary-text">
          {presets.find((each) => each.id === draft.preset)?.name ?? "edited"},{" "}
          {same ? "written at the layer it is read from" : `written into block ${draft.target}`}, {draft.max_new_tokens}{" "}
          new tokens
        </span>
      </summary>
      <div class="lsx-inspection-body">
        <div class="lsx-line">
          <Select
            label="Preset"
            value={draft.preset}
            options={[
              ...(draft.preset ? [] : [{ value: "", name: "(edited)" }]),
              ...presets.map((each) => ({ value: each.id, name: each.name })),
            ]}
            onChange={begin}
          />
          <ChatToggle value={draft.text} onChange={(text) => edit({ text })} />
          {!draft.preset && origin && (
            <button type="button" class="lsx-button" onClick={() => begin(origin.id)}>
              Reset to “{origin.name}”
            </button>
          )}
        </div>
        <div class="lsx-line lsx-grow">
          <PromptEditor
            label="Inspection prompt"
            value={draft.text}
            testid="inspection-text"
            invalid={none || !!entry?.failure}
            describedBy={`${id}-tokens`}
            onChange={(text) => edit({ text })}
          />
          <span class="lsx-field">
            <label for={`${id}-placeholder`}>Placeholder</label>
            <input
              id={`${id}-placeholder`}
              type="text"
              class="lsx-short"
              value={draft.placeholder}
              maxLength={100}
              spellcheck={false}
              autocomplete="off"
              onInput={(event) => edit({ placeholder: event.currentTarget.value })}
            />
          </span>
        </div>
        <div id={`${id}-tokens`}>
          <p class="lsx-tokens" data-testid="inspection-tokens">
            {tokens.map((token, index) => (
              <span
                key={index}
                class={`lsx-chip${placeholders.has(index) ? " lsx-written" : ""}${token.special ? " lsx-special" : ""}`}
                title={placeholders.has(index) ? "The state is written here" : undefined}
              >
                <TokenText text={token.text} />
                {placeholders.has(index) && <span class="lsx-unseen"> (placeholder)</span>}
              </span>
            ))}
          </p>
          {none && (
            <p class="lsx-inline-error" role="alert">
              The placeholder “{draft.placeholder}” is not a token of this text: there is nowhere to write the state.
            </p>
          )}
          {entry?.failure && <FailurePanel failure={entry.failure} />}
        </div>
        <div class="lsx-line">
          <fieldset class="lsx-fieldset">
            <legend>Written</legend>
            <label class="lsx-check">
              <input
                type="checkbox"
                checked={same}
                onChange={() => edit({ target: same ? Math.min(1, model.n_layers - 1) : "same" })}
              />
              at the layer it is read from
            </label>
            <NumberField
              label="into the input of block"
              slider
              value={draft.target === "same" ? null : draft.target}
              low={0}
              high={model.n_layers - 1}
              disabled={same}
              onChange={(target) => edit({ target })}
            />
          </fieldset>
          <fieldset class="lsx-fieldset">
            <legend>Said</legend>
            <NumberField
              label="New tokens"
              value={draft.max_new_tokens}
              low={1}
              high={Math.min(60, limits.max_new_tokens)}
              onChange={(value) => set({ max_new_tokens: value })}
            />
            <NumberField
              label="Temperature"
              value={draft.temperature}
              low={0}
              high={2}
              step={0.1}
              onChange={(temperature) => set({ temperature })}
            />
            <NumberField
              label="Top p"
              value={draft.top_p}
              low={0.01}
              high={1}
              step={0.01}
              empty="all"
              disabled={draft.temperature === 0}
              onChange={(value) => set({ top_p: value })}
              onEmpty={() => set({ top_p: null })}
            />
            <NumberField
              label="Seed"
              value={draft.seed}
              low={0}
              high={2 ** 31 - 1}
              disabled={draft.temperature === 0}
              onChange={(seed) => set({ seed })}
            />
          </fieldset>
        </div>
      </div>
    </details>
  );
}
