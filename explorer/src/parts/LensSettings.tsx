import type { ComponentChildren } from "preact";
import type { Colour } from "../protocol";
import { useApp } from "../store/hooks";
import { choices, Select } from "./Field";
import { Legend } from "./Legend";
import { COLOURS, type Range } from "./lensgrid";

const CHOICES = (Object.keys(COLOURS) as Colour[]).map((value) => ({ value, name: COLOURS[value].name }));

/** Which lens is read and what colours its cells, in every view that has such a grid. */
export function LensSettings({ range, children }: { range: Range; children?: ComponentChildren }) {
  const app = useApp();
  const { lens, colour } = app.state.value;
  return (
    <div class="lsx-line lsx-settings">
      <Select
        label="Lens"
        value={lens}
        options={choices(app.about.value.lenses)}
        onChange={(next) => app.set({ lens: next })}
      />
      <Select label="Colour" value={colour} options={CHOICES} onChange={(next) => app.set({ colour: next })} />
      {children}
      <Legend colour={colour} range={range} />
    </div>
  );
}
