package rtcstats

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/tidwall/gjson"
)

// ErrDump is a file that is no dump, or one of a format that is not known.
var ErrDump = errors.New("rtcstats: not a dump")

// ErrNoStatistics is a dump in which no getStats() says anything about audio.
var ErrNoStatistics = errors.New("rtcstats: the dump holds no statistics of audio")

// maxLine bounds one line of a dump, in bytes.
const maxLine = 16 << 20

const magic = "RTCStatsDump"

// IsDump says whether a file that begins with head is a dump: one of an rtcstats
// server, which names itself, or one of Jitsi's, whose lines are arrays that
// begin with the name of a method. head should have some hundred bytes.
func IsDump(head []byte) bool {
	head = bytes.TrimLeft(head, " \t\r\n\xef\xbb\xbf")
	if rest, ok := bytes.CutPrefix(head, []byte(magic)); ok {
		return len(rest) == 0 || rest[0] == '\n' || rest[0] == '\r'
	}
	rest, ok := bytes.CutPrefix(head, []byte(`["`))
	if !ok {
		return false
	}
	method, rest, ok := bytes.Cut(rest, []byte(`"`))
	return ok && (known[string(method)] || string(method) == "getstats") && bytes.HasPrefix(bytes.TrimLeft(rest, " "), []byte(","))
}

// Line is a line of a dump that says something.
type Line struct {
	Event
	Number int    // counted from 1
	Raw    []byte // valid until the next line
}

// Damage is what of a dump could not be read.
type Damage struct {
	Lines int // that were passed over
	First int // number of the first
	Err   error
}

func (d *Damage) note(number int, err error) {
	if d.Lines++; d.Lines == 1 {
		d.First, d.Err = number, err
	}
}

func (d *Damage) Error() string {
	return fmt.Sprintf("%d lines cannot be read, line %d the first: %v", d.Lines, d.First, d.Err)
}

// ReadDump reads a dump from beginning to end and gives its lines to yield. Lines
// that cannot be read are passed over and counted.
//
// A dump of an rtcstats server begins with RTCStatsDump and a line of metadata,
// whose fileFormat is 3 for the numbers of rtcstats 5, 2 for names in full. A
// dump of Jitsi's has neither.
func ReadDump(r io.Reader, limits Limits, yield func(*Line) error) (Damage, error) {
	lines := &lineReader{r: bufio.NewReaderSize(r, 64<<10)}
	var damage Damage
	first, err := lines.next()
	if err != nil && !errors.Is(err, errLongLine) {
		return damage, fmt.Errorf("%w: %w", ErrDump, err)
	}
	dialect, begins := Jitsi, bytes.TrimPrefix(first, []byte("\xef\xbb\xbf"))
	if string(bytes.TrimSpace(begins)) == magic {
		begins = nil
		if dialect, err = metadata(lines); err != nil {
			return damage, err
		}
	}
	d := NewDecoder(dialect, limits)
	defer d.Close()
	for {
		raw := begins
		if begins = nil; raw == nil {
			if raw, err = lines.next(); err == io.EOF {
				return damage, nil
			} else if errors.Is(err, errLongLine) {
				damage.note(lines.number, err)
				continue
			} else if err != nil {
				return damage, fmt.Errorf("cannot read line %d: %w", lines.number, err)
			}
		}
		if raw = bytes.TrimSpace(raw); len(raw) == 0 || raw[0] == '{' {
			continue // servers may add objects of their own
		}
		e, err := d.Decode(raw)
		if err != nil {
			damage.note(lines.number, err)
			continue
		}
		if err := yield(&Line{Event: e, Number: lines.number, Raw: raw}); err != nil {
			return damage, err
		}
	}
}

func metadata(lines *lineReader) (Dialect, error) {
	raw, err := lines.next()
	if err != nil {
		return 0, fmt.Errorf("%w: the line of metadata is missing", ErrDump)
	}
	m, err := parse(raw)
	if err != nil || !m.IsObject() {
		return 0, fmt.Errorf("%w: the second line is no JSON object", ErrDump)
	}
	switch v := m.Get("fileFormat"); {
	case v.Type == gjson.Number && v.Num == 3:
		return Numbered, nil
	case v.Type == gjson.Number && (v.Num == 1 || v.Num == 2), !v.Exists():
		return Named, nil
	default:
		return 0, fmt.Errorf("%w: fileFormat %.20s is not known, only 1, 2 and 3 are", ErrDump, v.Raw)
	}
}

var errLongLine = fmt.Errorf("the line has more than %d bytes", maxLine)

// lineReader reads lines and passes over those that are too long.
type lineReader struct {
	r      *bufio.Reader
	buf    []byte
	number int
}

func (l *lineReader) next() ([]byte, error) {
	l.buf = l.buf[:0]
	l.number++
	long := false
	for {
		part, err := l.r.ReadSlice('\n')
		if long = long || len(l.buf)+len(part) > maxLine; long {
			l.buf = l.buf[:0]
		} else {
			l.buf = append(l.buf, part...)
		}
		switch {
		case err == bufio.ErrBufferFull:
		case err == io.EOF && len(l.buf) > 0, err == nil && !long:
			return l.buf, nil
		case long:
			return nil, errLongLine
		default:
			return nil, err
		}
	}
}
