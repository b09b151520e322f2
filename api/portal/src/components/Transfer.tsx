import { useState } from 'react';
import { directory, type FullNumber, type Owner } from '../directory';
import { phone } from '../format';
import { said } from '../problem';
import { Dialog } from './Dialog';
import { OwnerLink, useChanged } from './Directory';
import { Actions, Form, TextField, useForm } from './Form';
import { complete, noTarget, ownerKinds, type Target, TargetFields } from './Target';

const labels = { number: 'The number', 'to.kind': 'Kind', 'to.id': 'This', reason: 'Reason' };

/** Transfer gives a number to someone else, or back to the pool. */
export function Transfer({ company, number, owner, onClose, onDone }: { company: string; number: string; owner?: Owner | null; onClose: () => void; onDone?: (n: FullNumber) => void }) {
  const changed = useChanged(company);
  const form = useForm({
    initial: { to: noTarget as Target, reason: '' },
    labels,
    send: (v) => directory.transfer(company, number, v.to.kind === 'pool' ? { kind: 'pool' } : { kind: v.to.kind, id: v.to.id }, v.reason.trim()),
    done: (n) => {
      changed();
      onClose();
      onDone?.(n);
    },
  });
  const problems = said(form.error, labels).fields;
  const { to } = form.values;
  return (
    <Dialog heading={`Transfer ${phone(number)}`} onClose={onClose} busy={form.busy}>
      <Form form={form}>
        {problems.number ? (
          <p role="alert" className="refusal">
            {problems.number}
          </p>
        ) : null}
        {owner ? (
          <p className="muted">
            It is assigned to <OwnerLink company={company} owner={owner} />. Who gives a number away must keep at least one other.
          </p>
        ) : (
          <p className="muted">It is assigned to nobody.</p>
        )}
        <TargetFields
          company={company}
          legend="To"
          value={to}
          onChange={(next) => form.set({ to: next })}
          kinds={owner ? [...ownerKinds, 'pool'] : ownerKinds}
          names={{ pool: 'Nobody: back to the pool' }}
          problems={{ kind: problems['to.kind'], id: problems['to.id'] }}
        />
        <TextField name="reason" value={form.values.reason} onChange={(reason) => form.set({ reason })} hint="Kept with the history of the number." />
        <Actions busy={form.busy} waiting="Transferring…" label={to.name ? `Transfer to ${to.name}` : to.kind === 'pool' ? 'Put back into the pool' : 'Transfer'} disabled={!complete(to)} onCancel={onClose} />
      </Form>
    </Dialog>
  );
}

/** TransferButton opens the dialog for one number. */
export function TransferButton({ company, number, owner, className }: { company: string; number: string; owner?: Owner | null; className?: string }) {
  const [open, setOpen] = useState(false);
  return (
    <>
      <button type="button" className={className ?? 'link'} aria-label={`Transfer ${phone(number)}`} onClick={() => setOpen(true)}>
        Transfer
      </button>
      {open ? <Transfer company={company} number={number} owner={owner} onClose={() => setOpen(false)} /> : null}
    </>
  );
}
