package egress_test

import (
	"errors"
	"net"
	"net/netip"
	"net/url"
	"testing"

	"github.com/earshot/earshot/internal/egress"
)

func TestWhatIsNotPublicIsRefused(t *testing.T) {
	for _, text := range []string{
		"10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "127.0.0.1", "127.8.8.8", "0.0.0.0", "0.1.2.3",
		"169.254.169.254", "169.254.170.2", "100.100.100.200", "192.0.0.192", "168.63.129.16", "224.0.0.1", "255.255.255.255", "240.0.0.1",
		"198.18.0.1", "203.0.113.7",
		"::", "::1", "fe80::1", "fe80::1%eth0", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1", "100::1",
		"::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
		"2002:7f00:1::", "2002:a9fe:a9fe::1", "2001:0:1:2::3", "64:ff9b:1::1",
	} {
		if err := (egress.Networks)(nil).Check(netip.MustParseAddr(text)); !errors.Is(err, egress.ErrRefused) {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, text := range []string{"8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"} {
		if err := (egress.Networks)(nil).Check(netip.MustParseAddr(text)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	if err := (egress.Networks)(nil).Check(netip.Addr{}); !errors.Is(err, egress.ErrRefused) {
		t.Errorf("no address: %v", err)
	}
}

func TestAllowedNetworks(t *testing.T) {
	n, err := egress.Parse([]string{"10.1.0.0/16", " 127.0.0.1", "::ffff:192.168.7.0/120", "fd00::/8"})
	if err != nil {
		t.Fatal(err)
	}
	for text, allowed := range map[string]bool{
		"10.1.2.3": true, "10.2.0.1": false, "127.0.0.1": true, "127.0.0.2": false, "192.168.7.9": true, "192.168.8.9": false,
		"fd12::1": true, "fe80::1": false, "::ffff:10.1.0.1": true, "64:ff9b::a01:203": true, "8.8.8.8": true,
	} {
		if err := n.Check(netip.MustParseAddr(text)); (err == nil) != allowed {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, bad := range []string{"", "10.1", "10.0.0.0/33", "::ffff:0:0/90", "all"} {
		if _, err := egress.Parse([]string{bad}); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

func TestCheckURL(t *testing.T) {
	for text, allowed := range map[string]bool{
		"https://example.com/x": true, "http://example.com:8080": true, "https://8.8.8.8/": true, "https://[2606:4700::1111]/": true,
		"http://localhost:1/": false, "http://LOCALHOST./": false, "http://a.localhost/": false, "http://127.0.0.1/": false, "http://[::1]:80/": false,
		"http://[::ffff:10.0.0.1]/": false, "http://2130706433/": false, "http://0x7f000001/": false, "http://127.1/": false, "http://0177.0.0.1/": false,
		"http://example.0x7f/": false, "http://1.example.com/": true, "http://[fe80::1%25eth0]/": false,
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := (egress.Networks)(nil).CheckURL(u); (err == nil) != allowed {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// The check is made with the address that is dialled, whatever name led there.
func TestDialerIsStopped(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	refusing := net.Dialer{Control: (egress.Networks)(nil).Control}
	for _, host := range []string{"127.0.0.1", "localhost", "::ffff:127.0.0.1"} {
		if c, err := refusing.DialContext(t.Context(), "tcp", net.JoinHostPort(host, port)); !errors.Is(err, egress.ErrRefused) {
			t.Errorf("%s: %v", host, err)
			if c != nil {
				c.Close()
			}
		}
	}
	loopback, err := egress.Parse([]string{"127.0.0.0/8"})
	if err != nil {
		t.Fatal(err)
	}
	allowing := net.Dialer{Control: loopback.Control}
	c, err := allowing.DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"10.0.0.0/8", "::ffff:10.0.0.0/104", "fe80::1%eth0", "::/0", "1.2.3.4"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := egress.Parse([]string{s})
		if err != nil {
			return
		}
		// What is allowed is allowed: the first address of the network.
		if len(n) != 1 || n.Check(n[0].Addr()) != nil {
			t.Errorf("%q became %v", s, n)
		}
	})
}
