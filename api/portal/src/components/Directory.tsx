// Small pieces that the pages of people, numbers and places share.
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { useId, useRef } from 'react';
import { appKindMeaning, appKindName } from '../appkinds';
import { directory, type OwnerKind, type Place, type PlaceKind } from '../directory';
import { phone } from '../format';
import { ownerWord, placeOf } from '../places';
import { Copy } from './ui';

/** atOnce is how many places a choice offers; who has more searches for them. */
const atOnce = 1000;

/** usePlaces reads the places of a kind, for choices and for their names. */
export function usePlaces(company: string, kind: PlaceKind) {
  return useQuery({
    queryKey: ['places', company, kind, 'all'],
    queryFn: ({ signal }) => directory.places(company, kind, { limit: atOnce }, signal),
    staleTime: 30_000,
  });
}

const kept = new Set([
  'company', 'users', 'user', 'notes', 'numbers', 'number', 'number-history', 'places', 'place', 'candidates', 'ports', 'port', 'devices', 'device', 'credentials', 'registrations', 'releases',
]);

/** useChanged says that something of the directory changed: what is shown of it is asked for again, for one change is seen in many places. */
export function useChanged(company: string): () => void {
  const client = useQueryClient();
  return () => void client.invalidateQueries({ predicate: ({ queryKey: [what, of] }) => of === company && kept.has(String(what)) });
}

export const placeOptions = (places: Place[] | undefined): [string, string][] => (places ?? []).map((p) => [p.id, p.name || p.id]);

/** PlaceLink names a place and goes to it. */
export function PlaceLink({ company, kind, id }: { company: string; kind: PlaceKind; id: string | null | undefined }) {
  const places = usePlaces(company, kind);
  if (!id) return <span className="none">–</span>;
  return (
    <Link to={`/c/$company/${kind}/$place`} params={{ company, place: id }}>
      {places.data?.items.find((p) => p.id === id)?.name || id}
    </Link>
  );
}

/** OwnerLink goes to whom or what a number belongs to. */
export function OwnerLink({ company, owner }: { company: string; owner: { kind: OwnerKind | string; id: string; name?: string | null } | null | undefined }) {
  if (!owner) return <span className="none">nobody</span>;
  const name = owner.name || owner.id;
  const place = placeOf(owner.kind);
  return (
    <span className="flags">
      {place ? (
        <Link to={`/c/$company/${place.kind}/$place`} params={{ company, place: owner.id }}>
          {name}
        </Link>
      ) : owner.kind === 'user' ? (
        <Link to="/c/$company/users/$user" params={{ company, user: owner.id }}>
          {name}
        </Link>
      ) : (
        name
      )}
      {owner.kind === 'user' ? null : <span className="muted small-text">{ownerWord(owner.kind)}</span>}
    </span>
  );
}

/** NumberLink writes a number as people read it and goes to its page. */
export function NumberLink({ company, number }: { company: string; number: string }) {
  return (
    <span className="id">
      <Link to="/c/$company/numbers/$number" params={{ company, number }} className="num strong">
        {phone(number)}
      </Link>
      <Copy text={number} what={`number ${phone(number)}`} />
    </span>
  );
}

/** AppKind is a kind of app with what it means behind it. */
export function AppKind({ kind }: { kind: string | null | undefined }) {
  const id = useId();
  const button = useRef<HTMLButtonElement>(null);
  const tip = useRef<HTMLSpanElement>(null);
  const meaning = appKindMeaning(kind);
  if (!kind) return <span className="none">–</span>;
  if (!meaning) return <>{appKindName(kind)}</>;
  const place = () => {
    const at = button.current!.getBoundingClientRect();
    const style = tip.current!.style;
    style.left = `${Math.max(8, Math.min(at.left, document.documentElement.clientWidth - tip.current!.offsetWidth - 8))}px`;
    style.top = `${at.bottom + 5}px`;
  };
  return (
    <>
      <button ref={button} type="button" className="why" popoverTarget={id} title={meaning}>
        {appKindName(kind)}
      </button>
      <span ref={tip} id={id} popover="auto" className="term-tip" onToggle={(e) => (e.newState === 'open' ? place() : undefined)}>
        {meaning}
      </span>
    </>
  );
}
