/** One state, as all readers and lenses read it. */

import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";
import type { Cell, Prompt, Token } from "../protocol";
import { cellOf, wordsOf } from "../questions";
import { useAnswer, useApp } from "../store/hooks";
import { spoken } from "../text";
import { NumberField } from "./Field";
import { focusSoon } from "./focus";
import { Lenses } from "./Lenses";
import { TokenText } from "./TokenText";
import { Words } from "./Words";

interface Props {
  prompt: Prompt;
  tokens: Token[];
  /** Whose words and lenses are shown. */
  cell: Cell;
  title: ComponentChildren;
  onCell?: (cell: Cell) => void;
  hidden?: boolean;
  children?: ComponentChildren;
  footer?: ComponentChildren;
}

export const QUICK = 60;

export function SidePanel({ prompt, tokens, cell, title, onCell, hidden = false, children, footer }: Props) {
  const app = useApp();
  const state = app.state.value;
  const { model } = app.about.value;
  const lenses = useAnswer<"cell">("cell", hidden ? null : cellOf(prompt, cell), { debounce: QUICK });
  const words = useAnswer<"words">("words", hidden ? null : wordsOf(state, prompt, cell), { debounce: QUICK });
  const token = tokens[cell.position];

  const said = words.entry?.status === "done" ? words.entry.answer.said : undefined;
  useEffect(() => {
    const first = said?.find(({ condition }) => condition === "state");
    if (first) app.say(`Layer ${cell.layer}, token ${spoken(token?.text ?? "")}: ${first.text.trim()}`);
  }, [said]);

  return (
    <aside tabIndex={-1} class="lsx-panel" aria-label="Selected state" data-testid="side-panel">
      <h2>{title}</h2>
      {onCell && (
        <div class="lsx-sliders">
          <NumberField
            label="Layer"
            slider
            value={cell.layer}
            low={0}
            high={model.n_layers - 1}
            onChange={(layer) => onCell({ ...cell, layer })}
          />
          <NumberField
            label="Token"
            slider
            value={cell.position}
            low={0}
            high={Math.max(tokens.length - 1, cell.position)}
            onChange={(position) => onCell({ ...cell, position })}
          />
        </div>
      )}
      {children}
      {hidden ? (
        <div class="lsx-quiz-cover">
          <p>What will layer {cell.layer} say here? Decide, then look.</p>
          <button
            type="button"
            class="lsx-button lsx-primary"
            data-testid="reveal"
            onClick={(event) => {
              focusSoon(event.currentTarget, ".lsx-panel");
              app.reveal(cell.layer);
            }}
          >
            Reveal layer {cell.layer}
          </button>
        </div>
      ) : (
        <>
          <Words asking={words} />
          <Lenses asking={lenses} />
        </>
      )}
      {footer && <div class="lsx-panel-buttons">{footer}</div>}
    </aside>
  );
}

export function CellTitle({ cell, token }: { cell: Cell; token: Token | undefined }) {
  return (
    <>
      layer {cell.layer} <span class="lsx-muted">·</span> token {cell.position}{" "}
      {token && (
        <span class="lsx-quoted">
          “<TokenText text={token.text} />”
        </span>
      )}
    </>
  );
}
