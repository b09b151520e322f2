import { createRootRoute, createRoute, createRouter, lazyRouteComponent } from '@tanstack/react-router';
import { CompanyShell, NotFound, PageFailure, Root } from './components/Shell';
import { AccountPage } from './pages/Account';
import { AuditPage } from './pages/Audit';
import { CallsPage } from './pages/Calls';
import { CompaniesPage } from './pages/Companies';
import { CompanyPage } from './pages/Company';
import { DevicePage } from './pages/Device';
import { DevicesPage } from './pages/Devices';
import { EventsPage } from './pages/Events';
import { ExperimentsPage } from './pages/Experiments';
import { IngestPage } from './pages/Ingest';
import { NumbersPage } from './pages/Numbers';
import { PlacePage } from './pages/Place';
import { PlacesPage } from './pages/Places';
import { RatingsPage } from './pages/Ratings';
import { RecordingPage } from './pages/Recording';
import { SettingsPage } from './pages/Settings';
import { SnapshotsPage } from './pages/Snapshots';
import { SubscriptionPage } from './pages/Subscription';
import { SubscriptionsPage } from './pages/Subscriptions';
import { UserPage } from './pages/User';
import { UsersPage } from './pages/Users';
import { callSearch } from './callroute';
import { filters as qualityFilters } from './quality';
import { only, parseSearch, stringifySearch } from './urlstate';

const root = createRootRoute({ component: Root, notFoundComponent: NotFound, errorComponent: PageFailure });

const companies = createRoute({ getParentRoute: () => root, path: '/', component: CompaniesPage });
const company = createRoute({ getParentRoute: () => root, path: '/c/$company', component: CompanyShell });
const overview = createRoute({ getParentRoute: () => company, path: '/', component: CompanyPage });

const users = createRoute({
  getParentRoute: () => company,
  path: '/users',
  component: UsersPage,
  validateSearch: (s: Record<string, unknown>) => only(s, ['q', 'state', 'office', 'app_version', 'department', 'contact_center'] as const),
});
const user = createRoute({
  getParentRoute: () => company,
  path: '/users/$user',
  component: UserPage,
  validateSearch: (s: Record<string, unknown>) => only(s, ['tab'] as const),
});
const calls = createRoute({
  getParentRoute: () => company,
  path: '/calls',
  component: CallsPage,
  validateSearch: (s: Record<string, unknown>) =>
    only(s, ['verdict', 'direction', 'number', 'user', 'state', 'rejected', 'rating', 'q', 'range', 'from', 'to'] as const),
});
// The pages with graphs bring the drawing library with them; the others start without it.
const call = createRoute({
  getParentRoute: () => company,
  path: '/calls/$call',
  component: lazyRouteComponent(() => import('./pages/Call'), 'CallPage'),
  validateSearch: (s: Record<string, unknown>) => only(s, callSearch),
});
// The link of a ticket names no company.
const snapshot = createRoute({
  getParentRoute: () => root,
  path: '/s/$snapshot',
  component: lazyRouteComponent(() => import('./pages/Snapshot'), 'SnapshotPage'),
  validateSearch: (s: Record<string, unknown>) => only(s, callSearch),
});
const snapshotList = createRoute({
  getParentRoute: () => company,
  path: '/snapshots',
  component: SnapshotsPage,
  validateSearch: (s: Record<string, unknown>) => only(s, ['call'] as const),
});
const rejections = createRoute({
  getParentRoute: () => company,
  path: '/rejections',
  component: lazyRouteComponent(() => import('./pages/Rejections'), 'RejectionsPage'),
  validateSearch: (s: Record<string, unknown>) =>
    only(s, ['group_by', 'range', 'interval', 'from', 'to', 'reason', 'agent', 'department', 'office', 'contact_center', 'number'] as const),
});
const quality = createRoute({
  getParentRoute: () => company,
  path: '/quality',
  component: lazyRouteComponent(() => import('./pages/Quality'), 'QualityPage'),
  validateSearch: (s: Record<string, unknown>) => only(s, ['group_by', 'range', 'interval', 'from', 'to', 'order', 'line', ...qualityFilters] as const),
});
const numbers = createRoute({
  getParentRoute: () => company,
  path: '/numbers',
  component: NumbersPage,
  validateSearch: (s: Record<string, unknown>) => only(s, ['q', 'type', 'status', 'owner_kind', 'owner', 'office'] as const),
});
const number = createRoute({
  getParentRoute: () => company,
  path: '/numbers/$number',
  component: lazyRouteComponent(() => import('./pages/Number'), 'NumberPage'),
  validateSearch: (s: Record<string, unknown>) => only(s, ['at'] as const),
});
const ports = createRoute({
  getParentRoute: () => company,
  path: '/ports',
  component: lazyRouteComponent(() => import('./pages/Ports'), 'PortsPage'),
  validateSearch: (s: Record<string, unknown>) => only(s, ['state', 'office', 'q'] as const),
});
const port = createRoute({ getParentRoute: () => company, path: '/ports/$port', component: lazyRouteComponent(() => import('./pages/Port'), 'PortPage') });

const inPlaces = (s: Record<string, unknown>) => only(s, ['q'] as const);
const offices = createRoute({ getParentRoute: () => company, path: '/offices', component: () => <PlacesPage kind="offices" />, validateSearch: inPlaces });
const office = createRoute({ getParentRoute: () => company, path: '/offices/$place', component: () => <PlacePage kind="offices" /> });
const officeImport = createRoute({ getParentRoute: () => company, path: '/offices/$place/import', component: lazyRouteComponent(() => import('./pages/Import'), 'ImportPage') });
const departments = createRoute({ getParentRoute: () => company, path: '/departments', component: () => <PlacesPage kind="departments" />, validateSearch: inPlaces });
const department = createRoute({ getParentRoute: () => company, path: '/departments/$place', component: () => <PlacePage kind="departments" /> });
const rooms = createRoute({ getParentRoute: () => company, path: '/rooms', component: () => <PlacesPage kind="rooms" />, validateSearch: inPlaces });
const room = createRoute({ getParentRoute: () => company, path: '/rooms/$place', component: () => <PlacePage kind="rooms" /> });
const contactCenters = createRoute({ getParentRoute: () => company, path: '/contact-centers', component: () => <PlacesPage kind="contact-centers" />, validateSearch: inPlaces });
const contactCenter = createRoute({ getParentRoute: () => company, path: '/contact-centers/$place', component: () => <PlacePage kind="contact-centers" /> });
const devices = createRoute({
  getParentRoute: () => company,
  path: '/devices',
  component: DevicesPage,
  validateSearch: (s: Record<string, unknown>) => only(s, ['tab', 'state', 'health', 'aor', 'q', 'app_kind', 'outdated'] as const),
});
const device = createRoute({
  getParentRoute: () => company,
  path: '/devices/$device',
  component: DevicePage,
  validateSearch: (s: Record<string, unknown>) => only(s, ['range', 'at'] as const),
});
const ingest = createRoute({
  getParentRoute: () => company,
  path: '/ingest',
  component: IngestPage,
  validateSearch: (s: Record<string, unknown>) => only(s, ['range'] as const),
});
const account = createRoute({ getParentRoute: () => company, path: '/users/$user/account', component: AccountPage });
const ratings = createRoute({
  getParentRoute: () => company,
  path: '/ratings',
  component: RatingsPage,
  validateSearch: (s: Record<string, unknown>) => only(s, ['range'] as const),
});
const events = createRoute({
  getParentRoute: () => company,
  path: '/events',
  component: EventsPage,
  validateSearch: (s: Record<string, unknown>) => only(s, ['type', 'range', 'user', 'office', 'department', 'contact_center'] as const),
});
const settings = createRoute({ getParentRoute: () => company, path: '/settings' });
const settingsHome = createRoute({ getParentRoute: () => settings, path: '/', component: SettingsPage });
const experiments = createRoute({ getParentRoute: () => settings, path: '/experiments', component: ExperimentsPage });
const recording = createRoute({ getParentRoute: () => settings, path: '/recording', component: RecordingPage });
const subscriptions = createRoute({ getParentRoute: () => settings, path: '/subscriptions' });
const subscriptionList = createRoute({ getParentRoute: () => subscriptions, path: '/', component: SubscriptionsPage });
const subscription = createRoute({
  getParentRoute: () => subscriptions,
  path: '/$subscription',
  component: SubscriptionPage,
  validateSearch: (s: Record<string, unknown>) => only(s, ['state'] as const),
});
const audit = createRoute({
  getParentRoute: () => settings,
  path: '/audit',
  component: AuditPage,
  validateSearch: (s: Record<string, unknown>) => only(s, ['actor', 'action', 'kind', 'id', 'range'] as const),
});

export const router = createRouter({
  routeTree: root.addChildren([
    companies,
    snapshot,
    company.addChildren([
      overview, users, user, calls, call, rejections, quality, numbers, number, devices, device, ingest, ports, port,
      offices, office, officeImport, departments, department, rooms, room, contactCenters, contactCenter,
      account, ratings, events, snapshotList,
      settings.addChildren([settingsHome, experiments, recording, subscriptions.addChildren([subscriptionList, subscription]), audit]),
    ]),
  ]),
  parseSearch,
  stringifySearch,
  scrollRestoration: true,
  defaultNotFoundComponent: NotFound,
});

declare module '@tanstack/react-router' {
  interface Register {
    router: typeof router;
  }
}
