import { getRouteApi, Link } from '@tanstack/react-router';
import { Section, useTitle } from '../components/ui';

const route = getRouteApi('/c/$company/settings/');

const places = [
  { to: '/c/$company/settings/experiments', name: 'Experiments', says: 'Features that are turned on or off for the company or a user.' },
  { to: '/c/$company/settings/recording', name: 'Call recording', says: 'For whom calls are recorded, and who changed that when.' },
  { to: '/c/$company/settings/subscriptions', name: 'Subscriptions', says: 'Programs that are told of call events, signed and in order, and what was delivered.' },
  { to: '/c/$company/settings/audit', name: 'Audit log', says: 'Who did and who read what.' },
  { to: '/c/$company/snapshots', name: 'Snapshots', says: 'Calls that were frozen for tickets, behind links that stay.' },
  { to: '/c/$company/events', name: 'Call events', says: 'What happened in calls, as it happens.' },
  { to: '/c/$company/ratings', name: 'Call ratings', says: 'What people thought of calls.' },
  { to: '/c/$company/ingest', name: 'Ingest', says: 'What agents sent, and what became of it.' },
] as const;

export function SettingsPage() {
  useTitle('Settings');
  const { company } = route.useParams();
  return (
    <div className="page">
      <h1>Settings</h1>
      <Section heading="Settings and logs">
        <ul className="places">
          {places.map((p) => (
            <li key={p.to}>
              <Link to={p.to} params={{ company }}>
                {p.name}
              </Link>
              <span className="muted">{p.says}</span>
            </li>
          ))}
        </ul>
      </Section>
    </div>
  );
}
