// What the kinds of app mean, as administrators know them.

const kinds: Record<string, { name: string; means: string }> = {
  native: { name: 'native', means: 'The desktop app for Mac or Windows.' },
  packaged_app: { name: 'packaged_app', means: 'The Chrome app.' },
  web: { name: 'web', means: 'The app in a browser.' },
  harness: { name: 'harness', means: 'The app in a browser, as web.' },
  mobile: { name: 'mobile', means: 'The app for iOS, iPad or Android. It is woken by push: no registration timestamp is not a fault.' },
  desk_phone: { name: 'desk phone', means: 'A phone that registers by SIP.' },
  sip: { name: 'SIP', means: 'A program or phone that registers by SIP and says no more of itself.' },
};

export const appKinds = Object.keys(kinds);

export const appKindName = (kind: string | null | undefined): string => (kind ? (kinds[kind]?.name ?? kind.replaceAll('_', ' ')) : '');

/** appKindMeaning is empty for a kind that is not in the glossary. */
export const appKindMeaning = (kind: string | null | undefined): string => (kind ? (kinds[kind]?.means ?? '') : '');

/** pushed says that a device is woken by push and registers without leaving a timestamp. */
export const pushed = (d: { app_kind?: string | null; endpoint?: string | null; platform?: string | null }): boolean =>
  d.app_kind === 'mobile' || d.endpoint === 'mobile' || /\b(ios|ipad(os)?|android)\b/i.test(d.platform ?? '');
