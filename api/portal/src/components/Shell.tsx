import { useQuery } from '@tanstack/react-query';
import { type ErrorComponentProps, Link, Outlet, useLocation, useParams } from '@tanstack/react-router';
import { type FormEvent, useEffect, useRef, useState } from 'react';
import { api, ApiError } from '../api';
import { timeZone } from '../format';
import { session, useSignedOut } from '../session';
import { ProxyBanner, useWhoami } from './Proxy';
import { Search } from './Search';
import { useTitle } from './ui';

const sections = [
  { to: '/c/$company', label: 'Overview', exact: true },
  { to: '/c/$company/calls', label: 'Calls', exact: false },
  { to: '/c/$company/users', label: 'Users', exact: false },
  { to: '/c/$company/devices', label: 'Devices', exact: false },
  { to: '/c/$company/numbers', label: 'Numbers', exact: false },
  { to: '/c/$company/offices', label: 'Places', exact: false, and: /^\/c\/[^/]+\/(departments|rooms|contact-centers)(\/|$)/ },
  { to: '/c/$company/ports', label: 'Ports', exact: false },
  { to: '/c/$company/rejections', label: 'Rejections', exact: false },
  { to: '/c/$company/quality', label: 'Quality', exact: false },
  { to: '/c/$company/events', label: 'Events', exact: false },
  { to: '/c/$company/ratings', label: 'Ratings', exact: false },
  { to: '/c/$company/ingest', label: 'Ingest', exact: false },
  { to: '/c/$company/settings', label: 'Settings', exact: false },
] as const;

export function Root() {
  const signedOut = useSignedOut();
  const { company } = useParams({ strict: false });
  if (signedOut) return <SignIn />;
  return (
    <>
      <a href="#main" className="skip">
        Skip to the page
      </a>
      <header className="top">
        <Link to="/" className="brand" aria-label="Earshot: companies">
          <img src="/favicon.svg" alt="" width="22" height="22" />
          <span>Earshot</span>
        </Link>
        {company ? <CompanyName company={company} /> : null}
        {company ? <Search company={company} /> : null}
      </header>
      <ProxyBanner />
      {company ? <Sections company={company} /> : null}
      <main id="main" tabIndex={-1}>
        <Outlet />
      </main>
      <footer className="foot">
        <span>{timeZone() === 'UTC' ? 'Times are in UTC.' : `Times are in ${timeZone()}; hover for UTC.`}</span>
        <SignOut />
        <a href="/api/docs">API</a>
      </footer>
    </>
  );
}

function Sections({ company }: { company: string }) {
  const nav = useRef<HTMLElement>(null);
  const path = useLocation({ select: (l) => l.pathname });
  // On a narrow screen the sections scroll sideways: the one that is open should be seen.
  useEffect(() => {
    const open = nav.current?.querySelector<HTMLElement>('[aria-current]');
    if (nav.current && open) nav.current.scrollLeft = open.offsetLeft - nav.current.offsetLeft - 16;
  }, [path]);
  return (
    <nav className="sections" aria-label="Company" ref={nav}>
      {sections.map((s) => (
        <Link
          key={s.to}
          to={s.to}
          params={{ company }}
          activeOptions={{ exact: s.exact, includeSearch: false }}
          activeProps={{ 'aria-current': 'page' }}
          {...('and' in s && s.and.test(path) ? { 'aria-current': 'page' as const } : {})}
        >
          {s.label}
        </Link>
      ))}
    </nav>
  );
}

function CompanyName({ company }: { company: string }) {
  const found = useQuery({ queryKey: ['company', company], queryFn: ({ signal }) => api.company(company, signal), staleTime: 60_000 });
  return <span className="company">{found.data?.name || company}</span>;
}

export function CompanyShell() {
  return <Outlet />;
}

function SignIn() {
  useTitle('Sign in');
  const [key, setKey] = useState('');
  const [note, setNote] = useState('');
  const [busy, setBusy] = useState(false);
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    setBusy(true);
    setNote('');
    try {
      await api.signIn(key.trim());
      location.reload();
    } catch (error) {
      setNote(error instanceof ApiError && error.status === 401 ? 'That key is not valid, or it was revoked.' : `Cannot sign in: ${error instanceof Error ? error.message : String(error)}`);
      setBusy(false);
    }
  };
  return (
    <main className="signin" id="main">
      <img src="/favicon.svg" alt="" width="40" height="40" />
      <h1>Sign in to Earshot</h1>
      <p>This browser is not signed in, or its session is over. Earshot has no passwords: open a one-time sign-in link instead.</p>
      <ul>
        <li>
          Where Earshot was started with <code>make run</code>, the link stands in the terminal, below the portal’s address.
        </li>
        <li>
          Otherwise whoever runs Earshot makes one with <code>earshot keys signin</code> and sends it to you.
        </li>
      </ul>
      <p className="muted">A link works once. When it has signed you in, come back to this address.</p>
      <form onSubmit={(e) => void submit(e)}>
        <label className="field">
          <span>Or sign in with an API key</span>
          <input type="password" autoComplete="off" spellCheck={false} required value={key} onChange={(e) => setKey(e.target.value)} />
        </label>
        <button type="submit" className="primary" disabled={busy || key.trim() === ''}>
          Sign in
        </button>
      </form>
      {note ? <p role="alert">{note}</p> : null}
    </main>
  );
}

function SignOut() {
  const who = useWhoami();
  if (!who.data) return null;
  return (
    <span>
      Signed in{who.data.name ? ` as ${who.data.name}` : ''}.{' '}
      <button type="button" className="link" onClick={() => void api.signOut().then(() => session.end())}>
        Sign out
      </button>
    </span>
  );
}

export function NotFound() {
  useTitle('No such page');
  return (
    <div className="state failure" role="alert">
      <strong>There is no page at this address.</strong>
      <Link to="/">To the companies</Link>
    </div>
  );
}

export function PageFailure({ error, reset }: ErrorComponentProps) {
  return (
    <div className="state failure" role="alert">
      <strong>The page could not be shown.</strong>
      <span>{error instanceof Error ? error.message : String(error)}</span>
      <button type="button" onClick={reset}>
        Try again
      </button>
    </div>
  );
}
