// Of whom or what something is to be: first what kind, then which.
import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { useEffect, useId, useState } from 'react';
import { api } from '../api';
import { directory, type OwnerKind } from '../directory';
import { phone, title } from '../format';
import { ownerWord, placeKinds, placeOf } from '../places';

export interface Target {
  /** kind is an owner's; pool and company need no id. */
  kind: OwnerKind | 'pool' | 'company' | '';
  id: string;
  name: string;
}

export const noTarget: Target = { kind: '', id: '', name: '' };

/** complete says that a target names someone, or no one on purpose. */
export const complete = (t: Target): boolean => t.kind === 'pool' || t.kind === 'company' || (t.kind !== '' && t.id !== '');

/** ownerKinds are whom a number may be given to. */
export const ownerKinds: OwnerKind[] = ['user', ...placeKinds.map((p) => p.owner)];

const shown = 8;

interface Candidate {
  id: string;
  name: string;
  note: string;
}

async function candidates(company: string, kind: OwnerKind, q: string, signal: AbortSignal): Promise<Candidate[]> {
  if (kind === 'user') {
    const users = await api.users(company, { q, limit: shown + 1 }, signal);
    return users.items.filter((u) => u.state !== 'deleted').map((u) => ({ id: u.id, name: u.name || u.id, note: [u.numbers?.map(phone).join(', '), u.email].filter(Boolean).join(' · ') }));
  }
  const places = await directory.places(company, placeOf(kind)!.kind, { q, limit: shown + 1 }, signal);
  return places.items.map((p) => ({ id: p.id, name: p.name || p.id, note: p.numbers.map(phone).join(', ') }));
}

/** TargetFields ask for a kind and then offer those of it that a search finds. problems are what the API says of each. */
export function TargetFields({
  company,
  legend,
  value,
  onChange,
  kinds = ownerKinds,
  names,
  optional,
  problems,
}: {
  company: string;
  legend: string;
  value: Target;
  onChange: (target: Target) => void;
  kinds?: Exclude<Target['kind'], ''>[];
  /** names say a kind otherwise than by its own word. */
  names?: Partial<Record<Target['kind'], string>>;
  /** optional is the choice of none. */
  optional?: string;
  problems?: { kind?: string; id?: string };
}) {
  const id = useId();
  const { kind } = value;
  return (
    <fieldset className="target">
      <legend>{legend}</legend>
      <div className="field">
        <label htmlFor={`${id}-kind`}>Kind</label>
        <select
          id={`${id}-kind`}
          value={kind}
          required={!optional}
          aria-invalid={problems?.kind ? true : undefined}
          aria-describedby={problems?.kind ? `${id}-kind-problem` : undefined}
          onChange={(e) => onChange({ kind: e.target.value as Target['kind'], id: '', name: '' })}
        >
          <option value="">{optional ?? 'Choose…'}</option>
          {kinds.map((k) => (
            <option key={k} value={k}>
              {names?.[k] ?? title(ownerWord(k))}
            </option>
          ))}
        </select>
        {problems?.kind ? (
          <p id={`${id}-kind-problem`} role="alert" className="wrong">
            {problems.kind}
          </p>
        ) : null}
      </div>
      {kind !== '' && kind !== 'pool' && kind !== 'company' ? <Which key={kind} company={company} kind={kind} value={value} onChange={onChange} problem={problems?.id} /> : null}
    </fieldset>
  );
}

function Which({ company, kind, value, onChange, problem }: { company: string; kind: OwnerKind; value: Target; onChange: (target: Target) => void; problem?: string }) {
  const id = useId();
  const [text, setText] = useState('');
  const [q, setQ] = useState('');
  useEffect(() => {
    const timer = setTimeout(() => setQ(text.trim()), 220);
    return () => clearTimeout(timer);
  }, [text]);
  const found = useQuery({
    queryKey: ['candidates', company, kind, q],
    queryFn: ({ signal }) => candidates(company, kind, q, signal),
    placeholderData: keepPreviousData,
  });
  const items = (found.data ?? []).slice(0, shown);
  const word = ownerWord(kind);
  return (
    <div className="field">
      <label htmlFor={id}>Which {word}</label>
      <input
        id={id}
        type="search"
        value={text}
        autoComplete="off"
        spellCheck={false}
        placeholder={kind === 'user' ? 'Name, email or number' : 'Name or id'}
        aria-invalid={problem ? true : undefined}
        aria-describedby={problem ? `${id}-problem` : undefined}
        onChange={(e) => setText(e.target.value)}
        onKeyDown={(e) => {
          // Enter searches; it must not send the form around it.
          if (e.key !== 'Enter') return;
          e.preventDefault();
          setQ(text.trim());
          if (items.length === 1) onChange({ kind, id: items[0]!.id, name: items[0]!.name });
        }}
      />
      <div className="candidates" role="radiogroup" aria-label={`Found: ${word}`} aria-busy={found.isFetching}>
        {value.id && !items.some((c) => c.id === value.id) ? <Choose name={id} of={{ id: value.id, name: value.name, note: '' }} chosen onChoose={() => {}} /> : null}
        {items.map((c) => (
          <Choose key={c.id} name={id} of={c} chosen={c.id === value.id} onChoose={() => onChange({ kind, id: c.id, name: c.name })} />
        ))}
      </div>
      <p className="hint" role="status">
        {found.isPending ? 'Searching…' : null}
        {found.isError ? `Cannot search: ${found.error.message}` : null}
        {found.isSuccess && items.length === 0 ? `No ${word} matches.` : null}
        {(found.data?.length ?? 0) > shown ? 'There are more: search for a part of the name.' : null}
      </p>
      {problem ? (
        <p id={`${id}-problem`} role="alert" className="wrong">
          {problem}
        </p>
      ) : null}
    </div>
  );
}

function Choose({ name, of, chosen, onChoose }: { name: string; of: Candidate; chosen: boolean; onChoose: () => void }) {
  return (
    <label className="candidate">
      <input type="radio" name={name} checked={chosen} onChange={onChoose} />
      <span className="strong">{of.name}</span>
      <span className="muted small-text">{of.note}</span>
    </label>
  );
}
