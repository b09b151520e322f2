package engines

import (
	"bytes"
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/stretchr/testify/require"
)

// hello is the first packet of a client: kind, name, version, database, user, password.
const hello = "\x00\x04test\x01\x02\x8e\xa9\x03\x07default\x07default\x00"

// reset ends a connection as the kernel does for a process that was killed with unread data.
func reset(t *testing.T, c net.Conn) {
	t.Helper()
	require.NoError(t, c.(*net.TCPConn).SetLinger(0))
	require.NoError(t, c.Close())
}

func TestRelayTurnsAResetIntoAnEnd(t *testing.T) {
	target, err := net.Listen("tcp4", loopback(0))
	require.NoError(t, err)
	defer target.Close()
	port, err := choosePort(0, 0)
	require.NoError(t, err)
	listener, err := startRelay(port, target.Addr().(*net.TCPAddr).Port, true)
	require.NoError(t, err)
	defer listener.Close()

	client, err := net.Dial("tcp4", loopback(port))
	require.NoError(t, err)
	for i := range hello { // however the packet is cut
		_, err = client.Write([]byte{hello[i]})
		require.NoError(t, err)
	}
	engine, err := target.Accept()
	require.NoError(t, err)
	defer engine.Close()
	_, err = client.Write([]byte("question"))
	require.NoError(t, err)
	got := make([]byte, len(hello)+8)
	_, err = io.ReadFull(engine, got)
	require.NoError(t, err)
	require.Equal(t, hello+"question", string(got))
	_, err = engine.Write([]byte("answer"))
	require.NoError(t, err)
	_, err = io.ReadFull(client, got[:6])
	require.NoError(t, err)
	require.Equal(t, "answer", string(got[:6]))

	reset(t, client)
	rest, err := io.ReadAll(engine)
	require.NoError(t, err, "the engine reads an end, no reset")
	require.Empty(t, rest)
	// What it says to nobody is taken, too.
	for range 64 {
		_, err := engine.Write(make([]byte, 64<<10))
		require.NoError(t, err)
	}
}

func TestClickHouseOutlivesClientsThatAreKilled(t *testing.T) {
	c := testConfig(t, t.TempDir())
	c.ClickHouse, c.Library = true, library(t)
	s, err := Start(context.Background(), c)
	require.NoError(t, err)
	defer s.Stop()
	pid := s.Health()[0].PID
	for _, sent := range []string{"", "\x00", hello[:9], "GET / HTTP/1.1\r\n", "\xff\xff", hello, hello + "\x00", hello + "\x00\x01"} {
		for _, end := range []func(net.Conn){
			func(c net.Conn) { reset(t, c) },
			func(c net.Conn) { require.NoError(t, c.Close()) },
		} {
			client, err := net.Dial("tcp4", s.ClickHouseAddr())
			require.NoError(t, err)
			_, err = client.Write([]byte(sent))
			require.NoError(t, err)
			time.Sleep(20 * time.Millisecond) // so that the engine has it before the end comes
			end(client)
		}
	}
	conn := openClickHouse(t, s.ClickHouseAddr())
	for range 5 {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
		_ = conn.Exec(ctx, "SELECT count() FROM system.numbers_mt")
		cancel()
	}
	for _, auth := range []clickhouse.Auth{{Username: "default", Password: "wrong"}, {Username: "somebody"}} {
		refused, err := clickhouse.Open(&clickhouse.Options{Addr: []string{s.ClickHouseAddr()}, Auth: auth})
		require.NoError(t, err)
		var exception *clickhouse.Exception
		require.ErrorAs(t, refused.Ping(context.Background()), &exception)
		require.EqualValues(t, 516, exception.Code)
		require.NoError(t, refused.Close())
	}
	require.NoError(t, conn.Ping(context.Background()))
	require.Equal(t, pid, s.Health()[0].PID, "it is the same process")
	require.Zero(t, s.Health()[0].Restarts)
}

func FuzzReadHello(f *testing.F) {
	f.Add([]byte(hello))
	f.Add([]byte(hello + "more"))
	f.Add([]byte(hello[:5]))
	f.Add([]byte("\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := readHello(bytes.NewReader(data))
		if err == nil && !bytes.HasPrefix(data, got.packet) {
			t.Fatalf("%q was read as %q", data, got.packet)
		}
	})
}
