//go:build !linux

package ingest

import (
	"errors"
	"net"

	"github.com/prometheus/client_golang/prometheus"
)

func setReceiveBuffer(conn *net.UDPConn, bytes int) error { return conn.SetReadBuffer(bytes) }

func receiveBuffer(*net.UDPConn) (bytes int) { return 0 }

// kernelDrops cannot be counted here.
type kernelDrops struct {
	conn    *net.UDPConn
	counter prometheus.Counter
}

func (k *kernelDrops) poll() {}

func (k *kernelDrops) read() error { return errors.ErrUnsupported }
