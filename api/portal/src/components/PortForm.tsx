import { useQueryClient } from '@tanstack/react-query';
import { changes } from '../changes';
import { directory, type PortChange, type PortRequest } from '../directory';
import { said } from '../problem';
import { Dialog } from './Dialog';
import { placeOptions, useChanged, usePlaces } from './Directory';
import { Actions, Form, lines, LinesField, SelectField, TextField, useForm } from './Form';
import { complete, noTarget, type Target, TargetFields } from './Target';

const labels = {
  port_type: 'Port type',
  numbers: 'Numbers',
  office: 'Office',
  batch_id: 'Batch ID',
  lnp_id: 'LNP ID',
  carrier: 'Carrier',
  foc_date: 'FOC date',
  'target.kind': 'Kind',
  'target.id': 'This',
};

/** PortForm makes a port request, or changes the one it is given: its type and numbers only while nobody works on it. */
export function PortForm({ company, port, onClose, onDone }: { company: string; port?: PortRequest; onClose: () => void; onDone: (port: PortRequest) => void }) {
  const client = useQueryClient();
  const changed = useChanged(company);
  const offices = usePlaces(company, 'offices');
  const before = {
    port_type: port?.port_type ?? 'port_in',
    numbers: (port?.numbers ?? []).join('\n'),
    office: port?.office ?? '',
    batch_id: port?.batch_id ?? '',
    lnp_id: port?.lnp_id ?? '',
    carrier: port?.carrier ?? '',
    target: port?.target ? ({ kind: port.target.kind, id: port.target.id, name: port.target.name || port.target.id } as Target) : noTarget,
  };
  const form = useForm({
    initial: before,
    labels,
    send: (v) => {
      const body = (x: typeof v): Record<string, unknown> => ({ ...x, numbers: lines(x.numbers), target: complete(x.target) ? { kind: x.target.kind, id: x.target.id } : null });
      if (port) {
        const change = changes(body(before), body(v)) as PortChange;
        if (v.target === before.target) delete change.target;
        return Object.keys(change).length === 0 ? Promise.resolve(port) : directory.updatePort(company, port.id, change);
      }
      return directory.createPort(company, Object.fromEntries(Object.entries(body(v)).filter(([, x]) => x !== null && x !== '')) as PortChange);
    },
    done: (p) => {
      client.setQueryData(['port', company, p.id], p);
      changed();
      onDone(p);
    },
  });
  const problems = said(form.error, labels).fields;
  const v = form.values;
  const open = !port || port.state === 'draft' || port.state === 'rejected';
  return (
    <Dialog heading={port ? 'Change the port request' : 'New port request'} onClose={onClose} busy={form.busy}>
      <Form form={form} className="two-columns">
        {open ? <SelectField name="port_type" value={v.port_type} options={[['port_in', 'Port in'], ['port_out', 'Port out']]} onChange={(port_type) => form.set({ port_type: port_type as 'port_in' | 'port_out' })} /> : null}
        <SelectField name="office" value={v.office} options={[['', 'None'], ...placeOptions(offices.data?.items)]} onChange={(office) => form.set({ office })} />
        {open ? <LinesField name="numbers" rows={4} value={v.numbers} onChange={(numbers) => form.set({ numbers })} hint="One a line, in any way they are written." /> : null}
        <div className={open ? 'stack-fields' : 'same-grid'}>
          <TextField name="carrier" value={v.carrier} onChange={(carrier) => form.set({ carrier })} hint={v.port_type === 'port_in' ? 'That has the numbers now.' : 'That will have them.'} />
          <TextField name="lnp_id" value={v.lnp_id} onChange={(lnp_id) => form.set({ lnp_id })} hint="Of the order for local number portability." />
          <TextField name="batch_id" value={v.batch_id} onChange={(batch_id) => form.set({ batch_id })} hint="Made up where empty." />
        </div>
        {v.port_type === 'port_in' ? (
          <TargetFields
            company={company}
            legend="When they are here, assign them to"
            value={v.target}
            onChange={(target) => form.set({ target })}
            optional="Nobody: into the pool"
            problems={{ kind: problems['target.kind'], id: problems['target.id'] }}
          />
        ) : null}
        <Actions busy={form.busy} label={port ? 'Save' : 'Save as a draft'} disabled={v.target.kind !== '' && !complete(v.target)} onCancel={onClose} />
      </Form>
    </Dialog>
  );
}
