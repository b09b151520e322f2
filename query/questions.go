package query

import (
	"context"
	"errors"
	"time"
)

var errTODO = errors.New("not yet written")

// Calls lists calls, the newest first.
func (c Company) Calls(ctx context.Context, f CallFilter, p Page) (List[Call], error) {
	return List[Call]{}, errTODO
}

// LiveCalls lists calls that run now, the newest first.
func (c Company) LiveCalls(ctx context.Context, p Page) (List[Call], error) {
	return List[Call]{}, errTODO
}

// Call gives one call by its id or by any leg's SIP Call-ID.
func (c Company) Call(ctx context.Context, id string) (Call, error) { return Call{}, errTODO }

// Samples lists the points behind a call's graphs in order of time. The id is as in Call.
func (c Company) Samples(ctx context.Context, call string, p Page) (List[Sample], error) {
	return List[Sample]{}, errTODO
}

// Messages lists a call's SIP ladder in order of time. The id is as in Call.
func (c Company) Messages(ctx context.Context, call string, p Page) (List[Message], error) {
	return List[Message]{}, errTODO
}

// Rejections lists refused legs, the newest first.
func (c Company) Rejections(ctx context.Context, f RejectionFilter, p Page) (List[Rejection], error) {
	return List[Rejection]{}, errTODO
}

// RejectionTrend counts refused legs by group and bucket; empty buckets are 0.
func (c Company) RejectionTrend(ctx context.Context, f TrendFilter) (RejectionTrend, error) {
	return RejectionTrend{}, errTODO
}

// QualityTrend sums up calls by group and bucket of started_at.
func (c Company) QualityTrend(ctx context.Context, f QualityFilter) (QualityTrend, error) {
	return QualityTrend{}, errTODO
}

// Registrations lists current bindings, by address-of-record and device.
func (c Company) Registrations(ctx context.Context, f RegistrationFilter, p Page) (List[Registration], error) {
	return List[Registration]{}, errTODO
}

// RegistrationHistory lists changes of bindings, the newest first.
func (c Company) RegistrationHistory(ctx context.Context, f RegistrationFilter, p Page) (List[RegistrationChange], error) {
	return List[RegistrationChange]{}, errTODO
}

// Devices lists what a user registered or called with, the last used first.
func (c Company) Devices(ctx context.Context, user string) ([]Device, error) { return nil, errTODO }

// Ratings lists ratings, the newest first.
func (c Company) Ratings(ctx context.Context, f RatingFilter, p Page) (List[Rating], error) {
	return List[Rating]{}, errTODO
}

// Counts sums up the company; today begins at midnight in loc.
func (c Company) Counts(ctx context.Context, loc *time.Location) (Counts, error) {
	return Counts{}, errTODO
}

// Any finds what an id, number or address may mean, the best match first.
func (c Company) Any(ctx context.Context, q string) ([]Hit, error) { return nil, errTODO }
