package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/errgroup"

	"github.com/earshot/earshot/api"
	"github.com/earshot/earshot/api/portal"
	"github.com/earshot/earshot/directory"
	"github.com/earshot/earshot/ingest"
	"github.com/earshot/earshot/internal/admin"
	"github.com/earshot/earshot/internal/bus"
	"github.com/earshot/earshot/processors"
	"github.com/earshot/earshot/processors/calls"
	"github.com/earshot/earshot/processors/quality"
	"github.com/earshot/earshot/processors/registrations"
	"github.com/earshot/earshot/query"
	"github.com/earshot/earshot/sinks/clickhouse"
	"github.com/earshot/earshot/sinks/webhook"
	"github.com/earshot/earshot/telemetry"
)

// process is one running earshot: what its roles share, and the order in which
// they stop.
type process struct {
	s        *settings
	log      *slog.Logger
	registry *prometheus.Registry
	admin    *admin.Server
	dir      *directory.Directory
	resolver *directory.Resolver
	// publishes: this process tells the others who is who; eager: at once.
	publishes, eager bool
	rules            *quality.RuleBook

	// waits: this process is a role, which waits for engines that are away; a command fails.
	waits   bool
	started atomic.Bool
	stages  []*stage
	failure chan error
	// Filled by the roles that listen.
	apiListener net.Listener
	apiAddr     string
	ingest      *ingest.Ingester
}

// stage is one role: it runs until it is stopped, after all that were started later.
type stage struct {
	name string
	stop context.CancelFunc
	done chan struct{}
}

func newProcess(s *settings, log *slog.Logger) (*process, error) {
	rules, err := quality.LoadRules(s.Verdicts.Rules) // before anything is started
	if err != nil {
		return nil, err
	}
	p := &process{s: s, log: log, rules: rules, registry: prometheus.NewRegistry(), failure: make(chan error, 1)}
	p.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if p.admin, err = admin.Listen(s.Admin.Listen, p.registry, log); err != nil {
		return nil, err
	}
	p.admin.Add("start", func(context.Context) error {
		if !p.started.Load() {
			return errors.New("not everything is started yet")
		}
		return nil
	})
	p.start("admin", p.admin.Run)
	return p, nil
}

// start runs a role; its failure ends the process.
func (p *process) start(name string, run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	st := &stage{name: name, stop: cancel, done: make(chan struct{})}
	p.stages = append(p.stages, st)
	go func() {
		defer close(st.done)
		if err := run(ctx); err != nil {
			p.fail(fmt.Errorf("%s failed: %w", name, err))
		}
	}()
}

// fail ends the process; the first reason counts.
func (p *process) fail(err error) {
	select {
	case p.failure <- err:
	default:
	}
}

// shutdown stops the roles in the reverse of the order they were started in.
func (p *process) shutdown() {
	p.admin.Drain()
	for i := len(p.stages) - 1; i >= 0; i-- {
		st := p.stages[i]
		st.stop()
		select {
		case <-st.done:
			p.log.Debug("stopped", "role", st.name)
		case <-time.After(30 * time.Second):
			p.log.Warn("a role did not stop in time; what it had not finished is done by the next start", "role", st.name)
		}
	}
	if p.apiListener != nil {
		_ = p.apiListener.Close() // where it was never served on
	}
	if p.dir != nil {
		if err := p.dir.Close(); err != nil {
			p.log.Warn("cannot close the directory", "error", err)
		}
	}
}

// wait returns when the process is told to stop or something it needs has failed.
func (p *process) wait(ctx context.Context) error {
	p.started.Store(true)
	select {
	case <-ctx.Done():
		return nil
	case err := <-p.failure:
		return err
	}
}

func (p *process) openDirectory(ctx context.Context) error {
	if p.dir != nil {
		return nil
	}
	err := p.reach(ctx, "directory", func(ctx context.Context) (err error) {
		p.dir, err = directory.Open(ctx, p.s.Directory, p.s.Data)
		return err
	})
	if err != nil {
		return err
	}
	p.admin.Add("directory", p.dir.Ping)
	return nil
}

// learnWhoIsWho follows the directory over Kafka, and publishes it where that is
// this process's. It returns when all that is known has been read.
func (p *process) learnWhoIsWho(ctx context.Context) error {
	if p.resolver != nil {
		return nil
	}
	secret, err := directory.FeedSecret(p.s.Directory, p.s.Data, p.publishes)
	if err != nil {
		return err
	}
	p.resolver, err = directory.NewResolver(directory.ResolverDeps{Bus: p.s.Kafka, Secret: secret, Log: p.log, Metrics: p.registry})
	if err != nil {
		return err
	}
	p.start("who is who", p.resolver.Run)
	p.admin.Add("who_is_who", p.resolver.Ready)
	version := int64(0)
	if p.publishes {
		publisher, err := p.dir.NewPublisher(directory.PublisherDeps{
			Bus: p.s.Kafka, Resolver: p.resolver, Secret: secret, Eager: p.eager, Log: p.log, Metrics: p.registry,
		})
		if err != nil {
			return err
		}
		p.start("publisher", publisher.Run)
		if version, err = p.dir.Version(ctx); err != nil {
			return err
		}
	}
	late := time.AfterFunc(5*time.Second, func() { p.log.Info("waiting until it is known who is who", "state", p.resolver.Ready(ctx)) })
	defer late.Stop()
	return p.resolver.Wait(ctx, version)
}

// prepare makes topics and schema exist and watches that Kafka answers.
func (p *process) prepare(ctx context.Context) error {
	opts, err := p.s.Kafka.Options()
	if err != nil {
		return err
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return fmt.Errorf("cannot make a Kafka client: %w", err)
	}
	p.start("kafka", func(ctx context.Context) error { <-ctx.Done(); client.Close(); return nil })
	if err := p.reach(ctx, "kafka", func(ctx context.Context) error { return p.ensureTopics(ctx, client) }); err != nil {
		return err
	}
	p.admin.Add("kafka", client.Ping)
	return nil
}

// ensureTopics makes the topics exist. Making them tries for half a minute before
// it says that nobody answers, so a role asks first; and first without SASL, because
// some brokers refuse a password by hanging up, as they would when they end.
func (p *process) ensureTopics(ctx context.Context, client *kgo.Client) error {
	if !p.waits {
		return bus.EnsureTopics(ctx, p.s.Kafka)
	}
	if err := ask(ctx, p.someKafka); err != nil {
		return fmt.Errorf("cannot reach Kafka: %w", err)
	}
	err := ask(ctx, client.Ping)
	if err == nil {
		err = bus.EnsureTopics(ctx, p.s.Kafka)
	}
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("a broker of Kafka hung up: %s; check kafka.sasl", err) // not wrapped: it was there a moment ago
	}
	return err
}

// someKafka is nil where a broker answers, to whomever.
func (p *process) someKafka(ctx context.Context) error {
	anybody := p.s.Kafka
	anybody.SASL = bus.SASL{}
	opts, err := anybody.Options()
	if err != nil {
		return err
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return err
	}
	defer client.Close()
	for _, broker := range client.SeedBrokers() {
		if _, err = broker.Request(ctx, kmsg.NewPtrApiVersionsRequest()); err == nil { // which all may ask
			return nil
		}
	}
	return err
}

// prepareClickHouse brings the schema up to date and watches that ClickHouse answers.
func (p *process) prepareClickHouse(ctx context.Context) error {
	err := p.reach(ctx, "clickhouse", func(ctx context.Context) error { return clickhouse.Migrate(ctx, p.s.ClickHouse) })
	if err != nil {
		return err
	}
	conn, err := clickhouse.Open(p.s.ClickHouse)
	if err != nil {
		return err
	}
	p.admin.Add("clickhouse", query.New(conn, query.Options{}).Ping)
	p.start("clickhouse", func(ctx context.Context) error { <-ctx.Done(); return conn.Close() })
	return nil
}

// startIngest listens with every configured listener.
func (p *process) startIngest(ctx context.Context) error { return p.startIngester(ctx, p.s.Ingest) }

func (p *process) startIngester(ctx context.Context, cfg ingest.Config) error {
	if err := p.openDirectory(ctx); err != nil {
		return err
	}
	if err := p.learnWhoIsWho(ctx); err != nil {
		return err
	}
	tenancy, err := ingest.NewTenancy(p.s.Tenancy.Rules)
	if err != nil {
		return err
	}
	producer, err := ingest.NewProducer(p.s.Kafka, cfg.Buffer, p.registry)
	if err != nil {
		return err
	}
	known, err := newCredentials(ctx, p.dir, p.resolver, p.log.With("role", "ingest"))
	if err != nil {
		producer.Close()
		return err
	}
	auth := api.NewAuthenticator(p.s.API, p.dir)
	in, err := ingest.New(cfg, ingest.Deps{
		Producer: producer, Kafka: p.s.Kafka, Resolver: p.resolver, Tenancy: tenancy, Credentials: known,
		CredentialUsed: known.used, DeletedDevices: known.deleted,
		Authenticate: func(r *http.Request) (string, bool) { return postedFor(auth, p.dir, r) },
		Metrics:      p.registry, Log: p.log.With("role", "ingest"),
	})
	if err != nil {
		producer.Close()
		return err
	}
	p.ingest = in
	p.start("credentials", known.run)
	p.start("ingest", func(ctx context.Context) error {
		defer producer.Close()
		return in.Run(ctx)
	})
	return nil
}

// postedFor is the company that a request to HTTP ingest brings telemetry of:
// that of its key; an operator may name one. A key in the address, which is all
// that a page can give sendBeacon, must be one that can do nothing else: addresses
// end up in logs.
func postedFor(auth *api.Authenticator, d *directory.Directory, r *http.Request) (string, bool) {
	var who directory.Principal
	var err error
	if key := r.URL.Query().Get("key"); key != "" && r.Header.Get("Authorization") == "" {
		if who, err = d.AuthenticateKey(r.Context(), key); err == nil && who.Role != directory.RoleIngest {
			return "", false
		}
	} else {
		who, err = auth.Authenticate(r)
	}
	if err != nil {
		return "", false
	}
	if who.Company != "" {
		return who.Company, true
	}
	named := r.URL.Query().Get("company")
	if named == "" {
		return directory.DefaultCompany, true
	}
	_, err = d.Company(r.Context(), named)
	return named, err == nil
}

func (p *process) startProcess() error {
	rules := p.rules
	p.log.Info("verdicts have their rules", "rules", inForce(rules))
	proc, err := processors.New(p.s.Processors, processors.Deps{
		Bus: p.s.Kafka,
		Machines: map[string]func() processors.Machine{
			telemetry.TopicTelemetry:     func() processors.Machine { return calls.New(rules) },
			telemetry.TopicRegistrations: func() processors.Machine { return registrations.New() },
		},
		Log: p.log.With("role", "process"), Metrics: p.registry,
	})
	if err != nil {
		return err
	}
	p.start("process", proc.Run)
	return nil
}

func (p *process) startSink(ctx context.Context) error {
	if err := p.prepareClickHouse(ctx); err != nil {
		return err
	}
	sink, err := clickhouse.NewSink(p.s.ClickHouse, clickhouse.Deps{
		Bus: p.s.Kafka, Log: p.log.With("role", "sink"), Metrics: p.registry, InstanceID: p.s.Processors.Instance,
	})
	if err != nil {
		return err
	}
	p.start("sink", sink.Run)
	if err := p.startWebhooks(ctx); err != nil {
		return err
	}
	return p.startErasures()
}

// startErasures removes what was measured of users where that was asked for. It
// is a sink's work: the API may only read.
func (p *process) startErasures() error {
	conn, err := clickhouse.Open(p.s.ClickHouse)
	if err != nil {
		return err
	}
	p.start("erasures", func(ctx context.Context) error {
		defer conn.Close()
		return p.dir.RunErasures(ctx, clickhouse.NewEraser(conn).Erase, p.log.With("role", "sink"))
	})
	return nil
}

// startWebhooks tells subscribers of events.
func (p *process) startWebhooks(ctx context.Context) error {
	if err := p.openDirectory(ctx); err != nil {
		return err
	}
	sink, err := webhook.NewSink(p.s.Webhooks, webhook.Deps{
		Bus: p.s.Kafka, Directory: p.dir, Log: p.log.With("role", "sink"), Metrics: p.registry, InstanceID: p.s.Processors.Instance, Show: p.toldEvent,
	})
	if err != nil {
		return err
	}
	p.start("webhooks", sink.Run)
	return nil
}

// toldEvent is what subscribers are told of a moment of a call: the event as the
// API shows it.
func (p *process) toldEvent(company, call string, m *telemetry.CallMoment) any {
	e := struct {
		Company string `json:"company"`
		query.CallEvent
	}{company, query.CallEventOf(call, m)}
	base := "http://" + reachable(p.s.API.Listen)
	if p.apiAddr != "" || p.s.API.PublicURL != "" {
		base = p.publicURL()
	}
	company, call = url.PathEscape(company), url.PathEscape(call)
	e.Links = map[string]string{"portal": base + "/c/" + company + "/calls/" + call, "call": base + "/api/v1/companies/" + company + "/calls/" + call}
	return e
}

// listenAPI takes api.listen, once; `up` does so before it starts the engines.
func (p *process) listenAPI() (net.Listener, error) {
	if p.apiListener != nil {
		return p.apiListener, nil
	}
	listener, err := net.Listen("tcp", p.s.API.Listen)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("cannot listen on %s: the port is taken by another program; set api.listen to another address", p.s.API.Listen)
	case err != nil:
		return nil, fmt.Errorf("cannot listen on %s (api.listen): %w", p.s.API.Listen, err)
	}
	p.apiListener, p.apiAddr = listener, listener.Addr().String()
	return listener, nil
}

func (p *process) startAPI(ctx context.Context) error {
	if err := p.openDirectory(ctx); err != nil {
		return err
	}
	keyFile, created, err := p.dir.Bootstrap(ctx, p.s.Data)
	if err != nil {
		return err
	}
	if created {
		p.log.Info("an operator's API key was created", "file", keyFile)
	}
	if p.resolver == nil {
		p.publishes, p.eager = true, true
	}
	conn, err := clickhouse.Open(p.s.ClickHouse)
	if err != nil {
		return err
	}
	store := query.New(conn, query.Options{MaxExecution: p.s.ClickHouse.MaxExecution, MaxExport: p.s.ClickHouse.MaxExport})
	p.admin.Add("clickhouse", store.Ping)
	listener, err := p.listenAPI()
	if err != nil {
		return err
	}
	access, err := p.dir.NewAccessLog(time.Duration(p.s.Directory.AuditRetention)*24*time.Hour, p.registry, p.log.With("role", "api"))
	if err != nil {
		return err
	}
	p.start("audit", access.Run) // before the API, and so stopped after it
	closing := make(chan struct{})
	if p.ingest == nil {
		if err := p.startIngester(ctx, p.s.Ingest.WithoutListeners()); err != nil {
			return err
		}
	}
	networks, err := p.s.Webhooks.Networks()
	if err != nil {
		return err
	}
	handler, err := api.New(p.s.API, api.Deps{
		WebhookNetworks: networks, Directory: p.dir, SIPRealm: p.s.Ingest.SIP.Realm, Query: store, Ingest: p.ingest.HTTPHandler(), IngestOpenAPI: ingest.OpenAPI, Portal: portal.Handler(),
		Access: access, Log: p.log.With("role", "api"), Metrics: p.registry, Version: version, Closing: closing,
	})
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	p.start("api", func(ctx context.Context) error {
		g := new(errgroup.Group)
		g.Go(func() error {
			if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("cannot serve requests: %w", err)
			}
			return nil
		})
		<-ctx.Done()
		close(closing)
		drain, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := server.Shutdown(drain); err != nil {
			_ = server.Close() // what did not end by itself
		}
		return errors.Join(g.Wait(), conn.Close())
	})
	return nil
}

// roleCommand is a role in a process of its own.
func roleCommand(use, short string, start func(ctx context.Context, p *process) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, _, err := load(cmd)
			if err != nil {
				return err
			}
			if err := s.findEngines(); err != nil {
				return err
			}
			p, err := newProcess(s, s.logger(cmd))
			if err != nil {
				return err
			}
			defer p.shutdown()
			p.waits = true
			err = p.prepare(cmd.Context())
			if err == nil {
				err = start(cmd.Context(), p)
			}
			switch {
			case cmd.Context().Err() != nil:
				return nil // told to stop before all was there
			case err != nil:
				return err
			}
			p.log.Info("ready", "role", use, "admin", p.admin.Addr())
			return p.wait(cmd.Context())
		},
	}
}

func ingestCommand() *cobra.Command {
	return roleCommand("ingest", "Run the ingesters: HEP, RTCP, SIP", func(ctx context.Context, p *process) error { return p.startIngest(ctx) })
}

func processCommand() *cobra.Command {
	return roleCommand("process", "Run the processors: calls, verdicts, registrations", func(_ context.Context, p *process) error { return p.startProcess() })
}

func sinkCommand() *cobra.Command {
	return roleCommand("sink", "Run the sink into ClickHouse", func(ctx context.Context, p *process) error { return p.startSink(ctx) })
}

func apiCommand() *cobra.Command {
	return roleCommand("api", "Run the API, the portal and HTTP ingest", func(ctx context.Context, p *process) error { return p.startAPI(ctx) })
}
