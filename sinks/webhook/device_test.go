package webhook

import (
	"github.com/stretchr/testify/require"

	"github.com/earshot/earshot/directory"
)

// deleteDevice deletes a device that has credentials.
func deleteDevice(b *bench, user, device string) {
	b.Helper()
	_, _, err := b.dir.CreateDeviceCredential(b.Context(), "default", directory.NewDeviceCredential{UserID: user, DeviceID: device, Realm: "earshot"})
	require.NoError(b, err)
	_, err = b.dir.DeleteDevice(b.Context(), directory.DeviceDeletion{Company: "default", UserID: user, DeviceID: device, AppKind: "web"}, true)
	require.NoError(b, err)
}
