package directory

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// searchVersion is that of tokensOf, nameKey and signatureOf. Whoever changes
// what they give raises it, and Migrate fills the index anew.
const searchVersion = 2

const (
	maxToken   = 64 // bytes; of a longer word, and of a search for it, the beginning counts
	maxNameKey = 64 // bytes
	maxWords   = 16 // of a search

	// minNumberDigits is from how many digits on a word may be part of a number.
	minNumberDigits = 3
)

// Variables for tests, which have fewer users.
var (
	// fewUsers is how many users a search may put into order. What matches more is
	// walked in the order of the index.
	fewUsers = 1000
	// walkAtOnce bounds how many rows of the index one page may cost, and one
	// search for the few.
	walkAtOnce = 4000
)

// Filters are tokens too: a control character, which no word holds, then what
// they are about.
func stateToken(state string) string    { return "\x01state=" + state }
func placeToken(kind, id string) string { return "\x01" + kind + "=" + id }
func isFilter(token string) bool        { return strings.HasPrefix(token, "\x01") }

// fold brings a text to the form in which words are compared: lower case, no
// accents, one kind of apostrophe, no control characters.
func fold(s string) string {
	var b strings.Builder
	for _, r := range norm.NFKD.String(strings.ToLower(s)) {
		switch {
		case unicode.Is(unicode.Mn, r), unicode.IsControl(r) && !unicode.IsSpace(r), r == utf8.RuneError:
		case r == '’', r == 'ʼ', r == '`':
			b.WriteByte('\'')
		case unicode.IsSpace(r):
			b.WriteByte(' ')
		default:
			b.WriteRune(r)
		}
	}
	return strings.ToLower(b.String())
}

// begin is the first n bytes of s, whole characters only.
func begin(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// nameKey is what a user is sorted by.
func nameKey(name string) string {
	return begin(strings.Join(strings.Fields(fold(name)), " "), maxNameKey)
}

// chunks splits a folded text where people put spaces and commas, and takes off
// the punctuation around each piece.
func chunks(folded string) []string {
	var out []string
	for _, c := range strings.FieldsFunc(folded, func(r rune) bool { return r == ' ' || r == ',' || r == ';' }) {
		c = strings.TrimFunc(c, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
		if c != "" {
			out = append(out, begin(c, maxToken))
		}
	}
	return out
}

func wordParts(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
}

// tokensOf gives what a user is found by, sorted: the words of the name, also
// without their apostrophes and hyphens, the email address, its parts and its
// domain, the id, the SIP addresses, and the filters of lists.
func tokensOf(u User) []string {
	var out []string
	add := func(tokens ...string) {
		for _, t := range tokens {
			if t = begin(t, maxToken); t != "" {
				out = append(out, t)
			}
		}
	}
	split := func(text string, joined bool) {
		for _, c := range chunks(fold(text)) {
			parts := wordParts(c)
			add(c)
			if len(parts) > 1 {
				add(parts...)
				if joined {
					add(strings.Join(parts, ""))
				}
			}
		}
	}
	split(u.Name, true)
	split(u.ID, false)
	if user, host, ok := strings.Cut(fold(u.Email), "@"); ok {
		add(user+"@"+host, host)
		add(wordParts(user)...)
	}
	for _, a := range u.AORs {
		a = fold(a)
		user, _, _ := strings.Cut(a, "@")
		add(a)
		add(wordParts(user)...)
	}
	out = append(out, stateToken(u.State))
	if u.Office != "" {
		out = append(out, placeToken(KindOffice, u.Office))
	}
	for _, id := range u.Departments {
		out = append(out, placeToken(KindDepartment, id))
	}
	for _, id := range u.ContactCenters {
		out = append(out, placeToken(KindContactCenter, id))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// searchText is the tokens in one text, as a user's row keeps them.
func searchText(tokens []string) string { return strings.Join(tokens, "\n") }

func splitSearchText(s string) []string { return strings.Split(s, "\n") }

// A signature is a set in 64 bits (a Bloom filter) of what a user is found by:
// of a word its beginnings, of a filter the whole. It tells for sure that a user
// does not match; of those who seem to, about one in twenty does not.
const bitsOfFilter = 3

// beginnings are the lengths, in bytes, of which a signature has the beginnings of words.
var beginnings = []int{2, 3, 4}

// bitOf is one of 64 bits, the same for ever: it is stored.
func bitOf(text string, salt byte) uint64 {
	const offset, prime = 14695981039346656037, 1099511628211 // FNV-1a
	h := (offset ^ uint64(salt)) * prime
	for i := range len(text) {
		h = (h ^ uint64(text[i])) * prime
	}
	return 1 << (h * 0x9e3779b97f4a7c15 >> 58) // the upper bits of FNV alone differ too little
}

// bitsOf is the bits of those who have a token, or one that begins so.
func bitsOf(token string) (bits uint64) {
	if isFilter(token) {
		for salt := range byte(bitsOfFilter) {
			bits |= bitOf(token, salt)
		}
		return bits
	}
	for _, n := range beginnings {
		if len(token) >= n {
			bits |= bitOf(token[:n], 0)
		}
	}
	return bits
}

// signatureOf is a user's signature, as the engines store 64 bits.
func signatureOf(tokens []string) int64 {
	var bits uint64
	for _, t := range tokens {
		bits |= bitsOf(t)
	}
	return int64(bits)
}

// indexed is a user as the index has it.
type indexed struct {
	id, key string
	tokens  []string
}

// insertTokens writes the index rows of users that have none.
func insertTokens(ctx context.Context, tx *sql.Tx, company string, users ...indexed) error {
	var rows [][]any
	for _, u := range users {
		key, signature := []byte(u.key), signatureOf(u.tokens)
		for _, t := range u.tokens {
			rows = append(rows, []any{[]byte(t), key, u.id, signature})
		}
	}
	return insertRows(ctx, tx, company, "user_token (company, token, name_key, user_id, signature)", rows)
}

// deleteTokens takes a user out of the index, as its row says it stands there.
func deleteTokens(ctx context.Context, tx *sql.Tx, company, id string) error {
	var key []byte
	var text string
	if err := tx.QueryRowContext(ctx, "SELECT name_key, search FROM users WHERE company = $1 AND id = $2", company, id).Scan(&key, &text); err != nil {
		return fmt.Errorf("cannot read the words of a user: %w", err)
	}
	tokens := splitSearchText(text)
	args := []any{company, key, id}
	for _, t := range tokens {
		args = append(args, []byte(t))
	}
	_, err := tx.ExecContext(ctx, "DELETE FROM user_token WHERE company = $1 AND name_key = $2 AND user_id = $3 AND token IN ("+placeholders(4, len(tokens))+")", args...)
	if err != nil {
		return fmt.Errorf("cannot change the words of a user: %w", err)
	}
	return nil
}

// indexUsers fills the search index, where it was filled by an older program or
// never: SQL cannot take words apart. All of it is one transaction, so that a
// start that is killed leaves the index behind and the next start does it.
func (d *Directory) indexUsers(ctx context.Context) error {
	behind := func(q querier) (bool, error) {
		return exists(ctx, q, "SELECT 1 FROM user_search WHERE version <> $1", searchVersion)
	}
	if due, err := behind(d.db); err != nil || !due {
		return err
	}
	return d.write(ctx, func(tx *sql.Tx) error {
		// Another process may have been first.
		if due, err := behind(tx); err != nil || !due {
			return err
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM user_token"); err != nil {
			return fmt.Errorf("cannot empty the index of users: %w", err)
		}
		var companies []string
		err := each(ctx, tx, func(r *sql.Rows) error {
			var id string
			err := r.Scan(&id)
			companies = append(companies, id)
			return err
		}, "SELECT id FROM company")
		if err != nil {
			return err
		}
		for _, c := range companies {
			if err := d.indexCompany(ctx, tx, c); err != nil {
				return err
			}
		}
		if _, err := tx.ExecContext(ctx, "UPDATE user_search SET version = $1", searchVersion); err != nil {
			return fmt.Errorf("cannot note that users are indexed: %w", err)
		}
		return nil
	})
}

func (d *Directory) indexCompany(ctx context.Context, tx *sql.Tx, company string) error {
	for last := ""; ; {
		users, err := d.users(ctx, tx, company, "SELECT "+userColumns+" FROM users WHERE company = $1 AND id > $2 ORDER BY id LIMIT 500", company, last)
		if err != nil || len(users) == 0 {
			return err
		}
		rows := make([]indexed, len(users))
		for i, u := range users {
			rows[i] = indexed{u.ID, nameKey(u.Name), tokensOf(u)}
			_, err := tx.ExecContext(ctx, "UPDATE users SET name_key = $1, search = $2 WHERE company = $3 AND id = $4",
				[]byte(rows[i].key), searchText(rows[i].tokens), company, u.ID)
			if err != nil {
				return fmt.Errorf("cannot store the words of a user: %w", err)
			}
		}
		if err := insertTokens(ctx, tx, company, rows...); err != nil {
			return err
		}
		last = users[len(users)-1].ID
	}
}

// term is one thing that a user has to match.
type term struct {
	token string // its beginning, or the whole of a filter
	exact bool
	// digits: the term is also met by a user whose number begins or ends with
	// them; with plus, by one whose whole number begins with them.
	digits string
	plus   bool
}

// high is above every byte of UTF-8: the end of the range that a beginning spans.
const high = "\xff"

func (t term) has(tokens []string) bool {
	i, found := slices.BinarySearch(tokens, t.token)
	return found || !t.exact && i < len(tokens) && strings.HasPrefix(tokens[i], t.token)
}

// first is the first of a user's tokens that the term matches, so that a walk
// over several of them gives a user once.
func (t term) first(tokens []string) string {
	i, _ := slices.BinarySearch(tokens, t.token)
	return tokens[i]
}

// searchTerms reads a query as typed: every word has to match.
func searchTerms(q string) ([]term, error) {
	plus := strings.HasPrefix(strings.TrimSpace(q), "+")
	if digits, ok := digitsOf(q); ok && len(digits) >= minNumberDigits {
		return []term{{token: begin(digits, maxToken), digits: digits, plus: plus}}, nil
	}
	var out []term
	for _, c := range chunks(fold(q)) {
		t := term{token: c}
		if digits, ok := digitsOf(c); ok && len(digits) >= minNumberDigits {
			t.digits = digits
		}
		if !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	if len(out) > maxWords {
		return nil, invalid("q", fmt.Sprintf("has more than %d words", maxWords))
	}
	return out, nil
}

// terms are what the filter asks for, the one that likely matches the fewest
// first. none is true where nothing can match.
func (f UserFilter) terms() (out []term, none bool, err error) {
	if q := strings.TrimSpace(f.Query); q != "" {
		if out, err = searchTerms(q); err != nil {
			return nil, false, err
		}
		if len(out) == 0 {
			return nil, true, nil // punctuation only
		}
	}
	slices.SortStableFunc(out, func(a, b term) int { return cmp.Compare(len(b.token), len(a.token)) })
	for _, p := range []struct{ kind, id string }{{KindContactCenter, f.ContactCenter}, {KindDepartment, f.Department}, {KindOffice, f.Office}} {
		if p.id != "" {
			out = append(out, term{token: placeToken(p.kind, p.id), exact: true})
		}
	}
	if f.State != "" {
		out = append(out, term{token: stateToken(f.State), exact: true})
	}
	return out, false, nil
}

// The ways in which a list is walked; a cursor says which it belongs to.
const (
	byName = "n" // few users: by name
	byWalk = "w" // many: by the index
)

// listPosition is where a page begins. In a walk, source is which of its sources
// is being read and key the row of it that was read last.
type listPosition struct {
	way    string
	source int
	key    [3]string // token or number, name key, id
}

func (p listPosition) cursor() string {
	return encodeCursor(p.way, strconv.Itoa(p.source), p.key[0], p.key[1], p.key[2])
}

func parsePosition(cursor string) (p listPosition, err error) {
	if cursor == "" {
		return listPosition{}, nil
	}
	key, err := decodeCursor(cursor, 5)
	if err != nil {
		return p, err
	}
	p = listPosition{way: key[0], key: [3]string(key[2:])}
	if p.source, err = strconv.Atoi(key[1]); err != nil || p.source < 0 || (p.way != byName && p.way != byWalk) {
		return p, invalid("cursor", "is not one that a list gave")
	}
	return p, nil
}

// Users lists users. Those that a search finds are ordered by name where they
// are up to 1,000; of more, which no one reads to the end, those come first
// whose word is nearest to the one asked for. A page may then be shorter than
// its limit although more follow: a page costs a bounded number of rows.
func (d *Directory) Users(ctx context.Context, company string, f UserFilter) ([]User, string, error) {
	at, err := parsePosition(f.Cursor)
	if err != nil {
		return nil, "", err
	}
	terms, none, err := f.terms()
	if err != nil || none || (f.IDs != nil && len(f.IDs) == 0) {
		return nil, "", err
	}
	s := search{d: d, company: company, terms: terms, mask: maskOf(terms), phrase: phraseOf(f.Query), limit: f.limit()}
	if f.IDs != nil {
		s.only = make(map[string]bool, len(f.IDs))
		for _, id := range f.IDs {
			s.only[id] = true
		}
	}
	ids, next, err := s.page(ctx, f.IDs, at)
	if err != nil || len(ids) == 0 {
		return nil, next, err
	}
	users, err := d.usersByID(ctx, d.db, company, ids)
	return users, next, err
}

// usersByID reads users in the order of their ids.
func (d *Directory) usersByID(ctx context.Context, q querier, company string, ids []string) ([]User, error) {
	place := make(map[string]int, len(ids))
	for i, id := range ids {
		place[id] = i
	}
	in, list := d.oneOf("id", 2, ids)
	users, err := d.users(ctx, q, company, "SELECT "+userColumns+" FROM users WHERE company = $1 AND "+in, company, list)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(users, func(a, b User) int { return place[a.ID] - place[b.ID] })
	return users, nil
}

// search is one search under way.
type search struct {
	d       *Directory
	company string
	terms   []term
	mask    int64           // what the signature of who matches has
	phrase  string          // several words as typed; empty: there is one, or none
	only    map[string]bool // who may be in the answer; nil: all
	limit   int
}

// maskOf is the bits that users have who match all terms. Who matches digits
// may do so by a number, of which signatures do not know.
func maskOf(terms []term) int64 {
	var bits uint64
	for _, t := range terms {
		if t.digits == "" {
			bits |= bitsOf(t.token)
		}
	}
	return int64(bits)
}

func (s search) page(ctx context.Context, only []string, at listPosition) ([]string, string, error) {
	if at.way != byWalk {
		few, found, err := s.few(ctx, only, at.way == byName)
		if err != nil {
			return nil, "", err
		}
		if found {
			return s.sorted(ctx, few, at)
		}
	}
	return s.walk(ctx, at)
}

// few gives those who may be in the answer, where they are few. more raises the
// bound: a list that began by name goes on so although users were added meanwhile.
func (s search) few(ctx context.Context, only []string, more bool) (all []candidate, found bool, err error) {
	if only != nil && len(only) <= fewUsers {
		all, err = s.read(ctx, only)
		return all, true, err
	}
	few, scanned := fewUsers, fewUsers
	if len(s.terms) > 1 {
		scanned = max(fewUsers, walkAtOnce) // most of which the signatures rule out
	}
	if more {
		few, scanned = 10*few, 10*scanned
	}
	// The term of which the index has the fewest rows.
	var best term
	least := scanned + 1
	for _, t := range s.terms {
		n, err := s.count(ctx, t, least)
		if err != nil || n == 0 {
			return nil, true, err
		}
		if n < least {
			best, least = t, n
		}
	}
	if least > scanned {
		return nil, false, nil
	}
	all, err = s.matching(ctx, best, few+1)
	return all, len(all) <= few, err
}

// rows is the condition on the rows of the index that a term matches, alias t,
// and its arguments from $first on.
func (t term) rows(first int) (where string, args []any) {
	if t.exact {
		return fmt.Sprintf("t.token = $%d", first), []any{[]byte(t.token)}
	}
	return fmt.Sprintf("t.token >= $%d AND t.token < $%d", first, first+1), []any{[]byte(t.token), []byte(t.token + high)}
}

// count counts what a term matches in the indexes, up to limit.
func (s search) count(ctx context.Context, t term, limit int) (int, error) {
	total := 0
	count := func(from string, args ...any) error {
		if total >= limit {
			return nil
		}
		var n int
		args = append([]any{s.company, limit - total}, args...)
		if err := s.d.db.QueryRowContext(ctx, "SELECT COUNT(*) FROM (SELECT 1 FROM "+from+" LIMIT $2) c", args...).Scan(&n); err != nil {
			return fmt.Errorf("cannot count what a word matches: %w", err)
		}
		total += n
		return nil
	}
	where, args := t.rows(3)
	if err := count("user_token t WHERE t.company = $1 AND "+where, args...); err != nil {
		return 0, err
	}
	for _, n := range t.numberRanges() {
		if err := count("number n WHERE n.company = $1 AND n.status = 'user' AND "+n.where("n", 3), n.from, n.to); err != nil {
			return 0, err
		}
	}
	return total, nil
}

// matching gives up to limit users who match a term, and the others as far as
// signatures tell.
func (s search) matching(ctx context.Context, t term, limit int) (out []candidate, err error) {
	add := func(r *sql.Rows) error {
		var c candidate
		var key []byte
		err := r.Scan(&c.id, &key)
		c.key = string(key)
		out = append(out, c)
		return err
	}
	where, args := t.rows(4)
	err = each(ctx, s.d.db, add, "SELECT DISTINCT t.user_id, t.name_key FROM user_token t WHERE t.company = $1 AND (t.signature & $2) = $2 AND "+where+" LIMIT $3",
		append([]any{s.company, s.mask, limit}, args...)...)
	if err != nil {
		return nil, err
	}
	for _, n := range t.numberRanges() {
		if len(out) >= limit {
			break
		}
		err := each(ctx, s.d.db, add, "SELECT u.id, u.name_key FROM number n CROSS JOIN users u WHERE n.company = $1 AND n.status = 'user' AND "+n.where("n", 2)+
			" AND u.company = n.company AND u.id = n.owner_id LIMIT $4", s.company, n.from, n.to, limit)
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// candidate is a user who may be in the answer.
type candidate struct {
	indexed           // without tokens: the user's row was not read
	at      [3]string // its row in the source
}

func compareCandidates(a, b candidate) int {
	return cmp.Or(strings.Compare(a.key, b.key), strings.Compare(a.id, b.id))
}

// sorted puts few users in order and leaves those of a page who match.
func (s search) sorted(ctx context.Context, all []candidate, at listPosition) ([]string, string, error) {
	if s.only != nil {
		all = slices.DeleteFunc(all, func(c candidate) bool { return !s.only[c.id] })
	}
	slices.SortFunc(all, compareCandidates)
	all = slices.CompactFunc(all, func(a, b candidate) bool { return a.id == b.id })
	if at.way == byName {
		i, same := slices.BinarySearchFunc(all, candidate{indexed: indexed{key: at.key[1], id: at.key[2]}}, compareCandidates)
		if same {
			i++
		}
		all = all[i:]
	}
	var found []candidate
	for n := s.limit + 1; len(all) > 0 && len(found) <= s.limit; n *= 2 {
		n = min(n, len(all))
		part, err := s.matched(ctx, all[:n])
		if err != nil {
			return nil, "", err
		}
		found, all = append(found, part...), all[n:]
	}
	next := ""
	if len(found) > s.limit {
		found = found[:s.limit]
		last := found[s.limit-1]
		next = listPosition{way: byName, key: [3]string{"", last.key, last.id}}.cursor()
	}
	out := make([]string, len(found))
	for i, c := range found {
		out[i] = c.id
	}
	return out, next, nil
}

// matched leaves those who match, in their order.
func (s search) matched(ctx context.Context, all []candidate) ([]candidate, error) {
	if all[0].tokens == nil {
		if len(s.terms) == 1 {
			return all, nil // by which they were found
		}
		ids := make([]string, len(all))
		for i, c := range all {
			ids[i] = c.id
		}
		var err error
		if all, err = s.read(ctx, ids); err != nil {
			return nil, err
		}
		slices.SortFunc(all, compareCandidates)
	}
	return s.keep(ctx, all)
}

// read reads the words of users.
func (s search) read(ctx context.Context, ids []string) (out []candidate, err error) {
	in, list := s.d.oneOf("id", 2, ids)
	err = each(ctx, s.d.db, func(r *sql.Rows) error {
		c, err := scanCandidate(r.Scan)
		out = append(out, c)
		return err
	}, "SELECT id, name_key, search FROM users WHERE company = $1 AND "+in, s.company, list)
	return out, err
}

func scanCandidate(scan func(...any) error, also ...any) (candidate, error) {
	var c candidate
	var key []byte
	var text string
	err := scan(append([]any{&c.id, &key, &text}, also...)...)
	c.key, c.tokens = string(key), splitSearchText(text)
	return c, err
}

// keep leaves those who match every term.
func (s search) keep(ctx context.Context, all []candidate) ([]candidate, error) {
	if s.only != nil {
		all = slices.DeleteFunc(all, func(c candidate) bool { return !s.only[c.id] })
	}
	for _, t := range s.terms {
		var byNumber map[string]bool
		if t.digits != "" {
			var ask []string
			for _, c := range all {
				if !t.has(c.tokens) {
					ask = append(ask, c.id)
				}
			}
			var err error
			if byNumber, err = s.numbered(ctx, t, ask); err != nil {
				return nil, err
			}
		}
		all = slices.DeleteFunc(all, func(c candidate) bool { return !t.has(c.tokens) && !byNumber[c.id] })
	}
	return all, nil
}

// numbered tells which of the users have a number that a term matches.
func (s search) numbered(ctx context.Context, t term, ids []string) (map[string]bool, error) {
	out := map[string]bool{}
	if len(ids) == 0 {
		return out, nil
	}
	in, list := s.d.oneOf("n.owner_id", 2, ids)
	args := []any{s.company, list}
	var match []string
	for _, n := range t.numberRanges() {
		match = append(match, n.where("n", len(args)+1))
		args = append(args, n.from, n.to)
	}
	err := each(ctx, s.d.db, func(r *sql.Rows) error {
		var id string
		err := r.Scan(&id)
		out[id] = true
		return err
	}, "SELECT n.owner_id FROM number n WHERE n.company = $1 AND n.owner_kind = 'user' AND "+in+" AND ("+strings.Join(match, " OR ")+")", args...)
	return out, err
}

// numberRange is a way in which a number may match: by its beginning with or
// without the country, or by its end.
type numberRange struct{ typ, column, from, to string }

func (n numberRange) where(alias string, first int) string {
	return fmt.Sprintf("(%[1]s.type = '%[2]s' AND %[1]s.%[3]s >= $%[4]d AND %[1]s.%[3]s < $%[5]d)", alias, n.typ, n.column, first, first+1)
}

// numberRanges are what the indexes of numbers answer: one type each. The end of
// a range is a letter, which is above the digits in every collation.
func (t term) numberRanges() []numberRange {
	if t.digits == "" {
		return nil
	}
	back := []byte(t.digits)
	slices.Reverse(back)
	var out []numberRange
	for _, typ := range []string{TypeLocal, TypeTollFree} {
		out = append(out, numberRange{typ, "number", "+" + t.digits, "+" + t.digits + "a"})
		if !t.plus {
			out = append(out, numberRange{typ, "national", t.digits, t.digits + "a"}, numberRange{typ, "reversed", string(back), string(back) + "a"})
		}
	}
	return out
}

// source is one way through the users that a walk takes.
type source interface {
	// rows reads up to n rows after the one that after names, in order. It may
	// leave out some who do not match. to is the last row that it read, or no row
	// where it read to the end.
	rows(ctx context.Context, s search, after [3]string, n int) (out []candidate, to [3]string, err error)
	// again tells whether a candidate was in an earlier source, or comes twice in this one.
	again(s search, c candidate) bool
}

// sources are the ways of a walk, one after the other.
func (s search) sources() []source {
	driver := s.driver()
	if driver == nil {
		return []source{namesFrom{}}
	}
	var out []source
	if driver.exact {
		return append(out, tokensFrom{term: *driver})
	}
	// What is typed as the name is written comes first.
	if s.phrase != "" {
		out = append(out, namesFrom{prefix: s.phrase})
	}
	out = append(out, tokensFrom{term: *driver})
	for i := range driver.numberRanges() {
		out = append(out, numbersFrom{term: *driver, at: i})
	}
	return out
}

// driver is the term whose rows a walk reads, testing the others: a word rather
// than a place, either rather than digits, and the state last.
func (s search) driver() *term {
	rank := func(t term) int {
		switch {
		case !isFilter(t.token) && t.digits == "":
			return 0
		case t.digits != "":
			return 2
		case strings.HasPrefix(t.token, stateToken("")):
			return 3
		}
		return 1
	}
	if len(s.terms) == 0 {
		return nil
	}
	t := slices.MinFunc(s.terms, func(a, b term) int { return rank(a) - rank(b) })
	return &t
}

// phraseOf is several words as a name has them.
func phraseOf(q string) string {
	if words := chunks(fold(q)); len(words) > 1 {
		return begin(strings.Join(words, " "), maxNameKey)
	}
	return ""
}

// walk reads the sources one after the other until a page is full. It ends
// early where it has read much and found some.
func (s search) walk(ctx context.Context, at listPosition) (out []string, next string, err error) {
	sources := s.sources()
	n, read := s.limit+1, 0
	for i := at.source; i < len(sources); i++ {
		var after [3]string
		if i == at.source {
			after = at.key
		}
		for more := true; more; {
			rows, to, err := sources[i].rows(ctx, s, after, n)
			if err != nil {
				return nil, "", err
			}
			after, more, read = to, to != [3]string{}, read+n
			rows, err = s.keep(ctx, slices.DeleteFunc(rows, func(c candidate) bool { return sources[i].again(s, c) }))
			if err != nil {
				return nil, "", err
			}
			last := at
			for _, c := range rows {
				if len(out) == s.limit {
					return out, last.cursor(), nil
				}
				out, last = append(out, c.id), listPosition{byWalk, i, c.at}
			}
			if at = last; more && len(out) > 0 && read >= walkAtOnce {
				return out, listPosition{byWalk, i, after}.cursor(), nil
			}
			n = min(2*n, max(fewUsers, walkAtOnce/2))
		}
	}
	return out, "", nil
}

// lastOf is where a source stands that read n rows, or fewer at its end.
func lastOf(rows []candidate, n int) (to [3]string) {
	if len(rows) == n {
		to = rows[n-1].at
	}
	return to
}

// namesFrom is all users by name, or those whose name begins so.
type namesFrom struct{ prefix string }

func (f namesFrom) rows(ctx context.Context, s search, after [3]string, n int) (out []candidate, to [3]string, err error) {
	if after[1] == "" {
		after[1] = f.prefix
	}
	err = each(ctx, s.d.db, func(r *sql.Rows) error {
		c, err := scanCandidate(r.Scan)
		c.at = [3]string{"", c.key, c.id}
		out = append(out, c)
		return err
	}, "SELECT id, name_key, search FROM users WHERE company = $1 AND (name_key, id) > ($2, $3) AND name_key < $4 ORDER BY name_key, id LIMIT $5",
		s.company, []byte(after[1]), after[2], []byte(f.prefix+high), n)
	return out, lastOf(out, n), err
}

func (namesFrom) again(search, candidate) bool { return false }

// tokensFrom is the users with a token by token and name; with one token, by name.
type tokensFrom struct{ term term }

func (f tokensFrom) rows(ctx context.Context, s search, after [3]string, n int) (out []candidate, to [3]string, err error) {
	if after[0] == "" {
		after[0] = f.term.token
	}
	where, args := "(t.token, t.name_key, t.user_id) > ($3, $4, $5) AND t.token < $6", []any{[]byte(after[0]), []byte(after[1]), after[2], []byte(f.term.token + high)}
	if f.term.exact {
		where, args = "t.token = $3 AND (t.name_key, t.user_id) > ($4, $5)", args[:3]
	}
	const order = " ORDER BY t.token, t.name_key, t.user_id"
	args = append([]any{s.company, n}, args...)
	// With other terms, the users of some of the rows are read; n bounds the rows.
	sifted := len(s.terms) > 1
	if sifted {
		err := each(ctx, s.d.db, func(r *sql.Rows) error {
			var token, key []byte
			err := r.Scan(&token, &key, &to[2])
			to[0], to[1] = string(token), string(key)
			return err
		}, "SELECT t.token, t.name_key, t.user_id FROM user_token t WHERE t.company = $1 AND "+where+order+" LIMIT 1 OFFSET $2 - 1", args...)
		if err != nil {
			return nil, to, err
		}
		p := len(args) + 1
		where += fmt.Sprintf(" AND (t.signature & $%d) = $%d", p, p)
		args = append(args, s.mask)
		if to != ([3]string{}) {
			where += fmt.Sprintf(" AND (t.token, t.name_key, t.user_id) <= ($%d, $%d, $%d)", p+1, p+2, p+3)
			args = append(args, []byte(to[0]), []byte(to[1]), to[2])
		}
	}
	// The order of a CROSS JOIN is kept by SQLite: first the index.
	err = each(ctx, s.d.db, func(r *sql.Rows) error {
		var token []byte
		c, err := scanCandidate(r.Scan, &token)
		c.at = [3]string{string(token), c.key, c.id}
		out = append(out, c)
		return err
	}, "SELECT u.id, u.name_key, u.search, t.token FROM user_token t CROSS JOIN users u WHERE u.company = t.company AND u.id = t.user_id AND t.company = $1 AND "+
		where+order+" LIMIT $2", args...)
	if !sifted {
		to = lastOf(out, n)
	}
	return out, to, err
}

func (f tokensFrom) again(s search, c candidate) bool {
	return s.inPhrase(c) || c.at[0] != f.term.first(c.tokens)
}

func (s search) inPhrase(c candidate) bool {
	return s.phrase != "" && strings.HasPrefix(c.key, s.phrase)
}

// numbersFrom is the users with a number in one of a term's ranges, who have
// none in the ranges before and none in this one before it.
type numbersFrom struct {
	term term
	at   int
}

func (f numbersFrom) rows(ctx context.Context, s search, after [3]string, n int) (out []candidate, to [3]string, err error) {
	ranges := f.term.numberRanges()
	this := ranges[f.at]
	args := []any{s.company, n, this.from, this.to, after[0], after[1]}
	before := "(" + this.where("m", 3) + " AND (m." + this.column + ", m.number) < (n." + this.column + ", n.number))"
	for _, r := range ranges[:f.at] {
		before += " OR " + r.where("m", len(args)+1)
		args = append(args, r.from, r.to)
	}
	err = each(ctx, s.d.db, func(r *sql.Rows) error {
		var key, number string
		c, err := scanCandidate(r.Scan, &key, &number)
		c.at = [3]string{key, number, ""}
		out = append(out, c)
		return err
	}, "SELECT u.id, u.name_key, u.search, n."+this.column+", n.number FROM number n JOIN users u ON u.company = n.company AND u.id = n.owner_id"+
		" WHERE n.company = $1 AND n.status = 'user' AND "+this.where("n", 3)+" AND (n."+this.column+", n.number) > ($5, $6)"+
		" AND NOT EXISTS (SELECT 1 FROM number m WHERE m.company = n.company AND m.owner_kind = 'user' AND m.owner_id = n.owner_id AND ("+before+"))"+
		" ORDER BY n."+this.column+", n.number LIMIT $2", args...)
	return out, lastOf(out, n), err
}

func (f numbersFrom) again(s search, c candidate) bool {
	return s.inPhrase(c) || f.term.has(c.tokens)
}
