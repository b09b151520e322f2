package ingest

import (
	"crypto/subtle"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/earshot/earshot/telemetry"
)

// DefaultCompany owns telemetry that no rule maps.
const DefaultCompany = "default"

// Kinds of what a Resolver looks up.
const (
	KindNumber = "number" // E.164 with +, or the user part of a URI
	KindAOR    = "aor"    // user@host
	KindUser   = "user"   // user id
)

// Resolver knows whose a number or an address-of-record was at a time (Unix
// microseconds). The answer is stamped into the record, so that a later change of
// assignment rewrites no history, and a capture of the past is of those who had
// the numbers then. nil means unknown. The caller may change what it got.
type Resolver interface {
	Resolve(company, kind, value string, atUs int64) *telemetry.Identity
}

// TenancyRule maps telemetry to a company. Members that are set must all match.
type TenancyRule struct {
	Company    string `koanf:"company" doc:"company that the telemetry belongs to"`
	HEPAuthKey string `koanf:"hep_auth_key" doc:"HEP authentication key (chunk 0x0e)" secret:"true"`
	AgentID    string `koanf:"agent_id" doc:"HEP agent: number (chunk 0x0c) or name (chunk 0x13)"`
	Network    string `koanf:"network" doc:"source network of the telemetry, as 10.0.0.0/8"`
	SIPDomain  string `koanf:"sip_domain" doc:"host of the request URI, From or To"`
}

// TenancyRules map telemetry to companies; the first that matches wins.
type TenancyRules []TenancyRule

// Tenancy is TenancyRules, checked.
type Tenancy struct{ rules []tenancyRule }

type tenancyRule struct {
	TenancyRule
	network netip.Prefix
}

// NewTenancy checks the rules.
func NewTenancy(rules TenancyRules) (*Tenancy, error) {
	t := &Tenancy{}
	for i, r := range rules {
		rule := tenancyRule{TenancyRule: r}
		rule.SIPDomain = strings.ToLower(r.SIPDomain)
		switch {
		case r.Company == "":
			return nil, fmt.Errorf("tenancy.rules[%d] names no company", i)
		case r.HEPAuthKey == "" && r.AgentID == "" && r.Network == "" && r.SIPDomain == "":
			return nil, fmt.Errorf("tenancy.rules[%d] has no condition", i)
		}
		if r.Network != "" {
			var err error
			if rule.network, err = netip.ParsePrefix(r.Network); err != nil {
				return nil, fmt.Errorf("tenancy.rules[%d].network: %w", i, err)
			}
		}
		t.rules = append(t.rules, rule)
	}
	return t, nil
}

// Witness is what is known about who sent a piece of telemetry.
type Witness struct {
	AuthKey   []byte
	AgentID   uint32
	AgentName []byte
	Remote    netip.Addr
}

// Company is the one that telemetry of this witness belongs to, by the rules
// that need no SIP domain.
func (t *Tenancy) Company(w Witness) string {
	for i := range t.rules {
		if r := &t.rules[i]; r.SIPDomain == "" && r.matches(w) {
			return r.Company
		}
	}
	return DefaultCompany
}

// CompanyOfSIP is the one that a SIP message belongs to.
func (t *Tenancy) CompanyOfSIP(w Witness, m *telemetry.SIPMessage) string {
	for i := range t.rules {
		if r := &t.rules[i]; r.matches(w) && (r.SIPDomain == "" || r.hasDomain(m)) {
			return r.Company
		}
	}
	return DefaultCompany
}

func (r *tenancyRule) matches(w Witness) bool {
	if r.HEPAuthKey != "" && subtle.ConstantTimeCompare([]byte(r.HEPAuthKey), w.AuthKey) != 1 {
		return false
	}
	if r.AgentID != "" && r.AgentID != string(w.AgentName) && r.AgentID != strconv.FormatUint(uint64(w.AgentID), 10) {
		return false
	}
	return r.Network == "" || r.network.Contains(w.Remote.Unmap())
}

func (r *tenancyRule) hasDomain(m *telemetry.SIPMessage) bool {
	return strings.EqualFold(r.SIPDomain, uriHost(m.RequestUri)) ||
		strings.EqualFold(r.SIPDomain, m.GetTo().GetHost()) || strings.EqualFold(r.SIPDomain, m.GetFrom().GetHost())
}

// uriHost is the host of a SIP URI (RFC 3261 §19.1), without port.
func uriHost(uri string) string {
	_, rest, ok := strings.Cut(uri, ":")
	if !ok {
		return ""
	}
	if i := strings.IndexAny(rest, ";?>"); i >= 0 {
		rest = rest[:i]
	}
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		rest = rest[i+1:]
	}
	if strings.HasPrefix(rest, "[") {
		if i := strings.IndexByte(rest, ']'); i >= 0 {
			return rest[1:i]
		}
	}
	host, _, _ := strings.Cut(rest, ":")
	return host
}

// AOR is the address-of-record that a REGISTER is about: user@host of its To
// (RFC 3261 §10.2), which is also the subject of its Kafka key.
func AOR(m *telemetry.SIPMessage) string { return string(appendAOR(nil, m)) }

func appendAOR(dst []byte, m *telemetry.SIPMessage) []byte {
	if user := m.GetTo().GetUser(); user != "" {
		dst = append(append(dst, user...), '@')
	}
	return append(dst, strings.ToLower(m.GetTo().GetHost())...)
}

// party resolves one side of a SIP message. Where the directory does not know
// it, what the message says remains, and is put into said.
func party(r Resolver, company string, a *telemetry.NameAddr, said *telemetry.Identity, atUs int64) *telemetry.Identity {
	if a == nil || a.User == "" && a.Host == "" {
		return nil
	}
	if r != nil {
		if id := r.Resolve(company, KindAOR, a.User+"@"+strings.ToLower(a.Host), atUs); id != nil {
			return id
		}
		if id := r.Resolve(company, KindNumber, a.User, atUs); id != nil {
			return id
		}
	}
	said.Number, said.Name = a.User, a.Display // all that is ever set of it
	return said
}

// completed resolves what a sender of events or samples said about a party.
// What it said itself wins over the directory.
func completed(r Resolver, company string, said *telemetry.Identity, atUs int64) *telemetry.Identity {
	if said == nil || r == nil {
		return said
	}
	var known *telemetry.Identity
	if said.UserId != "" {
		known = r.Resolve(company, KindUser, said.UserId, atUs)
	}
	if known == nil && said.Number != "" {
		known = r.Resolve(company, KindNumber, said.Number, atUs)
	}
	if known == nil {
		return said
	}
	for _, m := range []struct{ into, from *string }{
		{&said.UserId, &known.UserId}, {&said.Name, &known.Name}, {&said.Number, &known.Number}, {&said.DeviceId, &known.DeviceId},
		{&said.DepartmentId, &known.DepartmentId}, {&said.OfficeId, &known.OfficeId}, {&said.ContactCenterId, &known.ContactCenterId},
	} {
		if *m.into == "" {
			*m.into = *m.from
		}
	}
	return said
}
