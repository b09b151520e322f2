package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/earshot/earshot/directory"
)

// SCIM 2.0 (RFC 7643, RFC 7644): identity providers bring users and put them
// into departments and contact centers. It stands beside the OpenAPI document,
// for it describes itself and has errors of its own form.

const scimType = "application/scim+json"

const (
	scimUserSchema  = "urn:ietf:params:scim:schemas:core:2.0:User"
	scimGroupSchema = "urn:ietf:params:scim:schemas:core:2.0:Group"
	scimListSchema  = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
	scimErrorSchema = "urn:ietf:params:scim:api:messages:2.0:Error"
	scimPatchSchema = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
)

const (
	maxScimBody  = 1 << 20
	maxScimItems = 1000
	maxScimQuery = 2000 // bytes of a filter
)

// scimError is what went wrong (RFC 7644 §3.12).
type scimError struct {
	Schemas  []string `json:"schemas"`
	Status   string   `json:"status"`
	ScimType string   `json:"scimType,omitempty"`
	Detail   string   `json:"detail"`
	status   int
}

func (e *scimError) Error() string { return e.Detail }

func scimFault(status int, kind, detail string) *scimError {
	return &scimError{Schemas: []string{scimErrorSchema}, Status: strconv.Itoa(status), ScimType: kind, Detail: detail, status: status}
}

func badValue(detail string) *scimError {
	return scimFault(http.StatusBadRequest, "invalidValue", detail)
}

type scimRequest struct {
	*gin.Context
	s       *server
	company string
	actor   directory.Actor
}

func (s *server) routeSCIM(engine *gin.Engine) {
	g := engine.Group("/scim/v2/:company")
	for _, r := range []struct {
		method, path string
		handle       func(scimRequest) error
	}{
		{"GET", "/ServiceProviderConfig", scimRequest.config}, {"GET", "/ResourceTypes", scimRequest.resourceTypes}, {"GET", "/ResourceTypes/:id", scimRequest.resourceTypes},
		{"GET", "/Schemas", scimRequest.schemas}, {"GET", "/Schemas/:id", scimRequest.schemas},
		{"GET", "/Users", scimRequest.listUsers}, {"POST", "/Users", scimRequest.createUser}, {"GET", "/Users/:id", scimRequest.getUser},
		{"PUT", "/Users/:id", scimRequest.putUser}, {"PATCH", "/Users/:id", scimRequest.patchUser}, {"DELETE", "/Users/:id", scimRequest.deleteUser},
		{"GET", "/Groups", scimRequest.listGroups}, {"GET", "/Groups/:id", scimRequest.getGroup}, {"PUT", "/Groups/:id", scimRequest.putGroup},
		{"PATCH", "/Groups/:id", scimRequest.patchGroup}, {"POST", "/Groups", scimRequest.noGroups}, {"DELETE", "/Groups/:id", scimRequest.noGroups},
	} {
		g.Handle(r.method, r.path, func(c *gin.Context) { s.scim(c, r.handle) })
	}
}

// scim lets in who may, and turns errors into what SCIM says them in.
func (s *server) scim(c *gin.Context, handle func(scimRequest) error) {
	c.Header("Cache-Control", "no-store")
	r := scimRequest{Context: c, s: s, company: c.Param("company")}
	err := r.enter()
	if err == nil {
		err = handle(r)
	}
	if err == nil {
		return
	}
	var fault *scimError
	var field *directory.FieldError
	switch {
	case errors.As(err, &fault):
	case errors.As(err, &field) && errors.Is(err, directory.ErrConflict):
		fault = scimFault(http.StatusConflict, "uniqueness", field.Error())
	case errors.As(err, &field):
		fault = badValue(field.Error())
	case errors.Is(err, directory.ErrTooMany):
		fault = scimFault(http.StatusBadRequest, "tooMany", fmt.Sprintf("the filter would have to look at more than %d users: narrow it by id, userName, externalId, emails or the beginning of displayName", directory.MaxScimScan))
	case errors.Is(err, directory.ErrNotFound):
		fault = scimFault(http.StatusNotFound, "", "there is no such resource")
	case errors.Is(err, directory.ErrUnauthenticated):
		c.Header("WWW-Authenticate", `Bearer realm="earshot"`)
		fault = scimFault(http.StatusUnauthorized, "", "send a valid key as Authorization: Bearer")
	default:
		var p *Problem
		if errors.As(s.problem(c.Request.Context(), "body", err), &p) {
			fault = scimFault(p.Status, "", p.Detail)
		} else {
			fault = scimFault(http.StatusServiceUnavailable, "", "the store does not answer; try again shortly")
		}
	}
	r.answer(fault.status, fault)
}

// enter takes keys only: a browser's session has no business here.
func (r *scimRequest) enter() error {
	if r.GetHeader("Authorization") == "" {
		return directory.ErrUnauthenticated
	}
	p, err := r.s.deps.Auth.Authenticate(r.Request)
	switch {
	case err != nil:
		return err
	case p.Role == directory.RoleIngest:
		return scimFault(http.StatusForbidden, "", ingestOnly)
	case !p.May(r.company):
		return directory.ErrNotFound
	}
	if _, err := r.s.deps.Directory.Company(r.Request.Context(), r.company); err != nil {
		return err
	}
	r.actor = p.Actor()
	r.actor.Kind = "scim"
	r.Request = r.Request.WithContext(directory.WithActor(r.Request.Context(), r.actor))
	return nil
}

// takeDownRead tells the audit of a read that was answered, as takeDownReads
// does for what the OpenAPI document describes.
func (r scimRequest) takeDownRead(kind, id, what string) {
	if r.s.deps.Access != nil {
		r.s.deps.Access.Read(directory.Access{Actor: r.actor, Company: r.company, Kind: kind, ID: id, What: what})
	}
}

func (r scimRequest) answer(status int, v any) {
	r.Header("Content-Type", scimType)
	r.Status(status)
	_ = json.NewEncoder(r.Writer).Encode(v) // a client that has gone is no one's error
}

// body reads what was sent.
func (r scimRequest) body(into any) error {
	switch media, _, _ := mime.ParseMediaType(r.GetHeader("Content-Type")); media {
	case scimType, "application/json":
	default:
		return scimFault(http.StatusUnsupportedMediaType, "", "the body must be "+scimType)
	}
	b, err := io.ReadAll(io.LimitReader(r.Request.Body, maxScimBody+1))
	switch {
	case err != nil:
		return scimFault(http.StatusBadRequest, "", "the request did not arrive whole")
	case len(b) > maxScimBody:
		return scimFault(http.StatusRequestEntityTooLarge, "", "the body is too long")
	case json.Unmarshal(b, into) != nil:
		return scimFault(http.StatusBadRequest, "invalidSyntax", "the body is not JSON of the right form")
	}
	return nil
}

func (r scimRequest) link(parts ...string) string {
	return link(r.Request.Context(), append([]string{"scim", "v2", r.company}, parts...)...)
}

type scimMeta struct {
	ResourceType string `json:"resourceType"`
	Created      string `json:"created,omitempty"`
	LastModified string `json:"lastModified,omitempty"`
	Location     string `json:"location"`
	Version      string `json:"version,omitempty"`
}

type scimName struct {
	Formatted  string `json:"formatted,omitempty"`
	GivenName  string `json:"givenName,omitempty"`
	FamilyName string `json:"familyName,omitempty"`
}

type scimValue struct {
	Value   string `json:"value"`
	Display string `json:"display,omitempty"`
	Type    string `json:"type,omitempty"`
	Primary bool   `json:"primary,omitempty"`
	Ref     string `json:"$ref,omitempty"`
}

type scimUserJSON struct {
	Schemas      []string    `json:"schemas"`
	ID           string      `json:"id"`
	ExternalID   string      `json:"externalId,omitempty"`
	UserName     string      `json:"userName"`
	Name         scimName    `json:"name"`
	DisplayName  string      `json:"displayName"`
	Emails       []scimValue `json:"emails,omitempty"`
	PhoneNumbers []scimValue `json:"phoneNumbers,omitempty"`
	Active       bool        `json:"active"`
	Groups       []scimValue `json:"groups,omitempty"`
	Meta         scimMeta    `json:"meta"`
}

func scimTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

func scimVersion(u directory.ScimUser) string {
	return fmt.Sprintf(`W/"%x"`, u.UpdatedAt.UnixMicro())
}

func (r scimRequest) user(u directory.ScimUser) scimUserJSON {
	out := scimUserJSON{
		Schemas: []string{scimUserSchema}, ID: u.ID, ExternalID: u.ExternalID, UserName: u.UserName, DisplayName: u.Name,
		Name: scimName{Formatted: u.Name, GivenName: u.GivenName, FamilyName: u.FamilyName}, Active: u.Active(),
		Meta: scimMeta{ResourceType: "User", Created: scimTime(u.CreatedAt), LastModified: scimTime(u.UpdatedAt), Location: r.link("Users", u.ID), Version: scimVersion(u)},
	}
	if u.Email != "" {
		out.Emails = []scimValue{{Value: u.Email, Type: "work", Primary: true}}
	}
	for i, n := range u.Numbers {
		out.PhoneNumbers = append(out.PhoneNumbers, scimValue{Value: n, Type: "work", Primary: i == 0})
	}
	for kind, ids := range map[string][]string{directory.KindDepartment: u.Departments, directory.KindContactCenter: u.ContactCenters} {
		for _, id := range ids {
			out.Groups = append(out.Groups, scimValue{Value: groupID(kind, id), Type: "direct", Ref: r.link("Groups", groupID(kind, id))})
		}
	}
	return out
}

// chosen leaves of a resource what attributes and excludedAttributes ask for (RFC 7644 §3.9).
func (r scimRequest) chosen(v any) any {
	only, without := r.Query("attributes"), r.Query("excludedAttributes")
	if only == "" && without == "" {
		return v
	}
	b, err := json.Marshal(v)
	var m map[string]any
	if err != nil || json.Unmarshal(b, &m) != nil {
		return v
	}
	named := func(list, name string) bool {
		for n := range strings.SplitSeq(list, ",") {
			if n = strings.TrimSpace(n); strings.HasPrefix(n, "urn:") {
				n = n[strings.LastIndexByte(n, ':')+1:]
			}
			if n, _, _ = strings.Cut(n, "."); strings.EqualFold(n, name) {
				return true
			}
		}
		return false
	}
	for name := range m {
		if name != "id" && name != "schemas" && (only != "" && !named(only, name) || named(without, name)) {
			delete(m, name)
		}
	}
	return m
}

func (r scimRequest) answerUser(status int, u directory.ScimUser) error {
	r.Header("ETag", scimVersion(u))
	if status == http.StatusCreated {
		r.Header("Location", r.link("Users", u.ID))
	}
	r.answer(status, r.chosen(r.user(u)))
	return nil
}

// window is startIndex and count: from 1, and what is not sensible is made so.
func (r scimRequest) window() (skip, limit int, err error) {
	number := func(name string, otherwise int) int {
		text := r.Query(name)
		if text == "" {
			return otherwise
		}
		n, parse := strconv.Atoi(text)
		if parse != nil {
			err = badValue(name + " must be a number")
		}
		return n
	}
	skip = max(number("startIndex", 1), 1) - 1
	return skip, min(max(number("count", 100), 0), maxScimItems), err
}

type scimList struct {
	Schemas      []string `json:"schemas"`
	TotalResults int      `json:"totalResults"`
	StartIndex   int      `json:"startIndex"`
	ItemsPerPage int      `json:"itemsPerPage"`
	Resources    []any    `json:"Resources"`
}

func (r scimRequest) answerList(total, skip int, items []any) {
	r.answer(http.StatusOK, scimList{Schemas: []string{scimListSchema}, TotalResults: total, StartIndex: skip + 1, ItemsPerPage: len(items), Resources: items})
}

func (r scimRequest) listUsers() error {
	skip, limit, err := r.window()
	if err != nil {
		return err
	}
	q, err := scimUserQuery(r.Query("filter"))
	if err != nil {
		return err
	}
	q.Skip, q.Limit = skip, limit
	users, total, err := r.s.deps.Directory.ScimUsers(r.Request.Context(), r.company, q)
	if err != nil {
		return err
	}
	items := make([]any, len(users))
	for i, u := range users {
		items[i] = r.chosen(r.user(u))
	}
	r.answerList(total, skip, items)
	r.takeDownList(q, users)
	return nil
}

// takeDownList tells the audit of the users in a list: each where the filter names
// them, as providers look for one before they change it, else of the list.
func (r scimRequest) takeDownList(q directory.ScimQuery, users []directory.ScimUser) {
	if !q.Some || len(q.Likes) > 0 || len(q.NamesFrom) > 0 {
		if len(users) > 0 {
			r.takeDownRead("export", "users", "scim")
		}
		return
	}
	for _, u := range users {
		r.takeDownRead("user", u.ID, "")
	}
}

func (r scimRequest) getUser() error {
	u, err := r.s.deps.Directory.ScimUser(r.Request.Context(), r.company, r.Param("id"))
	if err != nil {
		return err
	}
	if r.GetHeader("If-None-Match") == scimVersion(u) {
		r.Status(http.StatusNotModified)
		r.Writer.WriteHeaderNow()
		return nil
	}
	r.takeDownRead("user", u.ID, "")
	return r.answerUser(http.StatusOK, u)
}

func (r scimRequest) createUser() error {
	var attributes map[string]any
	if err := r.body(&attributes); err != nil {
		return err
	}
	u := directory.ScimUser{User: directory.User{State: directory.StateActive}}
	if err := replaceScimUser(&u, attributes); err != nil {
		return err
	}
	u, err := r.s.deps.Directory.CreateScimUser(r.Request.Context(), r.company, u)
	if err != nil {
		return err
	}
	return r.answerUser(http.StatusCreated, u)
}

func (r scimRequest) changeUser(change func(*directory.ScimUser) error) error {
	u, err := r.s.deps.Directory.UpdateScimUser(r.Request.Context(), r.company, r.Param("id"), func(u *directory.ScimUser) error {
		if err := r.matches(*u); err != nil {
			return err
		}
		return change(u)
	})
	if err != nil {
		return err
	}
	return r.answerUser(http.StatusOK, u)
}

// matches refuses a change of what has been changed since it was read.
func (r scimRequest) matches(u directory.ScimUser) error {
	if m := r.GetHeader("If-Match"); m != "" && m != "*" && m != scimVersion(u) {
		return scimFault(http.StatusPreconditionFailed, "", "the resource was changed in between")
	}
	return nil
}

func (r scimRequest) putUser() error {
	var attributes map[string]any
	if err := r.body(&attributes); err != nil {
		return err
	}
	return r.changeUser(func(u *directory.ScimUser) error { return replaceScimUser(u, attributes) })
}

func (r scimRequest) patchUser() error {
	operations, err := r.operations()
	if err != nil {
		return err
	}
	return r.changeUser(func(u *directory.ScimUser) error { return patchScimUser(u, operations) })
}

func (r scimRequest) deleteUser() error {
	if err := r.s.deps.Directory.DeleteScimUser(r.Request.Context(), r.company, r.Param("id"), r.matches); err != nil {
		return err
	}
	r.Status(http.StatusNoContent)
	r.Writer.WriteHeaderNow()
	return nil
}

// groupID names a place in a way that no other kind of place has.
func groupID(kind, id string) string { return kind + "." + id }

type scimGroupJSON struct {
	Schemas     []string    `json:"schemas"`
	ID          string      `json:"id"`
	DisplayName string      `json:"displayName"`
	Members     []scimValue `json:"members,omitempty"`
	Meta        scimMeta    `json:"meta"`
}

func (r scimRequest) group(g directory.ScimGroup) scimGroupJSON {
	id := groupID(g.Kind, g.ID)
	out := scimGroupJSON{Schemas: []string{scimGroupSchema}, ID: id, DisplayName: g.Name, Meta: scimMeta{ResourceType: "Group", Created: scimTime(g.CreatedAt), Location: r.link("Groups", id)}}
	for _, m := range g.Members {
		out.Members = append(out.Members, scimValue{Value: m.ID, Display: m.Name, Type: "User", Ref: r.link("Users", m.ID)})
	}
	return out
}

func (r scimRequest) listGroups() error {
	skip, limit, err := r.window()
	if err != nil {
		return err
	}
	keep, byMember, err := scimGroupFilter(r.Query("filter"))
	if err != nil {
		return err
	}
	shown := !strings.Contains(strings.ToLower(r.Query("excludedAttributes")), "members")
	groups, err := r.s.deps.Directory.ScimGroups(r.Request.Context(), r.company, shown || byMember)
	if err != nil {
		return err
	}
	total, items := 0, []any{}
	for _, g := range groups {
		if !keep(g) {
			continue
		}
		if total++; total > skip && len(items) < limit {
			items = append(items, r.chosen(r.group(g)))
		}
	}
	r.answerList(total, skip, items)
	return nil
}

func (r scimRequest) getGroup() error {
	kind, id, _ := strings.Cut(r.Param("id"), ".")
	g, err := r.s.deps.Directory.ScimGroup(r.Request.Context(), r.company, kind, id)
	if err != nil {
		return err
	}
	r.answer(http.StatusOK, r.chosen(r.group(g)))
	return nil
}

func (r scimRequest) changeGroup(change func(directory.ScimGroup) ([]string, error)) error {
	kind, id, _ := strings.Cut(r.Param("id"), ".")
	g, err := r.s.deps.Directory.ChangeMembers(r.Request.Context(), r.company, kind, id, change)
	if err != nil {
		return err
	}
	r.answer(http.StatusOK, r.chosen(r.group(g)))
	return nil
}

func (r scimRequest) putGroup() error {
	var attributes map[string]any
	if err := r.body(&attributes); err != nil {
		return err
	}
	return r.changeGroup(func(g directory.ScimGroup) ([]string, error) { return replaceScimGroup(g, attributes) })
}

func (r scimRequest) patchGroup() error {
	operations, err := r.operations()
	if err != nil {
		return err
	}
	return r.changeGroup(func(g directory.ScimGroup) ([]string, error) { return patchScimGroup(g, operations) })
}

// noGroups: departments and contact centers have numbers and opening hours, which
// no provider knows; they are made in Earshot, and a provider fills them.
func (r scimRequest) noGroups() error {
	return scimFault(http.StatusForbidden, "", "departments and contact centers are made and deleted in Earshot; a provider changes who is in them")
}

func (r scimRequest) config() error {
	on := func(v bool) map[string]any { return map[string]any{"supported": v} }
	r.answer(http.StatusOK, map[string]any{
		"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"}, "patch": on(true), "etag": on(true), "sort": on(false), "changePassword": on(false),
		"bulk":                  map[string]any{"supported": false, "maxOperations": 0, "maxPayloadSize": 0},
		"filter":                map[string]any{"supported": true, "maxResults": maxScimItems},
		"authenticationSchemes": []any{map[string]any{"type": "oauthbearertoken", "name": "Bearer", "description": "An API key of the company, as Authorization: Bearer", "primary": true}},
		"meta":                  scimMeta{ResourceType: "ServiceProviderConfig", Location: r.link("ServiceProviderConfig")},
	})
	return nil
}

// described answers one of a few resources, or all of them.
func (r scimRequest) described(all map[string]any, order ...string) error {
	if id := r.Param("id"); id != "" {
		if name, err := url.PathUnescape(id); err == nil && all[name] != nil {
			r.answer(http.StatusOK, all[name])
			return nil
		}
		return directory.ErrNotFound
	}
	items := make([]any, len(order))
	for i, name := range order {
		items[i] = all[name]
	}
	r.answerList(len(items), 0, items)
	return nil
}

func (r scimRequest) resourceTypes() error {
	resource := func(name, endpoint, schema string) map[string]any {
		return map[string]any{"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:ResourceType"}, "id": name, "name": name, "endpoint": endpoint, "schema": schema,
			"meta": scimMeta{ResourceType: "ResourceType", Location: r.link("ResourceTypes", name)}}
	}
	return r.described(map[string]any{"User": resource("User", "/Users", scimUserSchema), "Group": resource("Group", "/Groups", scimGroupSchema)}, "User", "Group")
}

func (r scimRequest) schemas() error {
	return r.described(map[string]any{scimUserSchema: r.schema("User", scimUserSchema, scimUserAttributes), scimGroupSchema: r.schema("Group", scimGroupSchema, scimGroupAttributes)}, scimUserSchema, scimGroupSchema)
}

func (r scimRequest) schema(name, id string, attributes []map[string]any) map[string]any {
	return map[string]any{"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:Schema"}, "id": id, "name": name, "attributes": attributes,
		"meta": scimMeta{ResourceType: "Schema", Location: r.link("Schemas", id)}}
}

func scimAttribute(name, kind, mutability string, more ...any) map[string]any {
	a := map[string]any{"name": name, "type": kind, "mutability": mutability, "multiValued": false, "required": false, "caseExact": false, "returned": "default", "uniqueness": "none"}
	for i := 0; i+1 < len(more); i += 2 {
		a[more[i].(string)] = more[i+1]
	}
	return a
}

var (
	scimUserAttributes = []map[string]any{
		scimAttribute("userName", "string", "readWrite", "required", true, "uniqueness", "server"),
		scimAttribute("externalId", "string", "readWrite", "caseExact", true),
		scimAttribute("displayName", "string", "readWrite"),
		scimAttribute("name", "complex", "readWrite", "subAttributes", []any{scimAttribute("formatted", "string", "readWrite"), scimAttribute("givenName", "string", "readWrite"), scimAttribute("familyName", "string", "readWrite")}),
		scimAttribute("active", "boolean", "readWrite"),
		scimAttribute("emails", "complex", "readWrite", "multiValued", true, "subAttributes", []any{scimAttribute("value", "string", "readWrite"), scimAttribute("type", "string", "readWrite"), scimAttribute("primary", "boolean", "readWrite")}),
		scimAttribute("phoneNumbers", "complex", "readOnly", "multiValued", true, "subAttributes", []any{scimAttribute("value", "string", "readOnly"), scimAttribute("type", "string", "readOnly")}),
		scimAttribute("groups", "complex", "readOnly", "multiValued", true, "subAttributes", []any{scimAttribute("value", "string", "readOnly"), scimAttribute("$ref", "reference", "readOnly")}),
	}
	scimGroupAttributes = []map[string]any{
		scimAttribute("displayName", "string", "readOnly"),
		scimAttribute("members", "complex", "readWrite", "multiValued", true, "subAttributes", []any{scimAttribute("value", "string", "immutable"), scimAttribute("$ref", "reference", "immutable")}),
	}
)
