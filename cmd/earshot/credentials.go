package main

import (
	"github.com/earshot/earshot/directory"
	"github.com/earshot/earshot/ingest/registrar"
)

// credentials gives the registrar what the directory knows of devices.
type credentials struct{ resolver *directory.Resolver }

func (c credentials) Credentials(company, aor string) ([]registrar.Credential, bool) {
	known, protected := c.resolver.Credentials(company, aor)
	usable := make([]registrar.Credential, len(known))
	for i, k := range known {
		usable[i] = registrar.Credential{Username: k.Username, Realm: k.Realm, HA1MD5: k.HA1MD5, HA1SHA256: k.HA1SHA256}
	}
	return usable, protected
}
