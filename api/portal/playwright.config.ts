import { defineConfig } from '@playwright/test';

// The suite looks at a running Earshot: EARSHOT_URL is its portal, EARSHOT_SIGNIN a one-time sign-in link that nobody has used.
const url = process.env.EARSHOT_URL;
if (!url || !process.env.EARSHOT_SIGNIN) {
  throw new Error('set EARSHOT_URL to the portal of a running Earshot and EARSHOT_SIGNIN to an unused sign-in link');
}

export const sessionFile = 'test-results/session.json';

const browser = {
  baseURL: url,
  launchOptions: {
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: [
      '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync',
    ],
  },
};

export default defineConfig({
  testDir: 'e2e',
  outputDir: 'test-results/output',
  workers: 1,
  retries: 0,
  timeout: 120_000,
  expect: { timeout: 20_000 },
  reporter: [['list']],
  use: { ...browser, screenshot: 'only-on-failure' },
  projects: [
    { name: 'sign-in', testMatch: 'signin.setup.ts' },
    {
      name: 'desktop',
      dependencies: ['sign-in'],
      testMatch: '*.spec.ts',
      use: { storageState: sessionFile, viewport: { width: 1440, height: 1000 } },
    },
    {
      name: 'phone',
      dependencies: ['sign-in'],
      testMatch: '*.spec.ts',
      use: { storageState: sessionFile, viewport: { width: 390, height: 844 }, hasTouch: true },
    },
  ],
});
