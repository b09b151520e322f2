package registrar

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"strings"
	"time"

	sipgo "github.com/emiago/sipgo/sip"

	"github.com/earshot/earshot/ingest/sip"
)

// publishedFor is how long a publication holds where the phone does not say.
const publishedFor = 3600 * time.Second

// report takes PUBLISH and NOTIFY of quality reports (RFC 6035 §4). The
// observer has read the body; what it could not read is its to count.
func (r *Registrar) report(q *request, now time.Time) response {
	event, encoding := token(q.one("Event")), token(q.one("Content-Encoding"))
	switch {
	case q.Method == sipgo.NOTIFY && event == "keep-alive": // a habit of Sipura and its heirs
		return answer(200, "OK")
	case event != allowEvents:
		return answer(489, "Bad Event", field{"Allow-Events", allowEvents})
	}
	// A report may come from where its phone is registered. Many phones have no
	// answer when a report is challenged; from elsewhere they need one.
	aor := strings.Clone(q.m.From.User + "@" + strings.ToLower(q.m.From.Host))
	if !r.bindings.holds(aor, q.flow.peer.Addr(), now) {
		if _, refusal, ok := r.guard.admit(q, r.cfg.Company(q.flow.peer.Addr(), q.m), aor, now); !ok {
			return refusal
		}
	}
	if encoding != "" && encoding != "identity" {
		return answer(415, "Unsupported Media Type", field{"Accept-Encoding", "identity"})
	}
	body := sip.Body(q.raw, sip.MediaVQ)
	if body == nil && q.ContentType() != nil {
		return answer(415, "Unsupported Media Type", field{"Accept", sip.MediaVQ})
	}
	if q.Method == sipgo.NOTIFY {
		return answer(200, "OK")
	}
	return r.publish(q, aor, body, now)
}

// publish answers for the state of a publication (RFC 3903 §6). Nothing ever
// asks for it, so an entity-tag is all that is left of it: when it ends and a
// MAC over that and whose it is, which needs no memory.
func (r *Registrar) publish(q *request, aor string, body []byte, now time.Time) response {
	held := q.one("SIP-If-Match")
	if held != "" && !r.tagHolds(held, aor, now) {
		return answer(412, "Conditional Request Failed")
	}
	if held == "" && body == nil {
		return answer(400, "Nothing Published")
	}
	granted := publishedFor
	if asked, ok := interval(q.one("Expires")); ok {
		granted = min(asked, publishedFor)
	}
	return answer(200, "OK", field{"SIP-ETag", r.tag(aor, now.Add(granted))}, field{"Expires", seconds(granted)})
}

var tagText = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

func (r *Registrar) tag(aor string, ends time.Time) string {
	b := binary.BigEndian.AppendUint64(nil, uint64(ends.Unix()))
	return tagText.EncodeToString(append(b, r.tagMAC(aor, b)...))
}

func (r *Registrar) tagMAC(aor string, ends []byte) []byte {
	h := hmac.New(sha256.New, r.guard.nonces.key[:])
	h.Write([]byte("SIP-ETag " + aor + " "))
	h.Write(ends)
	return h.Sum(nil)[:8]
}

func (r *Registrar) tagHolds(tag, aor string, now time.Time) bool {
	b, err := tagText.DecodeString(tag)
	if err != nil || len(b) != 16 {
		return false
	}
	return hmac.Equal(b[8:], r.tagMAC(aor, b[:8])) && now.Unix() < int64(binary.BigEndian.Uint64(b))
}
