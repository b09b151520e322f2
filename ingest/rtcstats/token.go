package rtcstats

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/tidwall/gjson"
)

// ErrToken is a token that cannot be trusted.
var ErrToken = errors.New("rtcstats: token is not valid")

// Claim is what a token says of its bearer, under rtcStats.
type Claim struct{ User, Session, Conference string }

// UnmarshalJSON takes texts and numbers, for ids are both.
func (c *Claim) UnmarshalJSON(b []byte) error {
	m := gjson.ParseBytes(b)
	for _, member := range []struct {
		into *string
		name string
	}{{&c.User, "user"}, {&c.Session, "session"}, {&c.Conference, "conference"}} {
		switch v := m.Get(member.name); v.Type {
		case gjson.String:
			*member.into = strings.ToValidUTF8(v.Str, "\uFFFD")
		case gjson.Number:
			*member.into = v.Raw
		}
		if len(*member.into) > maxName {
			return fmt.Errorf("%s is longer than %d bytes", member.name, maxName)
		}
	}
	return nil
}

// verifier checks JSON Web Tokens (RFC 7519) with the one key that is configured.
type verifier struct {
	key    any
	parser *jwt.Parser
}

// newVerifier takes a shared secret (HS256, HS384, HS512) or the file of a
// public key (RS256…, PS256…, ES256…, EdDSA, as its type is). nil without either.
func newVerifier(cfg TokenConfig, now func() time.Time) (*verifier, error) {
	var key any
	var methods []string
	switch {
	case cfg.Secret != "" && cfg.PublicKey != "":
		return nil, errors.New("set ingest.rtcstats.token.secret or ingest.rtcstats.token.public_key, not both")
	case cfg.Secret != "":
		key, methods = []byte(cfg.Secret), []string{"HS256", "HS384", "HS512"}
	case cfg.PublicKey != "":
		public, err := readPublicKey(cfg.PublicKey)
		if err != nil {
			return nil, fmt.Errorf("cannot read ingest.rtcstats.token.public_key: %w", err)
		}
		switch public.(type) {
		case *rsa.PublicKey:
			methods = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
		case *ecdsa.PublicKey:
			methods = []string{"ES256", "ES384", "ES512"}
		case ed25519.PublicKey:
			methods = []string{"EdDSA"}
		default:
			return nil, errors.New("cannot use ingest.rtcstats.token.public_key: neither RSA, ECDSA nor Ed25519")
		}
		key = public
	default:
		return nil, nil
	}
	return &verifier{key: key, parser: jwt.NewParser(jwt.WithValidMethods(methods), jwt.WithTimeFunc(now), jwt.WithLeeway(5*time.Second))}, nil
}

func readPublicKey(file string) (crypto.PublicKey, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("the file holds no PEM")
	}
	if cert, err := x509.ParseCertificate(block.Bytes); err == nil {
		return cert.PublicKey, nil
	}
	if key, err := x509.ParsePKIXPublicKey(block.Bytes); err == nil {
		return key, nil
	}
	return x509.ParsePKCS1PublicKey(block.Bytes)
}

// verify gives what a token says of its bearer.
func (v *verifier) verify(token string) (Claim, error) {
	var claims struct {
		jwt.RegisteredClaims
		RTCStats Claim `json:"rtcStats"`
	}
	if _, err := v.parser.ParseWithClaims(token, &claims, func(*jwt.Token) (any, error) { return v.key, nil }); err != nil {
		if errors.Is(err, jwt.ErrTokenExpired) {
			return Claim{}, fmt.Errorf("%w: it has expired", ErrToken)
		}
		return Claim{}, fmt.Errorf("%w: %w", ErrToken, err)
	}
	return claims.RTCStats, nil
}
