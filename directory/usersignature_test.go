package directory

import (
	"fmt"
	"testing"
)

func signedUsers() []User {
	var out []User
	for i, name := range []string{"Ada Byron", "Síle O’Brien-Walsh", "王小明", "Jo", "100% Legal_Name", "", "Anna Maria Elisabeth von der Hoehe-Berg"} {
		out = append(out, User{ID: fmt.Sprintf("u-%d", i), Name: name, Email: fmt.Sprintf("someone.%d@mail.example.org", i), State: StateActive,
			AORs: []string{fmt.Sprintf("70%d@pbx.example.net", i)}, Office: fmt.Sprintf("o%d", i), Departments: []string{"it", "hr"}, ContactCenters: []string{"help"}})
	}
	return out
}

// Who matches is never ruled out by the signature, whatever is searched for.
func TestSignatureHasAllThatMatches(t *testing.T) {
	for _, u := range signedUsers() {
		tokens := tokensOf(u)
		signature := signatureOf(tokens)
		for _, token := range tokens {
			asked := []term{{token: token, exact: true}}
			if !isFilter(token) {
				asked = nil
				for n := 1; n <= len(token); n++ {
					asked = append(asked, term{token: token[:n]})
				}
			}
			for _, a := range asked {
				if !a.has(tokens) {
					t.Fatalf("%q does not match its own user", a.token)
				}
				if mask := maskOf([]term{a}); signature&mask != mask {
					t.Errorf("%q is ruled out of %q", a.token, tokens)
				}
			}
		}
		if mask := maskOf([]term{{token: "4155", digits: "4155"}}); mask != 0 {
			t.Errorf("digits, which a number may match, rule out by %b", mask)
		}
	}
}

// The signature rules out most of those who do not match: else it is of no use.
func TestSignatureRulesOut(t *testing.T) {
	asked, passed := 0, 0
	for _, u := range signedUsers() {
		tokens := tokensOf(u)
		signature := signatureOf(tokens)
		for i := range 1000 {
			for _, a := range []term{{token: fmt.Sprintf("%c%c%c%c", 'a'+i%26, 'a'+i/2%26, 'a'+i/3%26, 'a'+i/5%26)}, {token: placeToken(KindOffice, fmt.Sprint("p", i)), exact: true}} {
				if a.has(tokens) {
					continue
				}
				asked++
				if mask := maskOf([]term{a}); signature&mask == mask {
					passed++
				}
			}
		}
	}
	if passed > asked/8 {
		t.Errorf("%d of %d who do not match seem to", passed, asked)
	}
}

// What is stored must be what is asked for: whoever changes it raises searchVersion.
func TestSignatureIsStable(t *testing.T) {
	got := fmt.Sprintf("%d %016x", searchVersion, uint64(signatureOf([]string{"\x01office=hq", "ada", "byron"})))
	if want := "2 0801103000200030"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
