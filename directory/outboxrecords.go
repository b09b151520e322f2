package directory

import (
	"context"
	"database/sql"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/earshot/earshot/telemetry"
)

// toldKinds are the kinds of objects that are told of, in the order in which they
// are compared: owners before what they own.
var toldKinds = []string{KindOffice, KindDepartment, KindRoom, KindContactCenter, KindUser, kindNumber, kindCredential}

// records reads objects of one kind as they are told of. What is not in the
// answer is not there.
func (d *Directory) records(ctx context.Context, company, kind string, ids []string, secrets *seal) (map[string]*telemetry.DirectoryRecord, error) {
	switch kind {
	case KindUser:
		return d.userRecords(ctx, company, ids)
	case kindNumber:
		return d.numberRecords(ctx, company, ids)
	case kindCredential:
		return d.credentialRecords(ctx, company, ids, secrets)
	}
	out := map[string]*telemetry.DirectoryRecord{}
	err := each(ctx, d.db, func(r *sql.Rows) error {
		var id string
		p := &telemetry.DirectoryPlace{}
		if err := r.Scan(&id, &p.Name, &p.OfficeId); err != nil {
			return err
		}
		out[id] = &telemetry.DirectoryRecord{Body: &telemetry.DirectoryRecord_Place{Place: p}}
		return nil
	}, "SELECT id, name, office_id FROM place WHERE company = $1 AND kind = $2 AND id IN ("+placeholders(3, len(ids))+")", appendAll([]any{company, kind}, ids)...)
	return out, err
}

func (d *Directory) userRecords(ctx context.Context, company string, ids []string) (map[string]*telemetry.DirectoryRecord, error) {
	out, users := map[string]*telemetry.DirectoryRecord{}, map[string]*telemetry.DirectoryUser{}
	in, args := "company = $1 AND user_id IN ("+placeholders(2, len(ids))+")", appendAll([]any{company}, ids)
	err := each(ctx, d.db, func(r *sql.Rows) error {
		var id, state string
		u := &telemetry.DirectoryUser{}
		if err := r.Scan(&id, &u.Name, &u.Email, &state, &u.OfficeId); err != nil {
			return err
		}
		u.Deleted = state == StateDeleted
		users[id], out[id] = u, &telemetry.DirectoryRecord{Body: &telemetry.DirectoryRecord_User{User: u}}
		return nil
	}, "SELECT id, name, email, state, office_id FROM users WHERE company = $1 AND id IN ("+placeholders(2, len(ids))+")", args...)
	if err != nil {
		return nil, err
	}
	// A user who comes between the statements is in the journal, and told then.
	err = each(ctx, d.db, func(r *sql.Rows) error {
		var id, aor string
		if err := r.Scan(&id, &aor); err != nil {
			return err
		}
		if u := users[id]; u != nil {
			u.Aors = append(u.Aors, aor)
		}
		return nil
	}, "SELECT user_id, aor FROM aor WHERE "+in+" ORDER BY aor", args...)
	if err != nil {
		return nil, err
	}
	err = each(ctx, d.db, func(r *sql.Rows) error {
		var id, kind, place string
		if err := r.Scan(&id, &kind, &place); err != nil {
			return err
		}
		switch u := users[id]; {
		case u == nil:
		case kind == KindDepartment:
			u.DepartmentIds = append(u.DepartmentIds, place)
		default:
			u.ContactCenterIds = append(u.ContactCenterIds, place)
		}
		return nil
	}, "SELECT user_id, kind, place_id FROM membership WHERE "+in+" ORDER BY place_id", args...)
	return out, err
}

// heldNumber is what the directory says of a number: its row, and its history.
type heldNumber struct {
	national           string
	owner              Owner
	createdUs, sinceUs int64
	held               bool // the company has it now
	tenures            []*telemetry.DirectoryAssignment
	endUs              int64 // of the last of tenures; 0: still
}

func (d *Directory) numberRecords(ctx context.Context, company string, ids []string) (map[string]*telemetry.DirectoryRecord, error) {
	found := map[string]*heldNumber{}
	of := func(number string) *heldNumber {
		if found[number] == nil {
			found[number] = &heldNumber{}
		}
		return found[number]
	}
	in, args := " WHERE company = $1 AND number IN ("+placeholders(2, len(ids))+")", appendAll([]any{company}, ids)
	// The history first: where a change comes between, the number is the newer,
	// and is told again in any case.
	err := each(ctx, d.db, func(r *sql.Rows) error {
		var number string
		var from, until int64
		var o Owner
		if err := r.Scan(&number, &from, &until, &o.Kind, &o.ID); err != nil {
			return err
		}
		of(number).add(from, until, o)
		return nil
	}, "SELECT number, from_us, until_us, owner_kind, owner_id FROM number_history"+in+" ORDER BY number, from_us", args...)
	if err != nil {
		return nil, err
	}
	err = each(ctx, d.db, func(r *sql.Rows) error {
		var number string
		var n heldNumber
		if err := r.Scan(&number, &n.national, &n.owner.Kind, &n.owner.ID, &n.createdUs, &n.sinceUs); err != nil {
			return err
		}
		h := of(number)
		n.held, n.tenures, n.endUs = true, h.tenures, h.endUs
		*h = n
		return nil
	}, "SELECT number, national, owner_kind, owner_id, created_us, updated_us FROM number"+in, args...)
	if err != nil {
		return nil, err
	}
	out := map[string]*telemetry.DirectoryRecord{}
	for number, h := range found {
		out[number] = &telemetry.DirectoryRecord{Body: &telemetry.DirectoryRecord_Number{Number: h.record(number)}}
	}
	return out, nil
}

// add adds a row of the history. While the company does not have the number, it
// is nobody's.
func (h *heldNumber) add(fromUs, untilUs int64, o Owner) {
	if h.endUs > 0 && h.endUs < fromUs {
		h.begin(h.endUs, Owner{})
	}
	h.begin(fromUs, o)
	h.endUs = untilUs
}

// begin adds an owner, if it is another than before.
func (h *heldNumber) begin(fromUs int64, o Owner) {
	if n := len(h.tenures); n > 0 && h.tenures[n-1].OwnerKind == o.Kind && h.tenures[n-1].OwnerId == o.ID {
		return
	}
	h.tenures = append(h.tenures, &telemetry.DirectoryAssignment{FromUs: fromUs, OwnerKind: o.Kind, OwnerId: o.ID})
}

func (h *heldNumber) record(number string) *telemetry.DirectoryNumber {
	switch {
	case h.held:
		h.begin(h.sinceUs, h.owner)
	case h.endUs > 0:
		h.begin(h.endUs, Owner{})
	}
	if h.national == "" {
		if n, err := ParseNumber(number, "ZZ"); err == nil {
			h.national = n.National
		}
	}
	n := &telemetry.DirectoryNumber{CreatedUs: h.createdUs, Assignments: h.tenures}
	if strings.HasSuffix(number, h.national) {
		n.NationalDigits = uint32(len(h.national))
	}
	return n
}

func (d *Directory) credentialRecords(ctx context.Context, company string, ids []string, secrets *seal) (map[string]*telemetry.DirectoryRecord, error) {
	all, err := deviceCredentials(ctx, d.db, "WHERE company = $1 AND id IN ("+placeholders(2, len(ids))+")", appendAll([]any{company}, ids)...)
	if err != nil {
		return nil, err
	}
	out := make(map[string]*telemetry.DirectoryRecord, len(all))
	for _, c := range all {
		s := &telemetry.DirectorySecret{Username: c.Username, Realm: c.Realm}
		if s.Ha1Md5, err = hex.DecodeString(c.HA1MD5); err != nil {
			return nil, fmt.Errorf("cannot read credentials: %w", err)
		}
		if s.Ha1Sha256, err = hex.DecodeString(c.HA1SHA256); err != nil {
			return nil, fmt.Errorf("cannot read credentials: %w", err)
		}
		plain, err := s.MarshalVT()
		if err != nil {
			return nil, fmt.Errorf("cannot encode credentials: %w", err)
		}
		told := &telemetry.DirectoryCredential{UserId: c.UserID, DeviceId: c.DeviceID, Aor: c.AOR, CreatedUs: micros(c.CreatedAt)}
		if !c.RevokedAt.IsZero() {
			told.RevokedUs = micros(c.RevokedAt)
		} else { // of those that are, only the address is of use
			told.Sealed = secrets.close(telemetry.DirectoryKey(company, kindCredential, c.ID), plain)
		}
		out[c.ID] = &telemetry.DirectoryRecord{Body: &telemetry.DirectoryRecord_Credential{Credential: told}}
	}
	return out, nil
}

// comparison is how far all that was told is compared with the directory.
type comparison struct {
	kind  int // of toldKinds
	after object
	rows  int // of the kind, so far
	gone  []object
	begun time.Time
	again bool // something unknown has changed meanwhile
	// differ is what is to be told yet: many in one transaction, for each costs as
	// much as thousands of objects.
	differ []change
}

func newComparison() *comparison { return &comparison{begun: time.Now()} }

// compare goes on with the comparison by one page, and tells what differs. At the
// end of a kind that more was told of than there is, it looks for what is gone.
func (p *Publisher) compare(ctx context.Context) error {
	s, kind := p.scan, toldKinds[p.scan.kind]
	page, last := map[object]bool{}, false
	if len(s.gone) > 0 {
		n := min(pageAtOnce, len(s.gone))
		for _, o := range s.gone[:n] {
			page[o] = true
		}
		s.gone = s.gone[n:]
	} else {
		err := each(ctx, p.directory.db, func(r *sql.Rows) error {
			o := object{kind: kind}
			if err := r.Scan(&o.company, &o.id); err != nil {
				return err
			}
			page[o], s.after = true, o
			return nil
		}, pageQuery(kind), s.after.company, s.after.id, pageAtOnce)
		if err != nil {
			return err
		}
		s.rows += len(page)
		last = len(page) < pageAtOnce
	}
	changes, err := p.differences(ctx, page)
	if err != nil {
		return err
	}
	if s.differ = append(s.differ, changes...); last || len(s.differ) >= tellAtOnce || time.Since(p.wrote) > busyEvery {
		err = p.tellDifferent(ctx)
	}
	if err == nil && last {
		p.nextKind(kind)
	}
	return err
}

// tellDifferent tells what the comparison has found so far. It comes before what
// is read later of the same objects is told.
func (p *Publisher) tellDifferent(ctx context.Context) error {
	if p.scan == nil || len(p.scan.differ) == 0 {
		return nil
	}
	changes := p.scan.differ
	p.scan.differ = nil
	return p.tell(ctx, changes, false)
}

// pageQuery lists objects of a kind behind one of them.
func pageQuery(kind string) string {
	switch kind {
	case KindUser:
		return "SELECT company, id FROM users WHERE (company, id) > ($1, $2) ORDER BY company, id LIMIT $3"
	case kindCredential:
		return "SELECT company, id FROM device_credentials WHERE (company, id) > ($1, $2) ORDER BY company, id LIMIT $3"
	case kindNumber: // one that has left the company has a history
		return `SELECT company, number FROM (SELECT company, number FROM number WHERE (company, number) > ($1, $2) ORDER BY company, number LIMIT $3) a
			UNION SELECT company, number FROM (SELECT DISTINCT company, number FROM number_history WHERE (company, number) > ($1, $2) ORDER BY company, number LIMIT $3) b
			ORDER BY company, number LIMIT $3`
	}
	return "SELECT company, id FROM place WHERE kind = '" + kind + "' AND (company, id) > ($1, $2) ORDER BY company, id LIMIT $3"
}

// nextKind goes on with the next kind, or ends the comparison.
func (p *Publisher) nextKind(kind string) {
	s := p.scan
	if s.rows >= 0 {
		if all := p.resolver.objects(kind); len(all) > s.rows {
			s.gone, s.rows = all, -1 // once
			return
		}
	}
	s.kind, s.after, s.rows = s.kind+1, object{}, 0
	if s.kind < len(toldKinds) {
		return
	}
	p.took = time.Since(s.begun)
	p.scan, p.next = nil, time.Now().Add(max(compareEvery, compareShare*p.took))
	if s.again {
		p.next = time.Now().Add(10 * p.took)
	}
}
