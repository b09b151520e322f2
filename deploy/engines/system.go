package engines

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Sentinel errors of the data directory.
var (
	ErrDataInUse = errors.New("the data directory is in use")
	ErrDiskFull  = errors.New("there is too little free disk space")
)

// engineLockWait is how long a child waits for one that still closes its files after its parent was killed.
const engineLockWait = clickhouseExitGrace + 5*time.Second

func isAddrInUse(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }

// lockFile takes an exclusive lock that ends with this process, however it ends. The file holds the owner's pid.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, ErrDataInUse
		}
		return nil, err
	}
	if err := f.Truncate(0); err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
		if err != nil {
			f.Close()
			return nil, err
		}
	}
	return f, nil
}

// lockHeld tells whether some process holds the lock at path, and which.
func lockHeld(path string) (pid int, held bool) {
	f, err := os.Open(path)
	if err != nil {
		return 0, false
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); err == nil {
		return 0, false
	}
	text, err := os.ReadFile(path)
	if err == nil {
		pid, _ = strconv.Atoi(strings.TrimSpace(string(text)))
	}
	return pid, true
}

// lockEngineDir makes sure that one child alone writes below dir. It waits a little for one that is on its way out.
func lockEngineDir(ctx context.Context, dir string) (unlock func(), err error) {
	path := filepath.Join(dir, "earshot-engine.lock")
	deadline := time.Now().Add(engineLockWait)
	for {
		f, err := lockFile(path)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, ErrDataInUse) || time.Now().After(deadline) {
			pid, _ := lockHeld(path)
			return nil, fmt.Errorf("cannot lock %s, held by process %d: %w", dir, pid, err)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// awaitEngineEnd waits for an engine below dir that is on its way out, and for it to give its port back.
func awaitEngineEnd(ctx context.Context, dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("cannot create the directory of an engine: %w", err)
	}
	unlock, err := lockEngineDir(ctx, dir)
	if err == nil {
		unlock()
	}
	return err
}

// FreeBytes is the space that this process may still use on the file system of dir.
func FreeBytes(dir string) (uint64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return uint64(st.Bavail) * uint64(st.Bsize), nil
}

// writeSync writes to a file, made when missing, and returns when the bytes are on the disk. how is os.O_TRUNC or
// os.O_APPEND.
func writeSync(path string, how int, content []byte, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_CREATE|how|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}

// writeFileAtomic replaces path so that a reader, or a crash, sees the old content or the new one.
func writeFileAtomic(path string, content []byte, mode os.FileMode) error {
	tmp := path + ".tmp"
	if err := writeSync(tmp, os.O_TRUNC, content, mode); err != nil {
		os.Remove(tmp)
		return err
	}
	return os.Rename(tmp, path)
}
