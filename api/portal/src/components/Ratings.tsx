import { Link } from '@tanstack/react-router';
import type { Rating } from '../settings';
import { CallLink } from './CallColumns';
import type { Column } from './DataTable';
import { Moment } from './ui';

/** Stars is a rating of 1 to 5, for eyes and for readers of screens. */
function Stars({ rating }: { rating: number }) {
  return (
    <span role="img" aria-label={`${rating} of 5`} className={rating <= 2 ? 'stars stars-low' : 'stars'}>
      {'★'.repeat(rating)}
      <span aria-hidden="true">{'☆'.repeat(Math.max(0, 5 - rating))}</span>
    </span>
  );
}

export const ratingColumns = (company: string): Column<Rating>[] => [
  { id: 'at', header: 'Time', lead: true, cell: (r) => <Moment at={r.at} /> },
  { id: 'rating', header: 'Rating', cell: (r) => <Stars rating={r.rating} /> },
  {
    id: 'rater',
    header: 'By',
    cell: (r) =>
      r.user_id ? (
        <Link to="/c/$company/users/$user" params={{ company, user: r.user_id }}>
          {r.name || r.user_id}
        </Link>
      ) : (
        r.name || <span className="none">not known</span>
      ),
  },
  { id: 'text', header: 'In their words', cell: (r) => <span className="break">{r.text || <span className="none">–</span>}</span> },
  { id: 'call', header: 'Call', cell: (r) => <CallLink company={company} call={r.call_id} /> },
];
