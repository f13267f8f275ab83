/** Keys that work wherever nothing is written. */

import { VIEWS } from "../parts/Header";
import { COLOURS } from "../parts/lensgrid";
import { everyFourth } from "../parts/Quiz";
import type { Colour } from "../protocol";
import type { App } from "../store/app";
import { copyLink, copyPython, save } from "../store/files";

const WRITES = "input:not([type=checkbox]):not([type=range]), textarea, select, [contenteditable]";

export function onShortcut(app: App, event: KeyboardEvent): void {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || app.dialog.peek()) return;
  const target = event.target as Element;
  if (event.key === "Escape") {
    if (app.held.peek()) app.held.value = null;
    else if (app.asker.busy.peek().length) app.asker.stopAll();
    return;
  }
  if (target.closest(WRITES)) return;
  const state = app.state.peek();
  if (state.view === "step" && !target.closest("input, summary")) {
    const button = target.closest("button");
    if (event.key === "ArrowRight" || (event.key === " " && !button)) return take(event, () => app.stepBy(1));
    if (event.key === "ArrowLeft") return take(event, () => app.stepBy(-1));
  }
  if (!app.singleKeys.peek()) return;
  const view = VIEWS[Number(event.key) - 1];
  if (view) return take(event, () => app.set({ view: view.id }));
  const action = actions[event.key];
  if (action) take(event, () => action(app));
}

function take(event: Event, act: () => void): void {
  event.preventDefault();
  act();
}

function lens(app: App, by: number): void {
  const { lenses } = app.about.peek();
  const at = lenses.findIndex(({ id }) => id === app.state.peek().lens);
  const next = lenses[(at + by + lenses.length) % lenses.length];
  if (!next) return;
  app.set({ lens: next.id });
  app.say(`Lens: ${next.name}`);
}

const actions: Record<string, (app: App) => void> = {
  l: (app) => lens(app, 1),
  L: (app) => lens(app, -1),
  k: (app) => {
    const colours = Object.keys(COLOURS) as Colour[];
    const next = colours[(colours.indexOf(app.state.peek().colour) + 1) % colours.length]!;
    app.set({ colour: next });
    app.say(`Colour: ${COLOURS[next].name}`);
  },
  p: (app) => app.set({ presenter: !app.state.peek().presenter }),
  q: (app) => {
    const layers = Array.from({ length: app.about.peek().model.n_layers }, (_, layer) => layer);
    app.set({ quiz: app.state.peek().quiz ? null : { layers: everyFourth(layers), shown: [] } });
  },
  r: (app) => {
    const { cell } = app.state.peek();
    if (cell) app.reveal(cell.layer);
  },
  s: (app) => save(app),
  u: (app) => {
    if (app.transport.peek().page) void copyLink(app);
  },
  y: (app) => copyPython(app),
  "?": (app) => {
    app.dialog.value = "keys";
  },
};
