package directory

import (
	"bytes"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/zeebo/xxh3"

	"github.com/earshot/earshot/telemetry"
)

// Kinds of values that Resolve takes.
const (
	ResolveNumber = "number" // a telephone number as signalled, in any form
	ResolveAOR    = "aor"    // a SIP URI or user@host
	ResolveUser   = "user"   // a user's id or email address
)

// Kinds of what the topic of the directory tells, beside those of owners.
const (
	kindNumber     = "number"
	kindCredential = "credential"
	// kindMark says how far the directory is told, kindProbe only that its writer
	// is at work. They are of no company.
	kindMark  = "mark"
	kindProbe = "probe"
)

// whoIsWho is what the topic of the directory has told, in memory. Everything
// refers to everything else by its place in a list, so that a change of one
// object changes one entry; what belongs together is put together when asked for.
// The lists hold hardly any pointers: a million users should cost memory, and not
// the garbage collector's time.
type whoIsWho struct {
	mu        sync.RWMutex
	companies map[string]*holders
	unread    int // records that could not be read
}

func newWhoIsWho() *whoIsWho { return &whoIsWho{companies: map[string]*holders{}} }

// holders is who may be seen on the wire, in one company. An index is a place in
// a list plus one; 0 is none.
type holders struct {
	users      []userEntry
	byUser     map[string]uint32 // the deleted too
	byEmail    map[string]uint32
	byAOR      map[string]uint32
	places     []placeEntry
	byPlace    map[placeKey]uint32
	numbers    []numberEntry
	free       uint32              // first of the unused entries of numbers, by next
	byNumber   map[uint64]uint32   // by packed digits
	byNational map[uint64]uint32   // first of a chain
	before     map[uint32][]tenure // of numbers that had more than one owner: all of them

	credentials map[string]*credentialEntry   // by id
	byAddress   map[string][]*credentialEntry // the revoked ones too
}

// ownerRef is a user or a place: its index, times two, plus one for a place.
type ownerRef uint32

func userRef(i uint32) ownerRef  { return ownerRef(i << 1) }
func placeRef(i uint32) ownerRef { return ownerRef(i<<1 | 1) }

func (o ownerRef) user() (i uint32, ok bool) { return uint32(o >> 1), o != 0 && o&1 == 0 }

// userEntry is a user. Its texts are one string: id, email, name, and the
// addresses-of-record with a line feed after each.
type userEntry struct {
	text                       string
	id, email, name            uint32 // where they end
	office, department, center uint32 // indexes of places
	numbers                    uint32 // index of one of its numbers, the others by next
	first                      uint32 // index of the number to show
	hash                       uint64 // of what was told; 0: only referred to yet
	deleted                    bool
}

func (u *userEntry) userID() string { return u.text[:u.id] }
func (u *userEntry) mail() string   { return u.text[u.id:u.email] }
func (u *userEntry) called() string { return u.text[u.email:u.name] }
func (u *userEntry) addresses(each func(string)) {
	for rest := u.text[u.name:]; rest != ""; {
		var a string
		a, rest, _ = strings.Cut(rest, "\n")
		each(a)
	}
}

type placeKey struct{ kind, id string }

type placeEntry struct {
	placeKey
	name   string
	office uint32 // index of a place
	hash   uint64
}

// numberEntry is a number that the company has or had.
type numberEntry struct {
	digits    uint64 // packed
	createdUs int64
	hash      uint64
	owner     ownerRef
	next      uint32 // of the same user
	alike     uint32 // of the same national number
	national  uint8  // digits of it
}

// tenure is an owner from a time until the next.
type tenure struct {
	fromUs int64
	owner  ownerRef
}

type credentialEntry struct {
	DeviceCredential
	user uint32
	hash uint64
}

func (w *whoIsWho) holders(company string) *holders {
	h := w.companies[company]
	if h == nil {
		h = &holders{
			byUser: map[string]uint32{}, byEmail: map[string]uint32{}, byAOR: map[string]uint32{}, byPlace: map[placeKey]uint32{},
			byNumber: map[uint64]uint32{}, byNational: map[uint64]uint32{}, before: map[uint32][]tenure{},
			credentials: map[string]*credentialEntry{}, byAddress: map[string][]*credentialEntry{},
		}
		w.companies[company] = h
	}
	return h
}

// versionBytes is the length of the version at the end of an encoded record.
const versionBytes = 9

// contentHash is the same for what is told of an object as long as it is the same.
func contentHash(value []byte) uint64 {
	if len(value) < versionBytes {
		return 0
	}
	return xxh3.Hash(value[:len(value)-versionBytes]) | 1 // never 0, which is for nothing
}

// apply takes what a record tells; no value tells that the object is gone. The
// caller holds the lock. mark is what the record is, where it is a mark.
func (w *whoIsWho) apply(key, value []byte, secrets *seal) (mark *telemetry.DirectoryMark, version int64) {
	company, kind, id, ok := telemetry.ParseDirectoryKey(key)
	var r telemetry.DirectoryRecord
	if !ok || r.UnmarshalVT(value) != nil {
		w.unread++
		return nil, 0
	}
	if kind == kindMark || kind == kindProbe {
		return r.GetMark(), int64(r.Version)
	}
	if id == "" || !told(kind) { // of a later program
		w.unread++
		return nil, 0
	}
	h, hash := w.holders(company), contentHash(value)
	switch kind {
	case KindUser:
		h.setUser(id, r.GetUser(), hash)
	case KindOffice, KindDepartment, KindRoom, KindContactCenter:
		h.setPlace(placeKey{kind, id}, r.GetPlace(), hash)
	case kindNumber:
		if !h.setNumber(id, r.GetNumber(), hash) {
			w.unread++
		}
	case kindCredential:
		c := r.GetCredential()
		known := DeviceCredential{ID: id, Company: company, UserID: c.GetUserId(), DeviceID: c.GetDeviceId(), AOR: c.GetAor(),
			CreatedAt: fromMicros(c.GetCreatedUs()), RevokedAt: fromMicros(c.GetRevokedUs())}
		var s telemetry.DirectorySecret
		if plain, err := secrets.open(key, c.GetSealed()); err == nil && s.UnmarshalVT(plain) == nil {
			known.Username, known.Realm, known.HA1MD5, known.HA1SHA256 = s.Username, s.Realm, hex.EncodeToString(s.Ha1Md5), hex.EncodeToString(s.Ha1Sha256)
		} else if c != nil && c.RevokedUs == 0 {
			w.unread++
		}
		h.setCredential(known, c, hash)
	}
	return nil, 0
}

// told is the hash of what was told of an object, 0 for nothing.
func (w *whoIsWho) told(company, kind, id string) uint64 {
	h := w.companies[company]
	if h == nil {
		return 0
	}
	switch kind {
	case KindUser:
		if i := h.byUser[id]; i > 0 {
			return h.users[i-1].hash
		}
	case kindNumber:
		if i := h.numberOf(id); i > 0 {
			return h.numbers[i-1].hash
		}
	case kindCredential:
		if c := h.credentials[id]; c != nil {
			return c.hash
		}
	default:
		if i := h.byPlace[placeKey{kind, id}]; i > 0 {
			return h.places[i-1].hash
		}
	}
	return 0
}

// --- users and places ---

// user gives the index of a user, and room for one that was not told of yet: a
// number may come before its owner.
func (h *holders) user(id string) uint32 {
	i := h.byUser[id]
	if i == 0 && id != "" {
		h.users = append(h.users, userEntry{text: strings.Clone(id), id: uint32(len(id)), email: uint32(len(id)), name: uint32(len(id)), deleted: true})
		i = uint32(len(h.users))
		h.byUser[h.users[i-1].text] = i
	}
	return i
}

func (h *holders) place(key placeKey) uint32 {
	i := h.byPlace[key]
	if i == 0 && key.id != "" {
		h.places = append(h.places, placeEntry{placeKey: placeKey{key.kind, strings.Clone(key.id)}})
		i = uint32(len(h.places))
		h.byPlace[h.places[i-1].placeKey] = i
	}
	return i
}

func (h *holders) setUser(id string, told *telemetry.DirectoryUser, hash uint64) {
	i := h.user(id)
	u := &h.users[i-1]
	if mail := u.mail(); h.byEmail[mail] == i {
		delete(h.byEmail, mail)
	}
	u.addresses(func(a string) {
		if h.byAOR[a] == i {
			delete(h.byAOR, a)
		}
	})
	if told == nil {
		told, hash = &telemetry.DirectoryUser{Deleted: true}, 0
	}
	var text strings.Builder
	text.WriteString(id)
	text.WriteString(told.Email)
	text.WriteString(told.Name)
	name := text.Len()
	for _, a := range told.Aors {
		text.WriteString(a)
		text.WriteByte('\n')
	}
	delete(h.byUser, u.userID()) // the key of a map is kept with it
	u.text, u.id, u.email, u.name = text.String(), uint32(len(id)), uint32(len(id)+len(told.Email)), uint32(name)
	h.byUser[u.userID()] = i
	first := func(ids []string) string {
		if len(ids) == 0 {
			return ""
		}
		return ids[0]
	}
	u.office = h.place(placeKey{KindOffice, told.OfficeId})
	// With several, the first by id: a call has room for one.
	u.department = h.place(placeKey{KindDepartment, first(told.DepartmentIds)})
	u.center = h.place(placeKey{KindContactCenter, first(told.ContactCenterIds)})
	u.deleted, u.hash = told.Deleted, hash
	if u.deleted {
		return
	}
	if mail := u.mail(); mail != "" {
		h.byEmail[mail] = i
	}
	u.addresses(func(a string) { h.byAOR[a] = i })
}

func (h *holders) setPlace(key placeKey, told *telemetry.DirectoryPlace, hash uint64) {
	i := h.place(key)
	office := h.place(placeKey{KindOffice, told.GetOfficeId()}) // may move the list
	p := &h.places[i-1]
	if told == nil {
		hash = 0
	}
	p.name, p.office, p.hash = told.GetName(), office, hash
}

// --- numbers ---

// packDigits makes a number of up to 18 digits, in which leading zeros count.
func packDigits(digits string) (uint64, bool) {
	if len(digits) == 0 || len(digits) > 18 {
		return 0, false
	}
	packed := uint64(1)
	for i := range len(digits) {
		d := digits[i] - '0'
		if d > 9 {
			return 0, false
		}
		packed = packed*10 + uint64(d)
	}
	return packed, true
}

// appendDigits is what packDigits packed.
func appendDigits(dst []byte, packed uint64) []byte {
	at := len(dst)
	dst = strconv.AppendUint(dst, packed, 10)
	return append(dst[:at], dst[at+1:]...)
}

// lastDigits keeps the last n digits of what packDigits packed.
func lastDigits(packed uint64, n uint8) uint64 {
	power := uint64(1)
	for range n {
		power *= 10
	}
	return power + packed%power
}

func (h *holders) numberOf(e164 string) uint32 {
	digits, plus := strings.CutPrefix(e164, "+")
	if packed, ok := packDigits(digits); ok && plus {
		return h.byNumber[packed]
	}
	return 0
}

// setNumber is false where the number is none.
func (h *holders) setNumber(e164 string, told *telemetry.DirectoryNumber, hash uint64) bool {
	digits, plus := strings.CutPrefix(e164, "+")
	packed, ok := packDigits(digits)
	if !ok || !plus || int(told.GetNationalDigits()) > len(digits) {
		return false
	}
	i := h.byNumber[packed]
	if i > 0 {
		h.unlink(i)
	}
	if told == nil {
		if i > 0 {
			delete(h.byNumber, packed)
			h.numbers[i-1] = numberEntry{next: h.free}
			h.free = i
		}
		return true
	}
	if i == 0 {
		if i = h.free; i > 0 {
			h.free = h.numbers[i-1].next
		} else {
			h.numbers = append(h.numbers, numberEntry{})
			i = uint32(len(h.numbers))
		}
		h.byNumber[packed] = i
	}
	tenures := make([]tenure, 0, 1)
	for _, a := range told.Assignments {
		tenures = append(tenures, tenure{a.FromUs, h.owner(a.OwnerKind, a.OwnerId)})
	}
	n := &h.numbers[i-1]
	*n = numberEntry{digits: packed, createdUs: told.CreatedUs, hash: hash, national: uint8(told.NationalDigits)}
	if len(tenures) > 0 {
		n.owner = tenures[len(tenures)-1].owner
	}
	if len(tenures) > 1 {
		h.before[i] = tenures
	}
	h.link(i)
	return true
}

func (h *holders) owner(kind, id string) ownerRef {
	switch {
	case kind == "" || id == "":
		return 0
	case kind == KindUser:
		return userRef(h.user(id))
	}
	return placeRef(h.place(placeKey{kind, id}))
}

// link makes a number found by its national digits and by its owner.
func (h *holders) link(i uint32) {
	n := &h.numbers[i-1]
	national := lastDigits(n.digits, n.national)
	n.alike = h.byNational[national]
	h.byNational[national] = i
	if owner, ok := n.owner.user(); ok {
		u := &h.users[owner-1]
		n.next, u.numbers = u.numbers, i
		if u.first == 0 || h.earlier(i, u.first) {
			u.first = i
		}
	}
}

// unlink undoes link and forgets the owners there were.
func (h *holders) unlink(i uint32) {
	n := &h.numbers[i-1]
	delete(h.before, i)
	national := lastDigits(n.digits, n.national)
	if first := h.byNational[national]; first != i {
		for ; h.numbers[first-1].alike != i; first = h.numbers[first-1].alike {
		}
		h.numbers[first-1].alike = n.alike
	} else if n.alike > 0 {
		h.byNational[national] = n.alike
	} else {
		delete(h.byNational, national)
	}
	if owner, ok := n.owner.user(); ok {
		u := &h.users[owner-1]
		at := &u.numbers
		for *at != i {
			at = &h.numbers[*at-1].next
		}
		*at = n.next
		if u.first == i {
			u.first = 0
			for j := u.numbers; j > 0; j = h.numbers[j-1].next {
				if u.first == 0 || h.earlier(j, u.first) {
					u.first = j
				}
			}
		}
	}
}

// earlier says whether number i was added before number j: the first that a
// user got is the one to show.
func (h *holders) earlier(i, j uint32) bool {
	a, b := &h.numbers[i-1], &h.numbers[j-1]
	if a.createdUs != b.createdUs {
		return a.createdUs < b.createdUs
	}
	return bytes.Compare(appendDigits(nil, a.digits), appendDigits(nil, b.digits)) < 0
}

// ownerAt is whose number i was at a time; 0 is now. Before the first owner that
// is known there was no other: what the directory learned late was so before.
func (h *holders) ownerAt(i uint32, atUs int64) ownerRef {
	owner := h.numbers[i-1].owner
	if atUs == 0 {
		return owner
	}
	tenures := h.before[i]
	for k := len(tenures) - 1; k >= 0; k-- {
		owner = tenures[k].owner
		if tenures[k].fromUs <= atUs {
			break
		}
	}
	return owner
}

// --- credentials ---

func (h *holders) setCredential(c DeviceCredential, told *telemetry.DirectoryCredential, hash uint64) {
	if old := h.credentials[c.ID]; old != nil {
		delete(h.credentials, c.ID)
		left := slices.DeleteFunc(h.byAddress[old.AOR], func(e *credentialEntry) bool { return e == old })
		if h.byAddress[old.AOR] = left; len(left) == 0 {
			delete(h.byAddress, old.AOR)
		}
	}
	if told == nil {
		return
	}
	e := &credentialEntry{DeviceCredential: c, user: h.user(c.UserID), hash: hash}
	h.credentials[c.ID] = e
	h.byAddress[c.AOR] = append(h.byAddress[c.AOR], e)
}

// Credentials gives what devices may register an address with, and whether it
// ever had any: without credentials nobody registers such an address any more.
// Where an address has gone to somebody else, or its user is deleted, none of the
// old credentials count; that it asks for credentials remains.
func (w *whoIsWho) Credentials(company, aor string) (usable []DeviceCredential, protected bool) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	h := w.companies[company]
	if h == nil || len(h.byAddress) == 0 {
		return nil, false
	}
	aor = NormalizeAOR(aor)
	names := []string{aor}
	user, _, hasHost := strings.Cut(aor, "@")
	if hasHost {
		names = append(names, user)
	}
	// A number has many spellings, and all of them ask for the same credentials.
	if i := h.number(user, 0); i > 0 {
		if n := "+" + string(appendDigits(nil, h.numbers[i-1].digits)); n != user {
			names = append(names, n)
		}
	}
	for _, name := range names {
		for _, c := range h.byAddress[name] {
			protected = true
			if !c.RevokedAt.IsZero() || c.HA1MD5 == "" {
				continue
			}
			if owner, ok := h.byAddressOf(c.AOR, 0).user(); ok && owner == c.user && !h.users[owner-1].deleted {
				usable = append(usable, c.DeviceCredential)
			}
		}
	}
	return usable, protected
}

// --- answers ---

// Resolve returns whose value it was at a time (Unix microseconds; 0: is now), or
// nil. The caller owns what it gets.
func (w *whoIsWho) Resolve(company, kind, value string, atUs int64) *telemetry.Identity {
	if value == "" {
		return nil
	}
	w.mu.RLock()
	defer w.mu.RUnlock()
	h := w.companies[company]
	if h == nil {
		return nil
	}
	switch kind {
	case ResolveNumber:
		return h.identityOf(h.number(value, atUs), atUs)
	case ResolveAOR:
		aor := NormalizeAOR(value)
		if i := h.userOf(aor); i > 0 {
			return h.identity(userRef(i), h.users[i-1].first)
		}
		user, _, _ := strings.Cut(aor, "@")
		return h.identityOf(h.number(user, atUs), atUs)
	case ResolveUser:
		i := h.byUser[value]
		if i == 0 || h.users[i-1].deleted {
			i = h.byEmail[value]
		}
		if lower := strings.ToLower(value); i == 0 && lower != value {
			if i = h.byUser[lower]; i == 0 || h.users[i-1].deleted {
				i = h.byEmail[lower]
			}
		}
		if i > 0 {
			return h.identity(userRef(i), h.users[i-1].first)
		}
	}
	return nil
}

// userOf is the user of an address-of-record, which may be one for any host.
func (h *holders) userOf(aor string) uint32 {
	i := h.byAOR[aor]
	if i == 0 {
		user, _, _ := strings.Cut(aor, "@")
		i = h.byAOR[user]
	}
	return i
}

// byAddressOf is the owner of an address, which may be a number's.
func (h *holders) byAddressOf(aor string, atUs int64) ownerRef {
	if i := h.userOf(aor); i > 0 {
		return userRef(i)
	}
	user, _, _ := strings.Cut(aor, "@")
	if i := h.number(user, atUs); i > 0 {
		return h.ownerAt(i, atUs)
	}
	return 0
}

// number finds a number as exchanges signal it: with +, with a country code but
// no +, with an international prefix (00, 011), or national with or without its
// trunk prefix (1 in North America, 0 elsewhere). Only numbers that the company
// has are ever matched, so no guess about foreign plans is needed; and only ones
// that somebody has at that time.
func (h *holders) number(value string, atUs int64) uint32 {
	digits, ok := digitsOf(value)
	if !ok || len(digits) < 3 {
		return 0
	}
	owned := func(digits string) uint32 {
		if packed, ok := packDigits(digits); ok {
			if i := h.byNumber[packed]; i > 0 && h.ownerAt(i, atUs) != 0 {
				return i
			}
		}
		return 0
	}
	if i := owned(digits); i > 0 || strings.HasPrefix(value, "+") {
		return i
	}
	for _, prefix := range []string{"011", "00"} {
		if rest, ok := strings.CutPrefix(digits, prefix); ok {
			if i := owned(rest); i > 0 {
				return i
			}
		}
	}
	if i := h.ofNational(digits, atUs); i > 0 {
		return i
	}
	for _, trunk := range []string{"1", "0"} {
		if rest, ok := strings.CutPrefix(digits, trunk); ok {
			if i := h.ofNational(rest, atUs); i > 0 {
				return i
			}
		}
	}
	return 0
}

// ofNational is the number with these national digits; none where two countries
// share them.
func (h *holders) ofNational(digits string, atUs int64) uint32 {
	packed, ok := packDigits(digits)
	if !ok {
		return 0
	}
	var found uint32
	for i := h.byNational[packed]; i > 0; i = h.numbers[i-1].alike {
		if h.ownerAt(i, atUs) == 0 {
			continue
		}
		if found > 0 {
			return 0
		}
		found = i
	}
	return found
}

func (h *holders) identityOf(number uint32, atUs int64) *telemetry.Identity {
	if number == 0 {
		return nil
	}
	return h.identity(h.ownerAt(number, atUs), number)
}

// identity is what is known of an owner, seen with one of its numbers. A user
// who is deleted by now is still who had the number then.
func (h *holders) identity(owner ownerRef, number uint32) *telemetry.Identity {
	id := &telemetry.Identity{}
	if number > 0 {
		var room [20]byte
		id.Number = string(appendDigits(append(room[:0], '+'), h.numbers[number-1].digits))
	}
	if i, ok := owner.user(); ok {
		u := &h.users[i-1]
		if u.hash == 0 {
			return nil
		}
		id.UserId, id.Name = u.userID(), u.called()
		id.OfficeId, id.DepartmentId, id.ContactCenterId = h.placeID(u.office), h.placeID(u.department), h.placeID(u.center)
		return id
	}
	p := &h.places[owner>>1-1]
	if p.hash == 0 {
		return nil
	}
	id.Name, id.OfficeId = p.name, h.placeID(p.office)
	switch p.kind {
	case KindDepartment:
		id.DepartmentId = p.id
	case KindContactCenter:
		id.ContactCenterId = p.id
	case KindOffice:
		id.OfficeId = p.id
	}
	return id
}

func (h *holders) placeID(i uint32) string {
	if i == 0 {
		return ""
	}
	return h.places[i-1].id
}

// objects lists what is told of in one kind.
func (w *whoIsWho) objects(kind string) []object {
	w.mu.RLock()
	defer w.mu.RUnlock()
	var out []object
	for company, h := range w.companies {
		add := func(id string, hash uint64) {
			if hash != 0 {
				out = append(out, object{company, kind, id})
			}
		}
		switch kind {
		case KindUser:
			for i := range h.users {
				add(h.users[i].userID(), h.users[i].hash)
			}
		case kindNumber:
			for packed, i := range h.byNumber {
				add("+"+string(appendDigits(nil, packed)), h.numbers[i-1].hash)
			}
		case kindCredential:
			for id, c := range h.credentials {
				add(id, c.hash)
			}
		default:
			for key, i := range h.byPlace {
				if key.kind == kind {
					add(key.id, h.places[i-1].hash)
				}
			}
		}
	}
	return out
}
