/** Where the explorer begins: on a page of its own, in an exported file, or in a notebook. */

import { render as draw } from "preact";
import "./style/index.css";
import type { Recorded, State } from "./protocol";
import { checkAbout, checkRecorded } from "./shapes";
import { App } from "./store/app";
import { decode } from "./store/permalink";
import { httpTransport, loadAbout } from "./transport/http";
import { recordedTransport } from "./transport/recorded";
import { type WidgetModel, widgetTransport } from "./transport/widget";
import { Shell } from "./views/Shell";

function mount(app: App, element: HTMLElement, page: boolean): () => void {
  draw(<Shell app={app} page={page} />, element);
  return () => {
    draw(null, element);
    app.close();
  };
}

/** The fragment's state over `state`; null where there is none that can be read. */
function fromLink(state: State): State | null {
  try {
    return { ...state, ...decode(location.hash) };
  } catch {
    return null;
  }
}

function mountPage(app: App, element: HTMLElement, usual: State): void {
  if (location.hash.length > 1) {
    const linked = fromLink(usual);
    if (linked) app.restore(linked);
    else app.tell("The link could not be read: this is where one begins.");
  }
  addEventListener("hashchange", () => {
    const linked = fromLink(usual);
    if (linked) app.restore(linked);
  });
  mount(app, element, true);
}

function readRecorded(text: string): Recorded | null {
  try {
    return checkRecorded(JSON.parse(text)).recorded;
  } catch {
    return null;
  }
}

function startRecorded(element: HTMLElement, holder: HTMLElement): void {
  const recorded = readRecorded(holder.textContent ?? "");
  if (!recorded) {
    draw(<Waiting text="This page holds nothing that this version of the explorer can show." failed />, element);
    return;
  }
  const app = new App(recorded.about, recorded.state, recordedTransport(recorded, true));
  app.asker.learn(recorded.answers);
  mountPage(app, element, recorded.state);
}

function Waiting({ text, failed, onRetry }: { text: string; failed?: boolean; onRetry?: () => void }) {
  return (
    <main class="lsx lsx-page lsx-waiting">
      <h1>lensscope</h1>
      <p role={failed || onRetry ? "alert" : "status"} data-testid={failed || onRetry ? "error" : undefined}>
        {text}
      </p>
      {onRetry && (
        <button type="button" class="lsx-button lsx-primary" onClick={onRetry}>
          Try again
        </button>
      )}
    </main>
  );
}

async function startLive(element: HTMLElement): Promise<void> {
  draw(<Waiting text="Asking which model this is…" />, element);
  try {
    const about = await loadAbout();
    mountPage(new App(about, about.state, httpTransport), element, about.state);
  } catch (error) {
    const why =
      error instanceof Error && error.message
        ? error.message
        : "The server does not answer: is `lensscope explore` still running?";
    draw(<Waiting text={why} onRetry={() => void startLive(element)} />, element);
  }
}

/** Of an anywidget. */
function render({ model, el }: { model: WidgetModel; el: HTMLElement }): () => void {
  const about = checkAbout(model.get("about"));
  const transport = widgetTransport(model);
  const leave = mount(new App(about, about.state, transport), el, false);
  return () => {
    leave();
    transport.close();
  };
}

const place = typeof document === "undefined" ? null : document.querySelector<HTMLElement>("[data-lensscope-explorer]");
if (place) {
  const recorded = document.getElementById("lensscope-recorded");
  if (recorded) startRecorded(place, recorded);
  else void startLive(place);
}

export default { render };
