package demo

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// record is something of the demo's company, by the route that makes it.
type record struct {
	method, route string
	body          map[string]any
}

// places are made before people, who work in them.
var places = []record{
	{"POST", "offices", map[string]any{"id": "san-francisco", "name": "San Francisco"}},
	{"POST", "offices", map[string]any{"id": "vienna", "name": "Vienna"}},
	{"POST", "departments", map[string]any{"id": "sales", "name": "Sales", "office": "san-francisco"}},
	{"POST", "departments", map[string]any{"id": "support", "name": "Support", "office": "vienna"}},
	{"POST", "contact-centers", map[string]any{"id": "help", "name": "Help line", "office": "vienna"}},
	{"POST", "rooms", map[string]any{"id": "board", "name": "Board room", "office": "san-francisco"}},
}

// things are what an administrator of such a company has to look after.
var things = []record{
	{"POST", "numbers", map[string]any{"number": "+14155550120", "owner": map[string]any{"kind": "office", "id": "san-francisco"}}},
	{"POST", "numbers", map[string]any{"number": "+18005550121", "owner": map[string]any{"kind": "contact_center", "id": "help"}}},
	{"POST", "numbers", map[string]any{"number": "+14155550122", "owner": map[string]any{"kind": "department", "id": "sales"}}},
	{"POST", "numbers", map[string]any{"number": "+14155550123", "owner": map[string]any{"kind": "room", "id": "board"}}},
	{"POST", "numbers", map[string]any{"number": "+14155550124"}},
	{"POST", "numbers", map[string]any{"number": "+12125550125"}},
	{"POST", "port-requests", map[string]any{
		"batch_id": "DEMO-1", "office": "san-francisco", "lnp_id": "LNP-20481", "port_type": "port_in", "carrier": "Example Telecom",
		"numbers": []string{"+14155550131", "+14155550132"}, "target": map[string]any{"kind": "office", "id": "san-francisco"},
	}},
	{"PUT", "app-releases/native", map[string]any{"version": "5.2.1"}},
	{"PUT", "app-releases/packaged_app", map[string]any{"version": "5.2.1"}},
	{"PUT", "experiments/noise_suppression", map[string]any{"enabled": true, "description": "Takes background noise out of calls"}},
	{"PUT", "users/bob/experiments/noise_suppression", map[string]any{"enabled": false}},
	{"POST", "users/bob/notes", map[string]any{"text": "Says calls are choppy in the afternoon. Old app: asked to update."}},
}

// create makes records of the demo's company. One that is there stays as it is.
func (d *demo) create(ctx context.Context, records []record) (fresh bool, err error) {
	for _, r := range records {
		status, body, err := d.send(ctx, r.method, "/api/v1/companies/"+d.cfg.Company+"/"+r.route, "application/json", r.body)
		switch {
		case err != nil:
			return fresh, fmt.Errorf("cannot create the demo's %s: %w", r.route, err)
		case status == http.StatusCreated:
			fresh = true
		case status != http.StatusOK && status != http.StatusConflict:
			return fresh, fmt.Errorf("cannot create the demo's %s: status %d: %s", r.route, status, body)
		}
	}
	return fresh, nil
}

// createCompany makes places and people, then, the first time, what hangs on them.
func (d *demo) createCompany(ctx context.Context) error {
	if _, err := d.create(ctx, places); err != nil {
		return err
	}
	users := make([]record, len(people))
	for i, p := range people {
		users[i] = record{"POST", "users", map[string]any{
			"id": p.id, "name": p.name, "email": p.id + "@" + domain, "state": "active", "office": p.office,
			"departments": p.departments, "contact_centers": p.contactCenters,
			"aors": []string{p.id + "@" + domain}, "numbers": []string{p.number},
		}}
	}
	fresh, err := d.create(ctx, users)
	if err != nil || !fresh {
		return err
	}
	if _, err := d.create(ctx, things); err != nil {
		return err
	}
	// Ingesters learn of new owners of numbers within a second.
	select {
	case <-ctx.Done():
	case <-time.After(2 * time.Second):
	}
	return nil
}
