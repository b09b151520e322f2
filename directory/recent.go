package directory

import (
	"sync"
	"time"
)

// keyMemory is for how long a key that was looked up is taken without another
// look: telemetry shows the same keys many times a second. A key that another
// process revokes ends within that time, one that this process revokes at once.
const keyMemory = time.Second

// maxRecentKeys bounds the memory; valid keys only get there.
const maxRecentKeys = 10_000

// recentKeys are the keys that were looked up last, by the hash of their secret.
type recentKeys struct {
	mu   sync.Mutex
	keys map[string]recentKey
}

type recentKey struct {
	who Principal
	at  time.Time
}

func (r *recentKeys) find(hash string, now time.Time) (Principal, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k, ok := r.keys[hash]
	if age := now.Sub(k.at); !ok || age < 0 || age >= keyMemory {
		return Principal{}, false
	}
	return k.who, true
}

func (r *recentKeys) put(hash string, who Principal, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.keys == nil || len(r.keys) >= maxRecentKeys {
		r.keys = map[string]recentKey{}
	}
	r.keys[hash] = recentKey{who, now}
}

func (r *recentKeys) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keys = nil
}
