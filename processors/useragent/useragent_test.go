package useragent

import "testing"

func TestParse(t *testing.T) {
	for _, tc := range []struct {
		ua   string
		want Agent
	}{
		{"", Agent{}},
		{"AcmeDialer/2.3.1 (build 77; Windows 11)", Agent{"AcmeDialer", "2.3.1", "Windows 11", "native"}},
		{"AcmeDialer/5.2.0 (iPhone; iOS 18.1)", Agent{"AcmeDialer", "5.2.0", "iOS", "mobile"}},
		{"AcmeDialer/5.2.0 (Pixel 8; Android 15)", Agent{"AcmeDialer", "5.2.0", "Android", "mobile"}},
		{"baresip v1.0.0 (x86_64/linux)", Agent{"baresip", "1.0.0", "Linux", "sip"}},
		{"Linphone/3.6.1 (eXosip2/4.1.0)", Agent{"Linphone", "3.6.1", "", "native"}},
		{"Linphone Desktop/4.3.2 (mypc) Windows 10 LinphoneCore/5.0.38", Agent{"Linphone Desktop", "4.3.2", "Windows", "native"}},
		{"LinphoneAndroid/4.6.14 (Pixel 6) LinphoneSDK/5.1.72", Agent{"LinphoneAndroid", "4.6.14", "Android", "mobile"}},
		{"LinphoneiOS/5.0.2 (iPhone) LinphoneSDK/5.2.30", Agent{"LinphoneiOS", "5.0.2", "iOS", "mobile"}},
		{"Yealink SIP-T46S 66.85.0.5", Agent{"Yealink", "66.85.0.5", "SIP-T46S", "desk_phone"}},
		{"Yealink SIP-T46S 66.85.0.5 001565aabbcc", Agent{"Yealink", "66.85.0.5", "SIP-T46S", "desk_phone"}},
		{"PolycomVVX-VVX_411-UA/5.9", Agent{"Polycom", "5.9", "VVX 411", "desk_phone"}},
		{"PolycomSoundPointIP-SPIP_650-UA/4.0.13.1445", Agent{"Polycom", "4.0.13.1445", "SPIP 650", "desk_phone"}},
		{"Grandstream GXP2170 1.0.9", Agent{"Grandstream", "1.0.9", "GXP2170", "desk_phone"}},
		{"snom821/8.7", Agent{"snom", "8.7", "821", "desk_phone"}},
		{"snomD765/10.1.54.13", Agent{"snom", "10.1.54.13", "D765", "desk_phone"}},
		{"Cisco/SPA504G-7.5.2", Agent{"Cisco", "7.5.2", "SPA504G", "desk_phone"}},
		{"Fanvil X4U 2.4.0 0c383e1a2b3c", Agent{"Fanvil", "2.4.0", "X4U", "desk_phone"}},
		{"Zoiper rv2.10.3.2", Agent{"Zoiper", "2.10.3.2", "", "native"}},
		{"Z 5.6.1 v2.10.19.9", Agent{"Zoiper", "5.6.1", "", "native"}},
		{"Bria 6 release 6.5.1 stamp 104", Agent{"Bria", "6.5.1", "", "native"}},
		{"Bria iOS release 5.8.2", Agent{"Bria iOS", "5.8.2", "iOS", "mobile"}},
		{"MicroSIP/3.21.3", Agent{"MicroSIP", "3.21.3", "", "native"}},
		{"JsSIP 3.10.1", Agent{"JsSIP", "3.10.1", "", "web"}},
		{"SIP.js/0.21.2", Agent{"SIP.js", "0.21.2", "", "web"}},
		{"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36", Agent{"Chrome", "120.0.0.0", "Windows", "web"}},
		{"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.1 Safari/605.1.15", Agent{"Safari", "17.1", "macOS", "web"}},
		{"Mozilla/5.0 (X11; Linux x86_64; rv:121.0) Gecko/20100101 Firefox/121.0", Agent{"Firefox", "121.0", "Linux", "web"}},
		{"Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML, like Gecko) AcmeDialer/5.2.0 Chrome/120.0 Electron/28.1.0 Safari/537.36", Agent{"AcmeDialer", "5.2.0", "Windows", "packaged_app"}},
		{"Asterisk PBX 18.9.0", Agent{"Asterisk PBX", "18.9.0", "", "sip"}},
		{"kamailio (5.5.2 (x86_64/linux))", Agent{"kamailio", "", "Linux", "sip"}},
		{"something", Agent{"something", "", "", "sip"}},
	} {
		if got := Parse(tc.ua); got != tc.want {
			t.Errorf("Parse(%q) = %+v, want %+v", tc.ua, got, tc.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"", "Z ", "Mozilla/", "Polycom-UA/", "poly/", "Yealink 1.", "snom", "A/1 (", "Bria 6 release 6.5.1", "((((;;", "Cisco/\xff-7.5"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, ua string) {
		a := Parse(ua)
		if (a.Endpoint == "") != (a == Agent{}) {
			t.Errorf("%q: %+v", ua, a)
		}
		if a != Parse(ua) {
			t.Errorf("%q is read differently a second time", ua)
		}
	})
}
