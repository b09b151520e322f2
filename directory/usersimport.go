package directory

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/agnivade/levenshtein"
)

// Bounds of an import. The one of rows bounds for how long other writers wait:
// all rows are stored in one transaction.
const (
	MaxImportBytes  = 64 << 20
	MaxImportRows   = 200_000
	MaxImportErrors = 1000 // that are listed; the others are counted

	maxRowBytes = 64 << 10
	maxListed   = 50 // values in one cell
)

// Columns of an import. What an export has beside them is read over.
var (
	importColumns  = []string{"name", "email", "id", "state", "office", "departments", "contact_centers", "numbers", "aors", "voicemail_greeting"}
	ignoredColumns = []string{"app_versions", "created_at", "updated_at"}
)

// ImportError is what is wrong with one cell, or with a row or the whole file
// where Column is empty. It never repeats a value.
type ImportError struct {
	Line    int    `json:"line"`   // of the file, from 1, where the row begins
	Column  string `json:"column"` // as in the header
	Message string `json:"message"`
}

// ImportErrors says why nothing of a file was stored.
type ImportErrors struct {
	Errors []ImportError // the first MaxImportErrors by line
	Total  int
}

func (e *ImportErrors) Error() string {
	first := e.Errors[0]
	at := fmt.Sprintf("line %d", first.Line)
	if first.Column != "" {
		at += ", " + first.Column
	}
	if e.Total == 1 {
		return at + ": " + first.Message
	}
	return fmt.Sprintf("%s: %s, and %s more", at, first.Message, counted(e.Total-1, "error"))
}

func (e *ImportErrors) Unwrap() error { return ErrInvalid }

func (e *ImportErrors) add(line int, column, message string) {
	if e.Total++; len(e.Errors) < MaxImportErrors {
		e.Errors = append(e.Errors, ImportError{line, column, message})
	}
}

func (e *ImportErrors) orNil() error {
	if e.Total == 0 {
		return nil
	}
	slices.SortStableFunc(e.Errors, func(a, b ImportError) int { return cmp.Compare(a.Line, b.Line) })
	return e
}

// ImportRow is one user of a file.
type ImportRow struct {
	User
	Line int
	// numbers are those of User as read in the company's region.
	numbers []Number
}

// ImportFile is a file of users as it was read.
type ImportFile struct {
	Total int // users in it, with those that are wrong
	rows  []ImportRow
	errs  ImportErrors
}

// ParseUsers reads users from CSV (RFC 4180): UTF-8, with a header, delimited by
// comma, semicolon or tab, whichever the header has most of. Several values of a
// cell are divided by semicolons. What is wrong with the file is told by
// ImportUsers, with all else that is wrong; an error here is one of reading.
// Nothing is locked meanwhile: r may be as slow as it likes.
func ParseUsers(r io.Reader) (*ImportFile, error) {
	p := userParser{in: bufio.NewReaderSize(&boundedReader{r: r, left: MaxImportBytes}, 64<<10)}
	if err := p.parse(); err != nil {
		return nil, err
	}
	p.orderIDs()
	return &p.ImportFile, nil
}

var errTooBig = errors.New("too big")

type boundedReader struct {
	r    io.Reader
	left int
}

func (b *boundedReader) Read(p []byte) (int, error) {
	n, err := b.r.Read(p[:min(len(p), b.left+1)])
	if b.left -= n; b.left < 0 {
		return 0, errTooBig
	}
	return n, err
}

type userParser struct {
	ImportFile
	in      *bufio.Reader
	columns []string // of the cells, '' where not used
	unnamed []int    // rows without an id in the file
}

func (p *userParser) parse() error {
	head, _ := p.in.Peek(4)
	switch {
	case bytes.HasPrefix(head, []byte{0xff, 0xfe}), bytes.HasPrefix(head, []byte{0xfe, 0xff}), len(head) > 1 && (head[0] == 0 || head[1] == 0):
		p.errs.add(1, "", "the file is UTF-16: save it as CSV UTF-8")
		return nil
	case bytes.HasPrefix(head, []byte("\xef\xbb\xbf")):
		_, _ = p.in.Discard(3)
	}
	start, err := p.in.Peek(32 << 10)
	if err != nil && !errors.Is(err, io.EOF) {
		return p.failed(err, 1)
	}
	line, _, ended := bytes.Cut(start, []byte("\n"))
	if !ended && bytes.IndexByte(line, '\r') >= 0 && bytes.IndexByte(line, '\r') < len(line)-1 {
		p.errs.add(1, "", "the lines end in CR alone: save the file with CRLF or LF")
		return nil
	}
	in := csv.NewReader(p.in)
	in.Comma, in.FieldsPerRecord, in.ReuseRecord = delimiter(line), -1, true
	cells, err := in.Read()
	switch {
	case errors.Is(err, io.EOF):
		p.errs.add(1, "", "the file is empty: its first row must name the columns")
		return nil
	case err != nil:
		return p.failed(err, 1)
	}
	first, _ := in.FieldPos(0)
	if p.header(cells, first); p.errs.Total > 0 {
		return nil
	}
	return p.body(in)
}

// delimiter is the one that the header has most of, outside of quotes.
func delimiter(header []byte) rune {
	count, quoted := map[byte]int{}, false
	for _, c := range header {
		switch {
		case c == '"':
			quoted = !quoted
		case !quoted:
			count[c]++
		}
	}
	best := byte(',')
	for _, c := range []byte(";\t") {
		if count[c] > count[best] {
			best = c
		}
	}
	return rune(best)
}

// header says which column is which.
func (p *userParser) header(cells []string, line int) {
	p.columns = make([]string, len(cells))
	known := append(slices.Clone(importColumns), ignoredColumns...)
	seen := map[string]bool{}
	for i, c := range cells {
		if !utf8.ValidString(c) {
			p.errs.add(line, "", notUTF8)
			return
		}
		name := strings.ReplaceAll(strings.ToLower(strings.TrimSpace(c)), " ", "_")
		switch {
		case name == "" && i == len(cells)-1 && len(cells) > 1: // a delimiter at the end of the line
		case !slices.Contains(known, name):
			nearest := slices.MinFunc(known, func(a, b string) int {
				return levenshtein.ComputeDistance(name, a) - levenshtein.ComputeDistance(name, b)
			})
			p.errs.add(line, "", fmt.Sprintf("column %d is none that an import knows; the nearest is %q", i+1, nearest))
		case seen[name]:
			p.errs.add(line, name, "is there twice")
		case slices.Contains(importColumns, name):
			p.columns[i] = name
		}
		seen[name] = true
	}
	if p.errs.Total == 0 && !seen["name"] {
		p.errs.add(line, "name", "is missing: every user needs a name")
	}
}

const notUTF8 = "is not UTF-8: save the file as CSV UTF-8"

func (p *userParser) body(in *csv.Reader) error {
	last := in.InputOffset()
	for {
		cells, err := in.Read()
		var form *csv.ParseError
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.As(err, &form):
			p.Total++
			p.errs.add(form.StartLine, "", formError(form))
			if p.errs.Total >= MaxImportErrors {
				return nil // no CSV at all
			}
			last = in.InputOffset()
			continue
		case err != nil:
			return p.failed(err, 0)
		}
		line, _ := in.FieldPos(0)
		size := in.InputOffset() - last
		last = in.InputOffset()
		if blank(cells) {
			continue
		}
		p.Total++
		switch {
		case size > maxRowBytes:
			p.errs.add(line, "", fmt.Sprintf("the row is longer than %d KiB", maxRowBytes>>10))
		case p.Total > MaxImportRows:
			p.errs.add(line, "", fmt.Sprintf("the file has more than %d users: divide it", MaxImportRows))
			return nil
		case len(cells) > len(p.columns):
			p.errs.add(line, "", fmt.Sprintf("the row has %d cells, the header %d", len(cells), len(p.columns)))
		default:
			p.row(cells, line)
		}
	}
}

func blank(cells []string) bool {
	return !slices.ContainsFunc(cells, func(c string) bool { return strings.TrimSpace(c) != "" })
}

func formError(err *csv.ParseError) string {
	if errors.Is(err.Err, csv.ErrQuote) && err.Line != err.StartLine {
		return "a quote that begins in this row does not end as it should"
	}
	if errors.Is(err.Err, csv.ErrBareQuote) || errors.Is(err.Err, csv.ErrQuote) {
		return `a quote is out of place: cells with quotes are written in quotes, and quotes in them doubled`
	}
	return "is not CSV"
}

// failed tells the file's faults from those of reading it.
func (p *userParser) failed(err error, line int) error {
	var form *csv.ParseError
	switch {
	case errors.Is(err, errTooBig):
		p.errs.add(max(line, 1), "", fmt.Sprintf("the file is bigger than %d MiB: divide it", MaxImportBytes>>20))
		return nil
	case errors.As(err, &form):
		p.errs.add(form.StartLine, "", formError(form))
		return nil
	}
	return fmt.Errorf("cannot read the file of users: %w", err)
}

// row reads one user. What a cell may hold is judged here, what it refers to later.
func (p *userParser) row(cells []string, line int) {
	u, before := User{State: StateActive}, p.errs.Total
	for i, value := range cells {
		column := p.columns[i]
		if column == "" {
			continue
		}
		if !utf8.ValidString(value) {
			p.errs.add(line, column, notUTF8)
			continue
		}
		if value = unguarded(strings.TrimSpace(value)); value == "" {
			continue
		}
		list := func() []string {
			values := slices.DeleteFunc(strings.FieldsFunc(value, func(r rune) bool { return r == ';' || r == '\n' }), func(s string) bool { return strings.TrimSpace(s) == "" })
			for i := range values {
				values[i] = strings.TrimSpace(values[i])
			}
			if len(values) > maxListed {
				p.errs.add(line, column, fmt.Sprintf("has more than %d values", maxListed))
			}
			return values
		}
		switch column {
		case "name":
			u.Name = value
		case "email":
			u.Email = value
		case "id":
			u.ID = value
		case "state":
			u.State = strings.ToLower(value)
		case "office":
			u.Office = value
		case "departments":
			u.Departments = list()
		case "contact_centers":
			u.ContactCenters = list()
		case "numbers":
			u.Numbers = list()
		case "aors":
			u.AORs = list()
		case "voicemail_greeting":
			u.VoicemailGreeting = value
		}
	}
	if p.errs.Total > before {
		return
	}
	p.judge(u, line)
}

func (p *userParser) judge(u User, line int) {
	unnamed := u.ID == ""
	if unnamed {
		u.ID = newID()
	}
	if len(u.Name) > 200 {
		p.errs.add(line, "name", "is longer than 200 bytes")
		return
	}
	if len(u.Email) > 254 {
		p.errs.add(line, "email", "is longer than 254 bytes")
		return
	}
	var field *FieldError
	if err := checkUser(&u); errors.As(err, &field) {
		column, _, _ := strings.Cut(field.Field, "[")
		p.errs.add(line, column, field.Reason)
		return
	}
	if u.State == StateDeleted {
		for column, values := range map[string][]string{"numbers": u.Numbers, "aors": u.AORs, "departments": u.Departments, "contact_centers": u.ContactCenters} {
			if len(values) > 0 {
				p.errs.add(line, column, "must be empty: the user is deleted")
				return
			}
		}
	}
	if unnamed {
		p.unnamed = append(p.unnamed, len(p.rows))
	}
	p.rows = append(p.rows, ImportRow{User: u, Line: line})
}

// orderIDs gives the ids that were made out in ascending order: what is stored of
// a user then goes beside what was stored of the one before.
func (p *userParser) orderIDs() {
	ids := make([]string, len(p.unnamed))
	for k, n := range p.unnamed {
		ids[k] = p.rows[n].ID
	}
	slices.Sort(ids)
	for k, n := range p.unnamed {
		p.rows[n].ID = ids[k]
	}
}

// unguarded takes off the apostrophe with which an export keeps spreadsheets
// from running a text as a formula.
func unguarded(s string) string {
	if len(s) > 1 && s[0] == '\'' && strings.IndexByte("=+-@", s[1]) >= 0 {
		return s[1:]
	}
	return s
}

// ImportProgress is how far an import is, in users.
type ImportProgress struct {
	Checked int `json:"rows_checked"`
	Stored  int `json:"rows_stored"`
	Total   int `json:"total"`
}

// ImportOptions say what an import does.
type ImportOptions struct {
	// Office is that of users who name none.
	Office string
	// DryRun checks all that an import does and stores nothing.
	DryRun bool
	// Progress, where not nil, is told now and then. Other writers wait while
	// rows are stored, so it should not.
	Progress func(ImportProgress)
}

// How many users are checked by one round of questions, and stored by one round
// of statements: sorted together, many cost less than few.
const (
	importBatch = 1000
	storeBatch  = 10_000
)

// ImportUsers stores the users of a file, all or none: a file with one row that
// cannot be stored is refused with *ImportErrors that names each. It is checked
// first without keeping anyone waiting; then all rows are stored in one
// transaction. Other writers wait for as long as that takes, readers do not.
func (d *Directory) ImportUsers(ctx context.Context, company string, f *ImportFile, o ImportOptions) error {
	i := &userImport{d: d, company: company, file: f, rows: f.rows, options: o, now: d.now()}
	// Read before the records: a change in between makes the check be done again,
	// never the other way round.
	version, err := d.Version(ctx)
	if err != nil {
		return err
	}
	if err := i.check(ctx, d.db); err != nil || o.DryRun {
		return err
	}
	rows, err := d.beginBulk(ctx)
	if err != nil {
		return err
	}
	defer d.endBulk(ctx, rows)
	return d.writeOn(ctx, rows.conn, func(tx *sql.Tx) error {
		var now int64
		if err := tx.QueryRowContext(ctx, "SELECT n FROM directory_version").Scan(&now); err != nil {
			return fmt.Errorf("cannot read the directory's version: %w", err)
		}
		if now != version+1 { // someone was quicker
			if err := i.check(ctx, tx); err != nil {
				return err
			}
		}
		return i.store(withBulk(ctx, rows), tx)
	})
}

type userImport struct {
	d       *Directory
	company string
	file    *ImportFile
	rows    []ImportRow
	options ImportOptions
	now     time.Time
	errs    ImportErrors
	// places maps kind, then id and folded name, to ids; '' where a name is not one's alone.
	places map[string]map[string]string
	// available are those numbers of the file that the company has.
	available map[string]Number
}

func (i *userImport) tell(checked, stored int) {
	if i.options.Progress != nil {
		i.options.Progress(ImportProgress{Checked: checked, Stored: stored, Total: len(i.rows)})
	}
}

// check finds all that is wrong with the rows, and settles what they refer to.
func (i *userImport) check(ctx context.Context, q querier) error {
	region, err := companyRegion(ctx, q, i.company)
	if err != nil {
		return err
	}
	i.errs, i.available = ImportErrors{slices.Clone(i.file.errs.Errors), i.file.errs.Total}, map[string]Number{}
	if err := i.readPlaces(ctx, q); err != nil {
		return err
	}
	if o := i.options.Office; o != "" && i.places[KindOffice][o] != o {
		return invalid("office", "is not a known office of the company")
	}
	firsts := map[string]map[string]int{}
	for n := 0; n < len(i.rows); n += importBatch {
		part := i.rows[n:min(n+importBatch, len(i.rows))]
		for k := range part {
			i.checkRow(&part[k], region, firsts)
		}
		if err := i.checkStored(ctx, q, part); err != nil {
			return err
		}
		i.tell(n+len(part), 0)
	}
	return i.errs.orNil()
}

func (i *userImport) readPlaces(ctx context.Context, q querier) error {
	i.places = map[string]map[string]string{KindOffice: {}, KindDepartment: {}, KindContactCenter: {}}
	return each(ctx, q, func(r *sql.Rows) error {
		var kind, id, name string
		if err := r.Scan(&kind, &id, &name); err != nil {
			return err
		}
		of := i.places[kind]
		of[id] = id
		name = byPlaceName(name)
		if _, twice := of[name]; twice {
			id = ""
		}
		of[name] = id
		return nil
	}, "SELECT kind, id, name FROM place WHERE company = $1 AND kind <> 'room'", i.company)
}

// byPlaceName is the key of a place by its name, which no id is.
func byPlaceName(name string) string { return "\n" + fold(name) }

// place finds a place by id or name.
func (i *userImport) place(line int, column, kind, value string) string {
	if id, ok := i.places[kind][value]; ok {
		return id
	}
	id, known := i.places[kind][byPlaceName(value)]
	switch what := strings.ReplaceAll(kind, "_", " "); {
	case !known:
		i.errs.add(line, column, "is not a known "+what+" of the company, by id or name")
	case id == "":
		i.errs.add(line, column, "is the name of more than one "+what+": give its id")
	}
	return id
}

// checkRow judges a row by the company's places and by the rows before it.
func (i *userImport) checkRow(r *ImportRow, region string, firsts map[string]map[string]int) {
	once := func(column, value string) {
		if value == "" {
			return
		}
		if firsts[column] == nil {
			firsts[column] = map[string]int{}
		}
		if line, twice := firsts[column][value]; twice {
			i.errs.add(r.Line, column, fmt.Sprintf("is in line %d too", line))
			return
		}
		firsts[column][value] = r.Line
	}
	once("id", r.ID)
	if r.State != StateDeleted {
		once("email", r.Email)
	}
	if r.Office == "" {
		r.Office = i.options.Office
	}
	if r.Office != "" {
		r.Office = i.place(r.Line, "office", KindOffice, r.Office)
	}
	for k, v := range r.Departments {
		r.Departments[k] = i.place(r.Line, "departments", KindDepartment, v)
	}
	for k, v := range r.ContactCenters {
		r.ContactCenters[k] = i.place(r.Line, "contact_centers", KindContactCenter, v)
	}
	for _, a := range r.AORs {
		once("aors", a)
	}
	r.numbers = r.numbers[:0]
	for _, v := range r.Numbers {
		n, err := ParseNumber(v, region)
		if err != nil {
			i.errs.add(r.Line, "numbers", "has one that is not a valid number")
			continue
		}
		once("numbers", n.Number)
		n.Status, n.Owner = KindUser, &Owner{Kind: KindUser, ID: r.ID}
		r.numbers = append(r.numbers, n)
	}
	r.User = ordered(r.User)
}

// checkStored judges rows by what the directory holds.
func (i *userImport) checkStored(ctx context.Context, q querier, rows []ImportRow) error {
	lines := map[string]map[string]int{"id": {}, "email": {}, "aors": {}, "numbers": {}}
	for _, r := range rows {
		lines["id"][r.ID] = r.Line
		if r.Email != "" && r.State != StateDeleted {
			lines["email"][r.Email] = r.Line
		}
		for _, a := range r.AORs {
			lines["aors"][a] = r.Line
		}
		for _, n := range r.numbers {
			lines["numbers"][n.Number] = r.Line
		}
	}
	for _, c := range []struct{ column, query, message string }{
		{"id", "SELECT id FROM users WHERE company = $1 AND id IN ", "is taken"},
		{"email", "SELECT email FROM users WHERE company = $1 AND email <> '' AND state <> 'deleted' AND email IN ", "is another user's"},
		{"aors", "SELECT aor FROM aor WHERE company = $1 AND aor IN ", "is another user's"},
	} {
		err := inBatches(ctx, q, i.company, c.query, slices.Sorted(maps.Keys(lines[c.column])), func(r *sql.Rows) error {
			var value string
			err := r.Scan(&value)
			i.errs.add(lines[c.column][value], c.column, c.message)
			return err
		})
		if err != nil {
			return err
		}
	}
	return inBatches(ctx, q, i.company, "SELECT "+numberColumns+" FROM number n WHERE n.company = $1 AND n.number IN ", slices.Sorted(maps.Keys(lines["numbers"])), func(r *sql.Rows) error {
		n, err := scanNumber(r.Scan)
		if err != nil {
			return err
		}
		if n.Status != StatusAvailable {
			i.errs.add(lines["numbers"][n.Number], "numbers", "has one that is not available")
		}
		i.available[n.Number] = n
		return nil
	})
}

// inBatches runs a query for many values: it ends in IN, and its list is added.
func inBatches(ctx context.Context, q querier, company, query string, values []string, row func(*sql.Rows) error) error {
	for part := range slices.Chunk(values, 100) {
		args := appendAll([]any{company}, part)
		if err := each(ctx, q, row, query+"("+placeholders(2, len(part))+")", args...); err != nil {
			return err
		}
	}
	return nil
}

// store writes rows that were found good.
func (i *userImport) store(ctx context.Context, tx *sql.Tx) error {
	for n := 0; n < len(i.rows); n += storeBatch {
		part := i.rows[n:min(n+storeBatch, len(i.rows))]
		users, changes := make([]User, len(part)), make([]Change, 0, len(part))
		var aors, members [][]any
		var added []Number
		holders := make(map[Owner]holder, len(part))
		for k, r := range part {
			users[k] = r.User
			changes = append(changes, userChange("user.create", "import", User{ID: r.ID}, r.User)...)
			for _, a := range r.AORs {
				aors = append(aors, []any{a, r.ID})
			}
			for _, id := range r.Departments {
				members = append(members, []any{r.ID, KindDepartment, id})
			}
			for _, id := range r.ContactCenters {
				members = append(members, []any{r.ID, KindContactCenter, id})
			}
			holders[Owner{Kind: KindUser, ID: r.ID}] = holder{office: r.Office, name: r.Name}
			for _, n := range r.numbers {
				if _, there := i.available[n.Number]; !there {
					added = append(added, n)
				}
			}
		}
		for _, step := range []func() error{
			func() error { return insertUsers(ctx, tx, i.company, users, i.now) },
			func() error { return insertRows(ctx, tx, i.company, "aor (company, aor, user_id)", aors) },
			func() error {
				return insertRows(ctx, tx, i.company, "membership (company, user_id, kind, place_id)", members)
			},
			func() error { return record(ctx, tx, i.company, i.now, changes...) },
			func() error { return addHeldNumbers(ctx, tx, i.company, added, holders, "import", i.now) },
			func() error { return i.take(ctx, tx, part) },
		} {
			if err := step(); err != nil {
				return err
			}
		}
		i.tell(len(i.rows), n+len(part))
		if err := i.analyze(ctx, tx, n); err != nil {
			return err
		}
	}
	return nil
}

// analyze tells PostgreSQL once what this transaction has put into tables that
// may have been empty: without statistics it reads them whole for each number.
func (i *userImport) analyze(ctx context.Context, tx *sql.Tx, stored int) error {
	if !i.d.postgres || stored > 0 {
		return nil
	}
	if _, err := tx.ExecContext(ctx, "ANALYZE users, number, number_history, journal"); err != nil {
		return fmt.Errorf("cannot analyze what was imported: %w", err)
	}
	return nil
}

// take assigns the numbers that the company had available.
func (i *userImport) take(ctx context.Context, tx *sql.Tx, rows []ImportRow) error {
	for _, r := range rows {
		for _, n := range r.numbers {
			if stored, there := i.available[n.Number]; there {
				if err := moveNumber(ctx, tx, i.company, stored, *n.Owner, "number.transfer", "import", i.now); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
