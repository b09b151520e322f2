package telemetry

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// DeviceID is the id of what registers an address-of-record: of the address, the
// instance and its flow (RFC 5626) where the phone names one, else of the address
// and the contact.
func DeviceID(aor, instance, regID, contact string) string {
	if instance != "" {
		return HashID(aor, instance, regID)
	}
	return HashID(aor, ContactCore(contact))
}

// HashID makes 16 hex digits of texts.
func HashID(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:8])
}

// ContactCore is a contact URI without scheme, parameters and default port, the
// host in lower case: registrars repeat a contact, but not always letter by letter.
func ContactCore(uri string) string {
	uri = strings.Trim(strings.TrimSpace(uri), "<>")
	port := ":5060"
	if rest, ok := strings.CutPrefix(uri, "sips:"); ok {
		uri, port = rest, ":5061"
	} else {
		uri = strings.TrimPrefix(uri, "sip:")
	}
	user, host := "", uri
	if i := strings.LastIndexByte(uri, '@'); i >= 0 {
		user, host = uri[:i+1], uri[i+1:]
	}
	if i := strings.IndexAny(host, ";?"); i >= 0 {
		host = host[:i]
	}
	return user + strings.TrimSuffix(strings.ToLower(host), port)
}
