import type { ComponentChildren } from "preact";
import { useRef } from "preact/hooks";
import type { Kind, State, View } from "../protocol";
import { copyLink, copyPython, exportPage, open, save } from "../store/files";
import { useApp } from "../store/hooks";
import { Select, Toggle } from "./Field";

export const VIEWS: { id: View; name: string }[] = [
  { id: "grid", name: "Grid" },
  { id: "patch", name: "Patch" },
  { id: "matters", name: "Where it matters" },
  { id: "step", name: "Step" },
];

const THEMES: { value: State["theme"]; name: string }[] = [
  { value: "auto", name: "Auto" },
  { value: "light", name: "Light" },
  { value: "dark", name: "Dark" },
];

export function Header({ children }: { children: ComponentChildren }) {
  const app = useApp();
  const state = app.state.value;
  const { model } = app.about.value;
  const { page, exportPage: canExport } = app.transport.value;
  const file = useRef<HTMLInputElement>(null);
  return (
    <header class="lsx-header">
      {children}
      <div class="lsx-brand">
        <h1>lensscope</h1>
        <span
          class="lsx-model"
          title={`${model.name}\n${model.n_layers} layers of width ${model.d_model}, ${model.dtype}\n${model.processing}\nfingerprint ${model.fingerprint}`}
        >
          {model.name.split("/").pop()}
        </span>
      </div>
      <nav class="lsx-nav" aria-label="Views">
        {VIEWS.map((view) => (
          <button
            key={view.id}
            type="button"
            aria-current={state.view === view.id ? "page" : undefined}
            onClick={() => app.set({ view: view.id })}
          >
            {view.name}
          </button>
        ))}
      </nav>
      <Progress />
      <div class="lsx-tools" role="group" aria-label="Tools">
        <div class="lsx-quiet-tools">
          {page && location.protocol !== "file:" && (
            <button type="button" class="lsx-button" data-testid="copy-link" onClick={() => void copyLink(app)}>
              Copy link
            </button>
          )}
          <button type="button" class="lsx-button" data-testid="copy-python" onClick={() => copyPython(app)}>
            Copy as Python
          </button>
          <button type="button" class="lsx-button" data-testid="save" onClick={() => save(app)}>
            Save
          </button>
          <button type="button" class="lsx-button" data-testid="open" onClick={() => file.current?.click()}>
            Open
          </button>
          <input
            ref={file}
            type="file"
            accept=".json,application/json"
            class="lsx-unseen"
            tabIndex={-1}
            aria-label="File to open"
            onChange={(event) => {
              const [chosen] = event.currentTarget.files ?? [];
              event.currentTarget.value = "";
              if (chosen) void open(app, chosen);
            }}
          />
          {canExport && (
            <button type="button" class="lsx-button" data-testid="export" onClick={() => void exportPage(app)}>
              Export page
            </button>
          )}
        </div>
        <Toggle
          pressed={state.presenter}
          testid="presenter"
          title="Larger, with more contrast"
          onChange={(presenter) => app.set({ presenter })}
        >
          Presenter
        </Toggle>
        <Select
          label="Theme"
          hideLabel
          testid="theme"
          value={state.theme}
          options={THEMES}
          onChange={(theme) => app.set({ theme })}
        />
        <button
          type="button"
          class="lsx-button"
          aria-label="Keys"
          title="Keys"
          onClick={() => (app.dialog.value = "keys")}
        >
          ?
        </button>
      </div>
    </header>
  );
}

const DOES: Record<Kind, string> = {
  grid: "Reading the grid",
  cell: "Reading the lenses",
  words: "Asking for words",
  controls: "Asking for controls",
  step: "Stepping",
  patch: "Patching",
  matters: "Running effects",
  circuit: "Looking for a circuit",
  tokens: "Splitting into tokens",
};

function Progress() {
  const app = useApp();
  const busy = app.asker.busy.value;
  const first = busy.find((entry) => entry.progress) ?? busy[0];
  const progress = first?.progress;
  const share = progress?.total ? progress.done / progress.total : null;
  return (
    <div class={`lsx-progress${first ? "" : " lsx-still"}`}>
      <span role="status" class="lsx-progress-text">
        {first && DOES[first.question.kind]}
        {first && progress?.total ? (
          <span class="lsx-muted">
            {" "}
            {progress.done}/{progress.total}
          </span>
        ) : null}
      </span>
      {first && (
        <button type="button" class="lsx-button" data-testid="stop" onClick={() => app.asker.stopAll()}>
          Stop
        </button>
      )}
      <span class="lsx-progress-bar" aria-hidden="true">
        {first && (
          <span
            class={share === null ? "lsx-unknown" : undefined}
            style={{ width: share === null ? "30%" : `${share * 100}%` }}
          />
        )}
      </span>
    </div>
  );
}
