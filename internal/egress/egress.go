// Package egress decides which addresses Earshot sends requests to where
// somebody else chose the address. A webhook's URL is such a choice: without
// this rule it could make Earshot ask a database, a router or the metadata
// service of a cloud on its owner's behalf.
package egress

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
)

// ErrRefused is in every error about an address that nothing is sent to.
var ErrRefused = errors.New("is not allowed")

// Networks are those that may be sent to although they are not public.
type Networks []netip.Prefix

// Parse reads networks such as 10.1.0.0/16, fd00::/8 or a single address.
func Parse(texts []string) (Networks, error) {
	var out Networks
	for _, text := range texts {
		text = strings.TrimSpace(text)
		p, err := netip.ParsePrefix(text)
		if err != nil {
			addr, addrErr := netip.ParseAddr(text)
			if addrErr != nil {
				return nil, fmt.Errorf("%q is no network such as 10.1.0.0/16", text)
			}
			p = netip.PrefixFrom(addr, addr.BitLen())
		}
		if p.Addr().Is4In6() {
			if p.Bits() < 96 {
				return nil, fmt.Errorf("%q reaches beyond IPv4: write it as an IPv4 network", text)
			}
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

// notPublic are the networks that are not the Internet's, by the registries of
// IANA for special-purpose addresses, and what clouds put their metadata at.
var notPublic = func() map[string]Networks {
	out := map[string]Networks{}
	for why, texts := range map[string][]string{
		"a private address":      {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fec0::/10"},
		"a loopback address":     {"127.0.0.0/8", "::1/128"},
		"a link-local address":   {"169.254.0.0/16", "fe80::/10"},
		"a multicast address":    {"224.0.0.0/4", "ff00::/8"},
		"a shared address":       {"100.64.0.0/10"}, // RFC 6598; some clouds' metadata too
		"a metadata address":     {"168.63.129.16/32"},
		"an unspecified address": {"0.0.0.0/8", "::/128"},
		"a reserved address": {"192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
			"100::/64", "64:ff9b:1::/48", "2001::/23", "2001:db8::/32", "3fff::/20", "5f00::/16"},
	} {
		n, err := Parse(texts)
		if err != nil {
			panic(err)
		}
		out[why] = n
	}
	return out
}()

// Translated prefixes hold an IPv4 address that a gateway on the way would
// reach: at these bytes of the IPv6 address.
var translated = []struct {
	prefix netip.Prefix
	at     int
}{
	{netip.MustParsePrefix("64:ff9b::/96"), 12},    // RFC 6052
	{netip.MustParsePrefix("2002::/16"), 2},        // RFC 3056, 6to4
	{netip.MustParsePrefix("::ffff:0:0:0/96"), 12}, // RFC 2765
	{netip.MustParsePrefix("::/96"), 12},           // IPv4-compatible, RFC 4291 §2.5.5.1
}

// Check refuses an address that is not public, unless it is in the networks.
func (n Networks) Check(addr netip.Addr) error {
	addr = addr.WithZone("").Unmap()
	for _, p := range n {
		if p.Contains(addr) {
			return nil
		}
	}
	if !addr.IsValid() {
		return fmt.Errorf("what is no address %w", ErrRefused)
	}
	for why, networks := range notPublic {
		for _, p := range networks {
			if p.Contains(addr) {
				return fmt.Errorf("%s %w", why, ErrRefused)
			}
		}
	}
	for _, t := range translated {
		if t.prefix.Contains(addr) {
			b := addr.As16()
			return n.Check(netip.AddrFrom4([4]byte(b[t.at : t.at+4])))
		}
	}
	return nil
}

// Control is for net.Dialer. It is asked with the very address that is about to
// be connected to, after the name was looked up: a name that changes its
// address between a check and the use (DNS rebinding) gains nothing.
func (n Networks) Control(network, address string, _ syscall.RawConn) error {
	if !strings.HasPrefix(network, "tcp") {
		return fmt.Errorf("what is no TCP address %w", ErrRefused)
	}
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("what is no address %w", ErrRefused)
	}
	return n.Check(to.Addr())
}

// CheckURL says early what Control would say later: a URL whose host is an
// address, or names this machine. Names are not looked up here.
func (n Networks) CheckURL(u *url.URL) error {
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	if host == "localhost" || strings.HasSuffix(host, ".localhost") { // RFC 6761 §6.3
		return n.Check(netip.AddrFrom4([4]byte{127, 0, 0, 1}))
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		return n.Check(addr)
	}
	// Other spellings of IPv4 (decimal, octal, hexadecimal, short) are names to
	// Go's resolver, but not to that of every system.
	if last := host[strings.LastIndexByte(host, '.')+1:]; net.ParseIP(host) == nil && isNumber(last) {
		return fmt.Errorf("an IPv4 address in this spelling %w", ErrRefused)
	}
	return nil
}

// isNumber tells whether a name's last label makes it an IPv4 address to the
// WHATWG URL standard: digits, or 0x with hexadecimal digits.
func isNumber(label string) bool {
	if label == "" {
		return false
	}
	digits := "0123456789"
	if rest, hex := strings.CutPrefix(label, "0x"); hex {
		label, digits = rest, digits+"abcdef"
	}
	return strings.Trim(label, digits) == ""
}
