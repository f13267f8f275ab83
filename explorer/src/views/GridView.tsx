import { useCallback, useEffect, useMemo } from "preact/hooks";
import { Toggle } from "../parts/Field";
import { Notes, Trouble } from "../parts/Failed";
import { focusSoon } from "../parts/focus";
import { Grid } from "../parts/Grid";
import { InspectionEditor } from "../parts/InspectionEditor";
import { LensSettings } from "../parts/LensSettings";
import { sizes, useLensGrid } from "../parts/lensgrid";
import { PromptBox } from "../parts/PromptBox";
import { everyFourth, QuizBar, toggleLayer } from "../parts/Quiz";
import { CellTitle, SidePanel } from "../parts/SidePanel";
import type { Cell, Question } from "../protocol";
import { cellOf, controlsOf, gridOf, wordsOf } from "../questions";
import { clamp } from "../numbers";
import { useAnswer, useApp } from "../store/hooks";
import { usePrefetch } from "../store/prefetch";

export function GridView() {
  const app = useApp();
  const state = app.state.value;
  const about = app.about.value;
  const { colour, quiz } = state;
  const { entry, shown, stale } = useAnswer<"grid">("grid", gridOf(state.prompt, state.lens), {
    debounce: 60,
    useful: (answer) => !!answer.tokens && !!answer.rows?.length,
  });
  const recording = app.recording.value;
  const revision = app.asker.revision.value;
  const mark = useMemo(() => {
    if (!quiz && !recording) return undefined;
    const known = (cell: Cell) =>
      app.asker.has(wordsOf(state, state.prompt, cell)) || app.asker.has(cellOf(state.prompt, cell));
    return (cell: Cell) =>
      quiz && quiz.layers.includes(cell.layer) && !quiz.shown.includes(cell.layer)
        ? ("hidden" as const)
        : !recording
          ? null
          : known(cell)
            ? ("known" as const)
            : ("unknown" as const);
  }, [quiz, recording, state.prompt, state.inspection, revision]);
  const grid = useLensGrid(shown?.answer ?? {}, colour, app.dark.value, mark);
  const size = sizes(state.presenter).wide;
  const last = Math.max(0, grid.tokens.length - 1);
  const cell: Cell | null = useMemo(
    () =>
      state.cell && {
        layer: state.cell.layer,
        position: grid.tokens.length && !stale ? clamp(state.cell.position, 0, last) : state.cell.position,
      },
    [state.cell?.layer, state.cell?.position, last, stale],
  );
  // What is copied and linked is what is shown.
  useEffect(() => {
    if (cell && !stale && grid.tokens.length && cell.position !== app.state.peek().cell?.position) app.set({ cell });
  }, [cell, stale, grid.tokens.length]);
  const select = useCallback((next: Cell) => app.set({ cell: { layer: next.layer, position: next.position } }), []);

  const hidden = cell ? app.hidden(cell.layer) : false;
  const neighbours = useMemo((): Question[] => {
    if (!cell || hidden || !grid.tokens.length || stale) return [];
    const near = ([dl, dp]: [number, number]): Cell[] => {
      const next = { layer: cell.layer + dl, position: cell.position + dp };
      return grid.layers.includes(next.layer) && next.position >= 0 && next.position <= last ? [next] : [];
    };
    const beside = (
      [
        [1, 0],
        [-1, 0],
        [0, 1],
        [0, -1],
      ] as [number, number][]
    ).flatMap(near);
    const updown = (
      [
        [1, 0],
        [-1, 0],
      ] as [number, number][]
    ).flatMap(near);
    return [
      ...beside.map((next) => cellOf(state.prompt, next)),
      controlsOf(state),
      ...updown.map((next) => wordsOf(state, state.prompt, next)),
    ];
  }, [cell, hidden, stale, grid.layers, last, state.prompt, state.inspection]);
  usePrefetch(neighbours, cell && !hidden ? [cellOf(state.prompt, cell), wordsOf(state, state.prompt, cell)] : []);

  const side = useCallback(
    (layer: number) =>
      quiz?.layers.includes(layer) && !quiz.shown.includes(layer) ? (
        <>
          {layer}
          <button
            type="button"
            class="lsx-reveal"
            aria-label={`Reveal layer ${layer}`}
            onClick={(event) => {
              focusSoon(event.currentTarget, "[role=gridcell][tabindex='0']");
              app.reveal(layer);
            }}
          >
            reveal
          </button>
        </>
      ) : (
        layer
      ),
    [quiz],
  );
  const sized = useMemo(
    () => (quiz ? { ...size, side: size.side + (state.presenter ? 78 : 56) } : size),
    [quiz !== null, size.side, state.presenter],
  );
  const empty = !grid.tokens.length;

  return (
    <>
      <div class="lsx-top-area">
        <PromptBox label="Prompt" value={state.prompt} onRun={(prompt) => app.set({ prompt })} />
        <LensSettings range={grid.range}>
          <Toggle
            pressed={!!quiz}
            testid="quiz"
            onChange={(on) =>
              app.set({
                quiz: on
                  ? {
                      layers: everyFourth(
                        grid.layers.length
                          ? grid.layers
                          : Array.from({ length: about.model.n_layers }, (_, layer) => layer),
                      ),
                      shown: [],
                    }
                  : null,
              })
            }
          >
            Quiz
          </Toggle>
        </LensSettings>
        <InspectionEditor />
        <QuizBar layers={grid.layers} />
      </div>
      <div class={`lsx-split${cell && !entry?.failure ? "" : " lsx-alone"}`}>
        <section class="lsx-main-part" aria-label="Grid of layers and tokens">
          <Trouble entry={entry} what="the grid of this prompt and lens" />
          {!entry?.failure &&
            entry?.status !== "missing" &&
            (empty ? (
              <div class="lsx-grid lsx-empty" aria-busy="true">
                <span class="lsx-unseen">Waiting for the grid</span>
              </div>
            ) : (
              <Grid
                testid="grid"
                label="What the lens reads, by layer and token"
                tokens={grid.tokens}
                layers={grid.layers}
                look={grid.look}
                selected={stale ? null : cell}
                size={sized}
                dim={stale}
                busy={entry?.status === "waiting"}
                onSelect={select}
                onMove={(next) => cell && select(next)}
                side={side}
                onRowHead={(layer, event) => {
                  if (quiz && event.shiftKey) app.set({ quiz: toggleLayer(quiz, layer) });
                  else select({ layer, position: cell?.position ?? last });
                }}
              />
            ))}
          <Notes notes={shown?.answer.notes} />
          {!cell && !empty && (
            <p class="lsx-hint">Select a cell to see what the model says of that state, beside lenses and controls.</p>
          )}
        </section>
        {cell && !entry?.failure && (
          <SidePanel
            prompt={state.prompt}
            tokens={grid.tokens}
            cell={cell}
            title={<CellTitle cell={cell} token={grid.tokens[cell.position]} />}
            onCell={select}
            hidden={hidden}
            footer={
              <>
                <button type="button" class="lsx-button" onClick={() => app.set({ view: "step", step: 0 })}>
                  Step through this
                </button>
                <button
                  type="button"
                  class="lsx-button"
                  onClick={() => {
                    app.held.value = { prompt: 0, ...cell };
                    app.set({ view: "patch", prompts: [state.prompt, app.state.peek().prompts[1]] });
                    app.tell("The state is held: move to a cell and press v, or click it, to write it there.");
                  }}
                >
                  Take into patch view
                </button>
                <button
                  type="button"
                  class="lsx-button"
                  onClick={(event) => {
                    focusSoon(event.currentTarget, "[role=gridcell][tabindex='0']");
                    app.set({ cell: null });
                  }}
                >
                  Close
                </button>
              </>
            }
          />
        )}
      </div>
    </>
  );
}
