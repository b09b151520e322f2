// What an administrator does: people, numbers, ports, places and devices, through the pages.
import type { Locator, Page } from '@playwright/test';
import { accessible, company, expect, fits, settled, test } from './portal';

/** mark makes names that no other run of a test has. */
const mark = () => Math.random().toString(36).slice(2, 8);
/** someNumber is a valid number that hardly any other run has: the line numbers of an exchange that is not for fiction only. */
const someNumber = () => `+1415${200 + Math.floor(Math.random() * 700)}${String(1000 + Math.floor(Math.random() * 9000))}`;

const dialog = (page: Page): Locator => page.locator('dialog[open]');

/** make adds something by the API from within the portal's own pages: from elsewhere a session changes nothing. */
async function make<T = unknown>(page: Page, c: string, route: string, data: object): Promise<T> {
  if (!page.url().startsWith('http')) await page.goto(`/c/${c}/offices`);
  const answer = await page.evaluate(
    async ([path, body]) => {
      const response = await fetch(path!, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body });
      return { status: response.status, text: await response.text() };
    },
    [`/api/v1/companies/${c}/${route}`, JSON.stringify(data)],
  );
  expect(answer.status, `${route}: ${answer.text}`).toBe(201);
  return JSON.parse(answer.text) as T;
}

/** whole says that a page with a dialog can be read and reached. */
async function whole(page: Page) {
  await fits(page);
  await accessible(page);
}

test('a user is added, changed and deleted', async ({ page, request, watch }) => {
  watch.expected.push(/409|422/);
  const c = await company(request);
  const m = mark();
  const other = await make<{ email: string }>(page, c, 'users', { name: `Other ${m}`, email: `other.${m}@example.com` });
  await page.goto(`/c/${c}/users`);
  await settled(page);
  await page.getByRole('button', { name: 'Add user' }).click();
  const form = dialog(page);
  await expect(form.getByLabel('Name', { exact: true })).toBeFocused();
  await form.getByLabel('Name', { exact: true }).fill(`Ada ${m}`);
  await form.getByLabel('Email', { exact: true }).fill(other.email);
  const [first, second] = [someNumber(), someNumber()];
  await form.getByLabel('Numbers', { exact: true }).fill(`${first}\n${second}`);
  await form.getByRole('button', { name: 'Add user' }).click();

  // What is wrong stands beside the field, and what was typed stays.
  await expect(form.getByRole('alert')).toContainText(/^Email /);
  await expect(form.getByLabel('Email', { exact: true })).toBeFocused();
  await whole(page);
  await expect(form.getByLabel('Name', { exact: true })).toHaveValue(`Ada ${m}`);
  await form.getByLabel('Email', { exact: true }).fill(`ada.${m}@example.com`);
  await form.getByRole('button', { name: 'Add user' }).click();
  await expect(page.locator('h1')).toContainText(`Ada ${m}`);

  await page.getByRole('button', { name: 'Edit' }).click();
  await whole(page);
  await dialog(page).getByLabel('State').selectOption('pending');
  await dialog(page).getByRole('button', { name: 'Save' }).click();
  await expect(page.locator('h1')).toContainText('Pending');

  await page.getByRole('button', { name: 'Delete', exact: true }).click();
  await expect(dialog(page)).toContainText('becomes available');
  await whole(page);
  await page.keyboard.press('Escape');
  await expect(dialog(page)).toHaveCount(0);
  await expect(page.getByRole('button', { name: 'Delete', exact: true })).toBeFocused();
  await page.getByRole('button', { name: 'Delete', exact: true }).click();
  await dialog(page).getByRole('button', { name: 'Delete user' }).click();
  await expect(page.locator('h1')).toContainText('Deleted');

  await page.goto(`/c/${c}/numbers/${encodeURIComponent(first)}`);
  await expect(page.locator('h1')).toContainText('Available');
});

test('a number goes from one to another, and the last one stays', async ({ page, request, watch }) => {
  watch.expected.push(/409/);
  const c = await company(request);
  const m = mark();
  const [first, second] = [someNumber(), someNumber()];
  const from = await make<{ id: string }>(page, c, 'users', { name: `From ${m}`, numbers: [first, second] });
  await make(page, c, 'users', { name: `To ${m}` });
  await page.goto(`/c/${c}/numbers/${encodeURIComponent(first)}`);
  await settled(page);
  await page.getByRole('button', { name: /^Transfer / }).click();
  await dialog(page).getByLabel('Kind').selectOption('user');
  await dialog(page).getByLabel('Which user').fill(`To ${m}`);
  await dialog(page).getByRole('radio', { name: `To ${m}` }).check();
  await dialog(page).getByLabel('Reason').fill('a new desk');
  await whole(page);
  await dialog(page).getByRole('button', { name: `Transfer to To ${m}` }).click();
  await expect(dialog(page)).toHaveCount(0);
  const history = page.getByRole('table', { name: 'owners' });
  await expect(history).toContainText('a new desk');
  await expect(history.locator('tbody tr').first()).toContainText(`To ${m}`);
  await expect(history.locator('tbody tr').nth(1)).toContainText(`From ${m}`);

  // The source would be left without a number.
  await page.goto(`/c/${c}/users/${encodeURIComponent(from.id)}`);
  await settled(page);
  await page.getByRole('button', { name: /^Transfer / }).click();
  await dialog(page).getByLabel('Kind').selectOption('pool');
  await dialog(page).getByRole('button', { name: 'Put back into the pool' }).click();
  await expect(dialog(page).getByRole('alert')).toContainText(/number/);
  await whole(page);
  await page.keyboard.press('Escape');

  // A search finds it however it is written.
  const written = `(${second.slice(2, 5)}) ${second.slice(5, 8)}-${second.slice(8)}`;
  await page.goto(`/c/${c}/numbers`);
  await settled(page);
  await page.getByLabel(/Full number/).fill(written);
  await expect(page.locator('tbody tr')).toHaveCount(1);
  await expect(page.locator('tbody tr')).toContainText(`From ${m}`);
});

test('users come from a file: checked first, whole or not at all', async ({ page, request, watch }) => {
  watch.expected.push(/422/);
  const c = await company(request);
  const m = mark();
  const office = await make<{ id: string }>(page, c, 'offices', { id: `office-${m}`, name: `Office ${m}` });
  await page.goto(`/c/${c}/offices/${office.id}`);
  await settled(page);
  await page.getByRole('link', { name: 'Add users via CSV' }).click();
  await expect(page.locator('h1')).toHaveText(`Add users to Office ${m} via CSV`);
  const choose = (rows: string[]) =>
    page.getByLabel('CSV file with a header row').setInputFiles({ name: 'users.csv', mimeType: 'text/csv', buffer: Buffer.from(['name,email', ...rows].join('\n') + '\n') });
  await choose([`Good ${m},good.${m}@example.com`, `Bad ${m},no address`]);
  const errors = page.getByRole('table', { name: 'Errors' });
  await expect(errors.locator('tbody tr')).toHaveCount(1);
  await expect(errors.locator('tbody tr')).toContainText('Line 3');
  await expect(errors.locator('tbody tr')).toContainText('email');
  await expect(page.getByRole('button', { name: /^Add \d/ })).toHaveCount(0);
  await whole(page);

  await choose(Array.from({ length: 3 }, (_, i) => `Good ${m} ${i},good.${m}.${i}@example.com`));
  await page.getByRole('button', { name: 'Add 3 users' }).click();
  await expect(page.getByRole('status')).toContainText('3 users were added');
  await whole(page);
  await page.getByRole('link', { name: 'See them' }).click();
  await expect(page.locator('tbody tr')).toHaveCount(3);

  const [file] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Export CSV' }).click()]);
  const text = (await (await file.createReadStream()).toArray()).join('');
  expect(text.trimEnd().split('\n')).toHaveLength(4);
  expect(text).toContain(`good.${m}.2@example.com`);
});

test('a port request goes from draft to completed', async ({ page, request, watch }) => {
  watch.expected.push(/409|422/);
  const c = await company(request);
  const m = mark();
  await make(page, c, 'departments', { id: `dep-${m}`, name: `Department ${m}` });
  const number = someNumber();
  await page.goto(`/c/${c}/ports`);
  await settled(page);
  await page.getByRole('button', { name: 'New port request' }).click();
  await dialog(page).getByLabel('Numbers', { exact: true }).fill(`${number}\n12`);
  await dialog(page).getByLabel('Batch ID').fill(`batch-${m}`);
  await dialog(page).getByLabel('LNP ID').fill(`LNP-${m}`);
  await dialog(page).getByLabel('Carrier').fill('Example Telecom');
  await dialog(page).getByLabel('Kind').selectOption('department');
  await dialog(page).getByLabel('Which department').fill(m);
  await dialog(page).getByRole('radio', { name: `Department ${m}` }).check();
  await whole(page);
  await dialog(page).getByRole('button', { name: 'Save as a draft' }).click();
  await expect(dialog(page).getByRole('alert')).toContainText('Entry 2');
  await dialog(page).getByLabel('Numbers', { exact: true }).fill(number);
  await dialog(page).getByRole('button', { name: 'Save as a draft' }).click();
  await expect(page.locator('h1')).toContainText(`batch-${m} Draft`);
  await whole(page);

  await page.getByRole('button', { name: 'Submit' }).click();
  await dialog(page).getByRole('button', { name: 'Submit' }).click();
  await expect(page.locator('h1')).toContainText('Submitted');
  await page.goto(`/c/${c}/numbers/${encodeURIComponent(number)}`);
  await expect(page.locator('h1')).toContainText('Port pending');
  await page.goBack();
  await page.getByRole('button', { name: 'Enter the FOC date' }).click();
  await dialog(page).getByLabel('FOC date').fill('2031-12-01');
  await whole(page);
  await dialog(page).getByRole('button', { name: 'Enter the FOC date' }).click();
  await expect(page.locator('h1')).toContainText('FOC received');
  await page.getByRole('button', { name: 'Complete' }).click();
  await dialog(page).getByRole('button', { name: 'Complete' }).click();
  await expect(page.locator('h1')).toContainText('Completed');
  await expect(page.getByRole('table', { name: 'What happened' }).locator('tbody tr')).toHaveCount(4);
  await page.getByRole('link', { name: /^\+1 415/ }).click();
  await expect(page.locator('h1')).toContainText('Department assigned');
  await expect(page.locator('.facts')).toContainText(`Department ${m}`);

  await page.goto(`/c/${c}/ports?q=batch-${m}`);
  await settled(page);
  for (const text of [c, `LNP-${m}`, 'Port in', 'Completed']) await expect(page.locator('tbody tr').first()).toContainText(text);
  await whole(page);
});

test('places are made, changed and deleted when empty', async ({ page, request, watch }) => {
  watch.expected.push(/409|422/);
  const c = await company(request);
  const m = mark();
  const kinds = [['offices', 'office'], ['departments', 'department'], ['rooms', 'room'], ['contact-centers', 'contact centre']] as const;
  for (const [route, word] of kinds) {
    await page.goto(`/c/${c}/${route}`);
    await settled(page);
    await whole(page);
    await page.getByRole('button', { name: `Add ${word}` }).click();
    await dialog(page).getByLabel('Name', { exact: true }).fill(`The ${word} ${m}`);
    await dialog(page).getByLabel('ID', { exact: true }).fill('not an id');
    await dialog(page).getByRole('button', { name: `Add ${word}` }).click();
    await expect(dialog(page).getByRole('alert')).toContainText(/^ID /);
    await dialog(page).getByLabel('ID', { exact: true }).fill(`id-${m}`);
    await dialog(page).getByRole('button', { name: `Add ${word}` }).click();
    await expect(page.locator('h1')).toHaveText(`The ${word} ${m}`);
    await settled(page);
    await whole(page);
    await page.getByRole('button', { name: 'Edit' }).click();
    await dialog(page).getByLabel('Name', { exact: true }).fill(`The ${word} ${m}, moved`);
    await dialog(page).getByRole('button', { name: 'Save' }).click();
    await expect(page.locator('h1')).toHaveText(`The ${word} ${m}, moved`);
  }
  // One that has a number stays.
  await make(page, c, 'numbers', { number: someNumber(), owner: { kind: 'room', id: `id-${m}` } });
  await page.goto(`/c/${c}/rooms/id-${m}`);
  await page.getByRole('button', { name: 'Delete', exact: true }).click();
  await dialog(page).getByRole('button', { name: 'Delete room' }).click();
  await expect(dialog(page).getByRole('alert')).toContainText(/number/);
  await whole(page);
  await page.goto(`/c/${c}/offices/id-${m}`);
  await page.getByRole('button', { name: 'Delete', exact: true }).click();
  await dialog(page).getByRole('button', { name: 'Delete office' }).click();
  await expect(page).toHaveURL(`/c/${c}/offices`);
  await expect(page.getByText(`The office ${m}, moved`)).toHaveCount(0);
});

test('credentials are shown once, and a device can be deleted', async ({ page, request }) => {
  const c = await company(request);
  const m = mark();
  const user = await make<{ id: string }>(page, c, 'users', { name: `Phone ${m}`, aors: [`phone-${m}@example.com`] });
  await page.goto(`/c/${c}/users/${encodeURIComponent(user.id)}`);
  await settled(page);
  await page.getByRole('button', { name: 'Credentials for a new device' }).click();
  await dialog(page).getByLabel('Name of the device').fill(`desk-${m}`);
  await whole(page);
  await dialog(page).getByRole('button', { name: 'Make new credentials' }).click();
  await expect(dialog(page)).toContainText('not shown again');
  await whole(page);
  const secret = await dialog(page).locator('dd code').nth(1).textContent();
  expect(secret!.length).toBeGreaterThan(11);
  await dialog(page).getByRole('button', { name: 'I have them' }).click();
  await expect(page.getByRole('button', { name: `Delete desk-${m}` })).toBeVisible();
  expect(await page.content()).not.toContain(secret!);

  await page.getByRole('button', { name: `Delete desk-${m}` }).click();
  await whole(page);
  await dialog(page).getByRole('button', { name: 'Delete device' }).click();
  await expect(dialog(page)).toContainText('credentials were revoked');
  await expect(dialog(page).locator('ol li').first()).toBeVisible();
  await whole(page);
  await dialog(page).getByRole('button', { name: 'Done' }).click();
});

test('devices that run an old version are marked', async ({ page, request, watch }) => {
  watch.expected.push(/422/);
  const c = await company(request);
  await page.goto(`/c/${c}/devices?tab=versions`);
  await settled(page);
  await whole(page);
  await page.getByRole('button', { name: 'Set a latest version' }).click();
  await dialog(page).getByLabel('App', { exact: true }).selectOption('desk_phone');
  await dialog(page).getByLabel('Latest version').fill('999.1');
  await dialog(page).getByLabel('Released').fill('2026-11-01');
  await whole(page);
  await dialog(page).getByRole('button', { name: 'Save' }).click();
  await expect(dialog(page)).toHaveCount(0);
  await expect(page.getByRole('table', { name: 'Latest versions' })).toContainText('999.1');
  await page.goto(`/c/${c}/devices?tab=devices&outdated=true&app_kind=desk_phone`);
  await settled(page);
  for (const row of await page.locator('tbody tr').all()) await expect(row).toContainText('Outdated, latest 999.1');
  await whole(page);
  // A kind of app has a meaning behind its name, for keys too.
  await page.goto(`/c/${c}/devices?tab=devices`);
  await settled(page);
  const kind = page.locator('tbody button.why').first();
  await kind.focus();
  await page.keyboard.press('Enter');
  await expect(page.locator('.term-tip:popover-open')).toBeVisible();
  await whole(page);
  await page.keyboard.press('Escape');
  await page.goto(`/c/${c}/devices?tab=versions`);
  await settled(page);
  await page.getByRole('button', { name: 'Remove the latest version of desk phone' }).click();
  await dialog(page).getByRole('button', { name: 'Remove' }).click();
  await expect(page.getByText('999.1')).toHaveCount(0);
});
