package query

import "context"

// Mentions is what the store has of a user.
type Mentions struct {
	Calls               uint64 `json:"calls"` // that name the user: as a party, or as who refused, rated or did something
	RegistrationChanges uint64 `json:"registration_changes"`
}

// Mentions counts what the store has of a user.
func (c Company) Mentions(ctx context.Context, user string) (Mentions, error) {
	p := newParams()
	p.text("user", user)
	const has = " UNION DISTINCT "
	calls := c.from("calls", p).get("call_id").and("target_user_id = {user:String} OR contact_user_id = {user:String}").String() +
		has + c.from("call_events", p).get("call_id").and("has(user_ids, {user:String}) OR agent_user_id = {user:String}").String() +
		has + c.from("rejections", p).get("call_id").and("agent_user_id = {user:String}").String() +
		has + c.from("ratings", p).get("call_id").and("user_id = {user:String}").String()
	var m Mentions
	for _, one := range []struct {
		s  *statement
		to *uint64
	}{
		{c.from("calls", p).get("uniqExact(call_id)").and("call_id IN (" + calls + ")"), &m.Calls},
		{c.from("registration_changes", p).get("count()").and("user_id = {user:String}"), &m.RegistrationChanges},
	} {
		if err := c.rows(ctx, one.s, func(scan func(...any) error) error { return scan(one.to) }); err != nil {
			return Mentions{}, err
		}
	}
	return m, nil
}
