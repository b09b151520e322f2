import { getRouteApi } from '@tanstack/react-router';
import { RecordingChanges, RecordingSetting } from '../components/Recording';
import { useTitle } from '../components/ui';

const route = getRouteApi('/c/$company/settings/recording');

/** RecordingPage is the company's setting and who changed it for whom and when. */
export function RecordingPage() {
  useTitle('Call recording');
  const { company } = route.useParams();
  return (
    <div className="page">
      <h1>Call recording</h1>
      <p className="muted">
        The setting of a user holds before that of a contact centre, department, office and the company. Those are changed on their own pages.
      </p>
      <RecordingSetting company={company} level={{ kind: 'company', id: '' }} heading="For the company" />
      <RecordingChanges company={company} />
    </div>
  );
}
