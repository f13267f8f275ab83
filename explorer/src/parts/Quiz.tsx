/** Predict, then reveal. */

import { useApp } from "../store/hooks";

const EVERY = 4;

export function everyFourth(layers: number[]): number[] {
  return layers.filter((layer) => layer % EVERY === EVERY - 1).sort((a, b) => a - b);
}

export function toggleLayer(quiz: { layers: number[]; shown: number[] }, layer: number) {
  const layers = quiz.layers.includes(layer)
    ? quiz.layers.filter((each) => each !== layer)
    : [...quiz.layers, layer].sort((a, b) => a - b);
  return { layers, shown: quiz.shown.filter((each) => each !== layer) };
}

export function QuizBar({ layers }: { layers: number[] }) {
  const app = useApp();
  const { quiz } = app.state.value;
  if (!quiz) return null;
  const left = quiz.layers.filter((layer) => !quiz.shown.includes(layer)).length;
  return (
    <div class="lsx-quiz" role="group" aria-label="Quiz">
      <p>
        <strong>Quiz.</strong>{" "}
        {left
          ? `${left} of ${quiz.layers.length} layers are hidden: decide what they say, then reveal them.`
          : quiz.layers.length
            ? "All layers are revealed."
            : "No layer is hidden."}
      </p>
      <button
        type="button"
        class="lsx-button"
        disabled={!left}
        onClick={() => app.set({ quiz: { ...quiz, shown: [...quiz.layers] } })}
      >
        Reveal all
      </button>
      <button
        type="button"
        class="lsx-button"
        disabled={!quiz.shown.length}
        onClick={() => app.set({ quiz: { ...quiz, shown: [] } })}
      >
        Hide again
      </button>
      <details class="lsx-pick">
        <summary>Hidden layers</summary>
        <div class="lsx-checks">
          {[...layers]
            .sort((a, b) => a - b)
            .map((layer) => (
              <label key={layer} class="lsx-check">
                <input
                  type="checkbox"
                  checked={quiz.layers.includes(layer)}
                  onChange={() => app.set({ quiz: toggleLayer(quiz, layer) })}
                />
                {layer}
              </label>
            ))}
        </div>
      </details>
    </div>
  );
}
