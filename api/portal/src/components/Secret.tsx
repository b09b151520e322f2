import { Id } from './ui';

/** Secret shows what will not be shown again. */
export function Secret({ secret, done }: { secret: string; done: () => void }) {
  return (
    <div className="form">
      <p>Copy it to the receiver now: it is not shown again.</p>
      <Id text={secret} what="secret" />
      <div className="actions">
        <button type="button" className="primary" onClick={done}>
          I have copied it
        </button>
      </div>
    </div>
  );
}
