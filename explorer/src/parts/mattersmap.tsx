import { useMemo } from "preact/hooks";
import { paint } from "../colour";
import { clamp, quantile, signed } from "../numbers";
import type { MattersAnswer } from "../protocol";
import { spoken, visible } from "../text";
import { cellName } from "./Grid";
import type { Look, Size } from "./gridtypes";
import { TokenText } from "./TokenText";

export const MAP_SIZES: Record<"usual" | "presenter", Size> = {
  usual: { width: 74, height: 25, head: 62, side: 46 },
  presenter: { width: 110, height: 38, head: 92, side: 62 },
};

/** Of the effects: first as estimated, then as run. */
export function useMattersMap(answer: Partial<MattersAnswer>, dark: boolean) {
  const clean = answer.clean ?? [];
  const corrupted = answer.corrupted ?? [];
  const layers = useMemo(() => [...(answer.layers ?? [])].sort((a, b) => b - a), [answer.layers]);
  const exact = useMemo(() => new Map((answer.exact ?? []).map((row) => [row.layer, row.effects])), [answer.exact]);
  const estimate = useMemo(
    () => new Map((answer.layers ?? []).map((layer, index) => [layer, answer.estimate?.[index]])),
    [answer.layers, answer.estimate],
  );
  const { most, clipped } = useMemo(() => {
    const sizes = (answer.layers ?? []).flatMap((layer) => exact.get(layer) ?? estimate.get(layer) ?? []).map(Math.abs);
    const most = clamp(quantile(sizes, 0.995), 0.05, 1);
    return { most, clipped: sizes.some((size) => size > most + 0.05) };
  }, [exact, estimate]);
  const numbers = useMemo(
    () => (layer: number, position: number) => ({
      exact: exact.get(layer)?.[position],
      estimate: estimate.get(layer)?.[position],
    }),
    [exact, estimate],
  );
  const look = useMemo(
    () =>
      (layer: number, position: number): Look | null => {
        const found = numbers(layer, position);
        const value = found.exact ?? found.estimate;
        if (value === undefined) return null;
        const estimated = found.exact === undefined;
        const text = (estimated ? "≈ " : "") + signed(value);
        return {
          text,
          plain: true,
          name: `${cellName(layer, position, clean[position]?.text)}: effect ${text}`,
          class: estimated ? "lsx-effect lsx-estimate" : "lsx-effect",
          ...paint("effect", value / most, dark),
        };
      },
    [numbers, most, dark, clean],
  );
  const head = useMemo(
    () => (position: number) => {
      const first = clean[position]?.text ?? "";
      const second = corrupted[position]?.text;
      const differs = second !== undefined && second !== first;
      return (
        <>
          <span class="lsx-index">
            {position}
            {differs && (
              <span class="lsx-differs" title={`clean “${visible(first)}”, corrupted “${visible(second)}”`}>
                {" "}
                ≠<span class="lsx-unseen"> differs: {spoken(second)}</span>
              </span>
            )}
          </span>
          <TokenText text={first} />
          {second !== undefined && (
            <span class={differs ? "lsx-second lsx-different" : "lsx-second"}>
              {differs ? <TokenText text={second} /> : <span aria-hidden="true">″</span>}
            </span>
          )}
        </>
      );
    },
    [clean, corrupted],
  );
  return { tokens: clean, layers, look, head, most, clipped, numbers, ready: clean.length > 0 && layers.length > 0 };
}
