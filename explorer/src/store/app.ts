/** All that one explorer on a page knows; a notebook may show several. */

import { batch, computed, signal, type ReadonlySignal } from "@preact/signals";
import { clamp } from "../numbers";
import type { About, Cell, PatchSpec, Recorded, Spot, State } from "../protocol";
import { asked, stepOf } from "../questions";
import { checkRecorded } from "../shapes";
import { recordedTransport } from "../transport/recorded";
import type { Transport } from "../transport/transport";
import { Asker } from "./asker";

export interface Notice {
  id: number;
  text: string;
  tone: "quiet" | "bad";
}

export class App {
  readonly about;
  readonly state;
  readonly transport;
  readonly asker: Asker;
  /** The server did not answer. */
  readonly lost = signal(false);
  /** Grows when one wants what failed to be asked again. */
  readonly again = signal(0);
  readonly notices = signal<Notice[]>([]);
  /** Said to those who hear the page. */
  readonly spoken = signal("");
  readonly dialog = signal<"keys" | "python" | null>(null);
  /** Of the patch view, what was copied. */
  readonly held = signal<Spot | null>(null);
  readonly singleKeys = signal(true);
  /** Ends what is asked ahead, as somebody acts. */
  interrupt: (() => void) | null = null;
  /** What a recording was opened in place of. */
  readonly liveBefore = signal<{
    about: About;
    transport: Transport;
    state: State;
    answers: Recorded["answers"];
  } | null>(null);
  readonly dark: ReadonlySignal<boolean>;
  readonly recording: ReadonlySignal<boolean>;
  private readonly media = typeof matchMedia === "function" ? matchMedia("(prefers-color-scheme: dark)") : null;
  private readonly systemDark = signal(this.media?.matches ?? false);
  private noticeCount = 0;

  constructor(about: About, state: State, transport: Transport) {
    this.about = signal(about);
    this.state = signal(fitted(state, about));
    this.transport = signal(transport);
    const session = Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) =>
      byte.toString(16).padStart(2, "0"),
    ).join("");
    this.asker = new Asker(transport, session, () => (this.lost.value = true));
    this.media?.addEventListener("change", this.onMedia);
    this.dark = computed(() => {
      const { theme } = this.state.value;
      return theme === "auto" ? this.systemDark.value : theme === "dark";
    });
    this.recording = computed(() => !this.transport.value.live);
  }

  private readonly onMedia = (event: MediaQueryListEvent) => {
    this.systemDark.value = event.matches;
  };

  close(): void {
    this.media?.removeEventListener("change", this.onMedia);
    this.asker.stopAll();
  }

  set(change: Partial<State>): void {
    this.state.value = { ...this.state.peek(), ...change };
  }

  setPatches(patches: PatchSpec[]): void {
    const most = this.about.peek().limits.patches;
    if (patches.length > most) {
      this.tell(`At most ${most} patches at once.`, "bad");
      return;
    }
    this.set({ patches });
  }

  /** From a link. */
  restore(state: State): void {
    this.state.value = fitted(state, this.about.peek());
  }

  /** Of the step view: one token on, or back. */
  stepBy(by: number): void {
    const state = this.state.peek();
    if (!state.cell) return;
    const most = this.asker.slot(stepOf(state, state.cell)).peek().answer.steps?.length ?? 0;
    this.set({ step: clamp(Math.min(state.step, most) + by, 0, most) });
  }

  say(text: string): void {
    this.spoken.value = text;
  }

  tell(text: string, tone: Notice["tone"] = "quiet"): void {
    const id = ++this.noticeCount;
    this.notices.value = [...this.notices.peek().filter((notice) => notice.text !== text), { id, text, tone }].slice(
      -3,
    );
    if (tone === "quiet") setTimeout(() => this.dismiss(id), 6000);
  }

  dismiss(id: number): void {
    this.notices.value = this.notices.peek().filter((notice) => notice.id !== id);
  }

  retry(): void {
    this.lost.value = false;
    this.again.value += 1;
  }

  hidden(layer: number): boolean {
    const { quiz } = this.state.value;
    return !!quiz && quiz.layers.includes(layer) && !quiz.shown.includes(layer);
  }

  reveal(layer: number): void {
    const { quiz } = this.state.peek();
    if (quiz && !quiz.shown.includes(layer)) this.set({ quiz: { ...quiz, shown: [...quiz.shown, layer] } });
  }

  /** The lines of Python that give what is on the screen. */
  python(): string | null {
    for (const question of asked(this.state.peek())) {
      const { answer } = this.asker.slot(question).peek();
      if (answer.python) return answer.python;
    }
    return null;
  }

  recorded(): Recorded {
    const about = this.about.peek();
    return {
      format: about.format,
      version: 1,
      about: { ...about, live: false },
      state: this.state.peek(),
      answers: this.asker.known(),
    };
  }

  /** A file's text: of this model, its answers are learned; of another one, it is shown as a recording. */
  open(text: string): void {
    const { recorded, left } = checkRecorded(JSON.parse(text));
    const lacks = left ? ` ${left} of its answers could not be read.` : "";
    if (!this.recording.peek() && recorded.about.model.fingerprint === this.about.peek().model.fingerprint) {
      batch(() => {
        this.asker.learn(recorded.answers);
        this.state.value = fitted(recorded.state, this.about.peek());
      });
      this.tell(`Opened: ${recorded.answers.length} answers of this model.${lacks}`);
      return;
    }
    batch(() => {
      this.liveBefore.value ??= {
        about: this.about.peek(),
        transport: this.transport.peek(),
        state: this.state.peek(),
        answers: this.asker.known(),
      };
      this.show(recorded);
    });
    this.tell(`Opened a recording of ${recorded.about.model.name}.${lacks}`);
  }

  show(recorded: Recorded): void {
    const transport = recordedTransport(recorded, this.transport.peek().page);
    this.asker.change(transport);
    this.asker.learn(recorded.answers);
    this.about.value = recorded.about;
    this.state.value = fitted(recorded.state, recorded.about);
    this.transport.value = transport;
    this.held.value = null;
  }

  backToLive(): void {
    const before = this.liveBefore.peek();
    if (!before) return;
    batch(() => {
      this.asker.change(before.transport);
      this.asker.learn(before.answers);
      this.about.value = before.about;
      this.state.value = before.state;
      this.transport.value = before.transport;
      this.liveBefore.value = null;
    });
  }
}

/** What a link or a file names and this model lacks, becomes what it has. */
export function fitted(state: State, about: About): State {
  const last = about.model.n_layers - 1;
  const fitCell = <C extends Cell>(cell: C): C => ({ ...cell, layer: clamp(cell.layer, 0, last) });
  const { inspection } = state;
  return {
    ...state,
    lens: about.lenses.some(({ id }) => id === state.lens) ? state.lens : (about.lenses[0]?.id ?? state.lens),
    reader: about.readers.some(({ id }) => id === state.reader) ? state.reader : (about.readers[0]?.id ?? state.reader),
    cell: state.cell && fitCell(state.cell),
    matters_cell: state.matters_cell && fitCell(state.matters_cell),
    patches: state.patches
      .slice(0, about.limits.patches)
      .map((patch) => ({ ...patch, from: patch.from && fitCell(patch.from), to: fitCell(patch.to) })),
    inspection: {
      ...inspection,
      target: inspection.target === "same" ? "same" : clamp(inspection.target, 0, last),
      preset: about.presets.some(({ id }) => id === inspection.preset) ? inspection.preset : "",
    },
  };
}
