import { createRootRoute, createRoute, createRouter, lazyRouteComponent } from '@tanstack/react-router';
import { CompanyShell, NotFound, PageFailure, Root } from './components/Shell';
import { CallsPage } from './pages/Calls';
import { CompaniesPage } from './pages/Companies';
import { CompanyPage } from './pages/Company';
import { DevicePage } from './pages/Device';
import { DevicesPage } from './pages/Devices';
import { IngestPage } from './pages/Ingest';
import { NumbersPage } from './pages/Numbers';
import { UserPage } from './pages/User';
import { UsersPage } from './pages/Users';
import { only, parseSearch, stringifySearch } from './urlstate';

const root = createRootRoute({ component: Root, notFoundComponent: NotFound, errorComponent: PageFailure });

const companies = createRoute({ getParentRoute: () => root, path: '/', component: CompaniesPage });
const company = createRoute({ getParentRoute: () => root, path: '/c/$company', component: CompanyShell });
const overview = createRoute({ getParentRoute: () => company, path: '/', component: CompanyPage });

const users = createRoute({
  getParentRoute: () => company,
  path: '/users',
  component: UsersPage,
  validateSearch: (s: Record<string, unknown>) => only(s, ['q', 'state', 'office'] as const),
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
  validateSearch: (s: Record<string, unknown>) => only(s, ['view', 'leg', 'at'] as const),
});
const rejections = createRoute({
  getParentRoute: () => company,
  path: '/rejections',
  component: lazyRouteComponent(() => import('./pages/Rejections'), 'RejectionsPage'),
  validateSearch: (s: Record<string, unknown>) =>
    only(s, ['group_by', 'range', 'interval', 'from', 'to', 'reason', 'agent', 'department', 'office', 'contact_center', 'number'] as const),
});
const numbers = createRoute({
  getParentRoute: () => company,
  path: '/numbers',
  component: NumbersPage,
  validateSearch: (s: Record<string, unknown>) => only(s, ['q', 'type', 'status'] as const),
});
const devices = createRoute({
  getParentRoute: () => company,
  path: '/devices',
  component: DevicesPage,
  validateSearch: (s: Record<string, unknown>) => only(s, ['tab', 'state', 'health', 'aor'] as const),
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

export const router = createRouter({
  routeTree: root.addChildren([
    companies,
    company.addChildren([overview, users, user, calls, call, rejections, numbers, devices, device, ingest]),
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
