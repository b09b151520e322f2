import { directory, type FullNumber } from '../directory';
import { said } from '../problem';
import { Dialog } from './Dialog';
import { useChanged } from './Directory';
import { Actions, Form, TextField, useForm } from './Form';
import { complete, noTarget, type Target, TargetFields } from './Target';

const labels = { number: 'Number', 'owner.kind': 'Kind', 'owner.id': 'This', status: 'Status' };

/** NumberForm adds a number to the company, for someone or to the pool. */
export function NumberForm({ company, onClose, onDone }: { company: string; onClose: () => void; onDone: (n: FullNumber) => void }) {
  const changed = useChanged(company);
  const form = useForm({
    initial: { number: '', owner: noTarget as Target },
    labels,
    send: (v) => directory.createNumber(company, { number: v.number.trim(), ...(complete(v.owner) ? { owner: { kind: v.owner.kind, id: v.owner.id } } : {}) }),
    done: (n) => {
      changed();
      onDone(n);
    },
  });
  const problems = said(form.error, labels).fields;
  const { number, owner } = form.values;
  return (
    <Dialog heading="Add a number" onClose={onClose} busy={form.busy}>
      <Form form={form}>
        <TextField name="number" type="tel" value={number} required placeholder="+1 415 555 0101" onChange={(n) => form.set({ number: n })} hint="In any way it is written; without + it is read as one of the company’s country." />
        <TargetFields company={company} legend="Assigned to" value={owner} onChange={(o) => form.set({ owner: o })} optional="Nobody: into the pool" problems={{ kind: problems['owner.kind'], id: problems['owner.id'] }} />
        <Actions busy={form.busy} label="Add number" disabled={owner.kind !== '' && !complete(owner)} onCancel={onClose} />
      </Form>
    </Dialog>
  );
}
