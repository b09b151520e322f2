import { getRouteApi, Link } from '@tanstack/react-router';
import { List } from '../components/List';
import { ratingColumns } from '../components/Ratings';
import { Section, Select, useTitle } from '../components/ui';
import { settings } from '../settings';
import { rangeOptions, span } from '../urlstate';

const route = getRouteApi('/c/$company/ratings');

/** RatingsPage lists what people thought of calls, each with its call. */
export function RatingsPage() {
  useTitle('Call ratings');
  const { company } = route.useParams();
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const range = search.range ?? '7d';
  return (
    <div className="page">
      <h1>Call ratings</h1>
      <Section
        heading="Rated calls"
        aside={
          <Link to="/c/$company/calls" params={{ company }} search={{ rating: '1' }}>
            Calls rated 1
          </Link>
        }
      >
        <div className="filters">
          <Select
            label="Time"
            value={range}
            options={rangeOptions}
            onChange={(r) => void navigate({ search: { range: r === '7d' ? undefined : r }, replace: true })}
          />
        </div>
        <List
          what="ratings"
          queryKey={['ratings', company, range]}
          load={(p, signal) => settings.ratings(company, undefined, { ...span({ range }, '7d', Date.now()), ...p }, signal)}
          columns={ratingColumns(company)}
          rowKey={(r) => r.id}
          refreshMs={10_000}
          empty="No call was rated in this time. Apps rate calls by the event earshot.call.rated."
        />
      </Section>
    </div>
  );
}
