import { accessible, company, expect, fits, settled, someUser, test } from './portal';

const pages: { name: string; path: (c: string, user: string) => string; heading: RegExp }[] = [
  { name: 'company', path: (c) => `/c/${c}`, heading: /./ },
  { name: 'users', path: (c) => `/c/${c}/users`, heading: /^Users$/ },
  { name: 'a user’s devices', path: (c, u) => `/c/${c}/users/${u}`, heading: /./ },
  { name: 'a user’s registrations', path: (c, u) => `/c/${c}/users/${u}?tab=registrations`, heading: /./ },
  { name: 'a user’s calls', path: (c, u) => `/c/${c}/users/${u}?tab=calls`, heading: /./ },
  { name: 'calls', path: (c) => `/c/${c}/calls`, heading: /^Calls$/ },
  { name: 'numbers', path: (c) => `/c/${c}/numbers`, heading: /^Numbers$/ },
  { name: 'devices', path: (c) => `/c/${c}/devices`, heading: /^Devices and registrations$/ },
  { name: 'devices by health', path: (c) => `/c/${c}/devices?health=healthy`, heading: /^Devices and registrations$/ },
  { name: 'history of registrations', path: (c) => `/c/${c}/devices?tab=history`, heading: /^Devices and registrations$/ },
  { name: 'a user’s ratings', path: (c, u) => `/c/${c}/users/${u}?tab=ratings`, heading: /./ },
  { name: 'all devices', path: (c) => `/c/${c}/devices?tab=devices`, heading: /^Devices and registrations$/ },
  { name: 'latest versions', path: (c) => `/c/${c}/devices?tab=versions`, heading: /^Devices and registrations$/ },
  { name: 'port requests', path: (c) => `/c/${c}/ports`, heading: /^Port requests$/ },
  { name: 'offices', path: (c) => `/c/${c}/offices`, heading: /^Offices$/ },
  { name: 'departments', path: (c) => `/c/${c}/departments`, heading: /^Departments$/ },
  { name: 'rooms', path: (c) => `/c/${c}/rooms`, heading: /^Rooms$/ },
  { name: 'contact centres', path: (c) => `/c/${c}/contact-centers`, heading: /^Contact centres$/ },
  { name: 'rejections', path: (c) => `/c/${c}/rejections?range=7d`, heading: /^Rejections$/ },
  { name: 'quality', path: (c) => `/c/${c}/quality?range=7d`, heading: /^Quality$/ },
  { name: 'quality by user', path: (c) => `/c/${c}/quality?range=7d&group_by=user&order=bad`, heading: /^Quality$/ },
  { name: 'a user’s notes', path: (c, u) => `/c/${c}/users/${u}?tab=notes`, heading: /./ },
  { name: 'a user’s settings', path: (c, u) => `/c/${c}/users/${u}?tab=settings`, heading: /./ },
  { name: 'account settings', path: (c, u) => `/c/${c}/users/${u}/account`, heading: /^Account settings$/ },
  { name: 'call events', path: (c) => `/c/${c}/events?range=7d`, heading: /^Call events$/ },
  { name: 'ratings', path: (c) => `/c/${c}/ratings?range=7d`, heading: /^Call ratings$/ },
  { name: 'settings', path: (c) => `/c/${c}/settings`, heading: /^Settings$/ },
  { name: 'experiments', path: (c) => `/c/${c}/settings/experiments`, heading: /^Experiments$/ },
  { name: 'recording', path: (c) => `/c/${c}/settings/recording`, heading: /^Call recording$/ },
  { name: 'subscriptions', path: (c) => `/c/${c}/settings/subscriptions`, heading: /^Subscriptions$/ },
  { name: 'audit log', path: (c) => `/c/${c}/settings/audit?range=7d`, heading: /^Audit log$/ },
  { name: 'ingest', path: (c) => `/c/${c}/ingest?range=24h`, heading: /^Ingest$/ },
];

for (const p of pages) {
  test(`page: ${p.name}`, async ({ page, request }) => {
    const c = await company(request);
    const user = await someUser(request, c);
    await page.goto(p.path(c, encodeURIComponent(user.id)));
    await settled(page);
    await expect(page.locator('h1')).toHaveText(p.heading);
    await fits(page);
    await accessible(page);
  });
}

test('pages in the dark', async ({ page, request }) => {
  await page.emulateMedia({ colorScheme: 'dark' });
  const c = await company(request);
  for (const path of [`/c/${c}`, `/c/${c}/calls`, `/c/${c}/rejections?range=7d`, `/c/${c}/quality?range=7d`]) {
    await page.goto(path);
    await settled(page);
    await accessible(page);
  }
});

test('the root goes to the only company, and sections are links', async ({ page, request }) => {
  const c = await company(request);
  const all = await request.get('/api/v1/companies');
  await page.goto('/');
  if (((await all.json()) as { items: unknown[] }).items.length === 1) await expect(page).toHaveURL(`/c/${c}`);
  else await page.getByRole('link', { name: c }).first().click();
  await page.getByRole('navigation', { name: 'Company' }).getByRole('link', { name: 'Numbers' }).click();
  await expect(page).toHaveURL(`/c/${c}/numbers`);
  await expect(page.locator('h1')).toHaveText('Numbers');
});

test('filters of calls stand in the address and survive a reload', async ({ page, request }) => {
  const c = await company(request);
  await page.goto(`/c/${c}/calls`);
  await settled(page);
  await page.getByLabel('Verdict').selectOption('good');
  await page.getByLabel('Direction').selectOption('internal');
  await expect(page).toHaveURL(/verdict=good/);
  await expect(page).toHaveURL(/direction=internal/);
  await page.reload();
  await settled(page);
  await expect(page.getByLabel('Verdict')).toHaveValue('good');
  await expect(page.getByLabel('Direction')).toHaveValue('internal');
  for (const badge of await page.locator('tbody .badge').allTextContents()) expect(badge).toBe('Good');
  await page.getByRole('button', { name: 'Clear' }).click();
  await expect(page).toHaveURL(`/c/${c}/calls`);
});

test('numbers are found by area code and by their end', async ({ page, request }) => {
  const c = await company(request);
  const list = (await (await request.get(`/api/v1/companies/${c}/numbers?limit=1`)).json()) as { items: { number: string; area_code: string }[] };
  const { number, area_code: area } = list.items[0]!;
  for (const q of [area, number.slice(-4), number]) {
    await page.goto(`/c/${c}/numbers?q=${encodeURIComponent(q)}`);
    await settled(page);
    const written = (await page.locator('tbody td.lead').allTextContents()).map((t) => t.replace(/\D/g, ''));
    expect(written, `numbers for ${q}`).toContain(number.slice(1));
  }
});

test('the search box goes to a user by keyboard', async ({ page, request }) => {
  const c = await company(request);
  const user = await someUser(request, c);
  await page.goto(`/c/${c}`);
  await settled(page);
  await page.keyboard.press('/');
  const box = page.getByRole('combobox', { name: /Search/ });
  await expect(box).toBeFocused();
  await page.keyboard.type(user.name);
  await expect(page.getByRole('option', { name: user.name }).first()).toBeVisible();
  await accessible(page);
  await page.getByRole('option', { name: user.name }).first().click();
  await expect(page).toHaveURL(`/c/${c}/users/${encodeURIComponent(user.id)}`);
});

test('what does not exist says so', async ({ page, request, watch }) => {
  watch.expected.push(/404/);
  const c = await company(request);
  await page.goto(`/c/${c}/calls/there-is-no-such-call`);
  await expect(page.getByRole('alert')).toContainText('No such call');
  await page.goto(`/c/${c}/nowhere`);
  await expect(page.getByRole('alert')).toContainText('no page at this address');
  await fits(page);
});

test('a failing API is shown, and asked again on request', async ({ page, request, watch }) => {
  watch.expected.push(/500/);
  const c = await company(request);
  let broken = true;
  await page.route('**/api/v1/companies/*/users?*', (route) =>
    broken
      ? route.fulfill({ status: 500, contentType: 'application/problem+json', body: '{"title":"Internal Server Error","status":500,"detail":"the directory is away"}' })
      : route.continue(),
  );
  await page.goto(`/c/${c}/users`);
  await expect(page.getByRole('alert')).toContainText('the directory is away');
  broken = false;
  await page.getByRole('button', { name: 'Try again' }).click();
  await settled(page);
  await expect(page.getByRole('table', { name: 'users' })).toBeVisible();
});

test.describe('signed out', () => {
  test.use({ storageState: { cookies: [], origins: [] } });
  test('the page explains how to sign in', async ({ page, watch }) => {
    watch.expected.push(/401/);
    await page.goto('/c/default/calls');
    await expect(page.getByRole('heading', { name: 'Sign in to Earshot' })).toBeVisible();
    await expect(page.getByText('earshot keys')).toBeVisible();
    await fits(page);
    await accessible(page);
    await page.getByLabel('Or sign in with an API key').fill('not a key');
    await page.getByRole('button', { name: 'Sign in' }).click();
    await expect(page.getByRole('alert')).toContainText('not valid');
  });
});

test('a device: how it fares, when it was registered, and whether it was at a time', async ({ page, request }) => {
  const c = await company(request);
  await page.goto(`/c/${c}/devices`);
  await settled(page);
  await page.getByRole('link', { name: /^Timeline of / }).first().click();
  await expect(page).toHaveURL(/\/devices\/[0-9a-f]{16}$/);
  await settled(page);
  await fits(page);
  await accessible(page);
  await expect(page.getByRole('img', { name: /^Registered .* of the time/ })).toBeVisible();
  await page.getByRole('button', { name: '7 days' }).click();
  await expect(page).toHaveURL(/range=7d/);
  await settled(page);
  await page.getByLabel('Was it registered at').fill(await page.evaluate(() => {
    const d = new Date();
    return new Date(d.getTime() - d.getTimezoneOffset() * 60_000 - 5000).toISOString().slice(0, 19);
  }));
  await page.getByRole('button', { name: 'Ask' }).click();
  await expect(page.locator('.answer')).toHaveText(/^(Yes|No|Not known): /);
  await accessible(page);
});
