package engines

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// maxLogBytes bounds a child's log; one older file of the same size is kept beside it.
const maxLogBytes = 8 << 20

// childLog is the file that a child writes its output into. The child holds the file itself, not a pipe to this
// process, so that it can still finish its work and say so when this process is killed.
type childLog struct {
	path string
	file *os.File // opened for append: writing goes on at the new end after a truncation
}

func openChildLog(path string) (*childLog, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot open the engine's log: %w", err)
	}
	return &childLog{path: path, file: f}, nil
}

// rotate moves what was written to path.1 when it has become too much. The child keeps its handle, so the file is
// copied and truncated; a line written in between is lost.
func (l *childLog) rotate(maxBytes int64) error {
	info, err := l.file.Stat()
	if err != nil {
		return err
	}
	if info.Size() < maxBytes {
		return nil
	}
	from, err := os.Open(l.path)
	if err != nil {
		return err
	}
	defer from.Close()
	if extra := info.Size() - maxBytes; extra > 0 {
		if _, err := from.Seek(extra, io.SeekStart); err != nil {
			return err
		}
	}
	to, err := os.OpenFile(l.path+".1", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	if closeErr := to.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	return l.file.Truncate(0)
}

// end is where the next line will be written.
func (l *childLog) end() int64 {
	info, err := l.file.Stat()
	if err != nil {
		return 0
	}
	return info.Size()
}

// tail returns the last lines written since offset, for an error message.
func (l *childLog) tail(offset int64, lines int) string {
	f, err := os.Open(l.path)
	if err != nil {
		return ""
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return ""
	}
	const enough = 8 << 10
	if offset > info.Size() {
		offset = 0 // it was rotated in between
	}
	if _, err := f.Seek(max(offset, info.Size()-enough), io.SeekStart); err != nil {
		return ""
	}
	content, err := io.ReadAll(io.LimitReader(f, enough))
	if err != nil {
		return ""
	}
	// The interactive engine also writes what a terminal understands.
	text := strings.NewReplacer("\x1b[?2004h", "", "\x1b[?2004l", "", "\r", "").Replace(string(content))
	all := strings.Split(strings.TrimSpace(text), "\n")
	if len(all) > lines {
		all = all[len(all)-lines:]
	}
	return strings.Join(all, "\n")
}

func (l *childLog) close() { l.file.Close() }
