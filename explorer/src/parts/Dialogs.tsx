import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";
import { copyText } from "../store/files";
import { useApp } from "../store/hooks";

function Dialog({ title, children }: { title: string; children: ComponentChildren }) {
  const app = useApp();
  const ref = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const dialog = ref.current;
    if (!dialog) return;
    const before = (dialog.getRootNode() as Document | ShadowRoot).activeElement as HTMLElement | null;
    dialog.showModal();
    return () => {
      dialog.close();
      before?.focus?.();
    };
  }, []);
  const close = () => (app.dialog.value = null);
  return (
    <dialog
      ref={ref}
      class="lsx-dialog"
      aria-labelledby={id}
      onCancel={(event) => {
        event.preventDefault();
        close();
      }}
      onClick={(event) => event.target === ref.current && close()}
    >
      <div class="lsx-dialog-body">
        <div class="lsx-dialog-head">
          <h2 id={id}>{title}</h2>
          <button type="button" class="lsx-button lsx-icon" aria-label="Close" onClick={close}>
            ×
          </button>
        </div>
        {children}
      </div>
    </dialog>
  );
}

const KEYS: [string, [string[], string][]][] = [
  [
    "Everywhere",
    [
      [["1", "2", "3", "4"], "the views"],
      [["l", "L"], "next, previous lens"],
      [["k"], "next colour"],
      [["p"], "presenter"],
      [["s"], "save"],
      [["u"], "copy the link"],
      [["y"], "copy as Python"],
      [["Esc"], "close, let go, stop"],
      [["?"], "these keys"],
    ],
  ],
  [
    "In a grid",
    [
      [["↑", "↓", "←", "→"], "move"],
      [["Home", "End"], "first, last token"],
      [["Ctrl+Home", "Ctrl+End"], "first, last cell"],
      [["Page ↑", "Page ↓"], "a page of layers"],
      [["Enter"], "select"],
      [["q"], "quiz"],
      [["r"], "reveal this layer"],
    ],
  ],
  [
    "Patching",
    [
      [["c"], "copy the state"],
      [["v"], "write it here"],
      [["Delete"], "remove the patches here"],
    ],
  ],
  [
    "Stepping",
    [
      [["→", "Space"], "next token"],
      [["←"], "back"],
    ],
  ],
];

function KeysDialog() {
  const app = useApp();
  return (
    <Dialog title="Keys">
      <div class="lsx-keys">
        {KEYS.map(([group, keys]) => (
          <section key={group}>
            <h3>{group}</h3>
            <dl>
              {keys.map(([names, what]) => (
                <div key={what}>
                  <dt>
                    {names.map((name) => (
                      <kbd key={name}>{name}</kbd>
                    ))}
                  </dt>
                  <dd>{what}</dd>
                </div>
              ))}
            </dl>
          </section>
        ))}
      </div>
      <label class="lsx-check">
        <input
          type="checkbox"
          checked={app.singleKeys.value}
          onChange={(event) => (app.singleKeys.value = event.currentTarget.checked)}
        />
        Keys of a single letter, digit or sign work
      </label>
    </Dialog>
  );
}

function PythonDialog() {
  const app = useApp();
  const code = app.python() ?? "";
  return (
    <Dialog title="As Python">
      <p class="lsx-muted">These lines give what is on the screen.</p>
      <pre class="lsx-code" data-testid="python-code" tabIndex={0} aria-label="Python code">
        <code>{code}</code>
      </pre>
      <button type="button" class="lsx-button lsx-primary" onClick={() => void copyText(app, code, "Python")}>
        Copy
      </button>
    </Dialog>
  );
}

export function Dialogs() {
  const open = useApp().dialog.value;
  return open === "keys" ? <KeysDialog /> : open === "python" ? <PythonDialog /> : null;
}
