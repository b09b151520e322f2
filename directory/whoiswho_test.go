package directory

import (
	"bytes"
	"testing"

	"github.com/earshot/earshot/telemetry"
)

// FuzzWhoIsWho applies whatever a topic may hold, several records in a row.
func FuzzWhoIsWho(f *testing.F) {
	record := func(company, kind, id string, r *telemetry.DirectoryRecord) []byte {
		key, value := telemetry.DirectoryKey(company, kind, id), []byte(nil)
		if r != nil {
			value, _ = r.MarshalVT()
		}
		return bytes.Join([][]byte{key, value}, []byte("\xff\xff"))
	}
	user := record("c", KindUser, "u", &telemetry.DirectoryRecord{Body: &telemetry.DirectoryRecord_User{User: &telemetry.DirectoryUser{Name: "N", Email: "e@x", Aors: []string{"u@h"}, OfficeId: "o"}}, Version: 3})
	number := func(id string, owners ...string) []byte {
		n := &telemetry.DirectoryNumber{NationalDigits: 3}
		for i, o := range owners {
			n.Assignments = append(n.Assignments, &telemetry.DirectoryAssignment{FromUs: int64(i), OwnerKind: KindUser, OwnerId: o})
		}
		return record("c", kindNumber, id, &telemetry.DirectoryRecord{Body: &telemetry.DirectoryRecord_Number{Number: n}})
	}
	credential := record("c", kindCredential, "k", &telemetry.DirectoryRecord{Body: &telemetry.DirectoryRecord_Credential{Credential: &telemetry.DirectoryCredential{UserId: "u", Aor: "u@h", Sealed: []byte("no")}}})
	f.Add(bytes.Join([][]byte{user, number("+1555", "u"), number("+44555", "u", "v"), credential, record("c", kindNumber, "+1555", nil)}, []byte("\xfe\xfe")))
	f.Add(bytes.Join([][]byte{number("+1555", ""), record("c", KindUser, "", nil), record("c", KindOffice, "", nil), record("c", "later", "x", nil), record("c", kindNumber, "", nil)}, []byte("\xfe\xfe")))
	f.Fuzz(func(t *testing.T, records []byte) {
		w := newWhoIsWho()
		for one := range bytes.SplitSeq(records, []byte("\xfe\xfe")) {
			key, value, _ := bytes.Cut(one, []byte("\xff\xff"))
			w.apply(key, value, nil)
		}
		for company, h := range w.companies {
			for _, kind := range toldKinds {
				for _, o := range w.objects(kind) {
					w.told(o.company, o.kind, o.id)
					w.Resolve(company, ResolveNumber, o.id, 1)
				}
			}
			for aor := range h.byAOR {
				if w.Resolve(company, ResolveAOR, aor, 0) == nil && NormalizeAOR(aor) == aor {
					t.Errorf("nobody has %q", aor)
				}
			}
			for i := range h.users {
				w.Resolve(company, ResolveUser, h.users[i].userID(), 0)
				// Each of a user's numbers is in his list once, and the first is one of them.
				n := 0
				for j := h.users[i].numbers; j > 0; j = h.numbers[j-1].next {
					if owner, ok := h.numbers[j-1].owner.user(); !ok || owner != uint32(i+1) {
						t.Fatal("a number is in the list of another user")
					}
					if n++; n > len(h.numbers) {
						t.Fatal("a list of numbers has no end")
					}
				}
				if (n > 0) != (h.users[i].first > 0) {
					t.Error("a user has numbers and none to show, or the other way round")
				}
			}
			w.Credentials(company, "u@h")
		}
	})
}

// A place may have the same index as the user whom a number was taken from.
func TestCredentialsEndWhereANumberGoesToAPlace(t *testing.T) {
	w, secrets := newWhoIsWho(), must(newSeal("s"))
	tell := func(kind, id string, r *telemetry.DirectoryRecord) {
		w.apply(telemetry.DirectoryKey("c", kind, id), must(r.MarshalVT()), secrets)
	}
	number := func(kind, id string) {
		tell(kindNumber, "+14155550100", &telemetry.DirectoryRecord{Body: &telemetry.DirectoryRecord_Number{Number: &telemetry.DirectoryNumber{
			Assignments: []*telemetry.DirectoryAssignment{{FromUs: 1, OwnerKind: kind, OwnerId: id}}}}})
	}
	tell(KindUser, "u", &telemetry.DirectoryRecord{Body: &telemetry.DirectoryRecord_User{User: &telemetry.DirectoryUser{Name: "U"}}})
	tell(KindRoom, "r", &telemetry.DirectoryRecord{Body: &telemetry.DirectoryRecord_Place{Place: &telemetry.DirectoryPlace{Name: "R"}}})
	plain := must((&telemetry.DirectorySecret{Username: "u", Ha1Md5: []byte{1}}).MarshalVT())
	tell(kindCredential, "k", &telemetry.DirectoryRecord{Body: &telemetry.DirectoryRecord_Credential{Credential: &telemetry.DirectoryCredential{
		UserId: "u", Aor: "+14155550100", Sealed: secrets.close(telemetry.DirectoryKey("c", kindCredential, "k"), plain)}}})
	for _, c := range []struct {
		kind, id string
		usable   int
	}{{KindUser, "u", 1}, {KindRoom, "r", 0}, {"", "", 0}, {KindUser, "u", 1}} {
		number(c.kind, c.id)
		if usable, protected := w.Credentials("c", "+14155550100"); len(usable) != c.usable || !protected {
			t.Errorf("with %s %s: %d usable, protected %v; want %d and true", c.kind, c.id, len(usable), protected, c.usable)
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
