// One way to do forms: values, what the API refuses of them beside the field it names, and a button that waits.
import { useMutation } from '@tanstack/react-query';
import { createContext, type ReactNode, useContext, useEffect, useId, useRef, useState } from 'react';
import { said } from '../problem';

export interface FormState<V extends object> {
  values: V;
  set: (change: Partial<V>) => void;
  busy: boolean;
  error: unknown;
  submit: () => void;
  labels: Record<string, string>;
}

/** useForm keeps values until send has taken them; labels names the fields as the reader and the API know them. */
export function useForm<V extends object, R>({
  initial,
  labels,
  send,
  done,
}: {
  initial: V;
  labels: Record<string, string>;
  send: (values: V) => Promise<R>;
  done: (result: R) => void;
}): FormState<V> {
  const [values, setValues] = useState(initial);
  const mutation = useMutation({ mutationFn: send, onSuccess: done });
  return {
    values,
    set: (change) => setValues((v) => ({ ...v, ...change })),
    busy: mutation.isPending,
    error: mutation.error,
    submit: () => {
      if (!mutation.isPending) mutation.mutate(values);
    },
    labels,
  };
}

const Problems = createContext<{ fields: Record<string, string>; labels: Record<string, string> }>({ fields: {}, labels: {} });

/** Form shows what belongs to no field above its fields, where it is read first. */
export function Form<V extends object>({ form, children, className }: { form: FormState<V>; children: ReactNode; className?: string }) {
  const problem = said(form.error, form.labels);
  const element = useRef<HTMLFormElement>(null);
  useEffect(() => {
    if (!form.error) return;
    // On a narrow screen what is wrong may be out of sight.
    const wrong = element.current?.querySelector<HTMLElement>('[aria-invalid="true"]');
    if (wrong) wrong.focus();
    else element.current?.querySelector('[role="alert"]')?.scrollIntoView({ block: 'nearest' });
  }, [form.error]);
  return (
    <Problems value={{ fields: problem.fields, labels: form.labels }}>
      <form
        ref={element}
        className={`form ${className ?? ''}`}
        aria-busy={form.busy}
        onSubmit={(e) => {
          e.preventDefault();
          form.submit();
        }}
      >
        {problem.rest ? (
          <p role="alert" className="refusal">
            {problem.rest}
          </p>
        ) : null}
        {children}
      </form>
    </Problems>
  );
}

interface Control {
  id: string;
  'aria-invalid': boolean | undefined;
  'aria-describedby': string | undefined;
}

/** Field is a label with its control, a hint and what is wrong with it. */
export function Field({ name, hint, children }: { name: string; hint?: ReactNode; children: (control: Control) => ReactNode }) {
  const id = useId();
  const { fields, labels } = useContext(Problems);
  const problem = fields[name];
  const described = [problem ? `${id}-problem` : '', hint ? `${id}-hint` : ''].filter(Boolean).join(' ');
  return (
    <div className={`field ${problem ? 'field-wrong' : ''}`}>
      <label htmlFor={id}>{labels[name]}</label>
      {children({ id, 'aria-invalid': problem ? true : undefined, 'aria-describedby': described || undefined })}
      {problem ? (
        <p id={`${id}-problem`} role="alert" className="wrong">
          {problem}
        </p>
      ) : null}
      {hint ? (
        <p id={`${id}-hint`} className="hint">
          {hint}
        </p>
      ) : null}
    </div>
  );
}

export function TextField({
  name,
  value,
  onChange,
  hint,
  type,
  required,
  placeholder,
  list,
}: {
  name: string;
  value: string;
  onChange: (value: string) => void;
  hint?: ReactNode;
  type?: 'text' | 'email' | 'tel' | 'date' | 'number' | 'datetime-local';
  required?: boolean;
  placeholder?: string;
  list?: string;
}) {
  return (
    <Field name={name} hint={hint}>
      {(control) => (
        <input
          {...control}
          type={type ?? 'text'}
          value={value}
          required={required}
          placeholder={placeholder}
          list={list}
          autoComplete="off"
          spellCheck={false}
          onChange={(e) => onChange(e.target.value)}
        />
      )}
    </Field>
  );
}

/** LinesField is a list, one entry a line: how numbers and addresses are pasted. */
export function LinesField({ name, value, onChange, hint, rows, placeholder }: { name: string; value: string; onChange: (value: string) => void; hint?: ReactNode; rows?: number; placeholder?: string }) {
  return (
    <Field name={name} hint={hint}>
      {(control) => <textarea {...control} rows={rows ?? 3} value={value} placeholder={placeholder} spellCheck={false} onChange={(e) => onChange(e.target.value)} />}
    </Field>
  );
}

export function SelectField({
  name,
  value,
  options,
  onChange,
  hint,
  required,
}: {
  name: string;
  value: string;
  options: [string, string][];
  onChange: (value: string) => void;
  hint?: ReactNode;
  required?: boolean;
}) {
  return (
    <Field name={name} hint={hint}>
      {(control) => (
        <select {...control} value={value} required={required} onChange={(e) => onChange(e.target.value)}>
          {options.map(([v, text]) => (
            <option key={v} value={v}>
              {text}
            </option>
          ))}
        </select>
      )}
    </Field>
  );
}

/** ChecksField is a choice of any number, such as the departments of a user. */
export function ChecksField({ name, chosen, options, onChange, empty }: { name: string; chosen: string[]; options: [string, string][]; onChange: (chosen: string[]) => void; empty: string }) {
  const id = useId();
  const { fields, labels } = useContext(Problems);
  return (
    <fieldset className="field checks" aria-describedby={fields[name] ? id : undefined}>
      <legend>{labels[name]}</legend>
      {options.length === 0 ? <p className="hint">{empty}</p> : null}
      <div className="checks-list">
        {options.map(([v, text]) => (
          <label key={v}>
            <input type="checkbox" checked={chosen.includes(v)} onChange={(e) => onChange(e.target.checked ? [...chosen, v] : chosen.filter((c) => c !== v))} />
            {text}
          </label>
        ))}
      </div>
      {fields[name] ? (
        <p id={id} role="alert" className="wrong">
          {fields[name]}
        </p>
      ) : null}
    </fieldset>
  );
}

/** Actions ends a form or a dialog. */
export function Actions({ busy, label, waiting, onCancel, danger, disabled }: { busy: boolean; label: string; waiting?: string; onCancel?: () => void; danger?: boolean; disabled?: boolean }) {
  return (
    <div className="actions">
      {onCancel ? (
        <button type="button" disabled={busy} onClick={onCancel}>
          Cancel
        </button>
      ) : null}
      <button type="submit" className={danger ? 'danger' : 'primary'} disabled={busy || disabled}>
        {busy ? (waiting ?? 'Saving…') : label}
      </button>
    </div>
  );
}

/** lines reads what stands in a LinesField: one entry a line, or with ; or , between them. */
export const lines = (text: string): string[] => text.split(/[\n;,]/).map((l) => l.trim()).filter(Boolean);
