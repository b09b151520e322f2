package webhook

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/earshot/earshot/directory"
	"github.com/earshot/earshot/internal/egress"
)

const (
	maxAnswerHeader = 32 << 10 // bytes
	maxAnswer       = 64 << 10 // bytes that are read to use the connection again
	answerTime      = time.Second
	maxRetryAfter   = 24 * time.Hour
)

// answer is what came of one request.
type answer struct {
	status     int
	retryAfter time.Duration
	err        error // nil: it was taken with 2xx
}

// newClient makes the client for all requests: no proxy, which would look up
// names itself; no redirects, which would lead anywhere; and a check of every
// address that is dialled.
func newClient(networks egress.Networks, perEndpoint int) *http.Client {
	dialer := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 15 * time.Second, Control: networks.Control}
	return &http.Client{
		Transport: &http.Transport{
			DialContext: dialer.DialContext, TLSHandshakeTimeout: 10 * time.Second, ForceAttemptHTTP2: true,
			TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}, DisableCompression: true, MaxResponseHeaderBytes: maxAnswerHeader,
			MaxIdleConns: 256, MaxIdleConnsPerHost: perEndpoint, IdleConnTimeout: 30 * time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// request makes one attempt at a delivery.
func request(ctx context.Context, client *http.Client, s directory.Subscription, d directory.Delivery, timeout time.Duration, now time.Time) answer {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL, strings.NewReader(d.Body))
	if err != nil {
		return answer{err: errors.New("its URL cannot be used")}
	}
	secrets := []string{s.Secret}
	if s.OldSecret != "" && now.Before(s.OldSecretUntil) {
		secrets = append(secrets, s.OldSecret)
	}
	signature, err := sign(secrets, d.EventID, now, d.Body)
	if err != nil {
		return answer{err: err}
	}
	req.Header = http.Header{
		"Content-Type": {"application/json"}, "User-Agent": {"Earshot-Webhooks"},
		"Webhook-Id": {d.EventID}, "Webhook-Timestamp": {strconv.FormatInt(now.Unix(), 10)}, "Webhook-Signature": {signature},
	}
	res, err := client.Do(req)
	if err != nil {
		return answer{err: inWords(err, timeout)}
	}
	defer res.Body.Close()
	out := answer{status: res.StatusCode, retryAfter: retryAfter(res.Header.Get("Retry-After"), now)}
	switch {
	case res.StatusCode >= 300 && res.StatusCode < 400:
		out.err = fmt.Errorf("answered %d: redirects are not followed", res.StatusCode)
	case res.StatusCode < 200 || res.StatusCode > 299:
		out.err = fmt.Errorf("answered %d", res.StatusCode)
	}
	// What it says beside the status is of no interest, and may never end.
	stop := time.AfterFunc(answerTime, cancel)
	defer stop.Stop()
	_, _ = io.CopyN(io.Discard, res.Body, maxAnswer)
	return out
}

// retryAfter reads seconds or a date (RFC 9110 §10.2.3); 0 where there is none.
func retryAfter(text string, now time.Time) time.Duration {
	if text == "" {
		return 0
	}
	var d time.Duration
	if s, err := strconv.ParseInt(text, 10, 64); err == nil {
		d = time.Duration(min(s, int64(maxRetryAfter/time.Second))) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		d = at.Sub(now)
	}
	return max(0, min(d, maxRetryAfter))
}

// inWords says why there was no answer, without the URL, which may hold a token.
func inWords(err error, timeout time.Duration) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	var dns *net.DNSError
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var notTLS tls.RecordHeaderError
	var network net.Error
	switch {
	case errors.Is(err, egress.ErrRefused):
		return fmt.Errorf("%w (webhooks.allow_private)", unwrapped(err, egress.ErrRefused))
	case errors.As(err, &dns):
		if dns.IsNotFound {
			return errors.New("the name of the host was not found")
		}
		return errors.New("the name of the host could not be looked up")
	case errors.Is(err, syscall.ECONNREFUSED):
		return errors.New("connection refused")
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return errors.New("no way to the host")
	case errors.As(err, &unknown):
		return errors.New("the certificate is signed by an unknown authority")
	case errors.As(err, &host):
		return errors.New("the certificate is for another host")
	case errors.As(err, &invalid):
		return errors.New("the certificate is not valid (expired, perhaps)")
	case errors.As(err, &notTLS):
		return errors.New("what answers does not speak TLS")
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return fmt.Errorf("no answer within %s", timeout)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return errors.New("the connection was closed without an answer")
	}
	return errors.New("the answer is no HTTP, or the connection failed")
}

// unwrapped is the innermost error that still is target: without the address
// that a dialer puts before it.
func unwrapped(err, target error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil || inner == target || !errors.Is(inner, target) {
			return err
		}
		err = inner
	}
}
