package query

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// callDays is how many days a device or app that does not register counts as in
// use after its last call.
const callDays = 90

// appsOfUsers makes the two statements that know apps: the newest row of every
// binding, and the newest call of every device. Both give user, app, version.
func (c Company) appsOfUsers(where func(user, app, version string) string, limit int, with func(*params)) []*statement {
	p := newParams()
	with(p)
	p.integer("since", c.store.now().Add(-callDays*24*time.Hour).UnixMicro())
	tail := fmt.Sprintf("LIMIT %d", limit)
	bindings := c.from("registrations", p).newest().get("DISTINCT user_id, app, app_version").
		and("user_id != ''", "app_version != ''", where("user_id", "app", "app_version")).with(tail)
	calls := c.from("calls", p).newest().
		get("target_user_id AS user, argMax(target_endpoint, started_at) AS app, argMax(target_app_version, started_at) AS version").
		and("target_user_id != ''", "target_app_version != ''", "started_at > fromUnixTimestamp64Micro({since:Int64}, 'UTC')").
		with("GROUP BY target_user_id, target_device_id").
		inside("SELECT DISTINCT user, app, version", "WHERE "+where("user", "app", "version")+" "+tail)
	return []*statement{bindings, calls}
}

// AppVersions maps users to the apps they registered with or called from,
// such as "native 5.2.1".
func (c Company) AppVersions(ctx context.Context, users []string) (map[string][]string, error) {
	out := map[string][]string{}
	if len(users) == 0 {
		return out, nil
	}
	ofUsers := func(user, _, _ string) string { return user + " IN {users:Array(String)}" }
	for _, s := range c.appsOfUsers(ofUsers, 10*MaxLimit, func(p *params) { p.texts("users", users) }) {
		err := c.rows(ctx, s, func(scan func(...any) error) error {
			var user, app, version string
			if err := scan(&user, &app, &version); err != nil {
				return err
			}
			if app != "" {
				version = app + " " + version
			}
			if !slices.Contains(out[user], version) {
				out[user] = append(out[user], version)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	for _, versions := range out {
		slices.Sort(versions)
	}
	return out, nil
}

// UsersOfApp lists the users of a version, given alone or with the app before
// it as AppVersions shows it.
func (c Company) UsersOfApp(ctx context.Context, version string) ([]string, error) {
	users := []string{}
	is := func(_, app, column string) string {
		return "(" + column + " = {version:String} OR concat(" + app + ", ' ', " + column + ") = {version:String})"
	}
	for _, s := range c.appsOfUsers(is, MaxLimit, func(p *params) { p.text("version", version) }) {
		err := c.rows(ctx, s, func(scan func(...any) error) error {
			var user, app, v string
			if err := scan(&user, &app, &v); err != nil {
				return err
			}
			users = append(users, user)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(users)
	return slices.Compact(users), nil
}
