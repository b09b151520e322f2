import { useQuery } from '@tanstack/react-query';
import { Link, Navigate } from '@tanstack/react-router';
import { api } from '../api';
import { Empty, Failure, Loading, Section, useTitle } from '../components/ui';

/** CompaniesPage lets the viewer choose; who may see one company only goes straight to it. */
export function CompaniesPage() {
  useTitle('Companies');
  const companies = useQuery({ queryKey: ['companies'], queryFn: ({ signal }) => api.companies(signal) });
  if (companies.isPending) return <Loading what="companies" />;
  if (companies.isError) return <Failure error={companies.error} what="companies" retry={() => void companies.refetch()} />;
  const items = companies.data.items;
  if (items.length === 1) return <Navigate to="/c/$company" params={{ company: items[0]!.id }} replace />;
  return (
    <div className="page">
      <h1>Companies</h1>
      <Section heading="Companies you may see" count={items.length}>
        {items.length === 0 ? <Empty>Your key opens no company. Ask whoever runs Earshot.</Empty> : null}
        <ul className="plain">
          {items.map((c) => (
            <li key={c.id}>
              <Link to="/c/$company" params={{ company: c.id }} className="strong">
                {c.name || c.id}
              </Link>{' '}
              <code className="muted">{c.id}</code>
            </li>
          ))}
        </ul>
      </Section>
    </div>
  );
}
