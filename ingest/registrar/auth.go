package registrar

import (
	"crypto/md5" // RFC 7616 §3.3: what most phones know
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/icholy/digest"
)

// Who has to authenticate.
const (
	AuthOff      = "off"      // nobody
	AuthKnown    = "known"    // who registers an address that has credentials
	AuthRequired = "required" // everybody
)

// Algorithms of digest authentication (RFC 8760).
const (
	SHA256 = "SHA-256"
	MD5    = "MD5"
)

// Credential is what a device may register one address with: the hashes
// H(username ":" realm ":" secret) in hexadecimal (RFC 7616 §3.4.2).
type Credential struct {
	ID                string // for Config.Used
	Username, Realm   string
	HA1MD5, HA1SHA256 string
}

// Credentials knows what devices register with. It is asked for every request
// and must answer from memory.
type Credentials interface {
	// Credentials gives what the address user@host may be registered with now, and
	// whether it is protected: an address whose credentials are all revoked is.
	Credentials(company, aor string) (usable []Credential, protected bool)
}

// nobody has no credentials.
type nobody struct{}

func (nobody) Credentials(string, string) ([]Credential, bool) { return nil, false }

// guard decides who may register (RFC 3261 §22, RFC 7616, RFC 8760).
type guard struct {
	policy      string
	realm       string
	algorithms  []string
	credentials Credentials
	nonces      *nonces
	count       func(result string)
}

// CheckAuth refuses settings that would leave the door open by mistake.
func CheckAuth(policy string, algorithms []string) error {
	if !slices.Contains([]string{AuthOff, AuthKnown, AuthRequired}, policy) {
		return fmt.Errorf("want %s, %s or %s, not %q", AuthOff, AuthKnown, AuthRequired, policy)
	}
	if len(algorithms) == 0 {
		return fmt.Errorf("no algorithm: want %s, %s or both", SHA256, MD5)
	}
	for _, a := range algorithms {
		if a != SHA256 && a != MD5 {
			return fmt.Errorf("algorithm %q: want %s or %s", a, SHA256, MD5)
		}
	}
	return nil
}

// admit says whether a request that concerns an address may go on, and by which
// credentials, where it needs any; if not, what it is answered.
func (g *guard) admit(q *request, company, aor string, now time.Time) (by string, refusal response, ok bool) {
	if g.policy == AuthOff {
		return "", response{}, true
	}
	usable, protected := g.credentials.Credentials(company, aor)
	if g.policy == AuthKnown && !protected {
		return "", response{}, true
	}
	given, err := g.given(q)
	switch {
	case err != nil:
		g.count("malformed")
		return "", answer(400, "Malformed Authorization"), false
	case given == nil:
		g.count("challenged")
		return "", g.challenge(now, false), false
	}
	id, fresh := g.nonces.read(given.Nonce, now)
	fresh = fresh && (given.Opaque == "" || given.Opaque == g.opaque())
	by, right := g.verify(q, given, usable)
	switch {
	case !right && !fresh:
		// A secret that was changed, or one from before a restart: ask again.
		g.count("challenged")
		return "", g.challenge(now, false), false
	case !right:
		g.count("failed")
		return "", answer(403, "Forbidden"), false
	case !fresh:
		g.count("stale")
		return "", g.challenge(now, true), false
	case !g.nonces.use(id, uint32(given.Nc), now):
		g.count("replayed")
		return "", g.challenge(now, true), false
	}
	g.count("accepted")
	return by, response{}, true
}

// given is the answer to a challenge of ours, nil without one.
func (g *guard) given(q *request) (*digest.Credentials, error) {
	for _, h := range q.GetHeaders("Authorization") {
		if !digest.IsDigest(h.Value()) {
			continue
		}
		c, err := digest.ParseCredentials(h.Value())
		if err != nil {
			return nil, err
		}
		if c.Realm == g.realm {
			return c, nil
		}
	}
	return nil, nil
}

// opaque stays the same over restarts, so that it tells realms apart and no more.
func (g *guard) opaque() string {
	h := sha256.Sum256([]byte("opaque " + g.realm))
	return hex.EncodeToString(h[:8])
}

// challenge asks for credentials, once for each algorithm, the strongest first
// (RFC 8760 §2.4).
func (g *guard) challenge(now time.Time, stale bool) response {
	a := answer(401, "Unauthorized")
	nonce := g.nonces.make(now)
	for _, algorithm := range g.algorithms {
		c := digest.Challenge{Realm: g.realm, Nonce: nonce, Opaque: g.opaque(), Stale: stale, Algorithm: algorithm, QOP: []string{"auth"}}
		a.fields = append(a.fields, field{"WWW-Authenticate", c.String()})
	}
	return a
}

// verify says whether one of the credentials gives the response that was sent,
// and which.
// Its URI is not compared with the request's, which proxies change and some
// phones give as an address: the nonce is ours, so the answer is to us.
func (g *guard) verify(q *request, given *digest.Credentials, usable []Credential) (by string, ok bool) {
	hash, ha1 := hashMD5, func(c Credential) string { return c.HA1MD5 }
	algorithm := MD5
	switch strings.ToUpper(given.Algorithm) {
	case "", MD5:
	case SHA256:
		algorithm, hash, ha1 = SHA256, hashSHA256, func(c Credential) string { return c.HA1SHA256 }
	default:
		return "", false
	}
	if !slices.Contains(g.algorithms, algorithm) || given.Userhash || given.Nc < 0 {
		return "", false
	}
	between := given.Nonce
	switch given.QOP {
	case "":
		// RFC 2069, as old phones have it. Without a count the nonce is used once.
		if given.Nc != 0 {
			return "", false
		}
	case "auth":
		if given.Nc == 0 || given.Cnonce == "" {
			return "", false
		}
		between += fmt.Sprintf(":%08x:%s:auth", given.Nc, given.Cnonce)
	default:
		return "", false
	}
	ha2 := hash(q.Method.String() + ":" + given.URI)
	right := 0
	for _, c := range usable {
		want := hash(ha1(c) + ":" + between + ":" + ha2)
		same := subtle.ConstantTimeCompare([]byte(want), []byte(strings.ToLower(given.Response)))
		if c.Username == given.Username && c.Realm == g.realm {
			right |= same
			if same == 1 {
				by = c.ID
			}
		}
	}
	return by, right == 1
}

func hashMD5(s string) string {
	h := md5.Sum([]byte(s))
	return hex.EncodeToString(h[:])
}

func hashSHA256(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:])
}
