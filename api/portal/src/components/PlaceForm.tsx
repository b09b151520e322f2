import { changes } from '../changes';
import { directory, type Place, type PlaceKind } from '../directory';
import { placeWords } from '../places';
import { Dialog } from './Dialog';
import { placeOptions, useChanged, usePlaces } from './Directory';
import { Actions, Form, SelectField, TextField, useForm } from './Form';

const labels = { name: 'Name', id: 'ID', office: 'Office' };

/** PlaceForm adds an office, department, room or contact centre, or changes the one it is given. */
export function PlaceForm({ company, kind, place, onClose, onDone }: { company: string; kind: PlaceKind; place?: Place; onClose: () => void; onDone: (place: Place) => void }) {
  const changed = useChanged(company);
  const offices = usePlaces(company, 'offices');
  const words = placeWords(kind);
  const before = { name: place?.name ?? '', office: place?.office ?? '' };
  const form = useForm({
    initial: { ...before, id: '' },
    labels,
    send: ({ id, name, office }) => {
      if (place) {
        const change = changes(before, { name: name.trim(), office });
        return Object.keys(change).length === 0 ? Promise.resolve(place) : directory.updatePlace(company, kind, place.id, change);
      }
      return directory.createPlace(company, kind, { name: name.trim(), ...(id.trim() ? { id: id.trim() } : {}), ...(office ? { office } : {}) });
    },
    done: (p) => {
      changed();
      onDone(p);
    },
  });
  const v = form.values;
  return (
    <Dialog heading={place ? `Change ${place.name || place.id}` : `Add ${words.one === 'office' ? 'an' : 'a'} ${words.one}`} onClose={onClose} busy={form.busy}>
      <Form form={form}>
        <TextField name="name" value={v.name} required onChange={(name) => form.set({ name })} />
        {kind === 'offices' ? null : <SelectField name="office" value={v.office} options={[['', 'None'], ...placeOptions(offices.data?.items)]} onChange={(office) => form.set({ office })} />}
        {place ? null : <TextField name="id" value={v.id} onChange={(id) => form.set({ id })} hint="Part of links to it. Made up where empty." />}
        <Actions busy={form.busy} label={place ? 'Save' : `Add ${words.one}`} onCancel={onClose} />
      </Form>
    </Dialog>
  );
}
