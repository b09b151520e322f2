package apptest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The pages in Chromium, at 1440 and 390 pixels, against live demo calls.
func TestPortalInChromium(t *testing.T) {
	u := StartUp(t, "--demo")
	u.Import(webrtc("w3_oneway_AB_start"), capture("loss5_jitter40"))
	link, err := u.Earshot("keys", "signin")
	require.NoError(t, err)
	suite := exec.Command("npm", "run", "--silent", "e2e")
	suite.Dir = filepath.Join(Root(), "api", "portal")
	suite.Env = append(os.Environ(), "EARSHOT_URL="+u.URL, "EARSHOT_SIGNIN="+strings.TrimSpace(link))
	suite.Stdout, suite.Stderr = os.Stdout, os.Stderr
	require.NoError(t, suite.Run(), "the browser suite failed; what it saw stands above")
}
