import type { Operation, PatchSpec, Spot, Token } from "../protocol";
import { useApp } from "../store/hooks";
import { cut, visible } from "../text";
import { NumberField, Select } from "./Field";
import { focusSoon } from "./focus";

const HOW: { value: Operation; name: string; about: string }[] = [
  { value: "set", name: "replace", about: "The state takes the place of the target's" },
  { value: "add", name: "add", about: "The state is added to the target's" },
  { value: "project_out", name: "project out", about: "The state's direction is taken out of the target's" },
  { value: "scale", name: "scale", about: "The target's own state is multiplied" },
];

interface SpotProps {
  label: string;
  spot: Spot;
  tokens: Token[][];
  onChange: (spot: Spot) => void;
}

function SpotFields({ label, spot, tokens, onChange }: SpotProps) {
  const { model } = useApp().about.value;
  const mine = tokens[spot.prompt] ?? [];
  const count = Math.max(mine.length, spot.position + 1);
  return (
    <span class="lsx-spot">
      <Select
        label={`${label}: prompt`}
        hideLabel
        value={String(spot.prompt)}
        options={[
          { value: "0", name: "A" },
          { value: "1", name: "B" },
        ]}
        onChange={(value) => {
          const prompt = value === "1" ? 1 : 0;
          onChange({
            ...spot,
            prompt,
            position: Math.min(spot.position, Math.max(0, (tokens[prompt]?.length ?? 1) - 1)),
          });
        }}
      />
      <span aria-hidden="true" class="lsx-muted">
        layer
      </span>
      <NumberField
        label={`${label}: layer`}
        hideLabel
        slider
        value={spot.layer}
        low={0}
        high={model.n_layers - 1}
        onChange={(layer) => onChange({ ...spot, layer })}
      />
      <Select
        label={`${label}: token`}
        hideLabel
        value={String(spot.position)}
        options={Array.from({ length: count }, (_, position) => ({
          value: String(position),
          name: `${position} ${cut(visible(mine[position]?.text ?? ""), 24)}`,
        }))}
        onChange={(value) => onChange({ ...spot, position: Number(value) })}
      />
    </span>
  );
}

export function PatchList({ patches, tokens }: { patches: PatchSpec[]; tokens: Token[][] }) {
  const app = useApp();
  const change = (at: number, more: Partial<PatchSpec>) =>
    app.setPatches(patches.map((patch, index) => (index === at ? { ...patch, ...more } : patch)));
  const last = (prompt: 0 | 1) => Math.max(0, (tokens[prompt]?.length ?? 1) - 1);
  const middle = Math.floor(app.about.value.model.n_layers / 2);
  return (
    <section class="lsx-patches" aria-label="Patches">
      <div class="lsx-line">
        <h2>Patches</h2>
        <button
          type="button"
          class="lsx-button"
          onClick={() =>
            app.setPatches([
              ...patches,
              {
                from: { prompt: 0, layer: middle, position: last(0) },
                to: { prompt: 1, layer: middle, position: last(1) },
                how: "set",
                amount: 1,
              },
            ])
          }
        >
          Add a patch
        </button>
        <button type="button" class="lsx-button" disabled={!patches.length} onClick={() => app.setPatches([])}>
          Clear all
        </button>
      </div>
      {patches.length === 0 ? (
        <p class="lsx-hint" data-testid="patch-list">
          Drag a state of one prompt onto a cell of the other. By keyboard: <kbd>c</kbd> copies the focused cell,{" "}
          <kbd>v</kbd> writes it, <kbd>Delete</kbd> takes it away.
        </p>
      ) : (
        <div class="lsx-scroll" tabIndex={0} role="region" aria-label="List of patches">
          <table data-testid="patch-list" class="lsx-patch-table">
            <thead>
              <tr>
                <th scope="col">From</th>
                <th scope="col">To</th>
                <th scope="col">How</th>
                <th scope="col">Times</th>
                <th scope="col">
                  <span class="lsx-unseen">Remove</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {patches.map((patch, index) => {
                const name = `Patch ${index + 1}`;
                return (
                  <tr key={index}>
                    <td data-th="From">
                      {patch.from ? (
                        <SpotFields
                          label={`${name}, from`}
                          spot={patch.from}
                          tokens={tokens}
                          onChange={(from) => change(index, { from })}
                        />
                      ) : (
                        <span class="lsx-muted">the target’s own state</span>
                      )}
                    </td>
                    <td data-th="To">
                      <SpotFields
                        label={`${name}, to`}
                        spot={patch.to}
                        tokens={tokens}
                        onChange={(to) => change(index, { to })}
                      />
                    </td>
                    <td data-th="How">
                      <Select
                        label={`${name}: how`}
                        hideLabel
                        value={patch.how}
                        options={HOW}
                        onChange={(how) =>
                          change(index, {
                            how,
                            from:
                              how === "scale"
                                ? null
                                : (patch.from ?? {
                                    ...patch.to,
                                    prompt: patch.to.prompt === 0 ? 1 : 0,
                                    position: Math.min(patch.to.position, last(patch.to.prompt === 0 ? 1 : 0)),
                                  }),
                          })
                        }
                      />
                    </td>
                    <td data-th="Times">
                      <NumberField
                        label={`${name}: times`}
                        hideLabel
                        slider
                        value={patch.amount}
                        low={-3}
                        high={3}
                        step={0.1}
                        disabled={patch.how === "project_out"}
                        onChange={(amount) => change(index, { amount })}
                      />
                    </td>
                    <td>
                      <button
                        type="button"
                        class="lsx-button lsx-icon"
                        aria-label={`Remove patch ${index + 1}`}
                        onClick={(event) => {
                          focusSoon(
                            event.currentTarget,
                            patches.length > 1 ? ".lsx-patch-table .lsx-icon" : ".lsx-patches .lsx-button",
                            index,
                          );
                          app.setPatches(patches.filter((_, at) => at !== index));
                        }}
                      >
                        ×
                      </button>
                    </td>
                  </tr>
                );
              })}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}
