package query

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/earshot/earshot/telemetry"
)

// StoredCall is the newest version of a call, as the processors gave it.
type StoredCall struct {
	Timeline string
	Seq      int64 // number of the outcome: offset of its input << 20 and more
	Call     *telemetry.Call
}

// StoredCalls gives the newest versions of calls by their ids, whole. What is
// not stored is missing.
func (c Company) StoredCalls(ctx context.Context, ids []string) (map[string]StoredCall, error) {
	out := make(map[string]StoredCall, len(ids))
	if len(ids) == 0 {
		return out, nil
	}
	p := newParams()
	p.texts("ids", ids)
	s := c.from("calls", p).newest().get("call_id, timeline, seq, body").and("call_id IN {ids:Array(String)}")
	err := c.rows(ctx, s, func(scan func(...any) error) error {
		stored := StoredCall{Call: &telemetry.Call{}}
		var id, body string
		if err := scan(&id, &stored.Timeline, &stored.Seq, &body); err != nil {
			return err
		}
		if err := proto.Unmarshal([]byte(body), stored.Call); err != nil {
			return fmt.Errorf("cannot decode call %s: %w", id, err)
		}
		out[id] = stored
		return nil
	})
	return out, err
}
