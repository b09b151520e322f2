import { accessible, awaitCall, company, drawnPixels, expect, fits, settled, test, withWebRTC } from './portal';

test('a call is frozen for a ticket, and its link shows the same page', async ({ page, request, context }) => {
  await context.grantPermissions(['clipboard-read', 'clipboard-write']);
  const c = await company(request);
  const call = await awaitCall(request, c, 'with WebRTC statistics and timed evidence', (x) => withWebRTC(x) && !!x.verdict?.delay?.rtt_ms && !!x.verdict?.evidence?.some((e) => e.at));
  const ticket = `ticket ${Date.now()}`;
  await page.goto(`/c/${c}/calls/${encodeURIComponent(call.id)}`);
  await settled(page);
  await page.getByRole('button', { name: 'Report this call' }).click();
  const dialog = page.getByRole('dialog', { name: 'Report of this call' });
  await dialog.getByLabel('Ticket or reason').fill(ticket);
  await dialog.getByRole('button', { name: 'Freeze and copy link' }).click();
  await expect(dialog.getByText('The link is on the clipboard:')).toBeVisible();
  const link = new URL((await dialog.getByRole('link', { name: /\/s\// }).getAttribute('href'))!);
  expect(link.pathname).toMatch(/^\/s\/[A-Z2-7]{26}$/);
  expect(await page.evaluate(() => navigator.clipboard.readText())).toBe(link.href);
  await fits(page);
  await accessible(page);
  await dialog.getByRole('button', { name: 'Close' }).click();
  await expect(page.getByRole('region', { name: /^Snapshots/ })).toContainText(ticket);

  // The page is made of the snapshot alone: the routes of the call are not asked.
  const asked: string[] = [];
  page.on('request', (r) => asked.push(new URL(r.url()).pathname));
  await page.goto(link.pathname);
  await settled(page);
  const banner = page.getByRole('region', { name: 'Snapshot', exact: true });
  await expect(banner).toContainText('Frozen at');
  await expect(banner).toContainText(ticket);
  await expect(page.getByRole('region', { name: 'Call summary' }).getByText(call.id, { exact: true })).toBeVisible();
  const sentences = await page.getByRole('region', { name: 'Verdict' }).locator('.said > p:first-child').allTextContents();
  expect(sentences.length).toBe(call.verdict!.evidence!.length);
  for (const [i, evidence] of call.verdict!.evidence!.entries()) expect(sentences[i]).toContain(evidence.text);
  for (const graph of ['Jitter buffer', 'Round trip time', 'Audio levels']) await expect(page.getByRole('img', { name: new RegExp(`^${graph}`) })).toBeVisible();
  await expect.poll(async () => (await drawnPixels(page)).filter((n) => n > 100).length, { message: 'lines on all graphs' }).toBeGreaterThanOrEqual(3);
  await fits(page);
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme });
    await accessible(page);
  }
  // What explains the numbers was frozen too.
  await page.locator('.dimension [data-path="verdict.delay.rtt_ms.p95"]').hover();
  await expect(page.getByRole('tooltip')).toContainText('measurements');
  await page.keyboard.press('Escape');
  expect(asked.filter((p) => p.includes('/calls/'))).toEqual([]);

  // A piece of evidence has a link of its own here, too.
  const place = page.locator('.evidence button.when').first();
  await place.click();
  await expect(place).toHaveAttribute('aria-pressed', 'true');
  await expect(page).toHaveURL(/\/s\/[A-Z2-7]{26}\?at=[\d.]+.*#evidence-\d+$/);
  await page.reload();
  await settled(page);
  await expect(place).toHaveAttribute('aria-pressed', 'true');
});

test('snapshots are listed, and a deleted one is gone', async ({ page, request, watch }) => {
  const c = await company(request);
  const call = await awaitCall(request, c, 'that has ended', (x) => x.state === 'ended' && !!x.verdict?.final);
  await page.goto(`/c/${c}/calls/${encodeURIComponent(call.id)}`);
  await settled(page);
  await page.getByRole('button', { name: 'Report this call' }).click();
  const ticket = `to be deleted ${Date.now()}`;
  const dialog = page.getByRole('dialog', { name: 'Report of this call' });
  await dialog.getByLabel('Ticket or reason').fill(ticket);
  await dialog.getByRole('button', { name: 'Freeze and copy link' }).click();
  const path = new URL((await dialog.getByRole('link', { name: /\/s\// }).getAttribute('href'))!).pathname;

  await page.goto(`/c/${c}/snapshots`);
  await settled(page);
  const row = page.getByRole('row').filter({ hasText: ticket });
  await expect(row).toHaveCount(1);
  await fits(page);
  await accessible(page);
  await row.getByRole('link').first().click();
  await expect(page).toHaveURL(path);
  await settled(page);
  await page.getByRole('region', { name: 'Snapshot', exact: true }).getByRole('button', { name: 'Delete' }).click();
  await page.getByRole('dialog', { name: 'Delete the snapshot?' }).getByRole('button', { name: 'Delete' }).click();
  await expect(page).toHaveURL(`/c/${c}/snapshots`);
  await expect(page.getByText(ticket)).toHaveCount(0);

  watch.expected.push(/404/);
  await page.goto(path);
  await expect(page.getByRole('alert')).toContainText('it was deleted');
  await fits(page);
  await accessible(page);
});
