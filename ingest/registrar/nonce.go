package registrar

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"sync"
	"time"
)

// maxNonces bounds how many nonces are remembered with what they were used for.
// Only right credentials make one be remembered.
const maxNonces = 1 << 16

// nonces makes nonces and recognises them without keeping any: a nonce is its
// time, a number and a MAC over both. Kept is only how often it was used, for as
// long as it is valid.
type nonces struct {
	lives time.Duration
	key   [32]byte

	mu   sync.Mutex
	used map[nonceID]*uses
	// Nonces made before this are stale: their uses had to be forgotten.
	notBefore time.Time
	swept     time.Time
}

type nonceID [16]byte

// uses is a window of the nonce counts seen (RFC 7616 §3.4): datagrams may
// overtake each other, but none counts twice.
type uses struct {
	highest uint32
	window  uint64 // bit i: highest-i was seen
	made    time.Time
}

func newNonces(lives time.Duration) *nonces {
	n := &nonces{lives: lives, used: map[nonceID]*uses{}}
	rand.Read(n.key[:]) // never fails
	return n
}

const macBytes = 16

func (n *nonces) mac(id nonceID) []byte {
	h := hmac.New(sha256.New, n.key[:])
	h.Write(id[:])
	return h.Sum(nil)[:macBytes]
}

func (n *nonces) make(now time.Time) string {
	var id nonceID
	binary.BigEndian.PutUint64(id[:8], uint64(now.UnixNano()))
	rand.Read(id[8:])
	return base64.RawURLEncoding.EncodeToString(append(id[:], n.mac(id)...))
}

// read recognises a nonce of ours that is not too old.
func (n *nonces) read(nonce string, now time.Time) (nonceID, bool) {
	var id nonceID
	b, err := base64.RawURLEncoding.DecodeString(nonce)
	if err != nil || len(b) != len(id)+macBytes {
		return id, false
	}
	copy(id[:], b)
	if !hmac.Equal(b[len(id):], n.mac(id)) {
		return id, false
	}
	made := id.made()
	return id, !made.After(now) && now.Sub(made) < n.lives
}

func (id nonceID) made() time.Time { return time.Unix(0, int64(binary.BigEndian.Uint64(id[:8]))) }

// use notes that a nonce was used with a count. It is false for a count that was
// seen before, or is too far behind to tell. Who sends no count (RFC 2069)
// has count 0 and uses a nonce once.
func (n *nonces) use(id nonceID, count uint32, now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sweep(now)
	if id.made().Before(n.notBefore) {
		return false
	}
	u := n.used[id]
	if u == nil {
		if len(n.used) >= maxNonces {
			// Forgetting one would let it be replayed: all start afresh instead.
			clear(n.used)
			n.notBefore = now
			return false
		}
		n.used[id] = &uses{highest: count, window: 1, made: id.made()}
		return true
	}
	switch {
	case count > u.highest:
		u.window = u.window<<min(count-u.highest, 64) | 1
		u.highest = count
		return true
	case u.highest-count >= 64 || u.window&(1<<(u.highest-count)) != 0:
		return false
	}
	u.window |= 1 << (u.highest - count)
	return true
}

func (n *nonces) sweep(now time.Time) {
	if now.Sub(n.swept) < n.lives/4 {
		return
	}
	n.swept = now
	for id, u := range n.used {
		if now.Sub(u.made) >= n.lives {
			delete(n.used, id)
		}
	}
}
