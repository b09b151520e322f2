package engines

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// ErrPortTaken says that another process listens on a port that was asked for.
var ErrPortTaken = errors.New("the port is taken by another process")

// Ports are chosen below the range from which systems take the local ports of outgoing connections (32768 and up on
// Linux, 49152 on macOS). A client that dials a dead port inside that range can connect to itself, and then the
// engine cannot have its port back.
const (
	firstFreePort = 20000
	lastFreePort  = 32000
)

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// checkPort tells whether port can be listened on.
func checkPort(port int) error {
	l, err := net.Listen("tcp4", loopback(port))
	if err != nil {
		if isAddrInUse(err) {
			return fmt.Errorf("cannot listen on %s: %w", loopback(port), ErrPortTaken)
		}
		return fmt.Errorf("cannot listen on %s: %w", loopback(port), err)
	}
	return l.Close()
}

// choosePort returns explicit when it is given and free, previous when that is free, or else any free port that is
// none of taken.
func choosePort(explicit, previous int, taken ...int) (int, error) {
	if explicit != 0 {
		return explicit, checkPort(explicit)
	}
	free := func(port int) bool {
		for _, t := range taken {
			if t == port {
				return false
			}
		}
		return checkPort(port) == nil
	}
	if previous != 0 && free(previous) {
		return previous, nil
	}
	for range 200 {
		if port := firstFreePort + rand.IntN(lastFreePort-firstFreePort); free(port) {
			return port, nil
		}
	}
	return 0, fmt.Errorf("cannot find a free port on loopback between %d and %d", firstFreePort, lastFreePort)
}

// portOf is the port of a host:port, 0 when it has none.
func portOf(addr string) int {
	_, text, err := net.SplitHostPort(addr)
	if err != nil {
		return 0
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return 0
	}
	return port
}
