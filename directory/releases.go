package directory

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"
)

// AppKinds are the kinds of apps there are, as useragent and getStats name them:
// native is a desktop app for Mac or Windows, packaged_app a web page packed as
// an app, web and harness a browser, sip anything else that registers.
var AppKinds = []string{"native", "packaged_app", "web", "harness", "mobile", "desk_phone", "sip"}

// AppRelease is the latest version of a kind of app.
type AppRelease struct {
	Company    string // empty: of all companies, as the operator says
	Kind       string // one of AppKinds
	App        string // only of this app; empty: of each
	Platform   string // only on this platform; empty: on each
	Version    string
	ReleasedAt time.Time // zero: not said
	UpdatedAt  time.Time
}

// Releases are those that hold for a company: its own and the operator's.
type Releases []AppRelease

// AppReleases lists the releases of a company, with those of all companies that
// it has not set itself; of all companies alone where company is empty.
func (d *Directory) AppReleases(ctx context.Context, company string) (Releases, error) {
	var out Releases
	err := each(ctx, d.db, func(r *sql.Rows) error {
		var a AppRelease
		var released, updated int64
		if err := r.Scan(&a.Company, &a.Kind, &a.App, &a.Platform, &a.Version, &released, &updated); err != nil {
			return err
		}
		a.ReleasedAt, a.UpdatedAt = fromMicros(released), fromMicros(updated)
		same := func(o AppRelease) bool { return o.Kind == a.Kind && o.App == a.App && o.Platform == a.Platform }
		if !slices.ContainsFunc(out, same) { // the company's own come first
			out = append(out, a)
		}
		return nil
	}, "SELECT company, kind, app, platform, version, released_us, updated_us FROM app_release WHERE company IN ('', $1) ORDER BY company DESC, kind, app, platform", company)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(out, func(a, b AppRelease) int {
		return cmp.Or(cmp.Compare(slices.Index(AppKinds, a.Kind), slices.Index(AppKinds, b.Kind)), cmp.Compare(a.App, b.App), cmp.Compare(a.Platform, b.Platform))
	})
	return out, nil
}

// SetAppRelease stores the latest version of a kind of app, for a company or,
// where that is empty, for all.
func (d *Directory) SetAppRelease(ctx context.Context, company string, a AppRelease) (AppRelease, error) {
	if !slices.Contains(AppKinds, a.Kind) {
		return AppRelease{}, invalid("kind", "must be one of "+strings.Join(AppKinds, ", "))
	}
	if a.Version = strings.TrimSpace(a.Version); len(parseVersion(a.Version).numbers) == 0 {
		return AppRelease{}, invalid("version", "has no number to compare by")
	}
	a.Company, a.App, a.Platform = company, strings.TrimSpace(a.App), strings.TrimSpace(a.Platform)
	a.ReleasedAt = a.ReleasedAt.UTC().Truncate(time.Microsecond)
	a.UpdatedAt = d.now().UTC().Truncate(time.Microsecond)
	err := d.write(ctx, func(tx *sql.Tx) error {
		old, err := appRelease(ctx, tx, company, a.Kind, a.App, a.Platform)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO app_release (company, kind, app, platform, version, released_us, updated_us) VALUES ($1, $2, $3, $4, $5, $6, $7)
			ON CONFLICT (company, kind, app, platform) DO UPDATE SET version = EXCLUDED.version, released_us = EXCLUDED.released_us, updated_us = EXCLUDED.updated_us`,
			company, a.Kind, a.App, a.Platform, a.Version, unixMicros(a.ReleasedAt), micros(a.UpdatedAt))
		if err != nil {
			return fmt.Errorf("cannot store the release: %w", err)
		}
		return record(ctx, tx, company, a.UpdatedAt, Change{Action: "app_release.set", Kind: KindCompany, ID: company,
			Fields: []FieldChange{{Field: releaseField(a.Kind, a.App, a.Platform), Old: old, New: a.Version}}})
	})
	if err != nil {
		return AppRelease{}, err
	}
	return a, nil
}

// RemoveAppRelease forgets what a company, or where that is empty the operator,
// has set; the operator's then holds for the company again.
func (d *Directory) RemoveAppRelease(ctx context.Context, company, kind, app, platform string) error {
	return d.write(ctx, func(tx *sql.Tx) error {
		old, err := appRelease(ctx, tx, company, kind, app, platform)
		if err != nil {
			return err
		}
		if old == "" {
			return ErrNotFound
		}
		_, err = tx.ExecContext(ctx, "DELETE FROM app_release WHERE company = $1 AND kind = $2 AND app = $3 AND platform = $4", company, kind, app, platform)
		if err != nil {
			return fmt.Errorf("cannot remove the release: %w", err)
		}
		return record(ctx, tx, company, d.now(), Change{Action: "app_release.remove", Kind: KindCompany, ID: company,
			Fields: []FieldChange{{Field: releaseField(kind, app, platform), Old: old}}})
	})
}

// appRelease is the version that is set, or empty.
func appRelease(ctx context.Context, q querier, company, kind, app, platform string) (version string, err error) {
	err = each(ctx, q, func(r *sql.Rows) error { return r.Scan(&version) },
		"SELECT version FROM app_release WHERE company = $1 AND kind = $2 AND app = $3 AND platform = $4", company, kind, app, platform)
	return version, err
}

// releaseField is how the journal names a release: "mobile (iOS)".
func releaseField(kind, app, platform string) string {
	if only := strings.TrimSpace(app + " " + platform); only != "" {
		return kind + " (" + only + ")"
	}
	return kind
}

// Latest is the release that holds for an app: of those that name its kind, the
// company's own before the operator's, then one that names the app, then one
// that names the platform.
func (rs Releases) Latest(kind, app, platform string) (AppRelease, bool) {
	var best AppRelease
	rank := -1
	for _, a := range rs {
		if a.Kind != kind || a.App != "" && !strings.EqualFold(a.App, app) || a.Platform != "" && !strings.EqualFold(a.Platform, platform) {
			continue
		}
		n := 0
		for i, more := range []bool{a.Platform != "", a.App != "", a.Company != ""} {
			if more {
				n += 1 << i
			}
		}
		if n > rank {
			best, rank = a, n
		}
	}
	return best, rank >= 0
}

// Outdated tells whether a version is older than the release that holds for it.
// One that says no number, or of which no release is set, is not.
func (rs Releases) Outdated(kind, app, platform, version string) bool {
	latest, ok := rs.Latest(kind, app, platform)
	return ok && olderVersion(version, latest.Version)
}

// Versions of phones and apps follow no one standard: 5.9, 66.85.0.5,
// 1.2.3-beta.1, 5.2.0b7, 12-8-1, 5.2.1 (build 77), 4.3.2-77-g1a2b3c4. They are
// taken apart so:
//   - the numbers at the beginning, however they are parted, compare as numbers,
//     one after the other: 5.10 is after 5.9, and 5.2 is 5.2.0;
//   - a word for what comes before a release (dev, alpha, beta, rc …) makes it
//     older than the release, in that order, and one for a correction (patch, sp,
//     hotfix …) newer; the numbers after it count next;
//   - a build number, after +, in parentheses or after the word build, counts
//     last, and only where both say one;
//   - other words, and hashes of commits, are no part of the order.
type appVersion struct {
	numbers []string
	stage   int // 0 a release, less before it, more after it
	after   []string
	builds  []string
}

// Stages by their words. a and b alone are letters, not stages: 1.0.2a comes
// after 1.0.2, 1.0.2a1 before it.
var stages = map[string]int{
	"nightly": -7, "snapshot": -7, "dev": -7, "canary": -6, "alpha": -5, "a": -5, "beta": -4, "b": -4,
	"preview": -3, "pre": -3, "ea": -3, "rc": -2, "cr": -2, "c": -2,
	"p": 1, "patch": 1, "pl": 1, "sp": 1, "hotfix": 1, "fix": 1, "update": 1, "u": 1, "post": 1,
}

// maxVersion bounds what of a version is read, in bytes.
const maxVersion = 100

func parseVersion(text string) appVersion {
	var v appVersion
	text = strings.ToLower(text[:min(len(text), maxVersion)])
	building := false // numbers from here on are of the build
	for len(text) > 0 {
		n := strings.IndexFunc(text, func(r rune) bool { return !isAlnum(r) })
		if n < 0 {
			n = len(text)
		}
		if n == 0 {
			switch text[0] {
			case '+', '(':
				building = true
			case ')':
				building = false
			}
			text = text[1:]
			continue
		}
		building = v.piece(text[:n], building)
		text = text[n:]
	}
	v.numbers, v.after, v.builds = withoutZeros(v.numbers), withoutZeros(v.after), withoutZeros(v.builds)
	return v
}

func isAlnum(r rune) bool { return '0' <= r && r <= '9' || 'a' <= r && r <= 'z' }

// piece takes what stands between two signs, such as 10, rc1 or g1a2b3c4, and
// says whether numbers from here on are of the build.
func (v *appVersion) piece(text string, building bool) bool {
	if isCommit(text) {
		return building
	}
	runs := digitRuns(text)
	if isDigit(runs[0][0]) {
		v.number(runs[0], building)
		runs = runs[1:]
	} else if len(runs) > 1 && slices.Contains([]string{"v", "r", "rv", "version", "release"}, runs[0]) {
		v.number(runs[1], building)
		runs = runs[2:]
	}
	if len(runs) == 0 {
		return building
	}
	word, numbered := runs[0], len(runs) > 1
	stage, known := stages[word]
	switch {
	case word == "build":
		if numbered {
			v.builds = append(v.builds, number0(runs[1]))
		}
		return true
	case known && (numbered || len(word) > 1):
		if v.stage == 0 && !building {
			v.stage = stage
		}
		if numbered {
			v.number(runs[1], building)
		}
	case len(word) == 1 && !numbered && isDigit(text[0]) && v.stage == 0 && !building:
		v.stage, v.after = 1, append(v.after, fmt.Sprint(word[0]-'a'+1))
	case !isDigit(text[0]) && len(v.numbers) > 0:
		return true // what follows a word of no meaning here is no part of the version
	}
	return building
}

// number adds a number where it belongs by what came before it.
func (v *appVersion) number(digits string, building bool) {
	digits = number0(digits)
	switch {
	case building:
		v.builds = append(v.builds, digits)
	case v.stage != 0:
		v.after = append(v.after, digits)
	default:
		v.numbers = append(v.numbers, digits)
	}
}

// digitRuns cuts text where digits and letters meet.
func digitRuns(text string) []string {
	var runs []string
	begin := 0
	for i := 1; i <= len(text); i++ {
		if i == len(text) || isDigit(text[i]) != isDigit(text[begin]) {
			runs, begin = append(runs, text[begin:i]), i
		}
	}
	return runs
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// isCommit tells a hash of a commit: hexadecimal of some length, with a g before
// it as git describe writes it, or with both digits and letters.
func isCommit(text string) bool {
	hash, said := strings.CutPrefix(text, "g")
	if len(hash) < 7 || strings.Trim(hash, "0123456789abcdef") != "" {
		return false
	}
	return said || strings.ContainsAny(hash, "0123456789") && strings.ContainsAny(hash, "abcdef")
}

// number0 is a number without leading zeros, "0" itself.
func number0(digits string) string {
	if digits = strings.TrimLeft(digits, "0"); digits == "" {
		return "0"
	}
	return digits
}

func withoutZeros(numbers []string) []string {
	// The first stays: 0 is a version, nothing is none.
	for len(numbers) > 1 && numbers[len(numbers)-1] == "0" {
		numbers = numbers[:len(numbers)-1]
	}
	return numbers
}

// compareNumbers compares one after the other; what is missing is 0.
func compareNumbers(a, b []string) int {
	for i := range max(len(a), len(b)) {
		x, y := "0", "0"
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		if c := cmp.Or(cmp.Compare(len(x), len(y)), cmp.Compare(x, y)); c != 0 {
			return c
		}
	}
	return 0
}

func (v appVersion) compare(w appVersion) int {
	return cmp.Or(compareNumbers(v.numbers, w.numbers), cmp.Compare(v.stage, w.stage), compareNumbers(v.after, w.after))
}

// olderVersion tells whether a version is before the latest. A build that only
// one of them says decides nothing.
func olderVersion(version, latest string) bool {
	v, w := parseVersion(version), parseVersion(latest)
	if len(v.numbers) == 0 || len(w.numbers) == 0 {
		return false
	}
	if c := v.compare(w); c != 0 || len(v.builds) == 0 || len(w.builds) == 0 {
		return c < 0
	}
	return compareNumbers(v.builds, w.builds) < 0
}
