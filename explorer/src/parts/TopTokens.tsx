import { percent } from "../numbers";
import type { Guess } from "../protocol";
import { visible } from "../text";
import { TokenText } from "./TokenText";

/** A token, its probability as a bar and a number. */
export function TopTokens({ top, chosen, label }: { top: Guess[]; chosen?: string; label: string }) {
  return (
    <ol class="lsx-top" aria-label={label}>
      {top.map((guess, index) => (
        <li
          key={index}
          class={guess.text === chosen ? "lsx-chosen" : undefined}
          title={`${visible(guess.text)} ${percent(guess.probability)}`}
        >
          <span
            class="lsx-bar"
            style={{ width: `${Math.min(100, Math.max(0, guess.probability || 0) * 100)}%` }}
            aria-hidden="true"
          />
          <span class="lsx-what">
            <TokenText text={guess.text} />
          </span>
          <span class="lsx-number">{percent(guess.probability)}</span>
        </li>
      ))}
    </ol>
  );
}

export function TopSkeleton() {
  return (
    <div class="lsx-skeletons" aria-hidden="true">
      {[0, 1, 2, 3, 4].map((index) => (
        <span key={index} class="lsx-skeleton" />
      ))}
    </div>
  );
}
