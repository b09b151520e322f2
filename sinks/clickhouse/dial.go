package clickhouse

import (
	"context"
	"io"
	"net"
	"sync"
	"time"
)

// drainTime is how long a closed connection waits for the server's end of it.
const drainTime = 10 * time.Second

// dialer makes connections that end without a TCP reset. A kernel resets a
// connection that is closed with unread data, which every cancelled query
// leaves; the embedded engine (libchdb 26.7) takes an uncaught exception from
// a reset and ends its process.
type dialer struct{ net.Dialer }

func (d *dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := d.Dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if tcp, ok := c.(*net.TCPConn); ok {
		return &drainedConn{TCPConn: tcp}, nil
	}
	return c, nil
}

type drainedConn struct {
	*net.TCPConn
	closing sync.Once
	err     error
}

// Close says that nothing more will be sent, and reads what still comes.
func (c *drainedConn) Close() error {
	c.closing.Do(func() {
		if c.CloseWrite() != nil {
			c.err = c.TCPConn.Close()
			return
		}
		_ = c.SetDeadline(time.Now().Add(drainTime))
		go func() {
			_, _ = io.Copy(io.Discard, c.TCPConn)
			_ = c.TCPConn.Close()
		}()
	})
	return c.err
}
