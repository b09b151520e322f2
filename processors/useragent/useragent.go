// Package useragent reads what a SIP User-Agent header says about app, version
// and kind of endpoint.
package useragent

import (
	"regexp"
	"strings"
)

// Endpoint kinds.
const (
	EndpointNative      = "native"       // an app of its own on a desktop
	EndpointPackagedApp = "packaged_app" // a web page packed as an app (Electron)
	EndpointWeb         = "web"          // a browser
	EndpointMobile      = "mobile"       // a phone or tablet
	EndpointDeskPhone   = "desk_phone"   // a hardware phone
	EndpointSIP         = "sip"          // anything else that speaks SIP
)

// Agent is what a User-Agent header (RFC 3261 §20.41) says, as far as its
// dialect is known. What is not said stays empty.
type Agent struct {
	App, Version, Platform, Endpoint string
}

var (
	uaProduct = regexp.MustCompile(`([A-Za-z][A-Za-z0-9_.+\-]*)/v?([0-9][A-Za-z0-9_.+\-]*)`)
	// A name of some words, then a version: "Grandstream GXP2170 1.0.9.132".
	uaSpaced = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9_.+\-]*(?: [A-Za-z][A-Za-z0-9_.+\-]*)*?)(?: release)? r?v?([0-9][A-Za-z0-9_.\-]*)`)
	uaDotted = regexp.MustCompile(`(?:^|[ /_\-])[vr]{0,2}([0-9]+(?:\.[0-9A-Za-z]+)+)`)
	uaNote   = regexp.MustCompile(`\(([^()]*)`)
)

// Makers of desk phones by how their User-Agent begins, in lower case.
var deskPhones = []struct{ prefix, app string }{
	{"yealink", "Yealink"}, {"polycom", "Polycom"}, {"poly/", "Poly"}, {"polyedge", "Poly"},
	{"grandstream", "Grandstream"}, {"snom", "snom"}, {"cisco", "Cisco"}, {"linksys", "Linksys"},
	{"fanvil", "Fanvil"}, {"panasonic", "Panasonic"}, {"avaya", "Avaya"}, {"mitel", "Mitel"},
	{"aastra", "Aastra"}, {"htek", "Htek"}, {"gigaset", "Gigaset"}, {"audiocodes", "AudioCodes"},
	{"vtech", "VTech"}, {"alcatel", "Alcatel"}, {"akuvox", "Akuvox"}, {"spectralink", "Spectralink"},
}

// SIP software that is no user's app, and soft-phones known for their tools.
var sipTools = []string{
	"baresip", "sipp", "sipsak", "pjsua", "asterisk", "fpbx", "freeswitch", "kamailio", "opensips",
	"friendly-scanner", "sipvicious", "sipcli", "3cxphonesystem", "oktell",
}

// Parse reads a User-Agent header. The raw string is kept by the caller.
func Parse(raw string) Agent {
	ua := strings.TrimSpace(raw)
	if len(ua) > 512 {
		ua = ua[:512]
	}
	if ua == "" {
		return Agent{}
	}
	lower := strings.ToLower(ua)
	for _, d := range deskPhones {
		if strings.HasPrefix(lower, d.prefix) {
			return deskPhone(ua, d.app, len(strings.TrimSuffix(d.prefix, "/")))
		}
	}
	if strings.HasPrefix(ua, "Mozilla/") {
		return browser(ua)
	}
	a := Agent{Platform: platform(ua), Endpoint: EndpointSIP}
	head, _, _ := strings.Cut(ua, "(")
	head = strings.TrimSpace(head)
	switch {
	case strings.HasPrefix(ua, "Z ") && uaDotted.MatchString(head): // Zoiper 5: "Z 5.6.1 v2.10.19.9"
		a.App, a.Version, a.Endpoint = "Zoiper", uaDotted.FindStringSubmatch(head)[1], EndpointNative
	default:
		a.App, a.Version = product(head)
	}
	app := strings.ToLower(a.App)
	switch {
	case strings.Contains(lower, "electron/"):
		a.Endpoint = EndpointPackagedApp
	case strings.HasPrefix(lower, "jssip"), strings.HasPrefix(lower, "sip.js"), strings.HasPrefix(lower, "sipml5"):
		a.Endpoint = EndpointWeb
	case a.Platform == "iOS", a.Platform == "iPadOS", a.Platform == "Android":
		a.Endpoint = EndpointMobile
	case isTool(app):
	case a.Endpoint == EndpointNative, a.Platform == "Windows", a.Platform == "macOS", a.Platform == "Linux",
		strings.HasPrefix(a.Platform, "Windows "), strings.HasPrefix(a.Platform, "macOS "):
		a.Endpoint = EndpointNative
	case softphone(app):
		a.Endpoint = EndpointNative
	}
	return a
}

// product takes the name and version at the beginning of a User-Agent.
func product(head string) (app, version string) {
	if m := uaProduct.FindStringSubmatchIndex(head); m != nil {
		// Words before the product belong to its name: "Linphone Desktop/4.3".
		app, version = strings.TrimSpace(head[:m[3]]), head[m[4]:m[5]]
		if len(app) > 60 {
			app = head[m[2]:m[3]]
		}
		return app, version
	}
	if m := uaSpaced.FindStringSubmatch(head); m != nil {
		app, version = m[1], m[2]
		// "Bria 6 release 6.5.1": the release is the exact one.
		if d := uaDotted.FindStringSubmatch(head); d != nil && !strings.Contains(version, ".") {
			version = d[1]
		}
		return app, version
	}
	app, _, _ = strings.Cut(head, " ")
	app, _, _ = strings.Cut(app, "/")
	return app, ""
}

// deskPhone reads "Maker Model Version" in its dialects; the model stands for
// the platform.
func deskPhone(ua, app string, prefix int) Agent {
	a := Agent{App: app, Endpoint: EndpointDeskPhone}
	rest := strings.Trim(ua[prefix:], " /-_")
	if m := uaDotted.FindStringSubmatchIndex(" " + rest); m != nil {
		a.Version = (" " + rest)[m[2]:m[3]]
		rest = rest[:max(m[0]-1, 0)]
	}
	if app == "Polycom" { // PolycomVVX-VVX_411-UA/5.9
		rest = strings.TrimSuffix(strings.TrimSuffix(rest, "/"), "-UA")
		if i := strings.LastIndexByte(rest, '-'); i >= 0 {
			rest = rest[i+1:]
		}
		rest = strings.ReplaceAll(rest, "_", " ")
	}
	a.Platform = strings.Trim(rest, " /-_")
	return a
}

// browser reads a browser's User-Agent (RFC 9110 §10.1.5); SIP over WebSocket
// libraries pass it on.
func browser(ua string) Agent {
	a := Agent{Platform: platform(ua), Endpoint: EndpointWeb}
	products := map[string]string{}
	own, ownVersion := "", ""
	for _, m := range uaProduct.FindAllStringSubmatch(ua, -1) {
		products[m[1]] = m[2]
		switch m[1] {
		case "Mozilla", "AppleWebKit", "Chrome", "Safari", "Version", "Electron", "Gecko", "Firefox", "Edg", "OPR", "Mobile", "CriOS", "FxiOS", "EdgA", "EdgiOS":
		default:
			if own == "" {
				own, ownVersion = m[1], m[2]
			}
		}
	}
	if _, packed := products["Electron"]; packed {
		a.Endpoint = EndpointPackagedApp
		a.App, a.Version = own, ownVersion
		if own == "" {
			a.App, a.Version = "Electron", products["Electron"]
		}
		return a
	}
	for _, b := range []struct{ token, app string }{
		{"Edg", "Edge"}, {"EdgA", "Edge"}, {"EdgiOS", "Edge"}, {"OPR", "Opera"}, {"Firefox", "Firefox"}, {"FxiOS", "Firefox"},
		{"CriOS", "Chrome"}, {"Chrome", "Chrome"}, {"Version", "Safari"},
	} {
		if v, ok := products[b.token]; ok {
			a.App, a.Version = b.app, v
			return a
		}
	}
	a.App = "browser"
	return a
}

// platform finds the operating system.
func platform(ua string) string {
	lower := strings.ToLower(ua)
	// An app that names its system exactly, in a comment of its own.
	for _, note := range uaNote.FindAllStringSubmatch(ua, 4) {
		for piece := range strings.SplitSeq(note[1], ";") {
			piece = strings.TrimSpace(piece)
			p := strings.ToLower(piece)
			if (strings.HasPrefix(p, "windows ") || strings.HasPrefix(p, "macos ")) && !strings.HasPrefix(p, "windows nt") && len(piece) <= 32 {
				return piece
			}
		}
	}
	for _, s := range []struct{ token, name string }{
		{"ipad", "iPadOS"}, {"iphone", "iOS"}, {"linphoneios", "iOS"}, {"android", "Android"}, {"windows", "Windows"}, {"win32", "Windows"}, {"win64", "Windows"},
		{"macintosh", "macOS"}, {"macos", "macOS"}, {"mac os", "macOS"}, {"darwin", "macOS"}, {"linux", "Linux"}, {"ubuntu", "Linux"},
	} {
		if strings.Contains(lower, s.token) {
			return s.name
		}
	}
	for word := range strings.FieldsFuncSeq(lower, func(r rune) bool { return r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') }) {
		if word == "ios" {
			return "iOS"
		}
	}
	return ""
}

func isTool(app string) bool {
	for _, t := range sipTools {
		if strings.HasPrefix(app, t) {
			return true
		}
	}
	return false
}

func softphone(app string) bool {
	for _, s := range []string{"linphone", "zoiper", "bria", "x-lite", "eyebeam", "microsip", "phonerlite", "jitsi", "telephone", "3cx"} {
		if strings.HasPrefix(app, s) {
			return true
		}
	}
	return false
}
