// Package postgrestest runs a real PostgreSQL server for tests.
package postgrestest

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the "pgx" driver
)

// Server is a running cluster in a folder of its own, reachable over a Unix
// socket in it: no port to be taken.
type Server struct {
	dir     string
	process *exec.Cmd
	next    atomic.Int64
}

// Start makes a cluster and starts a server on it. The caller calls Stop.
func Start() (*Server, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	// A short path: that of a Unix socket ends at 107 bytes.
	dir, err := os.MkdirTemp("/tmp", "earshot-pg-")
	if err != nil {
		return nil, fmt.Errorf("cannot make a folder for PostgreSQL: %w", err)
	}
	s := &Server{dir: dir}
	as, err := unprivileged(dir)
	if err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	data := filepath.Join(dir, "data")
	initdb := exec.Command(filepath.Join(bin, "initdb"), "--pgdata="+data, "--username=earshot", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync")
	initdb.SysProcAttr, initdb.Dir = as, dir
	if out, err := initdb.CombinedOutput(); err != nil {
		os.RemoveAll(dir)
		return nil, fmt.Errorf("cannot make a PostgreSQL cluster: %w: %s", err, bytes.TrimSpace(out))
	}
	logFile, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		os.RemoveAll(dir)
		return nil, fmt.Errorf("cannot make PostgreSQL's log: %w", err)
	}
	defer logFile.Close()
	s.process = exec.Command(filepath.Join(bin, "postgres"), "-D", data, "-k", dir,
		"-c", "listen_addresses=", "-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off", "-c", "max_connections=200")
	s.process.SysProcAttr, s.process.Dir = as, dir
	s.process.Stdout, s.process.Stderr = logFile, logFile
	if err := s.process.Start(); err != nil {
		os.RemoveAll(dir)
		return nil, fmt.Errorf("cannot start PostgreSQL: %w", err)
	}
	db, err := sql.Open("pgx", s.DSN("postgres"))
	if err != nil {
		s.Stop()
		return nil, fmt.Errorf("cannot reach PostgreSQL: %w", err)
	}
	defer db.Close()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if err = db.Ping(); err == nil {
			return s, nil
		}
		if time.Now().After(deadline) {
			out, _ := os.ReadFile(logFile.Name())
			s.Stop()
			return nil, fmt.Errorf("cannot reach PostgreSQL: %w: %s", err, bytes.TrimSpace(out))
		}
	}
}

// DSN is the URL of one database of the server.
func (s *Server) DSN(database string) string {
	u := url.URL{Scheme: "postgres", User: url.User("earshot"), Path: "/" + database, RawQuery: url.Values{"host": {s.dir}}.Encode()}
	return u.String()
}

// NewDatabase makes an empty database for a test and returns its DSN.
func (s *Server) NewDatabase(t testing.TB) string {
	t.Helper()
	db, err := sql.Open("pgx", s.DSN("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	name := "test" + strconv.FormatInt(s.next.Add(1), 10)
	if _, err := db.ExecContext(context.Background(), "CREATE DATABASE "+name); err != nil {
		t.Fatalf("cannot make a database: %v", err)
	}
	return s.DSN(name)
}

// Stop ends the server and removes its folder.
func (s *Server) Stop() {
	s.process.Process.Signal(syscall.SIGINT) // fast shutdown
	s.process.Wait()
	os.RemoveAll(s.dir)
}

// binaries finds the server's programs: in PATH, or the newest where Debian
// puts them, which is not in PATH.
func binaries() (string, error) {
	if p, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(p), nil
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		return "", fmt.Errorf("PostgreSQL's server programs are missing: `make test` installs them (Debian: apt-get install postgresql)")
	}
	return filepath.Dir(slices.Max(found)), nil
}

// unprivileged gives the credentials to run the server with: PostgreSQL refuses
// to run as root, so root hands the folder to another user.
func unprivileged(dir string) (*syscall.SysProcAttr, error) {
	attr := &syscall.SysProcAttr{}
	if os.Geteuid() != 0 {
		return attr, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.Atoi(u.Uid)
		if err != nil {
			continue
		}
		gid, err := strconv.Atoi(u.Gid)
		if err != nil {
			continue
		}
		if err := os.Chown(dir, uid, gid); err != nil {
			return nil, fmt.Errorf("cannot hand the folder to %s: %w", name, err)
		}
		attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		return attr, nil
	}
	return nil, fmt.Errorf("cannot run PostgreSQL as root, and there is neither a user postgres nor nobody")
}
