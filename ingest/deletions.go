package ingest

import (
	"context"
	"strings"
	"time"

	"github.com/earshot/earshot/telemetry"
)

// deletionsEvery is how often it is asked which devices were deleted.
const deletionsEvery = time.Second

// runDeletions ends the bindings of devices that are deleted in the portal,
// until ctx ends.
func (in *Ingester) runDeletions(ctx context.Context) {
	ticker := time.NewTicker(deletionsEvery)
	defer ticker.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		devices, err := in.deps.DeletedDevices(ctx)
		if err != nil && !failing && ctx.Err() == nil {
			in.log.Warn("cannot ask which devices were deleted; their bindings hold until they end by themselves", "error", err)
		}
		if failing = err != nil; failing || len(devices) == 0 {
			continue
		}
		for _, e := range in.registrar.End(devices...) {
			us := in.now().UnixMicro()
			aor := strings.TrimPrefix(e.AOR, "@")
			r := &telemetry.Record{Company: e.Company, AtUs: us, ReceivedUs: us, Timeline: &telemetry.Timeline{},
				Source: &telemetry.Source{Kind: telemetry.Source_KIND_SIP}, EventId: telemetry.EventID(e.Company, "", "registrar", us, []byte(aor), []byte(e.Device)),
				Body: &telemetry.Record_RegistrationEnd{RegistrationEnd: &telemetry.RegistrationEnd{Aor: aor, DeviceId: e.Device, Reason: "revoked"}}}
			in.producer.Produce(ctx, r, func(err error) {
				if err != nil {
					in.log.Warn("the history of registrations does not tell that a binding was ended", "error", err)
				}
			})
		}
	}
}
