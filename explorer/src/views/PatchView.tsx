import { useCallback, useEffect, useMemo, useRef, useState } from "preact/hooks";
import { Arrows } from "../parts/Arrows";
import { useDrag } from "../parts/drag";
import { NumberField } from "../parts/Field";
import { Notes, Trouble } from "../parts/Failed";
import { focusSoon } from "../parts/focus";
import { Grid } from "../parts/Grid";
import type { GridHandle } from "../parts/gridtypes";
import { LensSettings } from "../parts/LensSettings";
import { sizes, useLensGrid } from "../parts/lensgrid";
import { PatchList } from "../parts/PatchList";
import { PatchResult } from "../parts/PatchResult";
import { PromptBox } from "../parts/PromptBox";
import { TokenText } from "../parts/TokenText";
import type { Cell, Prompt, Question, Spot, Token } from "../protocol";
import { gridOf, patchOf } from "../questions";
import { useAnswer, useApp } from "../store/hooks";
import { usePrefetch } from "../store/prefetch";
import { spoken } from "../text";

const NAMES = ["A", "B"] as const;
const NONE: Cell | null = null;
const NOTHING: Question[] = [];

function usePromptGrid(which: 0 | 1) {
  const app = useApp();
  const state = app.state.value;
  const asking = useAnswer<"grid">(`grid:${which}`, gridOf(state.prompts[which], state.lens), {
    debounce: 60,
    useful: (answer) => !!answer.tokens && !!answer.rows?.length,
  });
  const grid = useLensGrid(asking.shown?.answer ?? {}, state.colour, app.dark.value);
  return { ...asking, grid };
}

export function PatchView() {
  const app = useApp();
  const state = app.state.value;
  const about = app.about.value;
  const sides = [usePromptGrid(0), usePromptGrid(1)] as const;
  const tokens: Token[][] = sides.map((side) => side.grid.tokens);
  const held = app.held.value;
  const outer = useRef<HTMLDivElement>(null);
  const handles = useRef<(GridHandle | null)[]>([null, null]);
  const [, setTick] = useState(0);
  const frame = useRef(0);
  const redraw = useCallback(() => {
    cancelAnimationFrame(frame.current);
    frame.current = requestAnimationFrame(() => setTick((old) => old + 1));
  }, []);
  useEffect(() => {
    const box = outer.current;
    redraw();
    if (!box || typeof ResizeObserver === "undefined") return;
    const observer = new ResizeObserver(redraw);
    observer.observe(box);
    return () => {
      observer.disconnect();
      cancelAnimationFrame(frame.current);
    };
  }, []);
  // Heights above the grids may have changed with what is in them.
  useEffect(redraw, [sides[0].shown, sides[1].shown, state.presenter, held]);

  const nameOf = (spot: Spot) =>
    `${NAMES[spot.prompt]}, layer ${spot.layer}, token ${spot.position} “${spoken(tokens[spot.prompt]?.[spot.position]?.text ?? "")}”`;
  const write = (from: Spot, to: Spot) => {
    app.setPatches([...app.state.peek().patches, { from, to, how: "set", amount: 1 }]);
    app.say(`Patch from ${nameOf(from)} to ${nameOf(to)}.`);
  };
  const { drag, grab, justDropped } = useDrag(outer, write);

  const hold = (spot: Spot | null) => {
    app.held.value = spot;
    app.say(spot ? `Held: ${nameOf(spot)}.` : "Nothing is held.");
  };
  const onKey = (which: 0 | 1, event: KeyboardEvent, cell: Cell): boolean => {
    const spot: Spot = { prompt: which, ...cell };
    const letter = app.singleKeys.peek() && !event.ctrlKey && !event.metaKey && !event.altKey;
    if (event.key === "c" && letter) {
      hold(spot);
      return true;
    }
    if (event.key === "v" && letter) {
      const from = app.held.peek();
      if (from) write(from, spot);
      else app.tell("Nothing is held: press c on the cell whose state you want.");
      return true;
    }
    if (event.key === "Delete" || event.key === "Backspace") {
      const before = app.state.peek().patches;
      const after = before.filter(
        ({ to }) => !(to.prompt === which && to.layer === cell.layer && to.position === cell.position),
      );
      if (after.length !== before.length) {
        app.setPatches(after);
        app.say(`Removed the patches at ${nameOf(spot)}.`);
      }
      return true;
    }
    if (event.key === "Escape" && app.held.peek()) {
      hold(null);
      return true;
    }
    return false;
  };

  const question = state.patches.length ? patchOf(state) : null;
  const { entry, shown, stale } = useAnswer<"patch">("patch", question, {
    debounce: 150,
    useful: (answer) => !!answer.results?.length,
  });
  // What both go on with as they are is known, then, when the first state is dragged.
  const untouched = useMemo(() => [patchOf(state, [])], [state.prompts, state.new_tokens]);
  usePrefetch(untouched, NOTHING);
  const results = question ? [...(shown?.answer.results ?? [])].sort((a, b) => a.prompt - b.prompt) : [];
  useEffect(() => {
    if (entry?.status !== "done") return;
    for (const result of entry.answer.results ?? [])
      if (result.after) app.say(`Prompt ${NAMES[result.prompt]} now goes on: ${result.after.text}`);
  }, [entry?.status, entry?.question]);

  const setPrompt = (which: 0 | 1, prompt: Prompt) => {
    const [a, b] = app.state.peek().prompts;
    app.set({ prompts: which === 0 ? [prompt, b] : [a, prompt] });
  };
  const origin = drag && outer.current?.getBoundingClientRect();
  const size = sizes(state.presenter).compact;
  const range = useMemo(
    () => (sides[0].grid.range.most >= sides[1].grid.range.most ? sides[0] : sides[1]).grid.range,
    [sides[0].grid.range, sides[1].grid.range],
  );

  return (
    <>
      <LensSettings range={range} />
      <p class="lsx-held-line" role="status">
        {held ? (
          <>
            Held: {nameOf(held)}. Press <kbd>v</kbd> on a cell or click it to write it there.{" "}
            <button
              type="button"
              class="lsx-button"
              onClick={(event) => {
                focusSoon(event.currentTarget, "[role=gridcell][tabindex='0']");
                hold(null);
              }}
            >
              Let go
            </button>
          </>
        ) : null}
      </p>
      <div class="lsx-two" ref={outer}>
        {sides.map((side, index) => {
          const which = index as 0 | 1;
          return (
            <section key={which} class="lsx-prompt-side" aria-label={`Prompt ${NAMES[which]}`} data-prompt={which}>
              <PromptBox
                label={`Prompt ${NAMES[which]}`}
                testid={`prompt-box-${which}`}
                value={state.prompts[which]}
                onRun={(prompt) => setPrompt(which, prompt)}
              />
              <Trouble entry={side.entry} what={`the grid of prompt ${NAMES[which]}`} />
              {side.entry?.failure || side.entry?.status === "missing" ? null : side.grid.tokens.length ? (
                <Grid
                  testid={`patch-grid-${which}`}
                  label={`Prompt ${NAMES[which]}: what the lens reads, by layer and token`}
                  tokens={side.grid.tokens}
                  layers={side.grid.layers}
                  look={side.grid.look}
                  selected={NONE}
                  size={size}
                  dim={side.stale}
                  busy={side.entry?.status === "waiting"}
                  handle={(handle) => {
                    handles.current[which] = handle;
                    redraw();
                  }}
                  onScroll={redraw}
                  onGrab={(event, cell) => grab(event, { prompt: which, ...cell })}
                  onSelect={(cell) => {
                    const from = app.held.peek();
                    if (!from || justDropped()) return;
                    write(from, { prompt: which, ...cell });
                    hold(null);
                  }}
                  onKey={(event, cell) => onKey(which, event, cell)}
                />
              ) : (
                <div class="lsx-grid lsx-empty" aria-busy="true">
                  <span class="lsx-unseen">Waiting for the grid</span>
                </div>
              )}
              <Notes notes={side.shown?.answer.notes} />
            </section>
          );
        })}
        <Arrows patches={state.patches} drag={drag} handles={handles.current} outer={outer.current} held={held} />
        {drag && origin && (
          <div
            class="lsx-ghost"
            aria-hidden="true"
            style={{ transform: `translate(${drag.x - origin.left + 14}px, ${drag.y - origin.top + 10}px)` }}
          >
            {NAMES[drag.from.prompt]} · layer {drag.from.layer} ·{" "}
            <TokenText text={tokens[drag.from.prompt]?.[drag.from.position]?.text ?? ""} />
          </div>
        )}
      </div>
      <PatchList patches={state.patches} tokens={tokens} />
      {question && (
        <section
          class={`lsx-results${stale ? " lsx-dim" : ""}`}
          aria-label="Results"
          aria-busy={entry?.status === "waiting"}
        >
          <div class="lsx-line">
            <h2>What is said</h2>
            <NumberField
              label="New tokens"
              value={state.new_tokens}
              low={1}
              high={about.limits.max_new_tokens}
              onChange={(new_tokens) => app.set({ new_tokens })}
            />
          </div>
          <div class="lsx-two">
            {results.map((result) => (
              <PatchResult key={result.prompt} result={result} />
            ))}
            {!results.length && entry?.status === "waiting" && (
              <span class="lsx-skeleton lsx-tall" aria-hidden="true" />
            )}
          </div>
          <Trouble entry={entry} what="these patches" />
          <Notes notes={shown?.answer.notes} />
        </section>
      )}
    </>
  );
}
