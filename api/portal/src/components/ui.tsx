import { type ReactNode, useEffect, useId, useRef, useState } from 'react';
import { ApiError, type Band } from '../api';
import { ago, fullLocalTime, localTime, title, utc } from '../format';
import { said } from '../problem';

/** useTitle names the page in the browser's tab and history. */
export function useTitle(text: string) {
  useEffect(() => {
    document.title = text ? `${text} · Earshot` : 'Earshot';
  }, [text]);
}

/** Verdict shows a band by word and shape as well as by colour. */
export function BandBadge({ band, children }: { band: Band; children?: ReactNode }) {
  return <span className={`badge band-${band}`}>{children ?? title(band)}</span>;
}

export function Tag({ tone, children }: { tone?: 'live' | 'ok' | 'warn' | 'alarm' | 'plain'; children: ReactNode }) {
  return <span className={`tag tag-${tone ?? 'plain'}`}>{children}</span>;
}

/** Moment writes a time in the viewer's zone; UTC shows on hover and to assistive technology. */
export function Moment({ at, full, relative }: { at?: string | null; full?: boolean; relative?: boolean }) {
  if (!at) return <span className="none">–</span>;
  const text = full ? fullLocalTime(at) : localTime(at);
  return (
    <time dateTime={at} title={utc(at)} className="moment">
      {text}
      {relative ? <span className="muted"> ({ago(at)})</span> : null}
    </time>
  );
}

/** copyText works also where the page is not served over TLS and the clipboard API is absent. */
export async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = document.createElement('textarea');
    area.value = text;
    area.className = 'offscreen';
    document.body.append(area);
    area.select();
    const ok = document.execCommand('copy');
    area.remove();
    return ok;
  }
}

export function Copy({ text, what }: { text: string; what: string }) {
  const [state, setState] = useState<'' | 'copied' | 'failed'>('');
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  useEffect(() => () => clearTimeout(timer.current), []);
  return (
    <button
      type="button"
      className="copy"
      aria-label={`Copy ${what}`}
      title={`Copy ${what}`}
      onClick={async () => {
        setState((await copyText(text)) ? 'copied' : 'failed');
        clearTimeout(timer.current);
        timer.current = setTimeout(() => setState(''), 1500);
      }}
    >
      {state === '' ? <CopyIcon /> : <span role="status">{state === 'copied' ? 'Copied' : 'Not copied'}</span>}
    </button>
  );
}

function CopyIcon() {
  return (
    <svg viewBox="0 0 16 16" width="13" height="13" aria-hidden="true">
      <rect x="5.5" y="5.5" width="8" height="8" rx="1.5" fill="none" stroke="currentColor" strokeWidth="1.4" />
      <path d="M10.5 3.5v-.2A1.3 1.3 0 0 0 9.2 2H3.3A1.3 1.3 0 0 0 2 3.3v5.9a1.3 1.3 0 0 0 1.3 1.3h.2" fill="none" stroke="currentColor" strokeWidth="1.4" />
    </svg>
  );
}

/** Id shows an identifier that people paste elsewhere. */
export function Id({ text, what }: { text: string; what: string }) {
  return (
    <span className="id">
      <code>{text}</code>
      <Copy text={text} what={what} />
    </span>
  );
}

export function Loading({ what }: { what: string }) {
  return (
    <div className="state" role="status">
      <span className="spinner" aria-hidden="true" />
      Loading {what}…
    </div>
  );
}

export function Empty({ children }: { children: ReactNode }) {
  return <div className="state">{children}</div>;
}

export function Failure({ error, retry, what, gone }: { error: unknown; retry?: () => void; what: string; /** gone is why there may be none. */ gone?: string }) {
  const missing = error instanceof ApiError && error.status === 404;
  const text = error instanceof Error ? error.message : String(error);
  return (
    <div className="state failure" role="alert">
      <strong>{missing ? `No such ${what}.` : `Cannot load ${what}.`}</strong>
      <span>{missing ? (gone ?? 'It may be another company’s, or its retention may be over.') : text}</span>
      {retry && !missing ? (
        <button type="button" onClick={retry}>
          Try again
        </button>
      ) : null}
    </div>
  );
}

export function Section({
  id: place,
  heading,
  aside,
  children,
  className,
  count,
}: {
  /** id is the place that a link names after #. */
  id?: string;
  heading: string;
  aside?: ReactNode;
  children: ReactNode;
  className?: string;
  count?: number;
}) {
  const id = useId();
  return (
    <section id={place} className={`card ${className ?? ''}`} aria-labelledby={id}>
      <header className="card-head">
        <h2 id={id}>
          {heading}
          {count !== undefined ? <span className="count">{count}</span> : null}
        </h2>
        {aside ? <div className="aside">{aside}</div> : null}
      </header>
      {children}
    </section>
  );
}

export function Facts({ items }: { items: [string, ReactNode][] }) {
  return (
    <dl className="facts">
      {items.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value === null || value === undefined || value === '' ? <span className="none">–</span> : value}</dd>
        </div>
      ))}
    </dl>
  );
}

/** Choice is a row of buttons of which one is on. */
export function Choice<T extends string>({
  label,
  value,
  options,
  onChange,
}: {
  label: string;
  value: T;
  options: { value: T; label: ReactNode }[];
  onChange: (value: T) => void;
}) {
  return (
    <div className="choice" role="group" aria-label={label}>
      {options.map((o) => (
        <button key={o.value} type="button" aria-pressed={o.value === value} onClick={() => onChange(o.value)}>
          {o.label}
        </button>
      ))}
    </div>
  );
}

export function Select({
  label,
  value,
  options,
  onChange,
}: {
  label: string;
  value: string;
  options: [string, string][];
  onChange: (value: string) => void;
}) {
  return (
    <label className="field">
      <span>{label}</span>
      <select value={value} onChange={(e) => onChange(e.target.value)}>
        {options.map(([v, text]) => (
          <option key={v} value={v}>
            {text}
          </option>
        ))}
      </select>
    </label>
  );
}

/** TextFilter tells its value once typing pauses. */
export function TextFilter({
  label,
  value,
  onChange,
  placeholder,
  type,
}: {
  label: string;
  value: string;
  onChange: (value: string) => void;
  placeholder?: string;
  type?: 'search' | 'datetime-local';
}) {
  const [text, setText] = useState(value);
  const [known, setKnown] = useState(value);
  if (known !== value) {
    // The address changed under us: by a link, or by going back.
    setKnown(value);
    setText(value);
  }
  const latest = useRef(onChange);
  useEffect(() => {
    latest.current = onChange;
  });
  useEffect(() => {
    if (text === value) return;
    const timer = setTimeout(() => latest.current(text), 350);
    return () => clearTimeout(timer);
  }, [text, value]);
  return (
    <label className="field">
      <span>{label}</span>
      <input type={type ?? 'search'} value={text} placeholder={placeholder} spellCheck={false} onChange={(e) => setText(e.target.value)} />
    </label>
  );
}

/** Refusal is what the API says against something that was not done by a form; nothing where there is no error. */
export function Refusal({ error }: { error: unknown }) {
  const { rest } = said(error, {});
  return rest ? (
    <p role="alert" className="refusal">
      {rest}
    </p>
  ) : null;
}
