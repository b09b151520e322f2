package directory

import (
	"context"
	"database/sql"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/earshot/earshot/telemetry"
)

// Kinds of values that Resolve takes.
const (
	ResolveNumber = "number" // a telephone number as signalled, in any form
	ResolveAOR    = "aor"    // a SIP URI or user@host
	ResolveUser   = "user"   // a user's id or email address
)

// Snapshot is who everything belonged to at one moment, in memory.
type Snapshot struct {
	Version   int64
	companies map[string]*holders
}

// holders maps what may be seen on the wire to whom it belongs, in one company.
type holders struct {
	byNumber   map[string]*telemetry.Identity // E.164
	byNational map[string]*telemetry.Identity // national digits; nil where two countries share them
	byAOR      map[string]*telemetry.Identity
	byUser     map[string]*telemetry.Identity
	// credentials by address; an empty list is one whose credentials are revoked.
	credentials map[string][]DeviceCredential
}

func (s *Snapshot) holders(company string) *holders {
	h := s.companies[company]
	if h == nil {
		h = &holders{
			byNumber: map[string]*telemetry.Identity{}, byNational: map[string]*telemetry.Identity{}, byAOR: map[string]*telemetry.Identity{},
			byUser: map[string]*telemetry.Identity{}, credentials: map[string][]DeviceCredential{},
		}
		s.companies[company] = h
	}
	return h
}

// Snapshot reads everything that Resolve answers from.
func (d *Directory) Snapshot(ctx context.Context) (*Snapshot, error) {
	// The version is read before the records: a change in between makes the
	// next poll reload, never the other way round.
	version, err := d.Version(ctx)
	if err != nil {
		return nil, err
	}
	s := &Snapshot{Version: version, companies: map[string]*holders{}}
	of := s.holders
	err = each(ctx, d.db, func(r *sql.Rows) error {
		var company, email string
		var id telemetry.Identity
		if err := r.Scan(&company, &id.UserId, &id.Name, &email, &id.OfficeId); err != nil {
			return err
		}
		h := of(company)
		h.byUser[id.UserId] = &id
		if email != "" {
			h.byUser[email] = &id
		}
		return nil
	}, "SELECT company, id, name, email, office_id FROM users WHERE state <> 'deleted'")
	if err != nil {
		return nil, err
	}
	err = each(ctx, d.db, func(r *sql.Rows) error {
		var company, user, kind, place string
		if err := r.Scan(&company, &user, &kind, &place); err != nil {
			return err
		}
		// With several, the first by id: a call has room for one.
		if u := of(company).byUser[user]; u != nil {
			if kind == KindDepartment && u.DepartmentId == "" {
				u.DepartmentId = place
			}
			if kind == KindContactCenter && u.ContactCenterId == "" {
				u.ContactCenterId = place
			}
		}
		return nil
	}, "SELECT company, user_id, kind, place_id FROM membership ORDER BY company, user_id, kind, place_id")
	if err != nil {
		return nil, err
	}
	err = each(ctx, d.db, func(r *sql.Rows) error {
		var company, number, national, kind, owner, place, office string
		if err := r.Scan(&company, &number, &national, &kind, &owner, &place, &office); err != nil {
			return err
		}
		h := of(company)
		var id *telemetry.Identity
		switch kind {
		case KindUser:
			u := h.byUser[owner]
			if u == nil {
				return nil
			}
			if u.Number == "" {
				u.Number = number
			}
			id = proto.CloneOf(u)
		case KindDepartment:
			id = &telemetry.Identity{Name: place, DepartmentId: owner, OfficeId: office}
		case KindContactCenter:
			id = &telemetry.Identity{Name: place, ContactCenterId: owner, OfficeId: office}
		case KindOffice:
			id = &telemetry.Identity{Name: place, OfficeId: owner}
		case KindRoom:
			id = &telemetry.Identity{Name: place, OfficeId: office}
		default:
			return nil
		}
		id.Number = number
		h.byNumber[number] = id
		if _, shared := h.byNational[national]; shared {
			h.byNational[national] = nil
		} else {
			h.byNational[national] = id
		}
		return nil
	}, `SELECT n.company, n.number, n.national, n.owner_kind, n.owner_id, COALESCE(p.name, ''), COALESCE(p.office_id, '')
		FROM number n LEFT JOIN place p ON p.company = n.company AND p.kind = n.owner_kind AND p.id = n.owner_id
		WHERE n.owner_kind <> '' ORDER BY n.created_us, n.number`)
	if err != nil {
		return nil, err
	}
	err = each(ctx, d.db, func(r *sql.Rows) error {
		var company, aor, user string
		if err := r.Scan(&company, &aor, &user); err != nil {
			return err
		}
		if u := of(company).byUser[user]; u != nil {
			of(company).byAOR[aor] = u
		}
		return nil
	}, "SELECT company, aor, user_id FROM aor")
	if err != nil {
		return nil, err
	}
	if err := s.addCredentials(ctx, d.db); err != nil {
		return nil, err
	}
	return s, nil
}

// Resolve returns whose value it is, or nil. The caller owns what it gets.
func (s *Snapshot) Resolve(company, kind, value string) *telemetry.Identity {
	id := s.resolve(company, kind, value)
	if id == nil {
		return nil
	}
	return proto.CloneOf(id)
}

func (s *Snapshot) resolve(company, kind, value string) *telemetry.Identity {
	h := s.companies[company]
	if h == nil || value == "" {
		return nil
	}
	var id *telemetry.Identity
	switch kind {
	case ResolveNumber:
		id = h.number(value)
	case ResolveAOR:
		aor := NormalizeAOR(value)
		user, _, _ := strings.Cut(aor, "@")
		if id = h.byAOR[aor]; id == nil {
			id = h.byAOR[user]
		}
		if id == nil {
			id = h.number(user)
		}
	case ResolveUser:
		if id = h.byUser[value]; id == nil {
			id = h.byUser[strings.ToLower(value)]
		}
	}
	return id
}

// number finds a number as exchanges signal it: with +, with a country code but
// no +, with an international prefix (00, 011), or national with or without its
// trunk prefix (1 in North America, 0 elsewhere). Only numbers that the company
// has are ever matched, so no guess about foreign plans is needed.
func (h *holders) number(value string) *telemetry.Identity {
	digits, ok := digitsOf(value)
	if !ok || len(digits) < 3 {
		return nil
	}
	if id := h.byNumber["+"+digits]; id != nil || strings.HasPrefix(value, "+") {
		return id
	}
	for _, prefix := range []string{"011", "00"} {
		if rest, ok := strings.CutPrefix(digits, prefix); ok {
			if id := h.byNumber["+"+rest]; id != nil {
				return id
			}
		}
	}
	if id := h.byNational[digits]; id != nil {
		return id
	}
	for _, trunk := range []string{"1", "0"} {
		if rest, ok := strings.CutPrefix(digits, trunk); ok {
			if id := h.byNational[rest]; id != nil {
				return id
			}
		}
	}
	return nil
}

// Resolver answers from the newest snapshot.
type Resolver struct {
	directory *Directory
	interval  time.Duration
	log       *slog.Logger
	current   atomic.Pointer[Snapshot]
}

// Watch takes a first snapshot and returns a resolver that Run keeps fresh.
func (d *Directory) Watch(ctx context.Context, log *slog.Logger) (*Resolver, error) {
	s, err := d.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	r := &Resolver{directory: d, interval: time.Second, log: log}
	r.current.Store(s)
	return r, nil
}

// Resolve returns whose value it is, or nil.
func (r *Resolver) Resolve(company, kind, value string) *telemetry.Identity {
	return r.current.Load().Resolve(company, kind, value)
}

// Run polls the directory's version, also for changes made by other processes,
// until ctx ends. While the directory does not answer, the last snapshot holds.
func (r *Resolver) Run(ctx context.Context) error {
	t := time.NewTicker(r.interval)
	defer t.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		err := r.Refresh(ctx)
		if err != nil && !failing && ctx.Err() == nil {
			r.log.Warn("cannot refresh who owns which number; the last known owners hold", "error", err)
		}
		failing = err != nil
	}
}

// Refresh takes a new snapshot where something has changed.
func (r *Resolver) Refresh(ctx context.Context) error {
	version, err := r.directory.Version(ctx)
	if err != nil {
		return err
	}
	if version == r.current.Load().Version {
		return nil
	}
	s, err := r.directory.Snapshot(ctx)
	if err != nil {
		return err
	}
	r.current.Store(s)
	return nil
}
