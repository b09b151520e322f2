import { getRouteApi, Link, useNavigate, useSearch } from '@tanstack/react-router';
import { useMemo, useState } from 'react';
import type { Column } from '../components/DataTable';
import { PlaceLink } from '../components/Directory';
import { List } from '../components/List';
import { PlaceForm } from '../components/PlaceForm';
import { Section, TextFilter, useTitle } from '../components/ui';
import { directory, type Place, type PlaceKind } from '../directory';
import { phone } from '../format';
import { placeKinds, placeWords } from '../places';

const route = getRouteApi('/c/$company');

const columns = (company: string, kind: PlaceKind): Column<Place>[] => {
  const all: Column<Place>[] = [
    {
      id: 'name',
      header: 'Name',
      lead: true,
      cell: (p) => (
        <Link to={`/c/$company/${kind}/$place`} params={{ company, place: p.id }} className="strong">
          {p.name || p.id}
        </Link>
      ),
    },
    { id: 'office', header: 'Office', cell: (p) => <PlaceLink company={company} kind="offices" id={p.office} /> },
    { id: 'numbers', header: 'Numbers', cell: (p) => (p.numbers.length ? <span className="num">{some(p.numbers)}</span> : <span className="none">none</span>) },
    { id: 'members', header: 'Users', numeric: true, cell: (p) => p.users },
    {
      id: 'import',
      header: 'Many at once',
      cell: (p) => (
        <Link to="/c/$company/offices/$place/import" params={{ company, place: p.id }} aria-label={`Add users to ${p.name || p.id} via CSV`}>
          Add users via CSV
        </Link>
      ),
    },
  ];
  const left = kind === 'offices' ? ['office'] : kind === 'rooms' ? ['members', 'import'] : ['import'];
  return all.filter((c) => !left.includes(c.id));
};

/** some writes the first numbers of what may be many. */
const some = (numbers: string[]): string => numbers.slice(0, 2).map(phone).join(', ') + (numbers.length > 2 ? ` and ${numbers.length - 2} more` : '');

/** PlacesPage lists the offices, departments, rooms or contact centres of a company. */
export function PlacesPage({ kind }: { kind: PlaceKind }) {
  const words = placeWords(kind);
  useTitle(words.many);
  const { company } = route.useParams();
  const { q } = useSearch({ strict: false }) as { q?: string };
  const navigate = useNavigate();
  const [adding, setAdding] = useState(false);
  const shown = useMemo(() => columns(company, kind), [company, kind]);
  return (
    <div className="page">
      <div className="title-row">
        <h1>{words.many}</h1>
        <div className="actions">
          <button type="button" className="primary" onClick={() => setAdding(true)}>
            Add {words.one}
          </button>
        </div>
      </div>
      <nav className="choice" aria-label="Kinds of places">
        {placeKinds.map((p) => (
          <Link key={p.kind} to={`/c/$company/${p.kind}`} params={{ company }} activeOptions={{ includeSearch: false }} activeProps={{ 'aria-current': 'page' }}>
            {p.many}
          </Link>
        ))}
      </nav>
      <Section heading={words.many}>
        <div className="filters">
          <TextFilter key={kind} label="Name or id" value={q ?? ''} onChange={(text) => void navigate({ to: '.', search: text.trim() ? { q: text.trim() } : {}, replace: true })} />
        </div>
        <List
          key={kind}
          what={words.many.toLowerCase()}
          queryKey={['places', company, kind, q]}
          load={(p, signal) => directory.places(company, kind, { q, ...p }, signal)}
          columns={shown}
          rowKey={(p) => p.id}
          empty={q ? `No ${words.one} matches.` : `No ${words.one} yet. Add one here.`}
        />
      </Section>
      {adding ? (
        <PlaceForm
          company={company}
          kind={kind}
          onClose={() => setAdding(false)}
          onDone={(p) => void navigate({ to: `/c/$company/${kind}/$place`, params: { company, place: p.id } })}
        />
      ) : null}
    </div>
  );
}
