// Where a number comes from: shown beside it on hover, focus or tap.
import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { createContext, type ReactNode, useCallback, useContext, useEffect, useId, useLayoutEffect, useMemo, useRef, useState } from 'react';
import { api, type Explained as Explanations, type Explanation } from '../api';
import { title, words } from '../format';

interface Open {
  /** key tells the number that is explained from others of the same path. */
  key: string;
  path: string;
  anchor: HTMLElement;
  /** pinned stays until it is closed: by a tap, Escape or a tap elsewhere. */
  pinned: boolean;
}

interface Asking {
  tip: string;
  open: Open | null;
  show: (key: string, path: string, anchor: HTMLElement, pinned: boolean) => void;
  leave: () => void;
  close: () => void;
}

const Context = createContext<Asking | null>(null);

/** Explained holds what explains the numbers of one call. Nothing is loaded until a reader asks; a snapshot brings it along. */
export function Explained({
  company, call, version, frozen, children,
}: {
  company: string; call: string; version: number; frozen?: { call: Explanations; samples: Explanations }; children: ReactNode;
}) {
  const [open, setOpen] = useState<Open | null>(null);
  const [asked, setAsked] = useState({ call: false, samples: false });
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  const tip = useId();
  const numbers = useQuery({
    queryKey: ['explain', company, call, version],
    queryFn: ({ signal }) => api.explain(company, call, signal),
    enabled: asked.call && !frozen,
    staleTime: Infinity,
    placeholderData: keepPreviousData,
  });
  const columns = useQuery({
    queryKey: ['explain-samples', company, call],
    queryFn: ({ signal }) => api.explainSamples(company, call, signal),
    enabled: asked.samples && !frozen,
    staleTime: 60_000,
  });

  const close = useCallback(() => {
    clearTimeout(timer.current);
    setOpen(null);
  }, []);
  // A moment to move the pointer into the explanation, to read on or to copy.
  const leave = useCallback(() => {
    clearTimeout(timer.current);
    timer.current = setTimeout(() => setOpen((o) => (o?.pinned ? o : null)), 180);
  }, []);
  const show = useCallback((key: string, path: string, anchor: HTMLElement, pinned: boolean) => {
    clearTimeout(timer.current);
    const samples = path.startsWith('samples:');
    setAsked((a) => ((samples ? a.samples : a.call) ? a : samples ? { ...a, samples: true } : { ...a, call: true }));
    setOpen((o) => (o?.pinned && !pinned && o.key !== key ? o : { key, path, anchor, pinned: pinned || (o?.key === key && o.pinned) }));
  }, []);
  useEffect(() => () => clearTimeout(timer.current), []);
  useEffect(() => {
    if (!open) return;
    const pressed = (e: KeyboardEvent) => {
      if (e.key === 'Escape') close();
    };
    const down = (e: PointerEvent) => {
      const at = e.target as Node;
      if (!open.anchor.contains(at) && !document.getElementById(tip)?.contains(at)) close();
    };
    document.addEventListener('keydown', pressed);
    document.addEventListener('pointerdown', down);
    return () => {
      document.removeEventListener('keydown', pressed);
      document.removeEventListener('pointerdown', down);
    };
  }, [open, close, tip]);

  const asking = useMemo(() => ({ tip, open, show, leave, close }), [tip, open, show, leave, close]);
  const samples = open?.path.startsWith('samples:');
  const found = samples ? columns : numbers;
  const explained = frozen ? (samples ? frozen.samples : frozen.call) : found.data;
  const key = samples ? open?.path.slice('samples:'.length) : open?.path;
  return (
    <Context.Provider value={asking}>
      {children}
      {open ? (
        <Tip
          id={tip}
          anchor={open.anchor}
          onEnter={() => clearTimeout(timer.current)}
          onLeave={leave}
          pending={!frozen && found.isPending}
          failed={!frozen && found.isError}
          explanation={key ? explained?.explain?.[key] : undefined}
        />
      ) : null}
    </Context.Provider>
  );
}

/** Why is a number that says where it comes from. path is its place in the call's JSON, or samples:<source>.<column>. */
export function Why({ path, children }: { path: string; children: ReactNode }) {
  const asking = useContext(Context);
  const key = useId();
  if (!asking) return children;
  const mine = asking.open?.key === key;
  return (
    <button
      type="button"
      className="why"
      data-path={path}
      aria-expanded={mine}
      aria-describedby={mine ? asking.tip : undefined}
      onPointerEnter={(e) => {
        if (e.pointerType !== 'touch') asking.show(key, path, e.currentTarget, false);
      }}
      onPointerLeave={(e) => {
        if (e.pointerType !== 'touch') asking.leave();
      }}
      onFocus={(e) => {
        if (e.currentTarget.matches(':focus-visible')) asking.show(key, path, e.currentTarget, false);
      }}
      onBlur={asking.leave}
      onClick={(e) => (mine && asking.open?.pinned ? asking.close() : asking.show(key, path, e.currentTarget, true))}
    >
      {children}
    </button>
  );
}

/** figure writes a number of an explanation as exactly as it is known. */
const figure = (value: number, unit = '') => `${value.toLocaleString('en', { maximumFractionDigits: 4 })}${unit ? `\u202f${unit}` : ''}`;

function Tip({
  id, anchor, explanation: x, pending, failed, onEnter, onLeave,
}: {
  id: string; anchor: HTMLElement; explanation: Explanation | undefined; pending: boolean; failed: boolean; onEnter: () => void; onLeave: () => void;
}) {
  const box = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    const tip = box.current;
    const page = tip?.offsetParent;
    if (!tip || !page) return;
    const a = anchor.getBoundingClientRect();
    const p = page.getBoundingClientRect();
    const above = a.bottom + tip.offsetHeight + 12 > innerHeight && a.top > tip.offsetHeight + 12;
    const left = Math.max(8, Math.min(a.left, document.documentElement.clientWidth - tip.offsetWidth - 12));
    tip.style.left = `${left - p.left}px`;
    tip.style.top = `${(above ? a.top - tip.offsetHeight - 6 : a.bottom + 6) - p.top}px`;
  }, [anchor, x, pending]);
  return (
    // It may be longer than the screen: then it scrolls, and by keyboard only what has the focus does.
    // oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex, jsx-a11y/no-noninteractive-element-interactions
    <div id={id} ref={box} role="tooltip" className="why-tip" tabIndex={0} onPointerEnter={onEnter} onPointerLeave={onLeave} onFocus={onEnter} onBlur={onLeave}>
      {x ? (
        <>
          <p className="why-head">
            <b>{x.name}</b>
            {x.value !== null ? <span className="num">{figure(x.value, x.unit)}</span> : null}
            {x.band && x.band !== 'unknown' ? <span className="muted">{words(x.band)}</span> : null}
          </p>
          <p>{x.formula}</p>
          {x.inputs?.length ? (
            <dl>
              {x.inputs.map((i) => (
                <div key={`${i.name} ${i.value}`}>
                  <dt>{i.name}</dt>
                  <dd className="num">{figure(i.value, i.unit)}</dd>
                </div>
              ))}
            </dl>
          ) : null}
          {x.clock_rate?.length ? <p>Clock rate: {x.clock_rate.map((c) => `${c.codec ? `${c.codec} ` : ''}${c.hz}\u202fHz`).join(', ')}.</p> : null}
          {groups(x).map((g) => (
            <p key={g.formula}>
              <b>{g.who}</b>
              {g.formula && g.formula !== x.formula ? `: ${g.formula}` : ''}
              {g.standard ? <span className="muted"> {g.standard}</span> : null}
            </p>
          ))}
          {x.rules ? (
            <p>
              <b>Rules {x.rules.version}</b>: {x.rules.text}
            </p>
          ) : null}
          {x.standard ? <p className="muted">{x.standard}</p> : null}
          {x.evidence?.length ? <p className="muted">Evidence {x.evidence.join(', ')}</p> : null}
        </>
      ) : (
        <p>{pending ? 'Looking it up…' : failed ? 'The explanation could not be loaded.' : 'Nothing is known about this number.'}</p>
      )}
    </div>
  );
}

/** groups joins witnesses who measured in the same way. */
function groups(x: Explanation): { who: string; formula: string; standard: string }[] {
  const out = new Map<string, { kind: string; who: string[]; standard: string }>();
  for (const s of x.source ?? []) {
    const g = out.get(s.formula ?? '') ?? { kind: s.kind, who: [], standard: s.standard ?? '' };
    const who = [s.side, s.samples ? `× ${s.samples}` : ''].filter(Boolean).join(' ');
    if (who) g.who.push(who);
    out.set(s.formula ?? '', g);
  }
  return [...out].map(([formula, g]) => ({
    who: title(g.kind) + (g.who.length > 0 ? ` (${g.who.join(', ')})` : ''), formula, standard: g.standard === x.standard ? '' : g.standard,
  }));
}
