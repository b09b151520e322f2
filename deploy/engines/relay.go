package engines

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

const (
	helloTimeout = 30 * time.Second
	maxHelloText = 4096 // bytes of a name, user or password
)

// startRelay takes clients on a loopback port and hands them on to the engine's own, so that the engine never sees
// what ends its process: libchdb lets some errors of a connection out of that connection's thread. One is a reset,
// which a kernel sends for a process that was killed, and for every connection that is closed with unread data,
// such as one whose query was cancelled; an orderly end of the stream the engine handles. Another is a first packet
// that is cut short or is not of the native protocol: with hello set, nothing is handed on before it is whole.
//
// On Linux the bytes that follow do not pass through this process's memory: io.Copy between two TCP connections
// splices.
func startRelay(port, enginePort int, hello bool) (io.Closer, error) {
	l, err := net.Listen("tcp4", loopback(port))
	if err != nil {
		if isAddrInUse(err) {
			err = ErrPortTaken
		}
		return nil, fmt.Errorf("cannot listen on %s: %w", loopback(port), err)
	}
	go func() {
		for {
			client, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				go relay(client.(*net.TCPConn), loopback(enginePort), hello)
			}
		}
	}()
	return l, nil
}

// relay copies both ways until both sides have ended.
func relay(client *net.TCPConn, target string, hello bool) {
	defer client.Close()
	var first []byte
	if hello {
		_ = client.SetReadDeadline(time.Now().Add(helloTimeout))
		var err error
		if first, err = readHello(client); err != nil {
			return
		}
		_ = client.SetReadDeadline(time.Time{})
	}
	c, err := net.Dial("tcp4", target)
	if err != nil {
		return // the engine does not listen yet, or any more
	}
	engine := c.(*net.TCPConn)
	defer engine.Close()
	if _, err := engine.Write(first); err != nil {
		return
	}
	go func() {
		_, _ = io.Copy(engine, client)
		_ = engine.CloseWrite()
	}()
	_, _ = io.Copy(client, engine)
	// Where the client is gone, what the engine still says has to be read: closing before would reset.
	_ = client.CloseWrite()
	_, _ = io.Copy(io.Discard, engine)
}

var errNoHello = errors.New("not a hello of ClickHouse's native protocol")

// readHello reads the first packet of a client of the native protocol, and returns all that was read to have it.
func readHello(client io.Reader) ([]byte, error) {
	var read bytes.Buffer
	r := bufio.NewReader(io.TeeReader(client, &read))
	number := func() (uint64, error) { return binary.ReadUvarint(r) }
	text := func() error {
		n, err := number()
		if err != nil {
			return err
		}
		if n > maxHelloText {
			return errNoHello
		}
		_, err = r.Discard(int(n))
		return err
	}
	kind, err := number()
	if err != nil {
		return nil, err
	}
	if kind != 0 {
		return nil, errNoHello
	}
	if err := text(); err != nil { // the client's name
		return nil, err
	}
	for range 3 { // its version: major, minor, revision of the protocol
		if _, err := number(); err != nil {
			return nil, err
		}
	}
	for range 3 { // database, user, password
		if err := text(); err != nil {
			return nil, err
		}
	}
	return read.Bytes(), nil
}
