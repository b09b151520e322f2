package quality

import (
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/agnivade/levenshtein"
	"go.yaml.in/yaml/v3"
)

// Earshot is the name of the rules that hold where nothing else is said.
const Earshot = "earshot"

// Errors about a rules file wrap ErrRules and one of these.
var (
	ErrUnknownKey = errors.New("unknown key")
	ErrBadValue   = errors.New("bad value")
	ErrUnknownSet = errors.New("no such set of rules")
)

// maxRulesBytes is more than any file of rules has.
const maxRulesBytes = 1 << 20

// RuleSet is rules under a name.
type RuleSet struct {
	Name    string
	BasedOn string // empty: Earshot's own, built on nothing
	Preset  bool   // not from the file
	Rules   Rules

	line int
	from map[string]string // field → set that gave its value
}

// Value is one value of a set with what it means to a reader.
type Value struct {
	Key  string
	Text string // as it would stand in a file
	From string // the set that gave it
	May  string // what it may be
}

// Values lists what holds in a set.
func (s RuleSet) Values() []Value {
	var out []Value
	for _, f := range fieldsOf(&s.Rules) {
		out = append(out, Value{Key: f.key, Text: f.text(), From: s.from[f.key], May: f.wants()})
	}
	return out
}

// RuleBook says which rules hold for which company. It does not change once it
// is made, so that everything one process says was said by the same rules.
type RuleBook struct {
	sets      map[string]*RuleSet
	companies map[string]*RuleSet
	fallback  *RuleSet
}

// For gives the rules of a company.
func (b *RuleBook) For(company string) *Rules {
	if set, named := b.companies[company]; named {
		return &set.Rules
	}
	return &b.fallback.Rules
}

// Default is the set of the companies that the file does not name.
func (b *RuleBook) Default() RuleSet { return *b.fallback }

// Companies maps the companies that the file names to the names of their sets.
func (b *RuleBook) Companies() map[string]string {
	out := make(map[string]string, len(b.companies))
	for company, set := range b.companies {
		out[company] = set.Name
	}
	return out
}

// Sets lists the sets of the file and the presets, each by name.
func (b *RuleBook) Sets() []RuleSet {
	out := make([]RuleSet, 0, len(b.sets))
	for _, name := range slices.Sorted(maps.Keys(b.sets)) {
		out = append(out, *b.sets[name])
	}
	slices.SortStableFunc(out, func(a, c RuleSet) int {
		switch {
		case a.Preset == c.Preset:
			return 0
		case a.Preset:
			return 1
		}
		return -1
	})
	return out
}

// Set gives a set by its name.
func (b *RuleBook) Set(name string) (RuleSet, error) {
	set := b.sets[name]
	if set == nil {
		return RuleSet{}, fmt.Errorf("%w: %w %q%s", ErrRules, ErrUnknownSet, name, nearest(name, slices.Sorted(maps.Keys(b.sets))))
	}
	return *set, nil
}

// In gives the same sets with another default and no company apart.
func (b *RuleBook) In(name string) (*RuleBook, error) {
	if _, err := b.Set(name); err != nil {
		return nil, err
	}
	return &RuleBook{sets: b.sets, fallback: b.sets[name]}, nil
}

//go:embed presets.yaml
var presetsFile []byte

var presetBook = sync.OnceValue(func() *RuleBook {
	own := &RuleSet{Name: Earshot, Rules: DefaultRules(), Preset: true, from: map[string]string{}}
	for _, f := range fieldsOf(&own.Rules) {
		own.from[f.key] = Earshot
	}
	b, err := parseRules(presetsFile, map[string]*RuleSet{Earshot: own})
	if err != nil {
		panic(fmt.Sprintf("the presets cannot be read: %v", err)) // they are part of the program, and tested
	}
	for _, set := range b.sets {
		set.Preset = true
	}
	return b
})

// BuiltInRules are the presets, Earshot's own rules for every company.
func BuiltInRules() *RuleBook { return presetBook() }

// LoadRules reads a file of rules. The name of a preset stands for a file that
// says no more than `default: NAME`, no name for Earshot's own rules.
func LoadRules(file string) (*RuleBook, error) {
	if file == "" {
		return BuiltInRules(), nil
	}
	if _, preset := BuiltInRules().sets[file]; preset {
		return BuiltInRules().In(file)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("cannot read the rules: %w", err)
	}
	b, err := ParseRules(text)
	if err != nil {
		return nil, fmt.Errorf("cannot use the rules in %s:\n%w", file, err)
	}
	return b, nil
}

// ParseRules reads the YAML of a file of rules. Its error names everything that
// is wrong, each with its line.
func ParseRules(text []byte) (*RuleBook, error) {
	return parseRules(text, maps.Clone(BuiltInRules().sets))
}

func parseRules(text []byte, known map[string]*RuleSet) (*RuleBook, error) {
	if len(text) > maxRulesBytes {
		return nil, fmt.Errorf("%w: the file has %d bytes, more than %d", ErrRules, len(text), maxRulesBytes)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("%w: it is no YAML: %w", ErrRules, err)
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 || isNull(doc.Content[0]) {
		return nil, fmt.Errorf("%w: the file is empty: want default, companies or sets", ErrRules)
	}
	p := rulesParser{book: &RuleBook{sets: known, companies: map[string]*RuleSet{}}}
	p.file(doc.Content[0])
	if len(p.problems) == 0 {
		return p.book, nil
	}
	slices.SortStableFunc(p.problems, func(a, b *fileProblem) int { return a.line - b.line })
	all := make([]error, len(p.problems))
	for i, problem := range p.problems {
		all[i] = problem
	}
	return nil, errors.Join(all...)
}

// fileProblem is something wrong at a line of a file.
type fileProblem struct {
	line int
	kind error
	text string
}

func (p *fileProblem) Error() string   { return fmt.Sprintf("line %d: %v: %s", p.line, p.kind, p.text) }
func (p *fileProblem) Unwrap() []error { return []error{ErrRules, p.kind} }

// rulesParser gathers what is wrong with a file while it reads it.
type rulesParser struct {
	book     *RuleBook
	problems []*fileProblem
}

func (p *rulesParser) complain(line int, kind error, format string, args ...any) {
	p.problems = append(p.problems, &fileProblem{line: line, kind: kind, text: fmt.Sprintf(format, args...)})
}

// entry is a key of a mapping with its value.
type entry struct {
	key   string
	line  int
	value *yaml.Node
}

// entries gives the members of a mapping. A key that is there twice is a mistake.
func (p *rulesParser) entries(n *yaml.Node, what string) []entry {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind != yaml.MappingNode {
		p.complain(n.Line, ErrBadValue, "%s must be keys with values", what)
		return nil
	}
	var out []entry
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if k.Kind != yaml.ScalarNode {
			p.complain(k.Line, ErrUnknownKey, "a key of %s must be a text", what)
			continue
		}
		if seen[k.Value] {
			p.complain(k.Line, ErrBadValue, "%s has %s twice", what, k.Value)
			continue
		}
		seen[k.Value] = true
		if v.Kind == yaml.AliasNode {
			v = v.Alias
		}
		out = append(out, entry{key: k.Value, line: k.Line, value: v})
	}
	return out
}

func (p *rulesParser) file(n *yaml.Node) {
	var fallback, companies entry
	var sets []entry
	for _, e := range p.entries(n, "the file") {
		switch e.key {
		case "default":
			fallback = e
		case "companies":
			companies = e
		case "sets":
			sets = p.entries(e.value, "sets")
		default:
			p.complain(e.line, ErrUnknownKey, "%q%s", e.key, nearest(e.key, []string{"default", "companies", "sets"}))
		}
	}
	p.sets(sets)
	p.book.fallback = p.book.sets[Earshot]
	if fallback.value != nil {
		if set := p.named(fallback, "default"); set != nil {
			p.book.fallback = set
		}
	}
	if companies.value == nil {
		return
	}
	for _, e := range p.entries(companies.value, "companies") {
		if e.key == "" {
			p.complain(e.line, ErrBadValue, "a company has no name")
			continue
		}
		if set := p.named(e, "company "+e.key); set != nil {
			p.book.companies[e.key] = set
		}
	}
}

// named is the set that a value names.
func (p *rulesParser) named(e entry, what string) *RuleSet {
	if e.value.Kind != yaml.ScalarNode || isNull(e.value) {
		p.complain(e.line, ErrBadValue, "%s must be the name of a set of rules", what)
		return nil
	}
	set, known := p.book.sets[e.value.Value]
	if !known {
		p.complain(e.line, ErrUnknownSet, "%s names %q%s", what, e.value.Value, nearest(e.value.Value, slices.Sorted(maps.Keys(p.book.sets))))
	}
	return set
}

// unread is a set of the file before it is read: it may build on one further down.
type unread struct {
	entry
	members []entry
	reading bool
}

func (p *rulesParser) sets(list []entry) {
	rest := map[string]*unread{}
	for _, e := range list {
		switch {
		case e.key == "":
			p.complain(e.line, ErrBadValue, "a set has no name")
		case p.book.sets[e.key] != nil:
			p.complain(e.line, ErrBadValue, "set %s is a preset: give yours another name, with based_on: %s", e.key, e.key)
		default:
			rest[e.key] = &unread{entry: e, members: p.entries(e.value, "set "+e.key)}
			// So that what names it does not complain as well, where it is wrong itself.
			p.book.sets[e.key] = nil
		}
	}
	for _, e := range list {
		if u := rest[e.key]; u != nil {
			p.set(u, rest)
		}
	}
	p.versions(list)
}

// set reads one set, those that it builds on first.
func (p *rulesParser) set(u *unread, rest map[string]*unread) *RuleSet {
	if done := p.book.sets[u.key]; done != nil {
		return done
	}
	if u.reading {
		p.complain(u.line, ErrBadValue, "set %s builds on itself", u.key)
		return nil
	}
	u.reading = true
	base := p.base(u, rest)
	delete(rest, u.key)
	set := &RuleSet{Name: u.key, line: u.line, from: map[string]string{}}
	if base != nil {
		set.BasedOn, set.Rules, set.from = base.Name, base.Rules, maps.Clone(base.from)
		set.Rules.Version = ""
	}
	before := len(p.problems)
	p.members(set, "", u.members)
	if base == nil || len(p.problems) > before {
		return nil
	}
	wrong := set.Rules.problems()
	for _, problem := range wrong {
		p.complain(u.line, ErrBadValue, "set %s: %s", u.key, problem)
	}
	if len(wrong) > 0 {
		return nil
	}
	p.book.sets[u.key] = set
	return set
}

// base is the set that another one builds on: Earshot's own where it says nothing.
func (p *rulesParser) base(u *unread, rest map[string]*unread) *RuleSet {
	for _, e := range u.members {
		if e.key != "based_on" {
			continue
		}
		if further := rest[e.value.Value]; further != nil && e.value.Kind == yaml.ScalarNode {
			return p.set(further, rest)
		}
		return p.named(e, "based_on of set "+u.key)
	}
	return p.book.sets[Earshot]
}

// members reads the thresholds of a set, those below prefix.
func (p *rulesParser) members(set *RuleSet, prefix string, members []entry) {
	fields := fieldsOf(&set.Rules)
	for _, e := range members {
		key := prefix + e.key
		if key == "based_on" {
			continue
		}
		if i := slices.IndexFunc(fields, func(f field) bool { return f.key == key }); i >= 0 {
			p.value(set, fields[i], e)
			continue
		}
		if prefix == "" && slices.ContainsFunc(fields, func(f field) bool { return strings.HasPrefix(f.key, key+".") }) {
			p.members(set, key+".", p.entries(e.value, key+" of set "+set.Name))
			continue
		}
		known := []string{"based_on"}
		for _, f := range fields {
			group, rest, nested := strings.Cut(f.key, ".")
			switch {
			case nested && prefix == group+".":
				known = append(known, rest)
			case prefix == "" && !slices.Contains(known, group):
				known = append(known, group)
			}
		}
		if prefix != "" {
			known = known[1:]
		}
		p.complain(e.line, ErrUnknownKey, "set %s has %q%s", set.Name, key, nearest(e.key, known))
	}
}

func (p *rulesParser) value(set *RuleSet, f field, e entry) {
	if e.value.Kind != yaml.ScalarNode || isNull(e.value) || !f.set(e.value.Value) || (f.bounds != "" && !f.inRange()) {
		p.complain(e.line, ErrBadValue, "%s of set %s is %s: want %s", f.key, set.Name, shown(e.value), f.wants())
		return
	}
	set.from[f.key] = set.Name
}

// versions finds two sets with one version: a verdict names only that.
func (p *rulesParser) versions(list []entry) {
	owner := map[string]string{}
	for name, set := range p.book.sets {
		if set != nil && !slices.ContainsFunc(list, func(e entry) bool { return e.key == name }) {
			owner[set.Rules.Version] = name
		}
	}
	for _, e := range list {
		set := p.book.sets[e.key]
		if set == nil {
			continue
		}
		if other, taken := owner[set.Rules.Version]; taken {
			p.complain(e.line, ErrBadValue, "set %s has the version %s, which is that of %s: verdicts could not be told apart", e.key, set.Rules.Version, other)
			continue
		}
		owner[set.Rules.Version] = e.key
	}
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// shown is a value as it stands in the file, cut where it is long.
func shown(n *yaml.Node) string {
	switch {
	case n.Kind != yaml.ScalarNode:
		return "not one value"
	case isNull(n):
		return "empty"
	case len(n.Value) > 40:
		return strconv.Quote(n.Value[:40] + "…")
	}
	return strconv.Quote(n.Value)
}

// nearest suggests the known name that was likely meant.
func nearest(name string, known []string) string {
	best, distance := "", len(name)/2+1
	for _, candidate := range known {
		if d := levenshtein.ComputeDistance(name, candidate); d < distance {
			best, distance = candidate, d
		}
	}
	if best == "" {
		return "; there are " + strings.Join(known, ", ")
	}
	return "; did you mean " + best + "?"
}
