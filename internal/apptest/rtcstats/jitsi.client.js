// Jitsi's client, as jitsi-meet sets it up.
import start from '@jitsi/rtcstats/rtcstats.js';
import traceTo from '@jitsi/rtcstats/trace-ws.js';

window.begin = ({ earshot, token, call, user }) => {
  const trace = traceTo({ endpoint: `${earshot}/ingest/v1/rtcstats/~${token}`, meetingFqn: call, onCloseCallback() {}, pingInterval: 1000 });
  start(trace, { pollInterval: 400, sendSdp: false, connectionFilter: () => false });
  trace.connect(false);
  trace.identity('identity', null, { deviceId: `device-of-${user}`, userId: user, displayName: `${user} of Jitsi` });
  return () => trace.close();
};
