import { useCallback, useEffect, useId, useState } from "preact/hooks";
import { ramp } from "../colour";
import { Circuit } from "../parts/Circuit";
import { NumberField, Select, Toggle } from "../parts/Field";
import { Notes, Trouble } from "../parts/Failed";
import { Grid } from "../parts/Grid";
import { MAP_SIZES, useMattersMap } from "../parts/mattersmap";
import { PromptBox } from "../parts/PromptBox";
import { CellTitle, SidePanel } from "../parts/SidePanel";
import { canonical } from "../key";
import { signed } from "../numbers";
import type { Cell, Prompt, Where } from "../protocol";
import { circuitOf, mattersOf, stateAt } from "../questions";
import { useAnswer, useApp } from "../store/hooks";
import { visible } from "../text";
import { focusSoon } from "../parts/focus";

const SITES: { value: Where; name: string; about: string }[] = [
  { value: "resid_pre", name: "Block input (residual)", about: "The residual stream that enters a block" },
  { value: "attn_out", name: "Attention output", about: "What a block's attention writes" },
  { value: "mlp_out", name: "MLP output", about: "What a block's MLP writes" },
];

export function MattersView() {
  const app = useApp();
  const state = app.state.value;
  const cell = state.matters_cell;
  const id = useId();
  const question = mattersOf(state);
  const { status } = app.asker.slot(question).peek();
  // A circuit needs no map; one that runs already goes on.
  const wanted = !state.circuit || status === "waiting" || status === "done";
  const matters = useAnswer<"matters">("matters", wanted ? question : null, {
    keep: true,
    useful: (answer) => !!answer.clean && !!answer.layers,
  });
  const circuit = useAnswer<"circuit">("circuit", state.circuit ? circuitOf(state) : null, {
    debounce: 200,
    useful: (answer) => !!answer.nodes,
  });
  const answer = matters.shown?.answer ?? {};
  const map = useMattersMap(answer, app.dark.value);
  const [hover, setHover] = useState<Cell | null>(null);

  const [draft, setDraft] = useState({
    clean: state.clean,
    corrupted: state.corrupted,
    answer: state.answer,
    wrong: state.wrong,
  });
  useEffect(
    () => setDraft({ clean: state.clean, corrupted: state.corrupted, answer: state.answer, wrong: state.wrong }),
    [canonical([state.clean, state.corrupted, state.answer, state.wrong])],
  );
  const run = (more: Partial<typeof draft> = {}) => {
    app.set({ ...draft, ...more, matters_cell: null });
    app.again.value += 1;
  };
  const select = useCallback((next: Cell) => {
    app.set({ matters_cell: { layer: next.layer, position: next.position } });
  }, []);

  const done = matters.entry?.status === "done";
  useEffect(() => {
    if (done) app.say("All effects have been run.");
  }, [done]);

  const chosen = matters.entry?.answer.answer ? matters.entry.answer : circuit.entry?.answer;
  const word = (label: string, name: "answer" | "wrong", placeholder: string | undefined) => (
    <span class="lsx-field">
      <label for={`${id}-${name}`}>{label}</label>
      <input
        id={`${id}-${name}`}
        type="text"
        value={draft[name]}
        placeholder={
          placeholder !== undefined && !state[name] ? `${visible(placeholder)} (the model’s)` : "the model’s"
        }
        spellcheck={false}
        autocomplete="off"
        onInput={(event) => setDraft({ ...draft, [name]: event.currentTarget.value })}
        onKeyDown={(event) => event.key === "Enter" && !event.isComposing && run()}
      />
    </span>
  );
  const changed =
    canonical(draft) !==
    canonical({ clean: state.clean, corrupted: state.corrupted, answer: state.answer, wrong: state.wrong });
  const over = hover ?? cell;
  const numbers = over && map.numbers(over.layer, over.position);
  const read = cell && stateAt(state.site, cell);

  return (
    <>
      <div class="lsx-top-area">
        <div class="lsx-two">
          <PromptBox
            bare
            label="Clean"
            testid="prompt-clean"
            value={state.clean}
            onDraft={(clean: Prompt) => setDraft((old) => ({ ...old, clean }))}
            onRun={(clean) => run({ clean })}
          />
          <PromptBox
            bare
            label="Corrupted"
            testid="prompt-corrupted"
            value={state.corrupted}
            onDraft={(corrupted: Prompt) => setDraft((old) => ({ ...old, corrupted }))}
            onRun={(corrupted) => run({ corrupted })}
          />
        </div>
        <div class="lsx-line lsx-settings">
          {word("Answer", "answer", chosen?.answer)}
          {word("Wrong answer", "wrong", chosen?.wrong)}
          <Select
            label="Patched"
            value={state.site}
            options={SITES}
            onChange={(site) => app.set({ site })}
            disabled={state.circuit}
          />
          <button
            type="button"
            class={`lsx-button${changed ? " lsx-primary" : ""}`}
            data-testid="run"
            onClick={() => run()}
          >
            Run <kbd aria-hidden="true">↵</kbd>
          </button>
          <Toggle pressed={state.circuit} onChange={(on) => app.set({ circuit: on })}>
            Circuit
          </Toggle>
          {state.circuit && (
            <NumberField
              label="Threshold"
              slider
              value={state.threshold}
              low={0.01}
              high={0.5}
              step={0.01}
              onChange={(threshold) => app.set({ threshold })}
            />
          )}
        </div>
        {answer.baselines && (
          <p class="lsx-sentence">
            Logit of “{visible(answer.answer ?? "")}” over “{visible(answer.wrong ?? "")}”:{" "}
            <strong>{signed(answer.baselines.clean, 2, true)}</strong> in the clean run,{" "}
            <strong>{signed(answer.baselines.corrupted, 2, true)}</strong> in the corrupted one.
          </p>
        )}
      </div>
      {state.circuit ? (
        <section class="lsx-main-part" aria-label="Circuit" aria-busy={circuit.entry?.status === "waiting"}>
          <Trouble entry={circuit.entry} what="this circuit" />
          <div class={circuit.stale ? "lsx-dim" : undefined}>
            <Circuit answer={circuit.shown?.answer ?? {}} waiting={circuit.entry?.status === "waiting"} />
          </div>
          <p class="lsx-legend">
            <span class="lsx-key lsx-plus">
              <svg width="12" height="12" aria-hidden="true">
                <circle cx="6" cy="6" r="5" />
              </svg>{" "}
              towards the clean answer
            </span>
            <span class="lsx-key lsx-minus">
              <svg width="14" height="12" aria-hidden="true">
                <path d="M7,0.5 L12.5,6 L7,11.5 L1.5,6 Z" />
              </svg>{" "}
              away from it
            </span>
            <span class="lsx-muted">area by the size of the effect, to first order</span>
          </p>
          <Notes notes={circuit.shown?.answer.notes} />
        </section>
      ) : (
        <div class={`lsx-split${cell ? "" : " lsx-alone"}`}>
          <section class="lsx-main-part" aria-label="Map of effects">
            <Trouble entry={matters.entry} what="this pair of prompts" />
            {map.ready ? (
              <Grid
                testid="matters-map"
                label="Effect of the clean run's state, by layer and token"
                tokens={map.tokens}
                layers={map.layers}
                look={map.look}
                selected={cell}
                size={state.presenter ? MAP_SIZES.presenter : MAP_SIZES.usual}
                head={map.head}
                dim={matters.stale}
                busy={matters.entry?.status === "waiting"}
                onSelect={select}
                onMove={(next) => cell && select(next)}
                onHover={setHover}
              />
            ) : (
              !matters.entry?.failure &&
              matters.entry?.status !== "missing" && (
                <div class="lsx-grid lsx-empty" aria-busy="true">
                  <span class="lsx-unseen">Waiting for the map</span>
                </div>
              )
            )}
            <div class={map.ready ? "lsx-legend" : "lsx-legend lsx-not-yet"}>
              <span class="lsx-scale">
                <span>
                  {map.clipped ? "≤ " : ""}
                  {signed(-map.most, 1)} away
                </span>
                <span class="lsx-ramp" style={{ backgroundImage: ramp("effect", app.dark.value) }} />
                <span>
                  towards clean {map.clipped ? "≥ " : ""}
                  {signed(map.most, 1, true)}
                </span>
              </span>
              <span class="lsx-muted">
                0 is the corrupted run, 1 the clean one; ≈ and hatched: an estimate of the first order
              </span>
            </div>
            <p class="lsx-readout" aria-hidden={!numbers}>
              {over && numbers ? (
                <>
                  layer {over.layer}, token {over.position}: run{" "}
                  <strong>{numbers.exact === undefined ? "not yet" : signed(numbers.exact, 3)}</strong>, estimated{" "}
                  <strong>{numbers.estimate === undefined ? "–" : signed(numbers.estimate, 3)}</strong>
                </>
              ) : (
                " "
              )}
            </p>
            <Notes notes={matters.shown?.answer.notes} />
            {!cell && map.ready && (
              <p class="lsx-hint">Select a cell to see what the clean prompt’s state says there.</p>
            )}
          </section>
          {cell && read && (
            <SidePanel
              prompt={state.clean}
              tokens={map.tokens}
              cell={read}
              title={<CellTitle cell={cell} token={map.tokens[cell.position]} />}
              footer={
                <button
                  type="button"
                  class="lsx-button"
                  onClick={(event) => {
                    focusSoon(event.currentTarget, "[role=gridcell][tabindex='0']");
                    app.set({ matters_cell: null });
                  }}
                >
                  Close
                </button>
              }
            >
              <p class="lsx-hint">
                {state.site === "resid_pre"
                  ? cell.layer > 0
                    ? `The clean prompt’s residual that enters block ${cell.layer}: the output of block ${read.layer}.`
                    : "Nearest to the input of block 0: the clean prompt’s residual after block 0."
                  : `The clean prompt’s residual after block ${read.layer}.`}
              </p>
            </SidePanel>
          )}
        </div>
      )}
    </>
  );
}
