import { nats } from "../numbers";
import type { Asking } from "../store/hooks";
import { useApp } from "../store/hooks";
import { capital } from "../text";
import { Notes, Trouble } from "./Failed";
import { TopSkeleton, TopTokens } from "./TopTokens";

/** The five first tokens of each lens, and of the model itself. */
export function Lenses({ asking }: { asking: Asking<"cell"> }) {
  const { lenses } = useApp().about.value;
  const { entry } = asking;
  const answer = entry?.answer ?? {};
  const gone = entry?.status === "missing" || (!!entry?.failure && !answer.lenses);
  return (
    <section class="lsx-lenses" aria-label="Lenses, top five">
      <h3>
        Lenses <span class="lsx-muted">five most probable next tokens</span>
      </h3>
      {!gone && (
        <div class="lsx-columns" aria-busy={entry?.status === "waiting"}>
          {lenses.map((lens) => {
            const found = answer.lenses?.find((each) => each.lens === lens.id);
            return (
              <div key={lens.id} data-testid={`lens-${lens.id}`}>
                <h4 title={lens.about}>{capital(lens.name)}</h4>
                {found ? (
                  <TopTokens top={found.top} chosen={answer.model?.[0]?.text ?? ""} label={`${lens.name}, top five`} />
                ) : (
                  <TopSkeleton />
                )}
                <p class="lsx-measures">
                  <span title="Entropy of this distribution, in nats">H {found ? nats(found.entropy) : "…"}</span>
                  <span title="Kullback–Leibler divergence from the model's own distribution, in nats">
                    KL {found ? nats(found.kl) : "…"}
                  </span>
                </p>
              </div>
            );
          })}
          <div data-testid="lens-model" class="lsx-itself">
            <h4 title="What the model says next at this token">The model itself</h4>
            {answer.model ? <TopTokens top={answer.model} label="The model itself, top five" /> : <TopSkeleton />}
          </div>
        </div>
      )}
      <Trouble entry={entry} what="the lenses at this cell" />
      <Notes notes={answer.notes} />
    </section>
  );
}
