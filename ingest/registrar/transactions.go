package registrar

import (
	"strings"
	"sync"
	"time"

	sipgo "github.com/emiago/sipgo/sip"
)

const (
	// transactionFor is how long a request may come again: timer J, 64·T1 (RFC
	// 3261 §17.2.2).
	transactionFor = 32 * time.Second
	// maxTransactions bounds the answers that are kept. Where one had to go, its
	// request is looked at anew.
	maxTransactions = 1 << 14
)

// transactions keeps the answers to requests over UDP, which come again until
// their answer has come through. Every request is answered at once, so nothing
// else of a transaction's state is needed.
type transactions struct {
	mu      sync.Mutex
	answers map[string]*transaction
	oldest  []*transaction // in order of time
}

type transaction struct {
	key    string
	at     time.Time
	answer []byte
}

func newTransactions() *transactions { return &transactions{answers: map[string]*transaction{}} }

// transactionKey tells requests apart (RFC 3261 §17.2.3; also of phones that
// choose no unique branch). A CANCEL belongs to the INVITE it is about.
func transactionKey(method sipgo.RequestMethod, q *request) string {
	number, _, _ := strings.Cut(q.one("CSeq"), " ")
	return strings.Join([]string{method.String(), q.one("Via"), q.one("Call-ID"), number, q.flow.peer.String()}, "\x00")
}

func (t *transactions) find(key string, now time.Time) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	if one := t.answers[key]; one != nil && now.Sub(one.at) < transactionFor {
		return one.answer
	}
	return nil
}

func (t *transactions) keep(key string, answer []byte, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.oldest) > 0 && (len(t.oldest) >= maxTransactions || now.Sub(t.oldest[0].at) >= transactionFor) {
		if t.answers[t.oldest[0].key] == t.oldest[0] {
			delete(t.answers, t.oldest[0].key)
		}
		t.oldest[0] = nil
		t.oldest = t.oldest[1:]
	}
	one := &transaction{key, now, answer}
	t.answers[key] = one
	t.oldest = append(t.oldest, one)
}
