package engines

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Run is DATA/run.json: where a running `earshot up` is reached. It stays behind when `up` ends, so that the engines
// get the same ports again; Alive tells the difference.
type Run struct {
	PID       int               `json:"pid"`
	StartedAt time.Time         `json:"started_at"`
	API       string            `json:"api,omitempty"`    // host:port
	Admin     string            `json:"admin,omitempty"`  // host:port
	Ingest    map[string]string `json:"ingest,omitempty"` // host:port by listener: hep, rtcp, sip
	Engines   RunEngines        `json:"engines"`
	// Where the stores are, embedded or not; secrets are not here.
	Brokers    []string `json:"brokers,omitempty"`
	ClickHouse []string `json:"clickhouse,omitempty"`

	// Alive says that the process that wrote the file still holds the data directory.
	Alive bool `json:"-"`
}

// RunEngines are the engines of a Run; nil where one is configured elsewhere.
type RunEngines struct {
	ClickHouse *RunEngine `json:"clickhouse,omitempty"`
	Kafka      *RunEngine `json:"kafka,omitempty"`
}

// RunEngine is one child process.
type RunEngine struct {
	PID  int    `json:"pid"`
	Addr string `json:"addr"` // host:port on loopback
}

// ErrNotRunning says that no `earshot up` runs on a data directory.
var ErrNotRunning = errors.New("no earshot is running on this data directory")

func runPath(data string) string  { return filepath.Join(data, "run.json") }
func lockPath(data string) string { return filepath.Join(data, "lock") }

// ReadRun reads DATA/run.json. It returns ErrNotRunning when nothing ever ran there; a file left by a process that is
// gone is returned with Alive false.
func ReadRun(data string) (Run, error) {
	content, err := os.ReadFile(runPath(data))
	if errors.Is(err, os.ErrNotExist) {
		return Run{}, fmt.Errorf("%w (%s)", ErrNotRunning, data)
	}
	if err != nil {
		return Run{}, fmt.Errorf("cannot read where earshot runs: %w", err)
	}
	var r Run
	if err := json.Unmarshal(content, &r); err != nil {
		return Run{}, fmt.Errorf("cannot read where earshot runs: %s: %w", runPath(data), err)
	}
	// The lock, not the pid: a pid is used again by others.
	pid, held := lockHeld(lockPath(data))
	r.Alive = held && pid == r.PID
	return r, nil
}

func writeRun(data string, r Run) error {
	content, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("cannot write where earshot runs: %w", err)
	}
	if err := writeFileAtomic(runPath(data), append(content, '\n'), 0o600); err != nil {
		return fmt.Errorf("cannot write where earshot runs: %w", err)
	}
	return nil
}
