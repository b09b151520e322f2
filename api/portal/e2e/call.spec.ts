import { accessible, awaitCall, company, drawnPixels, expect, fits, settled, test, withoutWebRTC, withWebRTC } from './portal';

test('a WebRTC call shows its verdict and draws three graphs', async ({ page, request }) => {
  const c = await company(request);
  const call = await awaitCall(request, c, 'with WebRTC statistics', withWebRTC);
  await page.goto(`/c/${c}/calls/${encodeURIComponent(call.id)}`);
  await settled(page);

  const summary = page.getByRole('region', { name: 'Call summary' });
  for (const fact of ['Target', 'Contact', 'Endpoint', 'Direction', 'Started', 'Connected', 'Ended', 'Description', 'Call ID']) {
    await expect(summary.getByText(fact, { exact: true })).toBeVisible();
  }
  await expect(summary.getByText(call.id, { exact: true })).toBeVisible();
  const verdict = page.getByRole('region', { name: 'Verdict' });
  for (const evidence of (call.verdict?.evidence ?? []).slice(0, 3)) await expect(verdict.getByText(evidence.text).first()).toBeVisible();
  await expect(verdict.getByText('Final', { exact: true })).toBeVisible();

  for (const graph of ['Jitter buffer', 'Round trip time', 'Audio levels']) await expect(page.getByRole('img', { name: new RegExp(`^${graph}`) })).toBeVisible();
  await expect(page.locator('.graph canvas')).toHaveCount(3);
  // Drawn, not only there: each graph has pixels in the colours of its lines.
  await expect.poll(async () => (await drawnPixels(page)).every((n) => n > 100), { message: 'lines on all three graphs' }).toBe(true);
  await fits(page);
  await accessible(page);

  await page.emulateMedia({ colorScheme: 'dark' });
  await expect.poll(async () => (await drawnPixels(page)).every((n) => n > 100), { message: 'lines on all three graphs in the dark' }).toBe(true);
  await accessible(page);
});

test('the cursor of one graph moves that of the others', async ({ page, request }) => {
  const c = await company(request);
  const call = await awaitCall(request, c, 'with WebRTC statistics', withWebRTC);
  await page.goto(`/c/${c}/calls/${encodeURIComponent(call.id)}`);
  await settled(page);
  const first = page.locator('.u-over').first();
  await first.scrollIntoViewIfNeeded();
  await first.hover();
  const times = page.locator('.legend .at');
  await expect(times).toHaveCount(3);
  await expect(times.first()).toHaveText(/^\d+:\d\d$/);
  await expect(times.nth(1)).toHaveText(/^\d+:\d\d$/);
  await expect(times.nth(2)).toHaveText(/^\d+:\d\d$/);
  await expect(page.locator('.legend output').first()).toHaveText(/\d/);
});

test('the other side’s view has an address of its own', async ({ page, request }) => {
  const c = await company(request);
  const call = await awaitCall(request, c, 'with WebRTC statistics of both sides', (x) => withWebRTC(x) && !!x.verdict?.sources?.some((s) => s.kind === 'webrtc' && s.side === 'contact'));
  await page.goto(`/c/${c}/calls/${encodeURIComponent(call.id)}`);
  await settled(page);
  await page.getByRole('button', { name: /^Contact:/ }).click();
  await expect(page).toHaveURL(/view=contact/);
  await page.reload();
  await settled(page);
  await expect(page.getByRole('button', { name: /^Contact:/ })).toHaveAttribute('aria-pressed', 'true');
  await expect(page.locator('.graph canvas')).toHaveCount(3);
});

test('a graph can be read as a table', async ({ page, request }) => {
  const c = await company(request);
  const call = await awaitCall(request, c, 'with WebRTC statistics', withWebRTC);
  await page.goto(`/c/${c}/calls/${encodeURIComponent(call.id)}`);
  await settled(page);
  await page.getByText('Values as a table').nth(1).click();
  const values = page.getByRole('region', { name: 'Values of Round trip time' });
  await expect(values.getByRole('row').nth(1)).toBeVisible();
  await expect(values.getByRole('cell', { name: /^\d+\.\d\d$/ }).first()).toBeVisible();
  await fits(page);
});

test('a call without an app says why there are no WebRTC stats, and shows its messages', async ({ page, request }) => {
  const c = await company(request);
  const call = await awaitCall(request, c, 'without WebRTC statistics', withoutWebRTC);
  await page.goto(`/c/${c}/calls/${encodeURIComponent(call.id)}`);
  await settled(page);
  await expect(page.getByText('only available for calls made on the desktop or web app')).toBeVisible();
  const messages = page.getByRole('region', { name: /^SIP messages/ });
  await messages.getByRole('button', { name: /INVITE/ }).first().click();
  await expect(messages.locator('pre')).toContainText('CSeq:');
  await fits(page);
  await accessible(page);
});

test('reporting a call gives what a ticket needs', async ({ page, request, context }) => {
  await context.grantPermissions(['clipboard-read', 'clipboard-write']);
  const c = await company(request);
  const call = await awaitCall(request, c, 'with WebRTC statistics', withWebRTC);
  await page.goto(`/c/${c}/calls/${encodeURIComponent(call.id)}`);
  await settled(page);
  await page.getByRole('button', { name: 'Report this call' }).click();
  const dialog = page.getByRole('dialog', { name: 'Report of this call' });
  await expect(dialog.getByRole('status')).toHaveText('Copied to the clipboard.');
  await expect(dialog.getByRole('textbox')).toHaveValue(new RegExp(call.id.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')));
  expect(await page.evaluate(() => navigator.clipboard.readText())).toBe(await dialog.getByRole('textbox').inputValue());
  await fits(page);
  await accessible(page);
  await dialog.getByRole('button', { name: 'Close' }).click();
  await expect(dialog).toBeHidden();
});

test('a call is found by its id', async ({ page, request }) => {
  const c = await company(request);
  const call = await awaitCall(request, c, 'with WebRTC statistics', withWebRTC);
  await page.goto(`/c/${c}`);
  await settled(page);
  await page.getByRole('combobox', { name: /Search/ }).fill(call.id);
  await expect(page.getByRole('option').first()).toContainText(call.id);
  await page.keyboard.press('Enter');
  await expect(page).toHaveURL(`/c/${c}/calls/${encodeURIComponent(call.id)}`);
});
