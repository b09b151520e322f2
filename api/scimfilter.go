package api

import (
	"net/http"
	"slices"
	"strings"
	"time"

	filter "github.com/scim2/filter-parser/v2"

	"github.com/earshot/earshot/directory"
)

func parseFilter(text string) (filter.Expression, error) {
	if text == "" {
		return nil, nil
	}
	if len(text) > maxScimQuery {
		return nil, scimFault(http.StatusBadRequest, "invalidFilter", "the filter is too long")
	}
	e, err := filter.ParseFilter([]byte(text))
	if err != nil {
		return nil, scimFault(http.StatusBadRequest, "invalidFilter", "the filter is not one of SCIM")
	}
	return e, nil
}

// attributesOf gives the values that a filter compares an attribute's with; nil
// where there is no such attribute.
type attributesOf func(attribute, sub string) []any

// holds judges a filter (RFC 7644 §3.4.2.2). Texts compare without regard to
// case, but for ids.
func holds(e filter.Expression, of attributesOf) (bool, error) {
	switch e := e.(type) {
	case *filter.LogicalExpression:
		left, err := holds(e.Left, of)
		if err != nil {
			return false, err
		}
		right, err := holds(e.Right, of)
		if e.Operator == filter.AND {
			return left && right, err
		}
		return left || right, err
	case *filter.NotExpression:
		is, err := holds(e.Expression, of)
		return !is, err
	case *filter.ValuePath:
		attribute := e.AttributePath.AttributeName
		return holds(e.ValueFilter, func(sub, _ string) []any { return of(attribute, sub) })
	case *filter.AttributeExpression:
		values := of(e.AttributePath.AttributeName, e.AttributePath.SubAttributeName())
		if values == nil {
			return false, scimFault(http.StatusBadRequest, "invalidFilter", "the filter names an attribute that is not kept")
		}
		if e.Operator == filter.NE {
			return !slices.ContainsFunc(values, func(v any) bool { return compares(filter.EQ, v, e.CompareValue) }), nil
		}
		return slices.ContainsFunc(values, func(v any) bool { return compares(e.Operator, v, e.CompareValue) }), nil
	}
	return false, scimFault(http.StatusBadRequest, "invalidFilter", "the filter is not one of SCIM")
}

// exact is a text in which the case of letters counts.
type exact string

func compares(op filter.CompareOperator, have, want any) bool {
	if op == filter.PR {
		return have != "" && have != exact("") && have != nil
	}
	text, ok := want.(string)
	if !ok {
		b, isBool := have.(bool)
		return isBool && op == filter.EQ && want == b
	}
	switch v := have.(type) {
	case exact:
		return comparesText(op, string(v), text)
	case string:
		return comparesText(op, strings.ToLower(v), strings.ToLower(text))
	case bool: // Entra quotes them
		return op == filter.EQ && strings.EqualFold(text, map[bool]string{true: "true", false: "false"}[v])
	case time.Time:
		t, err := time.Parse(time.RFC3339, text)
		return err == nil && comparesTime(op, v, t)
	}
	return false
}

func comparesText(op filter.CompareOperator, have, want string) bool {
	switch op {
	case filter.EQ:
		return have == want
	case filter.CO:
		return strings.Contains(have, want)
	case filter.SW:
		return strings.HasPrefix(have, want)
	case filter.EW:
		return strings.HasSuffix(have, want)
	case filter.GT:
		return have > want
	case filter.GE:
		return have >= want
	case filter.LT:
		return have < want
	case filter.LE:
		return have <= want
	}
	return false
}

func comparesTime(op filter.CompareOperator, have, want time.Time) bool {
	switch op {
	case filter.EQ:
		return have.Equal(want)
	case filter.GT:
		return have.After(want)
	case filter.GE:
		return !have.Before(want)
	case filter.LT:
		return have.Before(want)
	case filter.LE:
		return !have.After(want)
	}
	return false
}

func scimUserValues(u directory.ScimUser) attributesOf {
	return func(attribute, sub string) []any {
		switch strings.ToLower(attribute + "." + sub) {
		case "id.":
			return []any{exact(u.ID)}
		case "username.":
			return []any{u.UserName}
		case "externalid.":
			return []any{exact(u.ExternalID)}
		case "displayname.", "name.formatted":
			return []any{u.Name}
		case "name.givenname":
			return []any{u.GivenName}
		case "name.familyname":
			return []any{u.FamilyName}
		case "active.":
			return []any{u.Active()}
		case "emails.", "emails.value":
			return []any{u.Email}
		case "emails.type":
			return []any{"work"}
		case "emails.primary":
			return []any{true}
		case "meta.lastmodified":
			return []any{u.UpdatedAt}
		case "meta.created":
			return []any{u.CreatedAt}
		case "phonenumbers.", "phonenumbers.value":
			out := []any{}
			for _, n := range u.Numbers {
				out = append(out, n)
			}
			return out
		}
		return nil
	}
}

// scimUserQuery reads a filter of users, and finds what an index can answer of it.
func scimUserQuery(text string) (directory.ScimQuery, error) {
	e, err := parseFilter(text)
	if err != nil || e == nil {
		return directory.ScimQuery{}, err
	}
	// What is wrong with a filter is wrong with it for each user.
	if _, err := holds(e, scimUserValues(directory.ScimUser{})); err != nil {
		return directory.ScimQuery{}, err
	}
	q := directory.ScimQuery{Keep: func(u directory.ScimUser) bool {
		is, err := holds(e, scimUserValues(u))
		return err == nil && is
	}}
	q.Some = candidates(e, &q)
	return q, nil
}

// candidates adds to q what those who match are found by, and tells whether all are.
func candidates(e filter.Expression, q *directory.ScimQuery) bool {
	switch e := e.(type) {
	case *filter.LogicalExpression:
		if e.Operator == filter.OR {
			return candidates(e.Left, q) && candidates(e.Right, q)
		}
		left, right := *q, *q
		if candidates(e.Left, &left) {
			*q = left
			return true
		}
		if candidates(e.Right, &right) {
			*q = right
			return true
		}
	case *filter.ValuePath:
		if strings.EqualFold(e.AttributePath.AttributeName, "emails") {
			return candidates(e.ValueFilter, q)
		}
	case *filter.AttributeExpression:
		value, ok := e.CompareValue.(string)
		if !ok || value == "" {
			return false
		}
		attribute := strings.ToLower(e.AttributePath.AttributeName + "." + e.AttributePath.SubAttributeName())
		if e.Operator != filter.EQ {
			return candidatesByPart(e.Operator, attribute, value, q)
		}
		switch attribute {
		case "username.", "emails.", "emails.value", "value.":
			q.Names = append(slices.Clone(q.Names), value)
			return true
		case "externalid.":
			q.ExternalIDs = append(slices.Clone(q.ExternalIDs), value)
			return true
		case "id.":
			q.IDs = append(slices.Clone(q.IDs), value)
			return true
		}
	}
	return false
}

// candidatesByPart is candidates for a comparison with part of a text.
func candidatesByPart(op filter.CompareOperator, attribute, value string, q *directory.ScimQuery) bool {
	switch attribute {
	case "username.", "emails.", "emails.value", "value.":
		if op != filter.SW && op != filter.CO && op != filter.EW {
			return false
		}
		q.Likes = append(slices.Clone(q.Likes), directory.ScimLike{Text: value, From: op == filter.SW, To: op == filter.EW})
		return true
	case "displayname.", "name.formatted":
		if op != filter.SW {
			return false
		}
		q.NamesFrom = append(slices.Clone(q.NamesFrom), value)
		return true
	}
	return false
}

// scimGroupFilter reads a filter of groups, and whether it asks for members.
func scimGroupFilter(text string) (keep func(directory.ScimGroup) bool, members bool, err error) {
	e, err := parseFilter(text)
	if err != nil {
		return nil, false, err
	}
	if e == nil {
		return func(directory.ScimGroup) bool { return true }, false, nil
	}
	of := func(g directory.ScimGroup) attributesOf {
		return func(attribute, sub string) []any {
			switch strings.ToLower(attribute + "." + sub) {
			case "id.":
				return []any{exact(groupID(g.Kind, g.ID))}
			case "displayname.":
				return []any{g.Name}
			case "externalid.":
				return []any{exact("")}
			case "members.", "members.value":
				members = true
				out := []any{}
				for _, m := range g.Members {
					out = append(out, exact(m.ID))
				}
				return out
			}
			return nil
		}
	}
	if _, err := holds(e, of(directory.ScimGroup{})); err != nil {
		return nil, false, err
	}
	return func(g directory.ScimGroup) bool {
		is, err := holds(e, of(g))
		return err == nil && is
	}, members, nil
}
