import { expect, test } from '@playwright/test';
import { sessionFile } from '../playwright.config';

test('a sign-in link opens the portal, once', async ({ page, browser }) => {
  const link = process.env.EARSHOT_SIGNIN!;
  await page.goto(link);
  await expect(page.locator('h1').first()).toBeVisible();
  await expect(page.getByRole('heading', { name: 'Sign in to Earshot' })).toHaveCount(0);
  await page.context().storageState({ path: sessionFile });

  const stranger = await browser.newContext();
  const second = await stranger.newPage();
  await second.goto(link);
  await second.goto('/');
  await expect(second.getByRole('heading', { name: 'Sign in to Earshot' })).toBeVisible();
  await stranger.close();
});
