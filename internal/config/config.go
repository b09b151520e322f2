// Package config loads the settings of Earshot: defaults, then a YAML file,
// then EARSHOT_… environment variables, then flags; the later wins. Settings
// are the fields of a struct, tagged
//
//	koanf:"name"    the key, joined with dots through nested structs
//	doc:"…"         one line for --help and `earshot config dump`
//	secret:"true"   masked wherever it is shown
//
// A key that no field has is an error that names the nearest one that exists.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"sort"
	"strings"
	"time"

	"github.com/agnivade/levenshtein"
	"github.com/go-viper/mapstructure/v2"
	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
)

// Prefix is what every environment variable of Earshot begins with.
const Prefix = "EARSHOT_"

// DefaultFile is read where no file is named and it exists.
const DefaultFile = "earshot.yaml"

// Setting is one key with what is known about it.
type Setting struct {
	Key    string
	Doc    string
	Secret bool
	Type   reflect.Type
	Value  any
	// Source is default, the file's name, an environment variable or a flag.
	Source string
}

// Env is the environment variable of a setting.
func (s Setting) Env() string {
	return Prefix + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(s.Key))
}

// Shown is the value as text, masked where it is a secret.
func (s Setting) Shown() string {
	text := fmt.Sprint(s.Value)
	if s.Secret && text != "" {
		return "********"
	}
	if v := reflect.ValueOf(s.Value); v.IsValid() && v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.String {
		parts := make([]string, v.Len())
		for i := range parts {
			parts[i] = v.Index(i).String()
		}
		return strings.Join(parts, ",")
	}
	return text
}

// Settings lists the keys of a struct with the values it holds, in key order.
func Settings(of any) []Setting {
	var out []Setting
	walk(reflect.Indirect(reflect.ValueOf(of)), "", &out)
	sort.Slice(out, func(i, j int) bool { return out[i].Key < out[j].Key })
	return out
}

var durationType = reflect.TypeFor[time.Duration]()

func walk(v reflect.Value, prefix string, out *[]Setting) {
	for i := range v.NumField() {
		field := v.Type().Field(i)
		name := field.Tag.Get("koanf")
		if name == "" || name == "-" {
			continue
		}
		key := prefix + name
		if field.Type.Kind() == reflect.Struct {
			walk(v.Field(i), key+".", out)
			continue
		}
		*out = append(*out, Setting{
			Key: key, Doc: field.Tag.Get("doc"), Secret: field.Tag.Get("secret") == "true",
			Type: field.Type, Value: v.Field(i).Interface(), Source: "default",
		})
	}
}

// AddFlags gives the flag set one flag per setting that can stand on a command line.
func AddFlags(flags *pflag.FlagSet, defaults any) {
	for _, s := range Settings(defaults) {
		if s.Type.Kind() == reflect.Slice && s.Type.Elem().Kind() != reflect.String || s.Type.Kind() == reflect.Map {
			continue
		}
		if flags.Lookup(s.Key) != nil {
			continue
		}
		flags.Var(&textValue{kind: s.Type.String(), text: s.Shown()}, s.Key, s.Doc)
		if s.Type.Kind() == reflect.Bool {
			flags.Lookup(s.Key).NoOptDefVal = "true"
		}
	}
}

// textValue keeps a flag as it was written; Load converts it, so that a flag,
// a variable and a file give the same errors.
type textValue struct{ kind, text string }

func (t *textValue) String() string     { return t.text }
func (t *textValue) Set(s string) error { t.text = s; return nil }
func (t *textValue) Type() string {
	switch t.kind {
	case "time.Duration":
		return "duration"
	case "[]string":
		return "list"
	}
	_, name, _ := strings.Cut(t.kind, ".") // slog.Level is a Level to whoever reads --help
	if name != "" {
		return strings.ToLower(name)
	}
	return t.kind
}

// ErrUnknownKey is in every error about a key that does not exist.
var ErrUnknownKey = errors.New("unknown setting")

// ErrBadValue is in every error about a value that does not fit its setting.
var ErrBadValue = errors.New("bad value")

// Load fills the struct that dst points to, which holds the defaults, and
// reports every setting with its source. fileName may be empty. environ is
// os.Environ's form; names in ignoreEnv (without prefix) are not settings.
func Load(dst any, fileName string, environ []string, flags *pflag.FlagSet, ignoreEnv ...string) ([]Setting, error) {
	settings := Settings(dst)
	byKey := make(map[string]*Setting, len(settings))
	byEnv := make(map[string]*Setting, len(settings))
	for i := range settings {
		byKey[settings[i].Key] = &settings[i]
		byEnv[settings[i].Env()] = &settings[i]
	}
	k := koanf.New(".")
	var problems []error

	named := fileName != ""
	if !named {
		fileName = DefaultFile
	}
	if _, err := os.Stat(fileName); err == nil || named {
		if err := k.Load(file.Provider(fileName), yaml.Parser()); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil, fmt.Errorf("cannot read the configuration: %s does not exist", fileName)
			}
			return nil, fmt.Errorf("cannot read the configuration %s: %w", fileName, err)
		}
		for _, key := range k.Keys() {
			if s := byKey[key]; s != nil {
				s.Source = fileName
			} else if parent := listParent(byKey, key); parent != nil {
				parent.Source = fileName
			} else {
				problems = append(problems, fmt.Errorf("%s: %w %q%s", fileName, ErrUnknownKey, key, nearest(key, keysOf(byKey))))
			}
		}
	}

	ignored := map[string]bool{}
	for _, name := range ignoreEnv {
		ignored[Prefix+name] = true
	}
	over := map[string]any{}
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, Prefix) || ignored[name] {
			continue
		}
		s := byEnv[name]
		if s == nil {
			problems = append(problems, fmt.Errorf("environment: %w %s%s", ErrUnknownKey, name, nearest(name, keysOf(byEnv))))
			continue
		}
		over[s.Key], s.Source = value, name
	}
	if flags != nil {
		flags.Visit(func(f *pflag.Flag) {
			if s := byKey[f.Name]; s != nil {
				over[s.Key], s.Source = f.Value.String(), "--"+f.Name
			}
		})
	}
	if err := k.Load(confmap.Provider(over, "."), nil); err != nil {
		return nil, fmt.Errorf("cannot merge settings: %w", err)
	}
	for _, s := range settings {
		if s.Source == "default" {
			continue
		}
		// One by one, so that an error names its setting and where it came from.
		target := reflect.New(s.Type)
		decoder, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{
			Result: target.Interface(), TagName: "koanf", WeaklyTypedInput: true, ErrorUnused: true,
			DecodeHook: mapstructure.ComposeDecodeHookFunc(
				mapstructure.StringToTimeDurationHookFunc(),
				mapstructure.StringToSliceHookFunc(","),
				mapstructure.TextUnmarshallerHookFunc(),
			),
		})
		if err != nil {
			return nil, fmt.Errorf("cannot decode settings: %w", err)
		}
		if err := decoder.Decode(k.Get(s.Key)); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w for %s: want %s", s.Source, ErrBadValue, s.Key, wanted(s.Type)))
			continue
		}
		set(reflect.Indirect(reflect.ValueOf(dst)), s.Key, target.Elem())
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	final := Settings(dst)
	for i := range final {
		final[i].Source = byKey[final[i].Key].Source
	}
	return final, nil
}

// wanted describes a type in the words of someone who writes the file.
func wanted(t reflect.Type) string {
	switch {
	case t == durationType:
		return "a duration such as 30s or 5m"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.String:
		return "a list"
	case t.Kind() == reflect.Slice:
		return "a list of objects with " + strings.Join(fieldNames(t.Elem()), ", ")
	case t.Kind() >= reflect.Int && t.Kind() <= reflect.Float64:
		return "a number"
	}
	return "a " + t.String()
}

func fieldNames(t reflect.Type) []string {
	var names []string
	if t.Kind() == reflect.Struct {
		for i := range t.NumField() {
			if name := t.Field(i).Tag.Get("koanf"); name != "" {
				names = append(names, name)
			}
		}
	}
	return names
}

func set(v reflect.Value, key string, to reflect.Value) {
	name, rest, nested := strings.Cut(key, ".")
	for i := range v.NumField() {
		if v.Type().Field(i).Tag.Get("koanf") != name {
			continue
		}
		if nested {
			set(v.Field(i), rest, to)
		} else {
			v.Field(i).Set(to)
		}
		return
	}
}

// listParent finds the setting of which key is a part: a map's member.
func listParent(byKey map[string]*Setting, key string) *Setting {
	for i := strings.LastIndexByte(key, '.'); i > 0; i = strings.LastIndexByte(key[:i], '.') {
		if s := byKey[key[:i]]; s != nil && s.Type.Kind() == reflect.Map {
			return s
		}
	}
	return nil
}

func keysOf(m map[string]*Setting) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}

func nearest(key string, known []string) string {
	best, distance := "", len(key)/2+1
	for _, candidate := range known {
		if d := levenshtein.ComputeDistance(key, candidate); d < distance {
			best, distance = candidate, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %s?", best)
}
