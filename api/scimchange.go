package api

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	filter "github.com/scim2/filter-parser/v2"

	"github.com/earshot/earshot/directory"
)

// scimOperation is one change of a PATCH (RFC 7644 §3.5.2).
type scimOperation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

const maxScimOperations = 1000

func (r scimRequest) operations() ([]scimOperation, error) {
	var body struct {
		Schemas    []string        `json:"schemas"`
		Operations []scimOperation `json:"Operations"`
	}
	switch err := r.body(&body); {
	case err != nil:
		return nil, err
	case !slices.ContainsFunc(body.Schemas, func(s string) bool { return strings.EqualFold(s, scimPatchSchema) }):
		return nil, scimFault(http.StatusBadRequest, "invalidSyntax", "schemas must name "+scimPatchSchema)
	case len(body.Operations) == 0:
		return nil, badValue("Operations is empty")
	case len(body.Operations) > maxScimOperations:
		return nil, badValue("there are too many Operations")
	}
	return body.Operations, nil
}

// otherAttributes are those of RFC 7643 that providers send and Earshot has no
// place for, or that only Earshot changes: they are read over.
var otherAttributes = []string{"schemas", "meta", "groups", "password", "nickname", "profileurl", "title", "usertype", "preferredlanguage", "locale", "timezone",
	"phonenumbers", "ims", "photos", "addresses", "entitlements", "roles", "x509certificates"}

// scimChange gathers what a request says of a user: what follows from its name
// and addresses is settled when all is said.
type scimChange struct {
	u         *directory.ScimUser
	was       directory.ScimUser
	shown     bool // a name to show was given
	emailed   bool
	put, adds bool
	formatted string
}

func composed(given, family string) string { return strings.TrimSpace(given + " " + family) }

func replaceScimUser(u *directory.ScimUser, attributes map[string]any) error {
	c := scimChange{u: u, was: *u, put: true}
	u.ExternalID, u.GivenName, u.FamilyName = "", "", ""
	for name, value := range attributes {
		if strings.EqualFold(name, "userName") || value == nil {
			continue
		}
		if err := c.set(name, "", nil, value); err != nil {
			return err
		}
	}
	name, given := member(attributes, "userName").(string)
	if !given || strings.TrimSpace(name) == "" {
		return badValue("userName is required")
	}
	u.UserName = strings.TrimSpace(name)
	if !c.emailed {
		u.Email = ""
	}
	return c.settle()
}

// member finds a member by its name in any case (RFC 7643 §2.1).
func member(m map[string]any, name string) any {
	for k, v := range m {
		if strings.EqualFold(k, name) {
			return v
		}
	}
	return nil
}

func patchScimUser(u *directory.ScimUser, operations []scimOperation) error {
	c := scimChange{u: u, was: *u}
	for _, o := range operations {
		op := strings.ToLower(o.Op) // Entra writes Replace
		if op != "add" && op != "replace" && op != "remove" {
			return badSyntax("op must be add, replace or remove")
		}
		if c.adds = op == "add"; op == "remove" {
			if o.Path == "" {
				return scimFault(http.StatusBadRequest, "noTarget", "a remove needs a path")
			}
			o.Value = nil
		}
		if o.Path != "" {
			if err := c.at(o.Path, o.Value); err != nil {
				return err
			}
			continue
		}
		// Without a path the value has the attributes; Entra writes paths for their names.
		attributes, ok := o.Value.(map[string]any)
		if !ok {
			return badValue("without a path, value must be an object")
		}
		for path, value := range attributes {
			if err := c.at(path, value); err != nil {
				return err
			}
		}
	}
	return c.settle()
}

func badSyntax(detail string) *scimError {
	return scimFault(http.StatusBadRequest, "invalidSyntax", detail)
}

// at sets what a path names; a nil value removes it.
func (c *scimChange) at(path string, value any) error {
	if strings.EqualFold(path, scimUserSchema) {
		attributes, ok := value.(map[string]any)
		if !ok {
			return badValue("of a schema, value must be an object")
		}
		for p, v := range attributes {
			if err := c.at(p, v); err != nil {
				return err
			}
		}
		return nil
	}
	if strings.HasPrefix(strings.ToLower(path), "urn:") && !strings.HasPrefix(strings.ToLower(path), strings.ToLower(scimUserSchema)+":") {
		return nil // an extension: nothing in it is kept
	}
	p, err := parsePath(path)
	if err != nil {
		return err
	}
	sub := p.AttributePath.SubAttributeName()
	if p.SubAttribute != nil {
		sub = *p.SubAttribute
	}
	return c.set(p.AttributePath.AttributeName, sub, p.ValueExpression, value)
}

func parsePath(path string) (filter.Path, error) {
	if len(path) > maxScimQuery {
		return filter.Path{}, scimFault(http.StatusBadRequest, "invalidPath", "the path is too long")
	}
	p, err := filter.ParsePath([]byte(path))
	if err != nil {
		return filter.Path{}, scimFault(http.StatusBadRequest, "invalidPath", "the path is not one of SCIM")
	}
	return p, nil
}

// scimText is a value as text; null and the absence of one are ”.
func scimText(attribute string, value any) (string, error) {
	switch v := value.(type) {
	case nil:
		return "", nil
	case string:
		return strings.TrimSpace(v), nil
	}
	return "", badValue(attribute + " must be a string")
}

// scimBool takes the words too: Entra sends "False".
func scimBool(attribute string, value any) (bool, error) {
	switch v := value.(type) {
	case bool:
		return v, nil
	case string:
		if b, err := strconv.ParseBool(strings.ToLower(v)); err == nil {
			return b, nil
		}
	}
	return false, badValue(attribute + " must be a boolean")
}

func (c *scimChange) set(attribute, sub string, of filter.Expression, value any) error {
	var err error
	switch name := strings.ToLower(attribute); {
	case name == "username":
		if c.u.UserName, err = scimText("userName", value); err == nil && c.u.UserName == "" {
			err = badValue("userName is required")
		}
	case name == "externalid":
		c.u.ExternalID, err = scimText("externalId", value)
	case name == "displayname":
		var text string
		if text, err = scimText("displayName", value); text != "" {
			c.u.Name, c.shown = text, true
		}
	case name == "name":
		err = c.name(sub, value)
	case name == "active":
		if value == nil {
			return nil // as it is
		}
		var active bool
		if active, err = scimBool("active", value); err == nil {
			c.u.SetActive(active)
		}
	case name == "emails":
		err = c.email(sub, of, value)
	case name == "id":
		if id, _ := value.(string); c.was.ID != "" && id != c.was.ID {
			err = scimFault(http.StatusBadRequest, "mutability", "id does not change")
		}
	case strings.HasPrefix(name, "urn:"), slices.Contains(otherAttributes, name):
	case c.put: // servers may read over what they do not know (RFC 7644 §3.3)
	default:
		err = scimFault(http.StatusBadRequest, "invalidPath", "the path names no attribute of a user")
	}
	return err
}

func (c *scimChange) name(sub string, value any) error {
	var err error
	switch strings.ToLower(sub) {
	case "givenname":
		c.u.GivenName, err = scimText("name.givenName", value)
	case "familyname":
		c.u.FamilyName, err = scimText("name.familyName", value)
	case "formatted":
		c.formatted, err = scimText("name.formatted", value)
	case "":
		if value == nil {
			c.u.GivenName, c.u.FamilyName = "", ""
			return nil
		}
		parts, ok := value.(map[string]any)
		if !ok {
			return badValue("name must be an object")
		}
		for k, v := range parts {
			if k != "" {
				if err := c.name(k, v); err != nil {
					return err
				}
			}
		}
	}
	return err
}

// email sets the one address that a user has: of several the primary one, else
// the one for work, else the first.
func (c *scimChange) email(sub string, of filter.Expression, value any) error {
	if of != nil && !mayBeWork(of) {
		return nil // of another type, for which there is no place
	}
	switch sub = strings.ToLower(sub); {
	case sub == "value", of != nil && sub == "" && value == nil:
		text, err := scimText("emails.value", value)
		c.u.Email, c.emailed = text, true
		return err
	case sub != "":
		return nil // type, primary, display
	}
	list, many := value.([]any)
	if !many && value != nil {
		list = []any{value}
	}
	best, rank := "", -1
	for _, v := range list {
		m, ok := v.(map[string]any)
		if !ok {
			return badValue("emails must be objects")
		}
		text, err := scimText("emails.value", member(m, "value"))
		if err != nil {
			return err
		}
		kind, _ := member(m, "type").(string)
		primary, _ := scimBool("emails.primary", member(m, "primary"))
		r := 0
		if strings.EqualFold(kind, "work") || of != nil {
			r = 1
		}
		if primary {
			r = 2
		}
		// What is added takes the place of what is there only where it ranks higher than any other.
		if text != "" && r > rank && (!c.adds || c.u.Email == "" || r > 0) {
			best, rank = text, r
		}
	}
	if rank >= 0 || (!c.adds && len(list) == 0) {
		c.u.Email, c.emailed = best, true
	}
	return nil
}

// mayBeWork tells whether a filter on emails can mean the address for work.
func mayBeWork(e filter.Expression) bool {
	a, ok := e.(*filter.AttributeExpression)
	if !ok || a.Operator != filter.EQ {
		return true
	}
	if strings.EqualFold(a.AttributePath.AttributeName, "type") {
		kind, _ := a.CompareValue.(string)
		return strings.EqualFold(kind, "work")
	}
	if strings.EqualFold(a.AttributePath.AttributeName, "primary") {
		return a.CompareValue == true
	}
	return true
}

// settle derives what was not said: the address from the user name, the name
// from its parts.
func (c *scimChange) settle() error {
	u := c.u
	if strings.Contains(u.UserName, "@") && !c.emailed && (u.Email == "" || strings.EqualFold(u.Email, c.was.UserName)) {
		u.Email = u.UserName
	}
	parts := composed(u.GivenName, u.FamilyName)
	switch old := composed(c.was.GivenName, c.was.FamilyName); {
	case c.shown:
	case c.formatted != "":
		u.Name = c.formatted
	case parts != "" && (c.put || u.Name == "" || (parts != old && u.Name == old)):
		u.Name = parts
	case u.Name == "":
		u.Name = u.UserName
	}
	if len(u.Name) > 200 || len(u.UserName) > 254 || len(u.ExternalID) > 254 || len(u.GivenName) > 200 || len(u.FamilyName) > 200 {
		return badValue("a value is too long")
	}
	for _, text := range []string{u.UserName, u.ExternalID, u.GivenName, u.FamilyName} {
		if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return badValue("a value has control characters")
		}
	}
	return nil
}

// memberIDs reads the values of members: objects with a value, or one of them.
func memberIDs(value any) ([]string, error) {
	list, many := value.([]any)
	if !many && value != nil {
		list = []any{value}
	}
	out := make([]string, 0, len(list))
	for _, v := range list {
		m, _ := v.(map[string]any)
		id, ok := member(m, "value").(string)
		if !ok || id == "" {
			return nil, badValue("members must be objects with a value")
		}
		out = append(out, id)
	}
	return out, nil
}

func sameGroup(g directory.ScimGroup, attribute string, value any) error {
	switch {
	case strings.EqualFold(attribute, "displayName") && value != g.Name:
		return scimFault(http.StatusBadRequest, "mutability", "the names of departments and contact centers are changed in Earshot")
	case strings.EqualFold(attribute, "id") && value != groupID(g.Kind, g.ID):
		return scimFault(http.StatusBadRequest, "mutability", "id does not change")
	}
	return nil
}

func replaceScimGroup(g directory.ScimGroup, attributes map[string]any) ([]string, error) {
	for name, value := range attributes {
		if err := sameGroup(g, name, value); err != nil {
			return nil, err
		}
	}
	return memberIDs(member(attributes, "members"))
}

func patchScimGroup(g directory.ScimGroup, operations []scimOperation) ([]string, error) {
	in := map[string]bool{}
	for _, m := range g.Members {
		in[m.ID] = true
	}
	for _, o := range operations {
		values := map[string]any{o.Path: o.Value}
		if o.Path == "" {
			var ok bool
			if values, ok = o.Value.(map[string]any); !ok {
				return nil, badValue("without a path, value must be an object")
			}
		}
		for path, value := range values {
			if err := patchMembers(g, in, strings.ToLower(o.Op), path, value); err != nil {
				return nil, err
			}
		}
	}
	out := make([]string, 0, len(in))
	for id, is := range in {
		if is {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out, nil
}

func patchMembers(g directory.ScimGroup, in map[string]bool, op, path string, value any) error {
	p, err := parsePath(path)
	if err != nil {
		return err
	}
	attribute := p.AttributePath.AttributeName
	if !strings.EqualFold(attribute, "members") {
		return sameGroup(g, attribute, value)
	}
	ids, err := memberIDs(value)
	if err != nil && (op != "remove" || p.ValueExpression == nil) {
		return err
	}
	if p.ValueExpression != nil { // members[value eq "…"], for removal
		a, ok := p.ValueExpression.(*filter.AttributeExpression)
		id, text := "", false
		if ok {
			id, text = a.CompareValue.(string)
		}
		if !ok || !text || a.Operator != filter.EQ || !strings.EqualFold(a.AttributePath.AttributeName, "value") || op != "remove" {
			return scimFault(http.StatusBadRequest, "invalidPath", `members are named by [value eq "id"], to be removed`)
		}
		ids = []string{id}
	}
	switch {
	case op == "remove" && len(ids) == 0 || op == "replace":
		clear(in)
	case op != "remove" && op != "add":
		return badSyntax("op must be add, replace or remove")
	}
	for _, id := range ids {
		in[id] = op != "remove"
	}
	return nil
}
