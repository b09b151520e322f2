package engines

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"
)

// The test binary is its own child executable: `engine …` as the program has it, and `up DATA`, which is a parent
// that can be killed.
func TestMain(m *testing.M) {
	if os.Getenv("EARSHOT_ENGINES_TEST_CHILD") == "" {
		os.Exit(m.Run())
	}
	var err error
	switch os.Args[1] {
	case "engine":
		err = Serve(context.Background(), os.Args[2:], os.Stdin)
	case "up":
		err = upUntilKilled(os.Args[2])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func upUntilKilled(data string) error {
	s, err := Start(context.Background(), Config{Data: data, ClickHouse: true, Kafka: true, Library: os.Getenv("TEST_LIBRARY")})
	if err != nil {
		return err
	}
	if err := s.SetListeners("127.0.0.1:1", "127.0.0.1:2", map[string]string{"hep": "127.0.0.1:3"}); err != nil {
		return err
	}
	fmt.Println("ready")
	select {}
}

// library is libchdb as `make engines` installs it.
func library(t testing.TB) string {
	t.Helper()
	path, err := FindLibrary("", "../..")
	if err != nil {
		t.Fatalf("these tests run the real ClickHouse: run `%s` first: %v", InstallCommand, err)
	}
	return path
}

func testConfig(t testing.TB, data string) Config {
	return Config{
		Data: data, MinFreeBytes: 1, Env: []string{"EARSHOT_ENGINES_TEST_CHILD=1"},
		Log: slog.New(slog.NewTextHandler(testWriter{t}, nil)),
	}
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", p)
	return len(p), nil
}

func start(t testing.TB, config Config) *Set {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	s, err := Start(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	stopped := false
	t.Cleanup(func() {
		if !stopped {
			stopped = true
			s.Stop()
		}
	})
	return s
}

// eventually waits for a state that other processes bring about; the test binary's own timeout bounds it.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("it never happened that %s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
