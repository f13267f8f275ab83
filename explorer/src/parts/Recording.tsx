/** What a recording holds, so that one finds it. */

import { canonical } from "../key";
import type { Prompt, Question, State } from "../protocol";
import { asked } from "../questions";
import { useApp } from "../store/hooks";
import { cut } from "../text";

function short(prompt: Prompt): string {
  return cut(typeof prompt === "string" ? prompt : prompt.map(({ content }) => content).join(" / "), 40);
}

/** Where one sees the answer. */
export function stateOf(question: Question): Partial<State> | null {
  switch (question.kind) {
    case "tokens":
    case "controls":
      return null;
    case "grid":
      return { view: "grid", prompt: question.prompt, lens: question.lens, cell: null };
    case "cell":
      return { view: "grid", prompt: question.prompt, cell: { layer: question.layer, position: question.position } };
    case "words":
      return {
        view: "grid",
        prompt: question.prompt,
        inspection: question.inspection,
        cell: { layer: question.layer, position: question.position },
      };
    case "step":
      return {
        view: "step",
        prompt: question.prompt,
        inspection: question.inspection,
        reader: question.reader,
        step: 0,
        cell: { layer: question.layer, position: question.position },
      };
    case "patch":
      return {
        view: "patch",
        prompts: question.prompts,
        patches: question.patches,
        new_tokens: question.max_new_tokens,
      };
    case "matters":
      return {
        view: "matters",
        circuit: false,
        clean: question.clean,
        corrupted: question.corrupted,
        answer: question.answer,
        wrong: question.wrong,
        site: question.site,
      };
    case "circuit":
      return {
        view: "matters",
        circuit: true,
        clean: question.clean,
        corrupted: question.corrupted,
        answer: question.answer,
        wrong: question.wrong,
        threshold: question.threshold,
      };
  }
}

function labelOf(question: Question): string {
  switch (question.kind) {
    case "grid":
      return `Grid, ${question.lens}: ${short(question.prompt)}`;
    case "cell":
    case "words":
      return `Layer ${question.layer}, token ${question.position}: ${short(question.prompt)}`;
    case "step":
      return `Step, layer ${question.layer}, token ${question.position}, ${question.reader}: ${short(question.prompt)}`;
    case "patch":
      return `${question.patches.length === 1 ? "Patch" : `${question.patches.length} patches`}: ${short(question.prompts[0])} / ${short(question.prompts[1])}`;
    case "matters":
      return `Where it matters, ${question.site}: ${short(question.clean)}`;
    case "circuit":
      return `Circuit above ${question.threshold}: ${short(question.clean)}`;
    case "tokens":
    case "controls":
      return "";
  }
}

const GROUPS: [string, Question["kind"][]][] = [
  ["Grids", ["grid"]],
  ["States in words", ["words"]],
  ["States, lenses only", ["cell"]],
  ["Patches", ["patch"]],
  ["Where it matters", ["matters", "circuit"]],
  ["Steps", ["step"]],
];

export function Recording() {
  const app = useApp();
  const about = app.about.value;
  if (!app.recording.value) return null;
  const questions = app.asker.known().map(({ question }) => question);
  const worded = new Set(
    questions.flatMap((question) =>
      question.kind === "words" ? [canonical([question.prompt, question.layer, question.position])] : [],
    ),
  );
  const shown = questions.filter(
    (question) =>
      !(question.kind === "patch" && !question.patches.length) &&
      (question.kind !== "cell" || !worded.has(canonical([question.prompt, question.layer, question.position]))),
  );
  const now = asked(app.state.value)[0];
  return (
    <div class="lsx-recording" role="region" aria-label="Recording">
      <p>
        A recording of <strong>{about.model.name}</strong>
        {about.libraries["lensscope"] ? `, made with lensscope ${about.libraries["lensscope"]}` : ""}: nothing new can
        be asked.
        {app.state.value.view === "grid" && (
          <span class="lsx-muted">
            {" "}
            Cells with <span class="lsx-dot" role="img" aria-label="a dot" /> can be opened; of hatched ones, only the
            grid is there.
          </span>
        )}
      </p>
      <label class="lsx-contents">
        <span>In it</span>
        <select
          value=""
          onChange={(event) => {
            const question = shown[Number(event.currentTarget.value)];
            const change = question && stateOf(question);
            if (change) app.set(change);
            event.currentTarget.value = "";
          }}
        >
          <option value="">{now && app.asker.has(now) ? labelOf(now) : "Go to…"}</option>
          {GROUPS.map(([name, kinds]) => {
            const group = shown
              .map((question, index) => ({ question, index }))
              .filter(({ question }) => kinds.includes(question.kind));
            return (
              group.length > 0 && (
                <optgroup key={name} label={name}>
                  {group.map(({ question, index }) => (
                    <option key={index} value={index}>
                      {labelOf(question)}
                    </option>
                  ))}
                </optgroup>
              )
            );
          })}
        </select>
      </label>
      {app.liveBefore.value && (
        <button type="button" class="lsx-button" onClick={() => app.backToLive()}>
          {app.liveBefore.value.transport.live ? "Back to the live model" : "Back to the first recording"}
        </button>
      )}
    </div>
  );
}
