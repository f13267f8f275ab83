import { useEffect, useId, useLayoutEffect, useRef, useState } from "preact/hooks";
import { canonical } from "../key";
import type { Message, Prompt } from "../protocol";
import { useApp } from "../store/hooks";
import { Toggle } from "./Field";

const ROLES = ["system", "user", "assistant"];

interface AreaProps {
  label: string;
  value: string;
  onInput: (text: string) => void;
  onReturn?: (() => void) | undefined;
  testid?: string | undefined;
  id?: string | undefined;
  placeholder?: string | undefined;
  invalid?: boolean | undefined;
  describedBy?: string | undefined;
}

/** As high as its text. */
export function TextArea(props: AreaProps) {
  const ref = useRef<HTMLTextAreaElement>(null);
  const { presenter } = useApp().state.value;
  useLayoutEffect(() => {
    const area = ref.current;
    if (!area) return;
    area.style.height = "auto";
    area.style.height = `${Math.min(area.scrollHeight + 2, 260)}px`;
  }, [props.value, presenter]);
  return (
    <textarea
      ref={ref}
      id={props.id}
      rows={1}
      dir="auto"
      spellcheck={false}
      autocomplete="off"
      aria-label={props.label}
      aria-invalid={props.invalid ?? false}
      aria-describedby={props.describedBy}
      data-testid={props.testid}
      placeholder={props.placeholder}
      value={props.value}
      onInput={(event) => props.onInput(event.currentTarget.value)}
      onKeyDown={(event) => {
        if (event.key !== "Enter" || event.shiftKey || event.isComposing || !props.onReturn) return;
        event.preventDefault();
        props.onReturn();
      }}
    />
  );
}

export function asText(prompt: Prompt): string {
  return typeof prompt === "string"
    ? prompt
    : (prompt.find(({ role }) => role === "user")?.content ?? prompt[0]?.content ?? "");
}

interface EditorProps {
  value: Prompt;
  label: string;
  onChange: (prompt: Prompt) => void;
  onReturn?: () => void;
  testid?: string;
  invalid?: boolean;
  describedBy?: string;
}

/** A text, or the messages of a conversation. */
export function PromptEditor({ value, label, onChange, onReturn, testid, invalid, describedBy }: EditorProps) {
  if (typeof value === "string")
    return (
      <TextArea
        label={label}
        value={value}
        onInput={onChange}
        onReturn={onReturn}
        testid={testid}
        invalid={invalid}
        describedBy={describedBy}
      />
    );
  const change = (at: number, message: Partial<Message>) =>
    onChange(value.map((each, index) => (index === at ? { ...each, ...message } : each)));
  return (
    <div class="lsx-messages" role="group" aria-label={label} data-testid={testid}>
      {value.map((message, index) => (
        <div key={index} class="lsx-message">
          <select
            aria-label={`Role of message ${index + 1}`}
            value={message.role}
            onChange={(event) => change(index, { role: event.currentTarget.value })}
          >
            {[...new Set([...ROLES, message.role])].map((role) => (
              <option key={role} value={role} selected={role === message.role}>
                {role}
              </option>
            ))}
          </select>
          <TextArea
            label={`Message ${index + 1}`}
            value={message.content}
            onInput={(content) => change(index, { content })}
            onReturn={onReturn}
            invalid={invalid}
          />
          <button
            type="button"
            class="lsx-button lsx-icon"
            aria-label={`Remove message ${index + 1}`}
            disabled={value.length < 2}
            onClick={() => onChange(value.filter((_, at) => at !== index))}
          >
            ×
          </button>
        </div>
      ))}
      <button
        type="button"
        class="lsx-button"
        onClick={() =>
          onChange([...value, { role: value[value.length - 1]?.role === "user" ? "assistant" : "user", content: "" }])
        }
      >
        Add a message
      </button>
    </div>
  );
}

export function ChatToggle({ value, onChange }: { value: Prompt; onChange: (prompt: Prompt) => void }) {
  const { model } = useApp().about.value;
  const chat = typeof value !== "string";
  return (
    <Toggle
      pressed={chat}
      disabled={!model.chat && !chat}
      title={model.chat ? "A conversation, by the model's chat template" : "This model has no chat template"}
      onChange={() => onChange(chat ? asText(value) : [{ role: "user", content: asText(value) }])}
    >
      Chat
    </Toggle>
  );
}

interface BoxProps {
  value: Prompt;
  label: string;
  onRun: (prompt: Prompt) => void;
  testid?: string;
  /** Without a button of its own. */
  onDraft?: (prompt: Prompt) => void;
  bare?: boolean;
}

/** What one writes is asked on return. */
export function PromptBox({ value, label, onRun, testid = "prompt-box", onDraft, bare }: BoxProps) {
  const app = useApp();
  const [draft, setDraft] = useState<Prompt>(value);
  const id = useId();
  const known = canonical(value);
  useEffect(() => setDraft(value), [known]);
  const edit = (prompt: Prompt) => {
    setDraft(prompt);
    onDraft?.(prompt);
  };
  const run = () => {
    onRun(draft);
    app.again.value += 1;
  };
  const changed = canonical(draft) !== known;
  return (
    <div class="lsx-prompt" role="group" aria-labelledby={id}>
      <span class="lsx-label" id={id}>
        {label}
      </span>
      <PromptEditor value={draft} label={label} onChange={edit} onReturn={run} testid={testid} />
      <span class="lsx-prompt-buttons">
        <ChatToggle value={draft} onChange={edit} />
        {!bare && (
          <button
            type="button"
            class={`lsx-button${changed ? " lsx-primary" : ""}`}
            data-testid={testid === "prompt-box" ? "run" : undefined}
            onClick={run}
          >
            Run <kbd aria-hidden="true">↵</kbd>
          </button>
        )}
      </span>
    </div>
  );
}
