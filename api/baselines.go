package api

import (
	"context"

	"github.com/earshot/earshot/directory"
	"github.com/earshot/earshot/query"
)

// comparedCall is a call with what is usual for whom it belongs to. Without that
// the call is still worth having.
func (s *server) comparedCall(ctx context.Context, company, id string) (query.Call, error) {
	c, err := s.call(ctx, company, id)
	if err != nil {
		return query.Call{}, err
	}
	office, err := "", error(nil)
	if c.Target.OfficeID != "" {
		office, err = s.deps.Directory.PlaceName(ctx, company, directory.KindOffice, c.Target.OfficeID)
	}
	if err == nil {
		c.Baselines, err = s.deps.Query.Company(company).Baselines(ctx, &c, office)
	}
	if err != nil {
		s.log.Warn("cannot compare a call with others", "request_id", requestID(ctx), "error", err)
		return c, nil
	}
	c.BaselineSentences = query.BaselineSentences(&c, c.Baselines)
	return c, nil
}
