package registrar

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// maxSources bounds the addresses whose rate is known; the others share one.
const maxSources = 1 << 16

// limits bounds what one address may send, so that a flood from one does not
// starve the others.
type limits struct {
	perSecond rate.Limit
	burst     int

	mu      sync.Mutex
	sources map[netip.Addr]*rate.Limiter
	others  *rate.Limiter
	swept   time.Time
}

func newLimits(perSecond float64, burst int) *limits {
	l := &limits{perSecond: rate.Limit(perSecond), burst: burst, sources: map[netip.Addr]*rate.Limiter{}}
	if perSecond <= 0 {
		l.perSecond = rate.Inf
	}
	l.others = rate.NewLimiter(l.perSecond, burst)
	return l
}

// allow takes one message of an address into account.
func (l *limits) allow(from netip.Addr, now time.Time) bool {
	if l.perSecond == rate.Inf {
		return true
	}
	if from.Is6() {
		// A network of 2⁶⁴ addresses is what one customer has.
		p, _ := from.Prefix(64)
		from = p.Addr()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.sources[from]
	if s == nil {
		if len(l.sources) >= maxSources {
			l.sweep(now)
		}
		if len(l.sources) >= maxSources {
			return l.others.AllowN(now, 1)
		}
		s = rate.NewLimiter(l.perSecond, l.burst)
		l.sources[from] = s
	}
	return s.AllowN(now, 1)
}

// sweep forgets who has been quiet for long enough to have all of its burst
// again, at most once a second.
func (l *limits) sweep(now time.Time) {
	if now.Sub(l.swept) < time.Second {
		return
	}
	l.swept = now
	for from, s := range l.sources {
		if s.TokensAt(now) >= float64(l.burst) {
			delete(l.sources, from)
		}
	}
}
