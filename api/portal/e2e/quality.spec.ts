import { accessible, awaitCall, company, expect, fits, settled, test } from './portal';

test('quality by group: the graph follows the group, its users and its calls are a step away', async ({ page, request }) => {
  const c = await company(request);
  await awaitCall(request, c, 'with a final verdict', (call) => call.state === 'ended' && !!call.verdict?.final && !!call.target?.user_id);
  await page.goto(`/c/${c}`);
  await page.getByRole('navigation', { name: 'Company' }).getByRole('link', { name: 'Quality' }).click();
  await expect(page).toHaveURL(`/c/${c}/quality`);
  await settled(page);
  await expect(page.getByRole('img', { name: /^Calls by verdict over time, All calls: / })).toBeVisible();
  const table = page.getByRole('table', { name: 'Quality by office' });
  await expect(table.getByRole('button', { name: 'All calls' })).toHaveAttribute('aria-pressed', 'true');

  await page.getByLabel('Group by').selectOption('user');
  await expect(page).toHaveURL(/group_by=user/);
  const users = page.getByRole('table', { name: 'Quality by user' });
  await expect(users).toBeVisible();
  const row = users.getByRole('row').filter({ has: page.getByRole('link', { name: /^Calls of / }) }).first();
  const calls = row.getByRole('link', { name: /^Calls of / });
  const group = row.getByRole('button').first();
  const name = (await group.textContent())!.trim();
  await group.click();
  await expect(group).toHaveAttribute('aria-pressed', 'true');
  await expect(page).toHaveURL(/line=key/);
  await expect(page.getByRole('heading', { name: `${name} over time` })).toBeVisible();
  await expect(row.getByRole('img', { name: /%/ })).toBeVisible();
  await fits(page);
  await accessible(page);
  await page.reload();
  await expect(page.getByRole('heading', { name: `${name} over time` })).toBeVisible();

  await calls.click();
  await expect(page).toHaveURL(/\/calls\?.*user=/);
  await settled(page);
  await expect(page.getByRole('table', { name: 'calls' }).getByRole('row').nth(1)).toBeVisible();
});

test('quality over more intervals than a graph can show says so', async ({ page, request, watch }) => {
  watch.expected.push(/422/);
  const c = await company(request);
  await page.goto(`/c/${c}/quality?range=30d&interval=1m`);
  await expect(page.getByRole('alert')).toContainText('choose a wider interval', { timeout: 20_000 });
  await page.getByLabel('Interval').selectOption('1d');
  await settled(page);
});
