// Package demo makes real traffic with known faults: SIP phones that register
// at Earshot and call each other, WebRTC peers that talk through an impairing
// relay and post their own getStats(), rejections, and a device that lapses.
// Nothing is invented: every figure that Earshot shows of it was measured on
// packets that were really sent.
package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"
	"golang.org/x/sync/errgroup"
)

// Config says where the Earshot is that gets the traffic.
type Config struct {
	URL     string // of the API, http://host:port
	Key     string // API key
	Company string
	HEP     string // address of the HEP listener, UDP
	SIP     string // address of the SIP listener, UDP
	// Parallel bounds the calls with media that run at once.
	Parallel int
	// Rounds ends the demo after each scenario ran that often; 0: until cancelled.
	Rounds int
}

type demo struct {
	cfg    Config
	log    *slog.Logger
	http   *http.Client
	alice  *voice
	bob    *voice
	agent  *agent
	mirror *mirror
	phones map[string]*phone
	run    string // distinguishes the calls of this run from those of earlier ones
	mu     sync.Mutex
	serial int
}

// person is a user that the demo creates.
type person struct {
	id, name, number string
	endpoint         string // of their app; empty: desk phone only
	version          string
	platform         string
	phone            string // User-Agent of their desk phone; empty: none
	office           string
	departments      []string
	contactCenters   []string
}

// domain of the demo's addresses-of-record.
const domain = "demo.example"

var people = []person{
	{id: "alice", name: "Alice Moreau", number: "+14155550101", endpoint: "native", version: "5.2.1", platform: "macOS 15.1", office: "san-francisco", departments: []string{"sales"}},
	{id: "bob", name: "Bob Tanaka", number: "+14155550102", endpoint: "packaged_app", version: "5.1.0", platform: "Windows 11", office: "san-francisco", departments: []string{"sales"}},
	{id: "carol", name: "Carol Nwosu", number: "+14155550103", endpoint: "web", version: "5.2.1", platform: "Chrome 142 on Linux", office: "vienna", departments: []string{"support"}, contactCenters: []string{"help"}},
	{id: "dave", name: "Dave Lindqvist", number: "+14155550104", phone: "Yealink SIP-T46S 66.86.0.15", office: "vienna", departments: []string{"support"}, contactCenters: []string{"help"}},
	{id: "erin", name: "Erin Castillo", number: "+14155550105", phone: "PolycomVVX-VVX_411-UA/5.9.5.0614", office: "vienna", contactCenters: []string{"help"}},
	{id: "frank", name: "Frank Osei", number: "+14155550106", phone: "Grandstream GXP2170 1.0.11.35", office: "san-francisco", departments: []string{"sales"}},
	{id: "grace", name: "Grace Kim", number: "+14155550107", phone: "snomD785/10.1.127.12", office: "vienna", contactCenters: []string{"help"}},
	{id: "heidi", name: "Heidi Brandt", number: "+18005550108", phone: "Cisco-CP8841/12.0.1", office: "san-francisco"},
}

func who(id string) person {
	for _, p := range people {
		if p.id == id {
			return p
		}
	}
	return person{}
}

// Run makes traffic until ctx ends or the rounds are over.
func Run(ctx context.Context, cfg Config, log *slog.Logger) error {
	if cfg.Parallel <= 0 {
		cfg.Parallel = 5
	}
	d := &demo{
		cfg: cfg, log: log, http: &http.Client{Timeout: 10 * time.Second},
		phones: map[string]*phone{}, run: fmt.Sprintf("%06x", rand.Uint32()&0xffffff),
	}
	var err error
	if d.alice, err = loadVoice(aliceOgg); err != nil {
		return err
	}
	if d.bob, err = loadVoice(bobOgg); err != nil {
		return err
	}
	if d.agent, err = dialAgent(cfg.HEP); err != nil {
		return err
	}
	d.mirror = &mirror{agent: d.agent, ours: map[string]bool{}}
	sip.SetDefaultLogger(slog.New(slog.DiscardHandler)) // it reports every retransmission
	sip.SIPDebug = true
	sip.SIPDebugTracer(d.mirror)
	if err := d.createCompany(ctx); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	g, ctx := errgroup.WithContext(ctx)
	for _, p := range people {
		if p.phone == "" {
			continue
		}
		ua, err := newPhone(ctx, &phone{user: p.id, domain: domain, number: p.number, userAgent: p.phone, registrar: cfg.SIP}, log)
		if err != nil {
			return err
		}
		d.phones[p.id] = ua
		d.mirror.add(ua.addr)
		g.Go(func() error { return d.keepRegistered(ctx, ua) })
	}
	g.Go(func() error { return d.lapse(ctx) })
	slots := make(chan struct{}, cfg.Parallel)
	var rounds sync.WaitGroup
	for _, s := range scenarios {
		rounds.Go(func() { d.repeat(ctx, s, slots) })
	}
	g.Go(func() error {
		rounds.Wait()
		stop() // and with the calls their phones
		return nil
	})
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// repeat runs a scenario again and again; one that fails is reported and does not end the others.
func (d *demo) repeat(ctx context.Context, s scenario, slots chan struct{}) {
	for round := 1; ; round++ {
		if s.media {
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return
			}
		}
		id := d.callID(s.name)
		d.log.Info("demo call", "call_id", id, "label", s.label)
		if err := s.run(ctx, d, id, s.label); err != nil && ctx.Err() == nil {
			d.log.Warn("demo call failed", "call_id", id, "error", err)
		}
		if s.media {
			<-slots
		}
		if d.cfg.Rounds > 0 && round >= d.cfg.Rounds {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(s.pause + time.Duration(rand.Int64N(int64(s.pause/2)+1))):
		}
	}
}

func (d *demo) callID(name string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.serial++
	return fmt.Sprintf("demo-%s-%s-%d", name, d.run, d.serial)
}

// registrationTime is that of a demo phone; it refreshes at half of it.
const registrationTime = 120 * time.Second

func (d *demo) keepRegistered(ctx context.Context, p *phone) error {
	for {
		if err := p.register(ctx, registrationTime); err != nil && ctx.Err() == nil {
			d.log.Warn("demo phone cannot register", "error", err)
		}
		select {
		case <-ctx.Done():
			if d.cfg.Rounds > 0 {
				return nil
			}
			// A phone that is switched off properly says goodbye.
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			_ = p.register(last, 0)
			return nil
		case <-time.After(registrationTime / 2):
		}
	}
}

// lapse registers a second device of Heidi's for the shortest time, once, and
// never again: it shows as registered, then as lapsed.
func (d *demo) lapse(ctx context.Context) error {
	p, err := newPhone(ctx, &phone{user: "heidi", domain: domain, number: who("heidi").number, userAgent: "Zoiper/5.6.1 (Windows 11)", registrar: d.cfg.SIP}, d.log)
	if err != nil {
		return err
	}
	if err := p.register(ctx, 30*time.Second); err != nil && ctx.Err() == nil {
		d.log.Warn("demo phone cannot register", "error", err)
	}
	return nil
}

func (d *demo) post(ctx context.Context, path, contentType string, value any) (int, []byte, error) {
	return d.send(ctx, http.MethodPost, path, contentType, value)
}

func (d *demo) send(ctx context.Context, method, path, contentType string, value any) (int, []byte, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return 0, nil, fmt.Errorf("cannot encode %s: %w", path, err)
	}
	req, err := http.NewRequestWithContext(ctx, method, d.cfg.URL+path, bytes.NewReader(text))
	if err != nil {
		return 0, nil, fmt.Errorf("cannot reach %s: %w", path, err)
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Authorization", "Bearer "+d.cfg.Key)
	res, err := d.http.Do(req)
	if err != nil {
		return 0, nil, fmt.Errorf("cannot reach %s: %w", path, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<16))
	return res.StatusCode, body, err
}

// event posts one call event (CloudEvents 1.0).
func (d *demo) event(ctx context.Context, kind string, data map[string]any) error {
	d.mu.Lock()
	d.serial++
	serial := d.serial
	d.mu.Unlock()
	status, body, err := d.post(ctx, "/ingest/v1/events", "application/cloudevents+json", map[string]any{
		"specversion": "1.0", "id": fmt.Sprintf("%s-%d", d.run, serial), "source": "/demo", "type": "earshot.call." + kind,
		"time": time.Now().UTC().Format(time.RFC3339Nano), "datacontenttype": "application/json", "data": data,
	})
	if err != nil {
		return err
	}
	if status != http.StatusAccepted {
		return fmt.Errorf("event %s was refused: status %d: %s", kind, status, body)
	}
	return nil
}
