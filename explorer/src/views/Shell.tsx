import { Component, type ComponentChildren } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";
import { Dialogs } from "../parts/Dialogs";
import { FailurePanel } from "../parts/Failed";
import { Header, VIEWS } from "../parts/Header";
import { Recording } from "../parts/Recording";
import type { App } from "../store/app";
import { AppContext, useApp } from "../store/hooks";
import { encode } from "../store/permalink";
import { GridView } from "./GridView";
import { MattersView } from "./MattersView";
import { PatchView } from "./PatchView";
import { onShortcut } from "./shortcuts";
import { StepView } from "./StepView";

const CONTENTS = { grid: GridView, patch: PatchView, matters: MattersView, step: StepView };

/** One view that breaks leaves the others to be used. */
class Guard extends Component<{ children: ComponentChildren }, { error: Error | null }> {
  override state = { error: null };

  static override getDerivedStateFromError(error: Error) {
    return { error };
  }

  override render() {
    const error = this.state.error as Error | null;
    if (!error) return this.props.children;
    return (
      <FailurePanel
        failure={{
          what: "This view could not be shown",
          got: error.message,
          expected: "",
          instead: "Go to another view, or try again",
        }}
        onRetry={() => this.setState({ error: null })}
      />
    );
  }
}

function Messages() {
  const app = useApp();
  return (
    <div class="lsx-messages-area">
      {app.lost.value && (
        <div class="lsx-notice lsx-bad" role="alert" data-testid="error">
          <p>
            The server does not answer: is <code>lensscope explore</code> still running?
          </p>
          <button type="button" class="lsx-button" onClick={() => app.retry()}>
            Try again
          </button>
          <button
            type="button"
            class="lsx-button lsx-icon"
            aria-label="Dismiss"
            onClick={() => (app.lost.value = false)}
          >
            ×
          </button>
        </div>
      )}
      {app.notices.value.map((notice) => (
        <div
          key={notice.id}
          class={`lsx-notice lsx-${notice.tone}`}
          role={notice.tone === "bad" ? "alert" : "status"}
          data-testid={notice.tone === "bad" ? "error" : undefined}
        >
          <p>{notice.text}</p>
          <button type="button" class="lsx-button lsx-icon" aria-label="Dismiss" onClick={() => app.dismiss(notice.id)}>
            ×
          </button>
        </div>
      ))}
    </div>
  );
}

function Contents() {
  const app = useApp();
  const { view } = app.state.value;
  const View = CONTENTS[view];
  return (
    <Guard key={view}>
      <View />
    </Guard>
  );
}

export function Shell({ app, page }: { app: App; page: boolean }) {
  const state = app.state.value;
  const root = useRef<HTMLDivElement>(null);
  const main = useRef<HTMLElement>(null);
  const id = useId();

  useEffect(() => {
    const element = root.current;
    if (!element) return;
    const keys = (event: KeyboardEvent) => {
      app.interrupt?.();
      onShortcut(app, event);
    };
    // On a page of its own, keys work too when nothing has the focus.
    const loose = (event: KeyboardEvent) => event.target === document.body && keys(event);
    const act = () => app.interrupt?.();
    element.addEventListener("keydown", keys);
    element.addEventListener("pointerdown", act);
    if (page) document.addEventListener("keydown", loose);
    return () => {
      element.removeEventListener("keydown", keys);
      element.removeEventListener("pointerdown", act);
      document.removeEventListener("keydown", loose);
    };
  }, []);

  useEffect(() => {
    if (!page) return;
    const timer = setTimeout(() => {
      const fragment = "#" + encode(state);
      if (location.hash !== fragment) history.replaceState(history.state, "", fragment);
    }, 400);
    return () => clearTimeout(timer);
  }, [state]);

  useEffect(() => {
    if (page)
      document.title = `${VIEWS.find(({ id }) => id === state.view)?.name} · ${app.about.value.model.name} · lensscope`;
  }, [state.view, app.about.value]);

  return (
    <AppContext.Provider value={app}>
      <div
        ref={root}
        class={`lsx${state.presenter ? " lsx-presenter" : ""}${page ? " lsx-page" : " lsx-widget"}`}
        data-theme={app.dark.value ? "dark" : "light"}
      >
        <div class="lsx-body">
          <Header>
            <a
              class="lsx-skip"
              href={`#${id}`}
              onClick={(event) => {
                event.preventDefault();
                main.current?.focus();
              }}
            >
              Skip to the view
            </a>
          </Header>
          <Recording />
          {!page && <Messages />}
          <main
            ref={main}
            id={id}
            class="lsx-main"
            tabIndex={-1}
            aria-label={VIEWS.find(({ id }) => id === state.view)?.name}
          >
            <Contents />
          </main>
          <footer class="lsx-footer">
            <p>
              {Object.entries(app.about.value.libraries)
                .map(([name, version]) => `${name} ${version}`)
                .join(" · ")}
            </p>
          </footer>
        </div>
        {page && <Messages />}
        <p class="lsx-unseen" role="status" aria-live="polite">
          {app.spoken.value}
        </p>
        <Dialogs />
      </div>
    </AppContext.Provider>
  );
}
