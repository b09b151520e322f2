import { getRouteApi } from '@tanstack/react-router';
import { ExperimentList } from '../components/Experiments';
import { useTitle } from '../components/ui';

const route = getRouteApi('/c/$company/settings/experiments');

export function ExperimentsPage() {
  useTitle('Experiments');
  const { company } = route.useParams();
  return (
    <div className="page">
      <h1>Experiments</h1>
      <p className="muted">Features that are on for everybody, or, on the page of a user, for that user alone.</p>
      <ExperimentList company={company} />
    </div>
  );
}
