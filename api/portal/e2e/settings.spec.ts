import { accessible, company, expect, fits, settled, someUser, test } from './portal';

test('acting for a user: reason, banner, a change that becomes a note, back', async ({ page, request }) => {
  const c = await company(request);
  const user = await someUser(request, c);
  const path = `/c/${c}/users/${encodeURIComponent(user.id)}`;
  await page.goto(`${path}?tab=settings`);
  await settled(page);
  const proxy = page.getByRole('region', { name: 'Proxy user' });
  await expect(proxy.getByRole('button', { name: 'Login access' })).toBeDisabled();
  await proxy.getByLabel('Reason').fill('Ticket 4711: greeting cut off');
  await proxy.getByRole('button', { name: 'Login access' }).click();

  await expect(page).toHaveURL(`${path}/account`);
  const banner = page.getByRole('region', { name: 'Acting for a user' });
  await expect(banner).toContainText(user.name);
  const greeting = `Hello, this is ${user.name}. ${Date.now()}`;
  await page.getByLabel('Voicemail greeting').fill(greeting);
  await page.getByRole('button', { name: 'Save' }).click();
  await expect(page.getByText('Saved, and noted')).toBeVisible();
  await fits(page);
  await accessible(page);

  await banner.getByRole('button', { name: 'Back' }).click();
  await expect(banner).toHaveCount(0);
  await page.goto(`${path}?tab=notes`);
  await settled(page);
  await expect(page.getByRole('row', { name: greeting })).toContainText('acting for the user');
  await page.getByLabel('Add a note').fill(`Called back ${greeting}`);
  await page.getByRole('button', { name: 'Add note' }).click();
  await expect(page.getByText(`Called back ${greeting}`)).toBeVisible();
});

test('a subscription shows its secret once, is tested and is deleted', async ({ page, request }) => {
  const c = await company(request);
  await page.goto(`/c/${c}/settings/subscriptions`);
  await settled(page);
  await page.getByRole('button', { name: 'Add subscription' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Address').fill(`https://hooks.example.com/${Date.now()}`);
  await dialog.getByLabel('Rejected').check();
  await accessible(page);
  await dialog.getByRole('button', { name: 'Add', exact: true }).click();
  await expect(dialog.getByText(/^whsec_/)).toBeVisible();
  await dialog.getByRole('button', { name: 'I have copied it' }).click();
  await expect(page.getByText(/^whsec_/)).toHaveCount(0);
  await page.getByRole('button', { name: 'Send a test' }).click();
  await expect(page.getByRole('table', { name: 'deliveries' })).toContainText('Ping');
  await fits(page);
  await accessible(page);
  await page.getByRole('button', { name: 'Delete' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  await expect(page).toHaveURL(`/c/${c}/settings/subscriptions`);
});

test('recording is closed without its experiment, and its changes are listed with it', async ({ page, request }) => {
  const c = await company(request);
  await page.goto(`/c/${c}/settings/recording`);
  await settled(page);
  await expect(page.getByText('admin_call_recording')).toBeVisible();
  await page.goto(`/c/${c}/settings/experiments`);
  await settled(page);
  await page.getByRole('button', { name: 'Add experiment' }).click();
  await page.getByRole('dialog').getByLabel('Key').fill('admin_call_recording');
  await page.getByRole('dialog').getByRole('button', { name: 'Turn on' }).click();
  await expect(page.getByRole('table', { name: 'Experiments' })).toContainText('admin_call_recording');

  await page.goto(`/c/${c}/settings/recording`);
  await settled(page);
  await page.getByRole('button', { name: 'Change' }).click();
  const reason = `for training ${Date.now()}`;
  const setting = page.getByRole('dialog').getByLabel('Record calls');
  await setting.selectOption((await setting.inputValue()) === 'true' ? 'Off' : 'On');
  await page.getByRole('dialog').getByLabel('Reason').fill(reason);
  await page.getByRole('dialog').getByRole('button', { name: 'Change' }).click();
  await expect(page.getByRole('table', { name: 'recording changes' })).toContainText(reason);
  await fits(page);
  await accessible(page);

  await page.goto(`/c/${c}/settings/experiments`);
  await settled(page);
  await page.getByRole('button', { name: 'Remove admin_call_recording' }).click();
  await expect(page.getByRole('button', { name: 'Remove admin_call_recording' })).toHaveCount(0);
});
