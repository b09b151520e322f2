package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/earshot/earshot/directory"
	"github.com/earshot/earshot/query"
)

// credentials are what a device registers with, without their secret.
type credentials struct {
	Device    string     `json:"device"`
	AOR       string     `json:"aor" doc:"What the device may register: user@host; without host at any"`
	Username  string     `json:"username" doc:"For the phone's authentication name"`
	Realm     string     `json:"realm"`
	CreatedAt query.Time `json:"created_at"`
	RevokedAt query.Time `json:"revoked_at" doc:"null: they are in use"`
}

type newCredentials struct {
	credentials
	Secret string `json:"secret" doc:"For the phone's password; shown this once"`
}

func credentialsOf(c directory.DeviceCredential) credentials {
	return credentials{Device: c.DeviceID, AOR: c.AOR, Username: c.Username, Realm: c.Realm, CreatedAt: at(c.CreatedAt), RevokedAt: at(c.RevokedAt)}
}

// DeviceInput names a device of a user.
type DeviceInput struct {
	UserInput
	Device string `path:"device" maxLength:"64" doc:"A name of your choice, or the id of a device in the user's list"`
}

func (s *server) routeCredentials() {
	tags := []string{"Registrations"}
	const path = companyPath + "/users/{user}/devices/{device}/credentials"

	add(s, huma.Operation{Method: "POST", Path: path, OperationID: "create-device-credentials", Summary: "Make credentials that a device registers with", Tags: tags, DefaultStatus: http.StatusCreated,
		Description: "The secret is in the answer and nowhere else. What the device had before is revoked. From now on its address registers with credentials only."},
		func(ctx context.Context, in *struct {
			DeviceInput
			Body *struct {
				AOR string `json:"aor,omitempty" maxLength:"254" doc:"A SIP address or number of the user; default: its first"`
			}
		}) (*bodyOutput[newCredentials], error) {
			n := directory.NewDeviceCredential{UserID: in.User, DeviceID: in.Device, Realm: s.deps.SIPRealm}
			if in.Body != nil {
				n.AOR = in.Body.AOR
			}
			secret, c, err := s.deps.Directory.CreateDeviceCredential(ctx, in.Company, n)
			if err != nil {
				return nil, err
			}
			return &bodyOutput[newCredentials]{Body: newCredentials{credentialsOf(c), secret}}, nil
		})

	add(s, huma.Operation{Method: "GET", Path: path, OperationID: "list-device-credentials", Summary: "Credentials that a device has and had, the newest first", Tags: tags},
		func(ctx context.Context, in *DeviceInput) (*listOutput[credentials], error) {
			all, err := s.deps.Directory.DeviceCredentials(ctx, in.Company, in.User)
			if err != nil {
				return nil, err
			}
			items := []credentials{}
			for _, c := range all {
				if c.DeviceID == in.Device {
					items = append(items, credentialsOf(c))
				}
			}
			return list(items, ""), nil
		})

	add(s, huma.Operation{Method: "DELETE", Path: path, OperationID: "revoke-device-credentials", Summary: "Revoke the credentials of a device", Tags: tags, DefaultStatus: http.StatusNoContent,
		Description: "Its next registration is refused. The address stays one that registers with credentials only."},
		func(ctx context.Context, in *DeviceInput) (*struct{}, error) {
			return nil, s.deps.Directory.RevokeDeviceCredential(ctx, in.Company, in.User, in.Device)
		})
}
