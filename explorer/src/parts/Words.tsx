/** What the patchscope says of a state, beside what it says of others. */

import { plural } from "../numbers";
import { CONDITIONS } from "../protocol";
import type { Condition, Said, WordsAnswer } from "../protocol";
import type { Asking } from "../store/hooks";
import { useApp } from "../store/hooks";
import { capital, cut, sameWords } from "../text";
import { Notes, Trouble } from "./Failed";

function nameOf(condition: Condition, answer: Partial<WordsAnswer>): { name: string; title: string } {
  switch (condition) {
    case "state":
      return { name: "The state", title: "The state of this layer and token, written into the inspection prompt" };
    case "nothing":
      return { name: "Nothing written", title: "The inspection prompt as it is" };
    case "random":
      return { name: "Random vector", title: "A random vector of the state's length" };
    case "mean":
      return {
        name: answer.mean_of ? `Mean of ${plural(answer.mean_of, "text")}` : "Mean state",
        title: "The mean of the states of other texts at this layer",
      };
    case "shuffled":
      return {
        name: "Another text’s state",
        title: answer.shuffled_text
          ? `The state of “${answer.shuffled_text}” at this layer`
          : "The state of another text at this layer",
      };
  }
}

interface Row {
  text: string;
  done: boolean;
  /** Of a control: it says what the state says. Of the state: which controls do. */
  same: string | null;
}

function rowOf(
  said: Said[],
  reader: string,
  condition: Condition,
  names: (condition: Condition) => string,
): Row | null {
  const find = (wanted: Condition) => said.find((each) => each.reader === reader && each.condition === wanted);
  const mine = find(condition);
  if (!mine) return null;
  const state = find("state");
  const equals = (control: Said | undefined) =>
    !!control && !!state && control.done && state.done && sameWords(control.text, state.text);
  let same: string | null = null;
  if (condition !== "state") same = equals(mine) ? "same as the state" : null;
  else {
    const controls = CONDITIONS.filter((each) => each !== "state" && equals(find(each)));
    if (controls.length) same = `same as control: ${controls.map((each) => names(each).toLowerCase()).join(", ")}`;
  }
  return { text: mine.text, done: mine.done, same };
}

export function Words({ asking }: { asking: Asking<"words"> }) {
  const { readers } = useApp().about.value;
  const { entry } = asking;
  const answer = entry?.answer ?? {};
  const said = answer.said ?? [];
  const waiting = entry?.status === "waiting" || entry?.status === "unasked";
  const names = (condition: Condition) => nameOf(condition, answer).name;
  return (
    <section class="lsx-words" aria-label="In words">
      <h3>
        In words <span class="lsx-muted">what is said when it is written into the inspection prompt</span>
      </h3>
      {entry?.status === "missing" || (entry?.failure && !said.length) ? null : (
        <div class="lsx-scroll" tabIndex={readers.length > 2 ? 0 : undefined}>
          <table
            data-testid="words-table"
            style={{ minWidth: readers.length > 2 ? `${8 + readers.length * 11}em` : "" }}
            aria-busy={waiting}
          >
            <thead>
              <tr>
                <th scope="col">
                  <span class="lsx-unseen">Written</span>
                </th>
                {readers.map((reader) => (
                  <th key={reader.id} scope="col" title={reader.about}>
                    {capital(reader.name)}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {CONDITIONS.map((condition) => {
                const { name, title } = nameOf(condition, answer);
                return (
                  <tr key={condition} class={condition === "state" ? "lsx-the-state" : undefined}>
                    <th scope="row" title={title}>
                      {name}
                      {condition === "shuffled" && answer.shuffled_text && (
                        <span class="lsx-other" dir="auto">
                          “{cut(answer.shuffled_text, 48)}”
                        </span>
                      )}
                    </th>
                    {readers.map((reader) => {
                      const row = rowOf(said, reader.id, condition, names);
                      return (
                        <td key={reader.id} data-reader={reader.id} data-condition={condition} dir="auto">
                          {row ? (
                            <>
                              <span class="lsx-said">{row.text.trim() || (row.done ? "(nothing)" : "")}</span>
                              {!row.done && <span class="lsx-caret" aria-hidden="true" />}
                              {row.same && (
                                <span class={condition === "state" ? "lsx-badge lsx-warn" : "lsx-badge"} dir="ltr">
                                  <span aria-hidden="true">{condition === "state" ? "⚠ " : "= "}</span>
                                  {row.same}
                                </span>
                              )}
                            </>
                          ) : waiting ? (
                            <span class="lsx-skeleton" aria-hidden="true" />
                          ) : (
                            <span class="lsx-muted">–</span>
                          )}
                        </td>
                      );
                    })}
                  </tr>
                );
              })}
            </tbody>
          </table>
        </div>
      )}
      <Trouble entry={entry} what="what is said of this state with this inspection prompt" />
      <Notes notes={answer.notes} />
    </section>
  );
}
