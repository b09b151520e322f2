import { Tag } from './ui';

/** Version is a version with a mark where a later one is out. */
export function Version({ version, outdated, latest }: { version: string; outdated?: boolean; latest?: string | null }) {
  if (!version) return <span className="none">–</span>;
  return (
    <span className="flags">
      {version}
      {outdated ? <Tag tone="warn">Outdated{latest ? `, latest ${latest}` : ''}</Tag> : null}
    </span>
  );
}
