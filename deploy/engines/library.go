package engines

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// LibraryEnv names the environment variable that points at libchdb where no configuration does.
const LibraryEnv = "EARSHOT_LIBCHDB"

// InstallCommand is what installs the ClickHouse library into a working copy of the repository.
const InstallCommand = "make engines"

// Sentinel errors of FindLibrary.
var (
	ErrLibraryMissing      = errors.New("the ClickHouse library is not installed")
	ErrUnsupportedPlatform = errors.New("there is no embedded ClickHouse for this platform")
)

// libraryPackages are the npm packages that carry libchdb, by GOOS/GOARCH.
var libraryPackages = map[string]string{
	"linux/amd64":  "@chdb/lib-linux-x64-gnu",
	"linux/arm64":  "@chdb/lib-linux-arm64-gnu",
	"darwin/arm64": "@chdb/lib-darwin-arm64",
	"darwin/amd64": "@chdb/lib-darwin-x64",
}

// FindLibrary returns the path of libchdb. It looks at explicit (a configured path), the environment variable
// EARSHOT_LIBCHDB, then below each of dirs, the executable's directory and its parents, and the working directory,
// each as an installation (lib/libchdb.so) and as a working copy (deploy/engines/node_modules). A path that was
// given and does not exist is an error, not a reason to look elsewhere.
func FindLibrary(explicit string, dirs ...string) (string, error) {
	return findLibrary(runtime.GOOS, runtime.GOARCH, explicit, dirs...)
}

func findLibrary(goos, goarch, explicit string, dirs ...string) (string, error) {
	for _, given := range []struct{ path, origin string }{
		{explicit, "the configuration"},
		{os.Getenv(LibraryEnv), LibraryEnv},
	} {
		if given.path == "" {
			continue
		}
		if !isFile(given.path) {
			return "", fmt.Errorf("cannot use the ClickHouse library at %s, set by %s: no such file: %w",
				given.path, given.origin, ErrLibraryMissing)
		}
		return filepath.Abs(given.path)
	}
	pkg, ok := libraryPackages[goos+"/"+goarch]
	if !ok {
		return "", fmt.Errorf("%w (%s/%s): set clickhouse.addr to a ClickHouse server", ErrUnsupportedPlatform, goos, goarch)
	}
	places := append([]string(nil), dirs...)
	if exe, err := os.Executable(); err == nil {
		if real, err := filepath.EvalSymlinks(exe); err == nil {
			exe = real
		}
		// The program is in bin/ of a working copy or of an installation: what it needs is beside or one above.
		dir := filepath.Dir(exe)
		places = append(places, dir, filepath.Dir(dir))
	}
	if wd, err := os.Getwd(); err == nil {
		places = append(places, wd)
	}
	var tried []string
	for _, dir := range places {
		for _, candidate := range []string{
			filepath.Join(dir, "lib", "libchdb.so"),
			filepath.Join(dir, "deploy", "engines", "node_modules", filepath.FromSlash(pkg), "libchdb.so"),
			filepath.Join(dir, "node_modules", filepath.FromSlash(pkg), "libchdb.so"),
			filepath.Join(dir, filepath.FromSlash(pkg), "libchdb.so"),
		} {
			if isFile(candidate) {
				return filepath.Abs(candidate)
			}
			tried = append(tried, candidate)
		}
	}
	return "", fmt.Errorf("%w: run `%s`, or set engines.library or %s to libchdb.so, or clickhouse.addr to a server (looked at %s)",
		ErrLibraryMissing, InstallCommand, LibraryEnv, strings.Join(tried, ", "))
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
