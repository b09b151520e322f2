import { useMutation } from '@tanstack/react-query';
import { companyPath, download, type Params } from '../api';

/** Export saves a list, filtered as it is shown, as a CSV file. */
export function Export({ company, route, filters, what }: { company: string; route: string; filters: Params; what: string }) {
  const save = useMutation({ mutationFn: () => download(`${companyPath(company)}/${route}`, filters, `${company}-${what}.csv`) });
  return (
    <>
      <button type="button" disabled={save.isPending} onClick={() => save.mutate()}>
        {save.isPending ? 'Exporting…' : 'Export CSV'}
      </button>
      {save.isError ? (
        <span role="alert" className="wrong">
          Cannot export: {save.error.message}
        </span>
      ) : null}
    </>
  );
}
