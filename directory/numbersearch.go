package directory

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/nyaruka/phonenumbers"
)

// NumberFilter narrows a list of numbers; empty fields do not. Digits may be
// written in any way: with punctuation, with a trunk prefix, with +, 00 or 011,
// as a tel: URI, with the letters of a telephone's keys.
type NumberFilter struct {
	// Query is a full number, an area code, a prefix or the end of a number. What
	// begins with it comes first, then what has it as prefix, then what ends in it.
	Query string
	// AreaCode is what national numbers begin with.
	AreaCode string
	// Prefix is what follows the area code, up to three digits: those after
	// AreaCode where it is given, else digits 4–6 of the national number. With +,
	// or longer, it is the beginning of the number.
	Prefix string
	// Suffix is what numbers end in.
	Suffix string
	Type   string
	Status string
	// OwnerKind alone is any owner of that kind.
	OwnerKind string
	Owner     *Owner
	// Office is the id of the office that the owner is in, or is.
	Office string
	Page
}

var (
	numberStatuses = []string{StatusAvailable, KindUser, KindDepartment, KindOffice, KindRoom, KindContactCenter, StatusPortPending}
	numberTypes    = []string{TypeLocal, TypeTollFree}
)

// span is the numbers of which a column begins with digits. Columns hold digits
// (number: + and digits), which every collation sorts alike; its bounds are
// digits too. So ranges mean the same on SQLite and on PostgreSQL, whatever the
// database's collation is, and both use their indexes for them.
type span struct {
	column string // number, national, prefix or reversed
	begins string
}

func beginning(column, digits string) span {
	if column == "number" {
		digits = "+" + digits
	}
	return span{column, digits}
}

func ending(digits string) span { return span{"reversed", reversed(digits)} }

// end is the first digits after all that begin with s.begins; "" where nothing follows.
func (s span) end() string {
	cut := strings.TrimRight(s.begins, "9")
	if cut == "" || cut == "+" {
		return ""
	}
	return cut[:len(cut)-1] + string(cut[len(cut)-1]+1)
}

// narrow says whether few numbers can be in s, whatever the company has.
func (s span) narrow() bool {
	return s.digits() >= 7 || s.column == "reversed" && s.digits() >= 4
}

// digits is by how many digits s narrows. A country code hardly narrows at all.
func (s span) digits() int {
	if s.column == "number" {
		return len(s.begins) - 2
	}
	return len(s.begins)
}

// reversed is the digits of s from the last to the first.
func reversed(s string) string {
	b := []byte(strings.TrimPrefix(s, "+"))
	slices.Reverse(b)
	return string(b)
}

// keys are the digits of a telephone's letters (ITU-T E.161).
const keys = "22233344455566677778889999"

// writtenDigits reads digits in any way that people write them. plus says that
// they begin with a country code. ok is false where there is anything else in s.
func writtenDigits(s string) (digits string, plus, ok bool) {
	s = strings.ToLower(strings.TrimSpace(s))
	for _, scheme := range []string{"tel:", "sip:", "sips:"} {
		if rest, found := strings.CutPrefix(s, scheme); found {
			s, _, _ = strings.Cut(rest, ";")
			s, _, _ = strings.Cut(s, "@")
			break
		}
	}
	s = strings.TrimSpace(s)
	if s, plus = strings.CutPrefix(s, "+"); !plus {
		s, plus = strings.CutPrefix(s, "＋")
	}
	if plus {
		s = strings.Replace(s, "(0)", "", 1) // +44 (0)20: dialled within the country only
	}
	var b strings.Builder
	letters := 0
	for _, r := range s {
		switch {
		case r >= '0' && r <= '9':
			b.WriteRune(r)
		case r >= 'a' && r <= 'z':
			letters++
			b.WriteByte(keys[r-'a'])
		case r >= '０' && r <= '９': // full width
			b.WriteRune(r - '０' + '0')
		case r >= '٠' && r <= '٩': // Arabic-Indic
			b.WriteRune(r - '٠' + '0')
		case strings.ContainsRune(" -().,/_\t\u00a0\u2009\u202f\u2010\u2011\u2012\u2013\u2212", r):
		default:
			return "", false, false
		}
	}
	digits = b.String()
	// A word is not a number: letters stand behind an area code.
	if digits == "" || len(digits) > 20 || letters > 0 && len(digits)-letters < 3 {
		return "", false, false
	}
	return digits, plus, true
}

// nationalDigits takes off what is dialled before an area code in a region.
func nationalDigits(digits, region string) string {
	trunk := phonenumbers.GetNddPrefixForRegion(region, true)
	if rest, found := strings.CutPrefix(digits, trunk); found && rest != "" {
		return rest
	}
	return digits
}

// readings is what a query may mean, the likeliest first.
func readings(q, region string) ([]span, error) {
	digits, plus, ok := writtenDigits(q)
	if !ok {
		return nil, invalid("q", "must be digits: a number, an area code, a prefix or the end of a number")
	}
	if plus {
		return []span{beginning("number", digits)}, nil
	}
	var out []span
	add := func(s span) {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	if n, err := ParseNumber(digits, region); err == nil {
		add(beginning("number", n.Number[1:]))
	}
	add(beginning("national", digits))
	add(beginning("number", digits))
	if len(digits) > 2 {
		add(beginning("national", nationalDigits(digits, region)))
	}
	// Dialled abroad: only with enough behind it, for 0011 is more likely an end.
	if rest, found := strings.CutPrefix(digits, "0"); found && len(rest) > 6 {
		add(beginning("national", rest))
	}
	for _, international := range []string{"00", "011"} {
		if rest, found := strings.CutPrefix(digits, international); found && len(rest) > 4 {
			add(beginning("number", rest))
		}
	}
	if len(digits) == 3 {
		add(span{"prefix", digits})
	}
	add(ending(digits))
	return out, nil
}

// required is the spans that a number must be in.
func (f NumberFilter) required(region string) ([]span, error) {
	var out []span
	area, prefix := "", ""
	if f.AreaCode != "" {
		digits, plus, ok := writtenDigits(f.AreaCode)
		if ok {
			area = nationalDigits(digits, region)
		}
		if !ok || plus || area == "" || len(area) > 5 {
			return nil, invalid("area_code", "must be 1 to 5 digits")
		}
	}
	if f.Prefix != "" {
		digits, plus, ok := writtenDigits(f.Prefix)
		switch {
		case !ok:
			return nil, invalid("prefix", "must be digits")
		case plus:
			out = append(out, beginning("number", digits))
		case len(digits) <= 3 && area != "":
			prefix = digits
		case len(digits) <= 3:
			out = append(out, span{"prefix", digits})
		default:
			out = append(out, beginning("national", nationalDigits(digits, region)))
		}
	}
	if area != "" {
		out = append(out, beginning("national", area+prefix))
	}
	if f.Suffix != "" {
		digits, _, ok := writtenDigits(f.Suffix)
		if !ok {
			return nil, invalid("suffix", "must be digits")
		}
		out = append(out, ending(digits))
	}
	return out, nil
}

// check judges the filters that have a fixed set of values.
func (f *NumberFilter) check() error {
	if f.Owner != nil {
		f.OwnerKind = f.Owner.Kind
	}
	if f.OwnerKind != "" {
		if i := slices.Index(numberStatuses, f.OwnerKind); i < 0 || f.OwnerKind == StatusAvailable || f.OwnerKind == StatusPortPending {
			return invalid("owner_kind", "must be user, department, office, room or contact_center")
		}
		if f.Status != "" && f.Status != f.OwnerKind {
			return invalid("status", "contradicts owner_kind")
		}
		f.Status = f.OwnerKind // the status of a number that has an owner
	}
	if f.Status != "" && !slices.Contains(numberStatuses, f.Status) {
		return invalid("status", "must be "+strings.Join(numberStatuses, ", "))
	}
	if f.Type != "" && !slices.Contains(numberTypes, f.Type) {
		return invalid("type", "must be local or toll_free")
	}
	return nil
}

// Numbers lists the numbers of a company. Without Query and Suffix they come in
// numerical order, which within a country is that of national numbers; with
// Query as it says; with a suffix of some length in the order of the digits
// from the last to the first.
func (d *Directory) Numbers(ctx context.Context, company string, f NumberFilter) ([]Number, string, error) {
	if err := f.check(); err != nil {
		return nil, "", err
	}
	region, err := companyRegion(ctx, d.db, company)
	if err != nil {
		return nil, "", err
	}
	required, err := f.required(region)
	if err != nil {
		return nil, "", err
	}
	meanings := []span{{}} // one without any condition
	if strings.TrimSpace(f.Query) != "" {
		if meanings, err = readings(f.Query, region); err != nil {
			return nil, "", err
		}
	}
	first, after, err := f.position(len(meanings))
	if err != nil {
		return nil, "", err
	}
	// Each meaning is a list of its own, without what the ones before had; they
	// follow one another.
	var out []found
	for m := first; m < len(meanings) && len(out) <= f.limit(); m++ {
		s := numberSearch{postgres: d.postgres, company: company, region: region, filter: f, except: meanings[:m], limit: f.limit() + 1 - len(out)}
		if meanings[m] != (span{}) {
			s.within = append(s.within, meanings[m])
		}
		s.within = append(s.within, required...)
		part, err := s.run(ctx, d.db, after)
		if err != nil {
			return nil, "", err
		}
		for _, n := range part {
			n.meaning = m
			out = append(out, n)
		}
		after = nil
	}
	out, next := cut(out, f.limit(), func(n found) []string { return []string{strconv.Itoa(n.meaning), n.key, n.Number.Number} })
	numbers := make([]Number, len(out))
	for i, n := range out {
		numbers[i] = n.Number
	}
	return numbers, next, nil
}

// position reads the cursor: after which key and number of which meaning.
func (f NumberFilter) position(meanings int) (first int, after []string, err error) {
	if f.Cursor == "" {
		return 0, nil, nil
	}
	key, err := decodeCursor(f.Cursor, 3)
	if err != nil {
		return 0, nil, err
	}
	if first, err = strconv.Atoi(key[0]); err != nil || first < 0 || first >= meanings || strings.ContainsRune(key[1]+key[2], 0) {
		return 0, nil, invalid("cursor", "is not one that a list gave")
	}
	return first, key[1:], nil
}

// found is a number with where it stands in a list.
type found struct {
	Number
	meaning int
	key     string
}

// numberSearch is one list of numbers in the order of one index.
type numberSearch struct {
	postgres bool
	company  string
	region   string
	filter   NumberFilter
	within   []span // all of these
	except   []span // none of these
	limit    int

	way    way
	driver span // the range that is read; none: all that way leads to
	args   []any
}

// way is by which index a search goes.
type way int

const (
	byNumber way = iota // the primary key
	byGroup             // one that begins with status and type, a page of each
	byRange             // one of those, for so few numbers that all are read and sorted
	byOwner
	byOffice
)

func (s *numberSearch) arg(v any) string {
	s.args = append(s.args, v)
	return fmt.Sprintf("$%d", len(s.args))
}

// choose finds the way that reads the least.
func (s *numberSearch) choose() {
	f := s.filter
	s.driver = span{"number", ""}
	if len(s.within) > 0 {
		s.driver = slices.MaxFunc(s.within, func(a, b span) int { return a.digits() - b.digits() })
	}
	number, kinds := s.driver.column == "number", f.Status != "" || f.Type != ""
	switch {
	case s.driver.narrow() && number:
		s.way = byNumber
	case s.driver.narrow():
		s.way = byRange
	case f.Owner != nil:
		s.way, s.driver = byOwner, span{"number", ""}
	case f.Office != "":
		s.way, s.driver = byOffice, span{"number", ""}
	case number && !kinds:
		s.way = byNumber
	default:
		s.way = byGroup
	}
}

// run reads up to s.limit numbers after the key and number of after.
//
// What does not say where to read is checked on what is read. It is written so
// that no index serves it, for a planner without statistics (SQLite has none)
// chooses badly.
func (s *numberSearch) run(ctx context.Context, q querier, after []string) ([]found, error) {
	s.args = []any{s.company}
	s.choose()
	where := s.where(after)
	column := "n." + s.driver.column
	order := "k, number"
	if s.driver.column == "number" {
		order = "number"
	}
	limit := s.arg(s.limit)
	part := func(kinds string) string {
		return "SELECT " + column + " AS k, n.number AS number FROM number n WHERE n.company = $1" + kinds + where
	}
	statuses, types := numberStatuses, numberTypes
	if s.filter.Status != "" {
		statuses = []string{s.filter.Status}
	}
	if s.filter.Type != "" {
		types = []string{s.filter.Type}
	}
	var keys string
	switch s.way {
	case byGroup:
		var groups []string
		for _, status := range statuses {
			for _, t := range types {
				groups = append(groups, " AND n.status = '"+status+"' AND n.type = '"+t+"'")
			}
		}
		keys = s.merge(groups, part, order, limit)
	case byRange:
		keys = s.merge([]string{" AND n.status IN ('" + strings.Join(statuses, "','") + "') AND n.type IN ('" + strings.Join(types, "','") + "')"}, part, order, limit)
	default:
		kinds := ""
		if len(statuses) == 1 {
			kinds += " AND (n.status || '') = '" + statuses[0] + "'"
		}
		if len(types) == 1 {
			kinds += " AND (n.type || '') = '" + types[0] + "'"
		}
		keys = s.merge(s.countries(kinds), part, order, limit)
	}
	// SQLite keeps the order of a CROSS JOIN: first the page, then what is shown of it.
	query := "SELECT " + numberColumns + ", s.k FROM (" + keys + ") s CROSS JOIN number n WHERE n.company = $1 AND n.number = s.number ORDER BY s.k, s.number"
	var out []found
	err := each(ctx, q, func(r *sql.Rows) error {
		var one found
		var err error
		one.Number, err = scanNumber(func(into ...any) error { return r.Scan(append(into, &one.key)...) })
		out = append(out, one)
		return err
	}, query, s.args...)
	return out, err
}

// where is all conditions but those on status and type.
func (s *numberSearch) where(after []string) string {
	f := s.filter
	where := ""
	if s.driver.begins != "" {
		low := s.driver.begins
		if after != nil {
			low = max(low, after[0])
		}
		where += " AND n." + s.driver.column + " >= " + s.arg(low)
		if end := s.driver.end(); end != "" {
			where += " AND n." + s.driver.column + " < " + s.arg(end)
		}
	}
	if f.Owner != nil {
		other := s.way != byOwner
		where += " AND " + unindexed("n.owner_kind", other) + " = " + s.arg(f.Owner.Kind) + " AND " + unindexed("n.owner_id", other) + " = " + s.arg(f.Owner.ID)
	}
	if f.Office != "" {
		where += " AND " + unindexed("n.office_id", s.way != byOffice) + " = " + s.arg(f.Office)
	}
	for _, w := range s.within {
		if w != s.driver {
			where += " AND " + s.in(w)
		}
	}
	for _, e := range s.except {
		where += " AND NOT (" + s.in(e) + ")"
	}
	switch {
	case after == nil:
	case s.driver.column == "number":
		where += " AND n.number > " + s.arg(after[1])
	default:
		where += " AND (n." + s.driver.column + ", n.number) > (" + s.arg(after[0]) + ", " + s.arg(after[1]) + ")"
	}
	return where
}

// merge makes one page of several parts. Each is a range of an index in the
// order of the page, and both engines read them side by side and stop when the
// page is full, however much there is of what is looked for: SQLite if the parts
// are bare, for it sorts what was limited; PostgreSQL if each is limited itself,
// for else it may think it better to sort them all.
func (s *numberSearch) merge(conditions []string, part func(condition string) string, order, limit string) string {
	ordered := " ORDER BY " + order + " LIMIT " + limit
	parts := make([]string, len(conditions))
	for i, c := range conditions {
		parts[i] = part(c)
		if s.postgres && len(conditions) > 1 {
			parts[i] = "(" + parts[i] + ordered + ")"
		}
	}
	return strings.Join(parts, " UNION ALL ") + ordered
}

// countries splits the numbers of an owner or office, which are read in their
// order, where national digits are asked for: those of the company's own country
// are a range of it, and only the others, of which there are few, are looked at
// one by one.
func (s *numberSearch) countries(kinds string) []string {
	if s.way != byOwner && s.way != byOffice {
		return []string{kinds}
	}
	for _, w := range s.within {
		if w.column == "national" {
			code := phonenumbers.GetCountryCodeForRegion(s.region)
			all := beginning("number", strconv.Itoa(code))
			home := beginning("number", strconv.Itoa(code)+w.begins)
			parts := []string{kinds + " AND n.number < " + s.arg(all.begins), kinds + " AND n.number >= " + s.arg(home.begins)}
			if end := home.end(); end != "" {
				parts[1] += " AND n.number < " + s.arg(end)
			}
			if end := all.end(); end != "" {
				parts = append(parts, kinds+" AND n.number >= "+s.arg(end))
			}
			return parts
		}
	}
	return []string{kinds}
}

// unindexed is a column that no index is used for, where so is true.
func unindexed(column string, so bool) string {
	if so {
		return "(" + column + " || '')"
	}
	return column
}

// in is the condition that a number is in w, not to be answered from an index.
func (s *numberSearch) in(w span) string {
	if w.column == "reversed" {
		// By the number: an index that has no reversed has that.
		return fmt.Sprintf("substr(n.number, length(n.number) - %d) = %s", len(w.begins)-1, s.arg(reversed(w.begins)))
	}
	column := unindexed("n."+w.column, true)
	condition := column + " >= " + s.arg(w.begins)
	if end := w.end(); end != "" {
		condition += " AND " + column + " < " + s.arg(end)
	}
	return condition
}
