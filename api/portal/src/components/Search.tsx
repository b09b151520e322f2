import { useQuery } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import { useEffect, useId, useRef, useState } from 'react';
import { api } from '../api';
import { localTime, phone, title } from '../format';
import { digits, looksLikeNumber } from '../urlstate';

type Hit =
  | { kind: 'user'; key: string; text: string; note: string; user: string }
  | { kind: 'number'; key: string; text: string; note: string; number: string }
  | { kind: 'call'; key: string; text: string; note: string; call: string }
  | { kind: 'calls'; key: string; text: string; note: string; number: string };

/** find asks for users, numbers and calls that a search may mean; what one of them refuses does not hide the others. */
async function find(company: string, q: string, signal: AbortSignal): Promise<Hit[]> {
  const number = looksLikeNumber(q);
  const [users, numbers, calls, exact] = await Promise.allSettled([
    api.users(company, { q, limit: 5 }, signal),
    number ? api.numbers(company, { q: digits(q), limit: 5 }, signal) : Promise.resolve(null),
    number && q.replace(/\D/g, '').length < 7 ? Promise.resolve(null) : api.calls(company, { q: number ? digits(q) : q, limit: 5 }, signal),
    !number && q.length > 3 && !/\s/.test(q) ? api.call(company, q, signal) : Promise.resolve(null),
  ]);
  const hits: Hit[] = [];
  const seen = new Set<string>();
  const add = (hit: Hit) => {
    if (!seen.has(hit.key)) hits.push(hit);
    seen.add(hit.key);
  };
  const addCall = (c: Awaited<ReturnType<typeof api.call>>) =>
    add({
      kind: 'call', key: `call-${c.id}`, call: c.id, text: c.id,
      note: `${localTime(c.started_at)} · ${title(c.verdict?.overall ?? 'unknown')}`,
    });
  if (exact.status === 'fulfilled' && exact.value) addCall(exact.value);
  if (numbers.status === 'fulfilled' && numbers.value) {
    for (const n of numbers.value.items) {
      add({ kind: 'number', key: `number-${n.number}`, number: n.number, text: phone(n.number), note: n.owner?.name || title(n.status) });
    }
  }
  if (users.status === 'fulfilled') {
    for (const u of users.value.items) {
      add({ kind: 'user', key: `user-${u.id}`, user: u.id, text: u.name || u.id, note: [phone(u.numbers?.[0]), u.email].filter(Boolean).join(' · ') });
    }
  }
  if (calls.status === 'fulfilled' && calls.value) calls.value.items.forEach(addCall);
  if (/^\+\d{7,}$/.test(digits(q))) {
    add({ kind: 'calls', key: 'calls', number: digits(q), text: `Calls with ${phone(digits(q))}`, note: 'either side' });
  }
  return hits;
}

/** Search takes a number, a name or any id of a call and goes to what it means. "/" focuses it. */
export function Search({ company }: { company: string }) {
  const [text, setText] = useState('');
  const [asked, setAsked] = useState('');
  const [open, setOpen] = useState(false);
  const [chosen, setChosen] = useState(0);
  const input = useRef<HTMLInputElement>(null);
  const navigate = useNavigate();
  const list = useId();

  useEffect(() => {
    const key = (event: KeyboardEvent) => {
      const at = event.target as HTMLElement;
      if (event.key !== '/' || event.ctrlKey || event.metaKey || event.altKey) return;
      if (at.closest('input, textarea, select, [contenteditable]')) return;
      event.preventDefault();
      input.current?.focus();
      input.current?.select();
    };
    document.addEventListener('keydown', key);
    return () => document.removeEventListener('keydown', key);
  }, []);

  useEffect(() => {
    const timer = setTimeout(() => setAsked(text.trim()), 220);
    return () => clearTimeout(timer);
  }, [text]);

  const found = useQuery({
    queryKey: ['search', company, asked],
    queryFn: ({ signal }) => find(company, asked, signal),
    enabled: asked.length >= 2,
    staleTime: 10_000,
  });
  const current = asked === text.trim() && asked.length >= 2;
  const hits = current ? (found.data ?? []) : [];
  const shown = open && current;

  const go = (hit: Hit) => {
    setOpen(false);
    setText('');
    input.current?.blur();
    switch (hit.kind) {
      case 'user':
        return void navigate({ to: '/c/$company/users/$user', params: { company, user: hit.user } });
      case 'number':
        return void navigate({ to: '/c/$company/numbers/$number', params: { company, number: hit.number } });
      case 'call':
        return void navigate({ to: '/c/$company/calls/$call', params: { company, call: hit.call } });
      case 'calls':
        return void navigate({ to: '/c/$company/calls', params: { company }, search: { number: hit.number } });
    }
  };

  return (
    <div className="search" role="search">
      <input
        ref={input}
        type="search"
        role="combobox"
        aria-label="Search a number, a user or a call"
        aria-expanded={shown}
        aria-controls={list}
        aria-autocomplete="list"
        aria-activedescendant={shown && hits[chosen] ? `${list}-${chosen}` : undefined}
        placeholder="Number, user or call id"
        autoComplete="off"
        spellCheck={false}
        value={text}
        onChange={(e) => {
          setText(e.target.value);
          setChosen(0);
          setOpen(true);
        }}
        onFocus={() => setOpen(true)}
        onBlur={() => setOpen(false)}
        onKeyDown={(e) => {
          if (e.key === 'ArrowDown') {
            e.preventDefault();
            setChosen((n) => Math.min(n + 1, hits.length - 1));
          } else if (e.key === 'ArrowUp') {
            e.preventDefault();
            setChosen((n) => Math.max(n - 1, 0));
          } else if (e.key === 'Escape') {
            setOpen(false);
            input.current?.blur();
          } else if (e.key === 'Enter') {
            const hit = hits[chosen];
            if (hit) go(hit);
            else setAsked(text.trim());
          }
        }}
      />
      <kbd aria-hidden="true">/</kbd>
      <div id={list} role="listbox" aria-label="Found" hidden={!shown} className="hits">
        {shown && found.isPending ? <div className="state small">Searching…</div> : null}
        {shown && !found.isPending && hits.length === 0 ? <div className="state small">Nothing found for “{asked}”.</div> : null}
        {hits.map((hit, i) => (
          // The input keeps the focus; keys choose through aria-activedescendant.
          // oxlint-disable-next-line jsx-a11y/click-events-have-key-events, jsx-a11y/interactive-supports-focus
          <div
            key={hit.key}
            id={`${list}-${i}`}
            role="option"
            aria-selected={i === chosen}
            className="hit"
            onMouseDown={(e) => e.preventDefault()}
            onMouseEnter={() => setChosen(i)}
            onClick={() => go(hit)}
          >
            <span className="hit-kind">{hit.kind === 'calls' ? 'calls' : hit.kind}</span>
            <span className="hit-text">{hit.text}</span>
            <span className="muted">{hit.note}</span>
          </div>
        ))}
      </div>
    </div>
  );
}
