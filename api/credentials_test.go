package api_test

import (
	"strings"
	"testing"

	"github.com/earshot/earshot/directory/feedtest"
)

func TestDeviceCredentials(t *testing.T) {
	s := newSite(t, nil)
	const path = defaultCompany + "/users/alice/devices/desk-1/credentials"
	var made struct {
		Device, AOR, Username, Realm, Secret string
		CreatedAt                            string  `json:"created_at"`
		RevokedAt                            *string `json:"revoked_at"`
	}
	a := s.as(s.operator, "POST", path, "")
	a.decode(t, &made)
	if a.status != 201 || made.Device != "desk-1" || made.AOR != "alice@example.com" || made.Username != "alice" || made.Realm != "pbx" ||
		len(made.Secret) < 26 || made.CreatedAt == "" || made.RevokedAt != nil {
		t.Errorf("%d %s", a.status, a.body)
	}
	first := made.Secret
	s.as(s.operator, "POST", path, `{"aor":"+1 415 555 0101"}`).names(t, "body.aor")
	s.as(s.operator, "POST", path, `{"aor":"+14155550101"}`).decode(t, &made)
	if made.AOR != "+14155550101" || made.Secret == first {
		t.Errorf("%+v", made)
	}
	var list struct {
		Items []struct {
			AOR       string
			RevokedAt *string `json:"revoked_at"`
		}
	}
	a = s.get(path)
	a.decode(t, &list)
	if len(list.Items) != 2 || list.Items[0].RevokedAt != nil || list.Items[1].RevokedAt == nil || strings.Contains(a.body, first) || strings.Contains(a.body, "ha1") {
		t.Errorf("%s", a.body)
	}
	if a = s.as(s.operator, "DELETE", path, ""); a.status != 204 {
		t.Errorf("%d %s", a.status, a.body)
	}
	if _, protected := feedtest.Start(t, s.directory).Credentials("default", "alice@example.com"); !protected {
		t.Error("an address without credentials is free again")
	}
	for name, c := range map[string]struct {
		key, method, path string
		status            int
	}{
		"revoked already": {s.operator, "DELETE", path, 404},
		"no such user":    {s.operator, "POST", defaultCompany + "/users/nobody/devices/d/credentials", 404},
		"another company": {s.other, "POST", path, 404},
		"no address":      {s.operator, "POST", "/api/v1/companies/other/users/carol/devices/d/credentials", 409},
		"bad device":      {s.operator, "POST", defaultCompany + "/users/alice/devices/a%20b/credentials", 422},
	} {
		if a := s.as(c.key, c.method, c.path, ""); a.status != c.status {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	if strings.Contains(s.log.String(), first) {
		t.Error("the secret is in the log")
	}
}
