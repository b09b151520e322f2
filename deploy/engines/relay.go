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
// that is cut short or is not of the native protocol: with native set, nothing is handed on before it is whole.
//
// On Linux the bytes that follow do not pass through this process's memory: io.Copy between two TCP connections
// splices.
func startRelay(port, enginePort int, native bool) (io.Closer, error) {
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
				go relay(client.(*net.TCPConn), loopback(enginePort), native)
			}
		}
	}()
	return l, nil
}

// relay copies both ways until both sides have ended.
func relay(client *net.TCPConn, target string, native bool) {
	defer client.Close()
	var first []byte
	if native {
		_ = client.SetReadDeadline(time.Now().Add(helloTimeout))
		h, err := readHello(client)
		if err != nil {
			return
		}
		if h.user != embeddedUser || h.password != "" {
			_, _ = client.Write(refusal(h.user))
			return
		}
		first = h.packet
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

// embeddedUser is the one user of the engine, who has no password.
const embeddedUser = "default"

// refusal is the exception of the native protocol that answers a client who may not come in.
func refusal(user string) []byte {
	const (
		serverException      = 2
		authenticationFailed = 516
	)
	out := []byte{serverException}
	out = binary.LittleEndian.AppendUint32(out, authenticationFailed)
	for _, text := range []string{"DB::Exception", fmt.Sprintf("%q: authentication failed: the embedded engine has the user %s without a password", user, embeddedUser), ""} {
		out = binary.AppendUvarint(out, uint64(len(text)))
		out = append(out, text...)
	}
	return append(out, 0) // no exception within
}

// firstPacket is the hello of a client of the native protocol.
type firstPacket struct {
	packet         []byte
	user, password string
}

// readHello reads the first packet of a client, and no more than was sent with it.
func readHello(client io.Reader) (firstPacket, error) {
	var read bytes.Buffer
	r := bufio.NewReader(io.TeeReader(client, &read))
	number := func() (uint64, error) { return binary.ReadUvarint(r) }
	text := func() (string, error) {
		n, err := number()
		if err != nil {
			return "", err
		}
		if n > maxHelloText {
			return "", errNoHello
		}
		b := make([]byte, n)
		_, err = io.ReadFull(r, b)
		return string(b), err
	}
	kind, err := number()
	if err != nil {
		return firstPacket{}, err
	}
	if kind != 0 {
		return firstPacket{}, errNoHello
	}
	if _, err := text(); err != nil { // the client's name
		return firstPacket{}, err
	}
	for range 3 { // its version: major, minor, revision of the protocol
		if _, err := number(); err != nil {
			return firstPacket{}, err
		}
	}
	var said [3]string // database, user, password
	for i := range said {
		if said[i], err = text(); err != nil {
			return firstPacket{}, err
		}
	}
	return firstPacket{packet: read.Bytes(), user: said[1], password: said[2]}, nil
}
