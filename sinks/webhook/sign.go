package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// sign gives the value of webhook-signature: HMAC-SHA256 over id, time of the
// attempt and body, by each secret, with spaces between.
func sign(secrets []string, id string, at time.Time, body string) (string, error) {
	signed := id + "." + strconv.FormatInt(at.Unix(), 10) + "." + body
	out := make([]string, 0, len(secrets))
	for _, s := range secrets {
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(s, "whsec_"))
		if err != nil || len(key) == 0 {
			return "", fmt.Errorf("cannot sign: the secret is no base64")
		}
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(signed))
		out = append(out, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	return strings.Join(out, " "), nil
}
