package api

import (
	"context"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/earshot/earshot/query"
)

func (s *server) routeHealth() {
	tags := []string{"Registrations"}
	add(s, huma.Operation{Method: "GET", Path: companyPath + "/registrations/health", OperationID: "get-registration-health", Summary: "Devices by health of their registration, and versions in use", Tags: tags,
		Description: "States: healthy, flapping (three times registered and lost, or three changes of source, within 10 min), failing_authentication, lapsed, unregistered, never_registered, " +
			"and push: an app on iOS or Android, of which no registration is expected."},
		func(ctx context.Context, in *CompanyInput) (*bodyOutput[query.RegistrationHealth], error) {
			h, err := s.deps.Query.Company(in.Company).RegistrationHealth(ctx)
			return &bodyOutput[query.RegistrationHealth]{Body: h}, err
		})
	add(s, huma.Operation{Method: "GET", Path: companyPath + "/devices/{device}/timeline", OperationID: "get-device-timeline", Summary: "When a device was registered, and what happened", Tags: tags,
		Description: "With at: whether it was registered at that moment. Spans cover the whole time from from to to; without them that is the 24 h up to now, or the 12 h on both sides of at."},
		func(ctx context.Context, in *struct {
			CompanyInput
			Device string    `path:"device" maxLength:"64" doc:"Id of the device"`
			At     time.Time `query:"at" doc:"Was it registered at this time? RFC 3339"`
			TimeInput
		}) (*bodyOutput[query.DeviceTimeline], error) {
			if err := in.TimeInput.check(); err != nil {
				return nil, err
			}
			t, err := s.deps.Query.Company(in.Company).DeviceTimeline(ctx, in.Device, query.TimelineFilter{From: in.from(), To: in.to(), At: query.Time{Time: in.At.UTC()}})
			return &bodyOutput[query.DeviceTimeline]{Body: t}, err
		})
}
