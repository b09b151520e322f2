//go:build !linux

package ingest

import (
	"errors"
	"net"

	"github.com/prometheus/client_golang/prometheus"
)

func setReceiveBuffer(conn *net.UDPConn, bytes int) error { return conn.SetReadBuffer(bytes) }

func reportKernelDrops(*net.UDPConn) error { return errors.ErrUnsupported }

type kernelDrops struct{ counter prometheus.Counter }

func (k *kernelDrops) see([]byte) {}
