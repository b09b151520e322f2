// The npm package rtcstats, as its README says.
import start from 'rtcstats';
import traceTo from 'rtcstats/trace-ws';

window.begin = ({ earshot, token, call, user }) => {
  // The client adds the page's path to the address.
  const trace = traceTo(`${earshot}/ingest/v1/rtcstats?rtcstats-token=${token}&page=`);
  start(trace, 400, ['']);
  trace('identity', null, { user, conference: call });
  return () => trace.close();
};
