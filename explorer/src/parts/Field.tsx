/** Inputs with their labels. */

import type { ComponentChildren } from "preact";
import { useEffect, useId, useState } from "preact/hooks";
import { clamp } from "../numbers";
import { capital } from "../text";

/** Lenses and readers, to choose from. */
export function choices(list: { id: string; name: string; about: string }[]) {
  return list.map(({ id, name, about }) => ({ value: id, name: capital(name), about }));
}

interface SelectProps<T extends string> {
  label: string;
  value: T;
  options: { value: T; name: string; about?: string }[];
  onChange: (value: T) => void;
  hideLabel?: boolean;
  disabled?: boolean;
  testid?: string;
}

export function Select<T extends string>(props: SelectProps<T>) {
  const id = useId();
  return (
    <span class="lsx-field">
      <label for={id} class={props.hideLabel ? "lsx-unseen" : undefined}>
        {props.label}
      </label>
      <select
        id={id}
        value={props.value}
        disabled={props.disabled}
        data-testid={props.testid}
        title={props.options.find((option) => option.value === props.value)?.about}
        onChange={(event) => props.onChange(event.currentTarget.value as T)}
      >
        {props.options.map((option) => (
          <option key={option.value} value={option.value} title={option.about} selected={option.value === props.value}>
            {option.name}
          </option>
        ))}
      </select>
    </span>
  );
}

interface NumberProps {
  label: string;
  value: number | null;
  low: number;
  high: number;
  step?: number;
  slider?: boolean;
  hideLabel?: boolean;
  disabled?: boolean;
  empty?: string;
  testid?: string;
  onChange: (value: number) => void;
  onEmpty?: () => void;
}

/** A number, with a slider where that helps. What cannot be taken yet stays in the box. */
export function NumberField(props: NumberProps) {
  const id = useId();
  const { value, low, high, step = 1 } = props;
  const [text, setText] = useState(value === null ? "" : String(value));
  useEffect(() => {
    if (value === null) setText("");
    else if (Number(text) !== value || !text.trim()) setText(String(value));
  }, [value]);
  const take = (raw: string, strict: boolean) => {
    setText(raw);
    if (!raw.trim()) {
      props.onEmpty?.();
      return;
    }
    const found = Number(raw);
    if (!Number.isFinite(found)) return;
    const fit = clamp(step === 1 ? Math.round(found) : found, low, high);
    if (fit === found || strict) {
      if (fit !== value) props.onChange(fit);
      if (strict) setText(String(fit));
    }
  };
  return (
    <span class="lsx-field">
      <label for={id} class={props.hideLabel ? "lsx-unseen" : undefined}>
        {props.label}
      </label>
      {props.slider && (
        <input
          type="range"
          aria-label={`${props.label}, slider`}
          min={low}
          max={high}
          step={step}
          value={clamp(value ?? low, low, high)}
          disabled={props.disabled}
          onInput={(event) => take(event.currentTarget.value, false)}
        />
      )}
      <input
        id={id}
        type="number"
        min={low}
        max={high}
        step={step}
        value={text}
        placeholder={props.empty}
        disabled={props.disabled}
        data-testid={props.testid}
        onInput={(event) => take(event.currentTarget.value, false)}
        onBlur={(event) => {
          if (event.currentTarget.value.trim()) take(event.currentTarget.value, true);
          else if (!props.onEmpty) setText(String(value ?? ""));
        }}
      />
    </span>
  );
}

export function Toggle(props: {
  pressed: boolean;
  onChange: (pressed: boolean) => void;
  children: ComponentChildren;
  disabled?: boolean;
  title?: string;
  testid?: string;
  label?: string;
}) {
  return (
    <button
      type="button"
      class="lsx-button lsx-toggle"
      aria-pressed={props.pressed}
      aria-label={props.label}
      disabled={props.disabled}
      title={props.title}
      data-testid={props.testid}
      onClick={() => props.onChange(!props.pressed)}
    >
      {props.children}
    </button>
  );
}
