package webhook

import (
	"errors"
	"fmt"
	"time"

	"github.com/earshot/earshot/internal/egress"
)

// Config says how webhooks are sent.
type Config struct {
	Backoff      []string      `koanf:"backoff" doc:"times between attempts of one delivery; the last one repeats"`
	GiveUp       time.Duration `koanf:"give_up" doc:"after this time of failed attempts a delivery is given up; it can be sent again by hand"`
	Probe        time.Duration `koanf:"probe" doc:"longest time between attempts at a subscriber that fails, while deliveries to it are due"`
	DisableAfter time.Duration `koanf:"disable_after" doc:"a subscription that failed for so long, without one success, is disabled; 0: never"`
	Timeout      time.Duration `koanf:"timeout" doc:"of one request"`
	Concurrency  int           `koanf:"concurrency" doc:"requests at a time; a quarter as many more for subscribers that fail or are slow"`
	PerEndpoint  int           `koanf:"per_endpoint" doc:"requests at a time to one subscription"`
	MaxPending   int64         `koanf:"max_pending" doc:"deliveries that may wait for one subscription; one with more is disabled and keeps them; 0: any number"`
	// A subscription may have a hundredth of it, whatever the others have.
	MaxPendingCompany int64     `koanf:"max_pending_company" doc:"deliveries that may wait for all subscriptions of a company; where there are more, those of them with more than a hundredth of it are disabled and keep them; 0: any number"`
	AllowPrivate      []string  `koanf:"allow_private" doc:"networks that webhooks may reach although they are not public, such as 10.1.0.0/16 or 127.0.0.1"`
	Imported          bool      `koanf:"imported" doc:"send the call events of imported captures too"`
	Retention         Retention `koanf:"retention"`
}

// Retention is how many days deliveries are kept after they are done.
type Retention struct {
	Delivered int `koanf:"delivered" doc:"days that deliveries are kept after they were delivered"`
	Dead      int `koanf:"dead" doc:"days that deliveries are kept after they were given up"`
}

// DefaultConfig has the times that Standard Webhooks suggests, up to a day.
func DefaultConfig() Config {
	return Config{
		Backoff: []string{"5s", "5m", "30m", "2h", "5h", "10h"}, GiveUp: 24 * time.Hour, Probe: 5 * time.Minute, DisableAfter: 5 * 24 * time.Hour,
		Timeout: 15 * time.Second, Concurrency: 128, PerEndpoint: 8, MaxPending: 100_000, MaxPendingCompany: 1_000_000, Retention: Retention{Delivered: 7, Dead: 30},
	}
}

// plan is a Config that was understood.
type plan struct {
	Config
	backoff  []time.Duration
	networks egress.Networks
}

// Check says what is wrong with the settings.
func (c Config) Check() error {
	_, err := c.plan()
	return err
}

func (c Config) plan() (plan, error) {
	p := plan{Config: c}
	for _, text := range c.Backoff {
		d, err := time.ParseDuration(text)
		if err != nil || d <= 0 {
			return p, fmt.Errorf("webhooks.backoff: %q is no time such as 5m", text)
		}
		p.backoff = append(p.backoff, d)
	}
	if len(p.backoff) == 0 {
		return p, errors.New("webhooks.backoff is empty")
	}
	var err error
	if p.networks, err = egress.Parse(c.AllowPrivate); err != nil {
		return p, fmt.Errorf("webhooks.allow_private: %w", err)
	}
	switch {
	case c.GiveUp <= 0 || c.Probe <= 0 || c.Timeout <= 0:
		return p, errors.New("webhooks: give_up, probe and timeout must be positive")
	case c.DisableAfter < 0:
		return p, errors.New("webhooks.disable_after must not be negative")
	case c.Concurrency < 1 || c.PerEndpoint < 1:
		return p, errors.New("webhooks: concurrency and per_endpoint must be positive")
	case c.MaxPending < 0 || c.MaxPendingCompany < 0:
		return p, errors.New("webhooks: max_pending and max_pending_company must not be negative")
	case c.Retention.Delivered < 1 || c.Retention.Dead < 1:
		return p, errors.New("webhooks.retention: delivered and dead must be at least a day")
	}
	return p, nil
}

// Networks are those that allow_private names.
func (c Config) Networks() (egress.Networks, error) {
	p, err := c.plan()
	return p.networks, err
}
