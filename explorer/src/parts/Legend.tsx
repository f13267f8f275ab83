import { ramp } from "../colour";
import { nats } from "../numbers";
import type { Colour } from "../protocol";
import { useApp } from "../store/hooks";
import { COLOURS, type Range } from "./lensgrid";

export function Legend({ colour, range }: { colour: Colour; range: Range }) {
  const dark = useApp().dark.value;
  const about = COLOURS[colour];
  const high =
    range.most < 1e-5 ? "…" : colour === "probability" ? "1" : `${range.clipped ? "≥ " : ""}${nats(range.most)}`;
  return (
    <p class="lsx-legend">
      <span>
        {about.name} <span class="lsx-muted">{about.about}</span>
      </span>
      <span class="lsx-scale">
        <span>0</span>
        <span class="lsx-ramp" style={{ backgroundImage: ramp(colour, dark) }} />
        <span>{high}</span>
      </span>
      {range.clipped && <span class="lsx-muted">cut at the 95th percentile</span>}
    </p>
  );
}
