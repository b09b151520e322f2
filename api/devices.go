package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/earshot/earshot/directory"
	"github.com/earshot/earshot/query"
)

// device is what a user registers or calls with, with what the directory knows
// of it.
type device struct {
	query.Device
	Name          string     `json:"name" doc:"What its credentials were made for; empty without"`
	Credentials   bool       `json:"credentials" doc:"It has credentials of its own to register with"`
	Outdated      bool       `json:"outdated" doc:"Its version is older than latest_version"`
	LatestVersion *string    `json:"latest_version" doc:"Of its kind of app, where that is set"`
	Reregister    reregister `json:"reregister"`
}

type reregister struct {
	State        string   `json:"state" enum:"none,revoked,asked" doc:"Of a device that was deleted and has not come back: revoked where it needs new credentials, else asked"`
	Instructions []string `json:"instructions" doc:"How such a device is made to register anew, in order"`
}

// registration is a current binding with what is known of its version.
type registration struct {
	query.Registration
	AppKind       string  `json:"app_kind"`
	Version       string  `json:"version"`
	Outdated      bool    `json:"outdated"`
	LatestVersion *string `json:"latest_version"`
}

func registrationsOf(l query.List[query.Registration], releases directory.Releases) query.List[registration] {
	out := query.List[registration]{Items: make([]registration, len(l.Items)), NextCursor: l.NextCursor}
	for i, r := range l.Items {
		o := registration{Registration: r, AppKind: query.AppKind(r.Endpoint, r.Platform, true), Version: r.AppVersion}
		o.Outdated, o.LatestVersion = outdated(releases, o.AppKind, r.App, r.Platform, r.AppVersion)
		out.Items[i] = o
	}
	return out
}

// outdated tells of a version whether it is, and what the latest is.
func outdated(all directory.Releases, kind, app, platform, version string) (bool, *string) {
	latest, ok := all.Latest(kind, app, platform)
	if !ok {
		return false, nil
	}
	return all.Outdated(kind, app, platform, version), &latest.Version
}

// deviceFacts are what the directory knows of some devices.
type deviceFacts struct {
	releases    directory.Releases
	credentials map[query.DeviceKey]string // name by device
	deletions   map[query.DeviceKey]directory.DeviceDeletion
}

func (f *deviceFacts) device(d query.Device) device {
	key := query.DeviceKey{User: d.UserID, ID: d.ID}
	out := device{Device: d, Reregister: reregister{State: "none", Instructions: directory.Instructions(d.AppKind, d.Platform)}}
	out.Name, out.Credentials = f.credentials[key]
	out.Outdated, out.LatestVersion = outdated(f.releases, d.AppKind, d.App, d.Platform, d.Version)
	if deleted, ok := f.deletions[key]; ok {
		if out.Reregister.State = "asked"; deleted.Revoked > 0 {
			out.Reregister.State = "revoked"
		}
	}
	return out
}

// addCredentials learns what credentials devices have, by the names that they
// were made for and the devices that were seen with them.
func (f *deviceFacts) addCredentials(credentials []directory.CredentialInUse) {
	f.credentials = map[query.DeviceKey]string{}
	for _, c := range credentials {
		for _, id := range append(c.UsedBy, c.DeviceID) {
			f.credentials[query.DeviceKey{User: c.UserID, ID: id}] = c.DeviceID
		}
	}
}

// away are those of some devices that were deleted and not seen since: no REGISTER
// of theirs was accepted, and they made no call.
func (s *server) away(ctx context.Context, company string, devices []query.DeviceKey) (map[query.DeviceKey]directory.DeviceDeletion, error) {
	of := make([]directory.UserDevice, len(devices))
	for i, d := range devices {
		of[i] = directory.UserDevice{User: d.User, Device: d.ID}
	}
	deletions, err := s.deps.Directory.DeviceDeletions(ctx, company, of)
	if err != nil || len(deletions) == 0 {
		return nil, err
	}
	ids := make([]string, len(deletions))
	for i, d := range deletions {
		ids[i] = d.DeviceID
	}
	seen, err := s.deps.Query.Company(company).DevicesSeen(ctx, ids)
	if err != nil {
		return nil, err
	}
	out := map[query.DeviceKey]directory.DeviceDeletion{}
	for _, d := range deletions {
		if last := seen[d.DeviceID]; !last.After(d.DeletedAt) {
			out[query.DeviceKey{User: d.UserID, ID: d.DeviceID}] = d
		}
	}
	return out, nil
}

// userDevices lists a user's devices, or those that were deleted and have not
// come back.
func (s *server) userDevices(ctx context.Context, company, user string, deleted bool) ([]device, error) {
	u, err := s.deps.Directory.User(ctx, company, user)
	if err != nil {
		return nil, err
	}
	found, err := s.deps.Query.Company(company).Devices(ctx, user)
	if err != nil {
		return nil, err
	}
	keys := make([]query.DeviceKey, len(found))
	for i, d := range found {
		keys[i] = query.DeviceKey{User: user, ID: d.ID}
	}
	var facts deviceFacts
	if facts.deletions, err = s.away(ctx, company, keys); err != nil {
		return nil, err
	}
	if facts.releases, err = s.deps.Directory.AppReleases(ctx, company); err != nil {
		return nil, err
	}
	credentials, err := s.deps.Directory.CredentialsInUse(ctx, company, user)
	if err != nil {
		return nil, err
	}
	facts.addCredentials(credentials)
	out, listed := []device{}, map[string]bool{}
	for _, d := range found {
		if _, gone := facts.deletions[query.DeviceKey{User: user, ID: d.ID}]; gone == deleted {
			out = append(out, facts.device(d))
		}
		listed[d.ID] = true
	}
	for _, c := range credentials {
		if !deleted && !listed[c.DeviceID] && !slices.ContainsFunc(c.UsedBy, func(id string) bool { return listed[id] }) {
			facts.deletions = nil // these were made after it
			out = append(out, facts.device(query.UnusedDevice(c.DeviceID, user, u.Name, c.AOR)))
		}
	}
	return out, nil
}

// devicesInput narrows a company's list of devices.
type devicesInput struct {
	CompanyInput
	User       string `query:"user" maxLength:"64" doc:"Id of the user"`
	AppKind    string `query:"app_kind" enum:"native,packaged_app,web,harness,mobile,desk_phone,sip"`
	Platform   string `query:"platform" maxLength:"100"`
	Version    string `query:"version" maxLength:"100" doc:"With or without the app before it"`
	Outdated   string `query:"outdated" enum:"true,false" doc:"Against the latest version of its kind of app"`
	Registered string `query:"registered" enum:"true,false" doc:"false leaves out those of which no registration is expected or known"`
	Q          string `query:"q" maxLength:"200" doc:"Part of the SIP address or of the user's name or id, or the beginning of the device's id"`
	PageInput
}

func (s *server) companyDevices(ctx context.Context, in *devicesInput) (*listOutput[device], error) {
	q := s.deps.Query.Company(in.Company)
	var facts deviceFacts
	var err error
	if facts.releases, err = s.deps.Directory.AppReleases(ctx, in.Company); err != nil {
		return nil, err
	}
	filter := query.DeviceFilter{User: in.User, AppKind: in.AppKind, Platform: in.Platform, Version: in.Version, Registered: tristate(in.Registered), Query: writtenNumber(in.Q)}
	if wanted := tristate(in.Outdated); wanted != nil {
		apps, err := q.AppsInUse(ctx)
		if err != nil {
			return nil, err
		}
		filter.Apps = slices.DeleteFunc(append([]query.AppInUse{}, apps...), func(a query.AppInUse) bool {
			return facts.releases.Outdated(a.Kind, a.App, a.Platform, a.Version) != *wanted
		})
	}
	found, err := s.present(ctx, in.Company, filter, in.PageInput.query())
	if err != nil {
		return nil, err
	}
	var users []string
	for _, d := range found.Items {
		users = append(users, d.UserID)
	}
	slices.Sort(users)
	credentials, err := s.deps.Directory.CredentialsInUse(ctx, in.Company, slices.Compact(users)...)
	if err != nil {
		return nil, err
	}
	facts.addCredentials(credentials)
	out := query.List[device]{Items: make([]device, len(found.Items)), NextCursor: found.NextCursor}
	for i, d := range found.Items {
		out.Items[i] = facts.device(d)
	}
	return listOf(out), nil
}

// readsForAPage bounds what one page of a company's devices costs.
const readsForAPage = 10

// present is a page of a company's devices without those that are away. It may be
// shorter than its limit although more follow, where very many in a row are.
func (s *server) present(ctx context.Context, company string, filter query.DeviceFilter, page query.Page) (query.List[query.Device], error) {
	out := query.List[query.Device]{Items: []query.Device{}}
	if page.Limit == 0 {
		page.Limit = query.DefaultLimit
	}
	limit := page.Limit
	for range readsForAPage {
		page.Limit = limit - len(out.Items)
		found, err := s.deps.Query.Company(company).CompanyDevices(ctx, filter, page)
		if err != nil {
			return out, err
		}
		keys := make([]query.DeviceKey, len(found.Items))
		for i, d := range found.Items {
			keys[i] = query.DeviceKey{User: d.UserID, ID: d.ID}
		}
		away, err := s.away(ctx, company, keys)
		if err != nil {
			return out, err
		}
		for i, d := range found.Items {
			if _, gone := away[keys[i]]; !gone {
				out.Items = append(out.Items, d)
			}
		}
		out.NextCursor = found.NextCursor
		if len(out.Items) == limit || found.NextCursor == nil {
			break
		}
		page.Cursor = *found.NextCursor
	}
	return out, nil
}

// deletedAnswer says what is left to be done after a device was deleted.
type deletedAnswer struct {
	Instructions       []string `json:"instructions" doc:"What makes it register anew, in order; the first is done"`
	CredentialsRevoked int      `json:"credentials_revoked"`
	Webhook            bool     `json:"webhook" doc:"Somebody subscribes to device_reregister events of the user, and is told"`
}

func (s *server) deleteDevice(ctx context.Context, company, user, id string) (deletedAnswer, error) {
	if _, err := s.deps.Directory.User(ctx, company, user); err != nil {
		return deletedAnswer{}, err
	}
	webhook, err := s.deps.Directory.Subscribed(ctx, company, user, directory.EventDeviceReregister)
	if err != nil {
		return deletedAnswer{}, err
	}
	// Without ClickHouse a device is still known by its credentials.
	seen, unknown := s.deps.Query.Company(company).Devices(ctx, user)
	deletion := directory.DeviceDeletion{Company: company, UserID: user, DeviceID: id}
	known := false
	for _, d := range seen {
		if d.ID == id {
			known, deletion.AppKind, deletion.Platform, deletion.Version = true, d.AppKind, d.Platform, d.Version
		}
	}
	revoked, err := s.deps.Directory.DeleteDevice(ctx, deletion, known)
	if errors.Is(err, directory.ErrNotFound) && unknown != nil {
		err = unknown
	}
	return deletedAnswer{Instructions: directory.Instructions(deletion.AppKind, deletion.Platform), CredentialsRevoked: revoked, Webhook: webhook}, err
}

// release is the latest version of a kind of app.
type release struct {
	Kind       string     `json:"kind"`
	App        string     `json:"app" doc:"Only of this app; empty: of each"`
	Platform   string     `json:"platform" doc:"Only on this platform; empty: on each"`
	Version    string     `json:"version"`
	ReleasedAt query.Time `json:"released_at"`
	UpdatedAt  query.Time `json:"updated_at" doc:"When it was set here"`
	From       string     `json:"from" enum:"company,all" doc:"all: the operator has set it for all companies"`
}

func releaseOf(r directory.AppRelease) release {
	out := release{Kind: r.Kind, App: r.App, Platform: r.Platform, Version: r.Version, ReleasedAt: at(r.ReleasedAt), UpdatedAt: at(r.UpdatedAt), From: "company"}
	if r.Company == "" {
		out.From = "all"
	}
	return out
}

// ReleaseInput names a release.
type ReleaseInput struct {
	Kind     string `path:"kind" enum:"native,packaged_app,web,harness,mobile,desk_phone,sip"`
	App      string `query:"app" maxLength:"100" doc:"Only of this app, such as Yealink; default of each"`
	Platform string `query:"platform" maxLength:"100" doc:"Only on this platform, such as iOS; default on each"`
}

type releaseBody struct {
	Version    string    `json:"version" minLength:"1" maxLength:"100"`
	ReleasedAt time.Time `json:"released_at,omitempty" doc:"When it came out"`
}

func (s *server) routeDevices() {
	tags := []string{"Devices"}

	add(s, huma.Operation{Method: "GET", Path: companyPath + "/users/{user}/devices", OperationID: "list-user-devices", Summary: "What a user registered or called with, the last used first", Tags: tags, Metadata: csvToo,
		Description: "A device that was deleted is not in it until it is seen again: until a REGISTER of it is accepted, or it makes a call."},
		func(ctx context.Context, in *struct {
			UserInput
			Deleted bool `query:"deleted" doc:"Those that were deleted and have not come back, instead"`
		}) (*listOutput[device], error) {
			devices, err := s.userDevices(ctx, in.Company, in.User, in.Deleted)
			if err != nil {
				return nil, err
			}
			return list(devices, ""), nil
		})

	add(s, huma.Operation{Method: "DELETE", Path: companyPath + "/users/{user}/devices/{device}", OperationID: "delete-user-device", Summary: "Delete a device, which forces it to register anew", Tags: tags,
		Description: "Its credentials are revoked, also where other devices use the same, and bindings at Earshot's registrar end: its next REGISTER is challenged and refused. " +
			"Apps are told by an event device_reregister to those who subscribe to it. The answer says what has to be done at the device."},
		func(ctx context.Context, in *DeviceInput) (*bodyOutput[deletedAnswer], error) {
			out, err := s.deleteDevice(ctx, in.Company, in.User, in.Device)
			if err != nil {
				return nil, err
			}
			return &bodyOutput[deletedAnswer]{Body: out}, nil
		})

	add(s, huma.Operation{Method: "GET", Path: companyPath + "/devices", OperationID: "list-devices", Summary: "The devices of a company", Tags: tags, Metadata: csvToo,
		Description: "First those that register, by SIP address, then those that were seen in calls of the last 90 days only, by user. " +
			"Where very many were deleted and have not come back, a page may be shorter than its limit although more follow."},
		s.companyDevices)
}

func (s *server) routeReleases() {
	tags := []string{"Devices"}
	const path = companyPath + "/app-releases"
	const order = "Versions compare number by number: 5.10 is after 5.9; 1.2.3-beta.1 is before 1.2.3; a build number counts where both say one."
	add(s, huma.Operation{Method: "GET", Path: path, OperationID: "list-app-releases", Summary: "The latest version of each kind of app", Tags: tags,
		Description: "What the company has set, and what the operator has set for all where it has not. " + order},
		func(ctx context.Context, in *CompanyInput) (*listOutput[release], error) {
			return s.releases(ctx, in.Company, func(directory.AppRelease) bool { return true })
		})
	add(s, huma.Operation{Method: "GET", Path: path + "/{kind}", OperationID: "get-app-release", Summary: "The latest version of a kind of app", Tags: tags},
		func(ctx context.Context, in *struct {
			CompanyInput
			ReleaseInput
		}) (*bodyOutput[release], error) {
			return s.release(ctx, in.Company, in.ReleaseInput)
		})
	add(s, huma.Operation{Method: "PUT", Path: path + "/{kind}", OperationID: "set-app-release", Summary: "Set the latest version of a kind of app", Tags: tags, Description: "Devices with an older one are outdated. " + order},
		func(ctx context.Context, in *struct {
			CompanyInput
			ReleaseInput
			Body releaseBody
		}) (*bodyOutput[release], error) {
			return s.setRelease(ctx, in.Company, in.ReleaseInput, in.Body)
		})
	add(s, huma.Operation{Method: "DELETE", Path: path + "/{kind}", OperationID: "remove-app-release", Summary: "Remove what the company has set; what the operator has set holds again", Tags: tags, DefaultStatus: http.StatusNoContent},
		func(ctx context.Context, in *struct {
			CompanyInput
			ReleaseInput
		}) (*struct{}, error) {
			return nil, s.deps.Directory.RemoveAppRelease(ctx, in.Company, in.Kind, in.App, in.Platform)
		})

	const all = "/api/v1/app-releases"
	operators := map[string]any{metaOperator: true}
	add(s, huma.Operation{Method: "GET", Path: all, OperationID: "list-all-app-releases", Summary: "The latest versions that hold for all companies that set none", Tags: tags, Metadata: operators},
		func(ctx context.Context, in *struct{}) (*listOutput[release], error) {
			return s.releases(ctx, "", func(directory.AppRelease) bool { return true })
		})
	add(s, huma.Operation{Method: "PUT", Path: all + "/{kind}", OperationID: "set-all-app-release", Summary: "Set the latest version of a kind of app for all companies", Tags: tags, Metadata: operators},
		func(ctx context.Context, in *struct {
			ReleaseInput
			Body releaseBody
		}) (*bodyOutput[release], error) {
			return s.setRelease(ctx, "", in.ReleaseInput, in.Body)
		})
	add(s, huma.Operation{Method: "DELETE", Path: all + "/{kind}", OperationID: "remove-all-app-release", Summary: "Remove what was set for all companies", Tags: tags, DefaultStatus: http.StatusNoContent, Metadata: operators},
		func(ctx context.Context, in *ReleaseInput) (*struct{}, error) {
			return nil, s.deps.Directory.RemoveAppRelease(ctx, "", in.Kind, in.App, in.Platform)
		})
}

func (s *server) releases(ctx context.Context, company string, wanted func(directory.AppRelease) bool) (*listOutput[release], error) {
	all, err := s.deps.Directory.AppReleases(ctx, company)
	if err != nil {
		return nil, err
	}
	items := []release{}
	for _, r := range all {
		if wanted(r) {
			items = append(items, releaseOf(r))
		}
	}
	return list(items, ""), nil
}

func (s *server) release(ctx context.Context, company string, in ReleaseInput) (*bodyOutput[release], error) {
	found, err := s.releases(ctx, company, func(r directory.AppRelease) bool {
		return r.Kind == in.Kind && r.App == in.App && r.Platform == in.Platform
	})
	if err != nil {
		return nil, err
	}
	if len(found.Body.Items) == 0 {
		return nil, directory.ErrNotFound
	}
	return &bodyOutput[release]{Body: found.Body.Items[0]}, nil
}

func (s *server) setRelease(ctx context.Context, company string, in ReleaseInput, body releaseBody) (*bodyOutput[release], error) {
	r, err := s.deps.Directory.SetAppRelease(ctx, company, directory.AppRelease{Kind: in.Kind, App: in.App, Platform: in.Platform, Version: body.Version, ReleasedAt: body.ReleasedAt})
	if err != nil {
		return nil, err
	}
	return &bodyOutput[release]{Body: releaseOf(r)}, nil
}
