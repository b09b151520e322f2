import { accessible, awaitCall, company, drawnPixels, expect, fits, settled, test, withoutWebRTC, withWebRTC } from './portal';

test('a WebRTC call shows its verdict and draws its graphs', async ({ page, request }) => {
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
  // The sentences stand in the order of the verdict.
  const sentences = await verdict.locator('.said > p:first-child').allTextContents();
  expect(sentences.length).toBe(call.verdict!.evidence!.length);
  for (const [i, evidence] of call.verdict!.evidence!.entries()) expect(sentences[i]).toContain(evidence.text);
  await expect(verdict.getByRole('group', { name: 'The way of the audio' })).toBeVisible();
  await expect(verdict.getByText('Final', { exact: true })).toBeVisible();

  for (const graph of ['Jitter buffer', 'Round trip time', 'Audio levels']) await expect(page.getByRole('img', { name: new RegExp(`^${graph}`) })).toBeVisible();
  // Drawn, not only there: each graph has pixels in the colours of its lines.
  await expect.poll(async () => (await drawnPixels(page)).filter((n) => n > 100).length, { message: 'lines on all graphs' }).toBeGreaterThanOrEqual(3);
  await fits(page);
  await accessible(page);

  await page.emulateMedia({ colorScheme: 'dark' });
  await expect.poll(async () => (await drawnPixels(page)).filter((n) => n > 100).length, { message: 'lines on all graphs in the dark' }).toBeGreaterThanOrEqual(3);
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
  expect(await times.count()).toBeGreaterThanOrEqual(3);
  for (const time of await times.all()) await expect(time).toHaveText(/^\d+:\d\d$/);
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
  expect(await page.locator('.graph canvas').count()).toBeGreaterThanOrEqual(3);
  const one = await page.locator('.graph canvas').count();
  await page.getByRole('button', { name: 'Both sides' }).click();
  await expect(page).toHaveURL(/view=both/);
  await expect.poll(() => page.locator('.graph canvas').count(), { message: 'graphs of both sides' }).toBeGreaterThan(one);
  await expect(page.locator('#contact-jitter')).toBeVisible();
  await fits(page);
  await accessible(page);
});

test('a number says where it comes from, on hover, by keyboard and on a tap', async ({ page, request }) => {
  const c = await company(request);
  const call = await awaitCall(request, c, 'with WebRTC statistics', (x) => withWebRTC(x) && !!x.verdict?.delay?.rtt_ms);
  await page.goto(`/c/${c}/calls/${encodeURIComponent(call.id)}`);
  await settled(page);
  const rtt = page.locator('.dimension [data-path="verdict.delay.rtt_ms.p95"]');
  const tip = page.getByRole('tooltip');

  await rtt.hover();
  await expect(tip).toContainText('roundTripTime');
  await expect(tip).toContainText('measurements');
  await expect(tip).toContainText(call.verdict!.rules!);
  await fits(page);
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme });
    await accessible(page);
  }
  // The pointer may go into it, to read on.
  await tip.hover();
  await expect(tip).toBeVisible();
  await page.keyboard.press('Escape');
  await expect(tip).toHaveCount(0);

  await rtt.click();
  await page.mouse.move(2, 2);
  await expect(tip).toBeVisible();
  await expect(rtt).toHaveAttribute('aria-expanded', 'true');
  await page.locator('h1').click();
  await expect(tip).toHaveCount(0);

  await rtt.focus();
  await page.keyboard.press('Tab');
  await expect(tip).toBeVisible();
  const focused = page.locator('.why:focus');
  await expect(focused).toHaveAttribute('aria-describedby', (await tip.getAttribute('id'))!);
  await page.keyboard.press('Escape');
  await expect(tip).toHaveCount(0);

  // Every number of the page has an explanation.
  const asked = await request.get(`/api/v1/companies/${c}/calls/${encodeURIComponent(call.id)}?explain=true`);
  const { explain } = (await asked.json()) as { explain: Record<string, { formula: string }> };
  const paths = await page.locator('.why').evaluateAll((all) => all.map((e) => (e as HTMLElement).dataset.path!));
  expect(paths.length).toBeGreaterThan(15);
  for (const path of paths.filter((p) => !p.startsWith('samples:'))) expect(explain[path]?.formula, path).toBeTruthy();
});

test('a piece of evidence moves the graphs to its place and has a link of its own', async ({ page, request }) => {
  const c = await company(request);
  const call = await awaitCall(request, c, 'with a direction that died', (x) => withWebRTC(x) && !!x.verdict?.evidence?.some((e) => e.kind === 'not_received' && (e.at ?? '') > (x.connected_at ?? '')));
  await page.goto(`/c/${c}/calls/${encodeURIComponent(call.id)}`);
  await settled(page);
  const place = page.locator('[data-kind="not_received"] .when').first();
  const graph = page.locator('#audio');
  await expect(graph).toHaveAttribute('data-from', '0.0');
  await place.click();
  await expect(place).toHaveAttribute('aria-pressed', 'true');
  await expect(page).toHaveURL(/at=[\d.]+.*#evidence-\d+$/);
  await expect(page.locator('.looking')).toContainText('Evidence');
  await expect(graph).toBeInViewport();
  // The cursors of all graphs stand where it began.
  for (const time of await page.locator('.legend .at').all()) await expect(time).toHaveText(/^\d+:\d\d$/);
  const shown = [await graph.getAttribute('data-from'), await graph.getAttribute('data-to')];
  await fits(page);
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme });
    await accessible(page);
  }

  await page.reload();
  await settled(page);
  await expect(place).toHaveAttribute('aria-pressed', 'true');
  await expect.poll(async () => [await graph.getAttribute('data-from'), await graph.getAttribute('data-to')]).toEqual(shown);
  await page.getByRole('button', { name: 'Done' }).click();
  await expect(place).toHaveAttribute('aria-pressed', 'false');
  await expect(graph).toHaveAttribute('data-from', '0.0');
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
  await expect(dialog.getByRole('textbox', { name: 'Report in Markdown' })).toHaveValue(new RegExp(call.id.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')));
  expect(await page.evaluate(() => navigator.clipboard.readText())).toBe(await dialog.getByRole('textbox', { name: 'Report in Markdown' }).inputValue());
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
