package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/earshot/earshot/deploy/engines"
	"github.com/earshot/earshot/ingest"
	"github.com/earshot/earshot/query"
	"github.com/earshot/earshot/sinks/clickhouse"
	"github.com/earshot/earshot/telemetry"
)

// storeTime bounds the wait until what was imported can be looked at.
const storeTime = 5 * time.Minute

func importCommand() *cobra.Command {
	var asJSON, wait bool
	var company string
	cmd := &cobra.Command{
		Use: "import FILE...", Short: "Import captures (pcap, pcapng) and dumps of browsers' statistics", Args: cobra.MinimumNArgs(1),
		Long: `Import captures (pcap, pcapng, HEP) and browsers' statistics (getStats JSONL, dumps of
chrome://webrtc-internals, rtcstats and Jitsi), plain or gzipped.

Uses the Earshot that runs on the same data, or starts what it needs. A capture
keeps its own clock. Importing a file again, or after a kill, changes nothing.`,
		RunE: func(cmd *cobra.Command, files []string) error {
			for _, name := range files {
				if info, err := os.Stat(name); err != nil {
					return fmt.Errorf("cannot import: %w", err)
				} else if info.IsDir() {
					return fmt.Errorf("cannot import %s: it is a directory", name)
				}
			}
			s, _, err := load(cmd)
			if err != nil {
				return err
			}
			i := importer{s: s, cmd: cmd, company: company, wait: wait, drawn: isTerminal(os.Stderr)}
			calls, err := i.run(cmd.Context(), files)
			if err != nil {
				return err
			}
			return i.print(calls, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the calls as JSON")
	cmd.Flags().BoolVar(&wait, "wait", true, "wait until the calls can be looked at")
	cmd.Flags().StringVar(&company, "company", ingest.DefaultCompany, "company that the calls belong to")
	return cmd
}

type importer struct {
	s       *settings
	cmd     *cobra.Command
	company string
	wait    bool
	apiAddr string
	drawn   bool // progress is drawn: standard error is a terminal
	files   []ingest.ImportedFile
}

func (i *importer) run(ctx context.Context, files []string) ([]ingest.ImportedCall, error) {
	run, err := engines.ReadRun(i.s.Data)
	alive := err == nil && run.Alive
	if alive {
		i.s.useStores(run)
		i.apiAddr = run.API
	}
	// Somebody else's port must not stand in the way of an import.
	i.s.Admin.Listen = "127.0.0.1:0"
	p, err := newProcess(i.s, i.s.logger(i.cmd))
	if err != nil {
		return nil, err
	}
	defer p.shutdown()
	configured := len(i.s.Kafka.Brokers) > 0 && len(i.s.ClickHouse.Addr) > 0
	if !configured {
		i.progress("No Earshot runs on %s: starting its engines …\n", i.s.Data)
		set, err := engines.Start(ctx, engines.Config{
			Data: i.s.Data, ClickHouse: len(i.s.ClickHouse.Addr) == 0, Kafka: len(i.s.Kafka.Brokers) == 0,
			Library: i.s.Engines.Library, Log: p.log, Metrics: p.registry,
		})
		if err != nil {
			return nil, err
		}
		p.start("engines", func(ctx context.Context) error { <-ctx.Done(); set.Stop(); return nil })
		if err := i.s.useEngines(set); err != nil {
			return nil, err
		}
	}
	if err := p.prepare(ctx); err != nil {
		return nil, err
	}
	if !configured {
		if err := errors.Join(p.startProcess(), p.startSink(ctx)); err != nil {
			return nil, err
		}
	}
	if err := p.openDirectory(ctx); err != nil {
		return nil, err
	}
	// Where an api runs it has told who is who already.
	p.publishes, p.eager = true, !configured
	if err := p.learnWhoIsWho(ctx); err != nil {
		return nil, err
	}
	producer, err := ingest.NewProducer(i.s.Kafka, i.s.Ingest.Buffer, nil)
	if err != nil {
		return nil, err
	}
	defer producer.Close()
	calls, err := ingest.Import(ctx, ingest.ImportConfig{
		Files: files, Company: i.company, Producer: producer, Resolver: p.resolver, Correlation: i.s.Ingest.Correlation, Progress: i.show(len(files)),
		Imported: func(f ingest.ImportedFile) { i.files = append(i.files, f) },
	})
	i.progress("\r\033[K")
	if err != nil {
		return nil, err
	}
	if !i.wait {
		return calls, nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	if err := i.stored(ctx, p, calls); err != nil {
		return nil, err
	}
	return calls, nil
}

// progress draws on standard error, where somebody looks; --json stays clean.
func (i *importer) progress(format string, args ...any) {
	if !i.drawn {
		return
	}
	fmt.Fprintf(i.cmd.ErrOrStderr(), format, args...)
}

// show draws one line that is renewed, where somebody looks.
func (i *importer) show(files int) func(ingest.ImportProgress) {
	var last time.Time
	seen := map[string]bool{}
	return func(p ingest.ImportProgress) {
		seen[p.File] = true
		if time.Since(last) < 100*time.Millisecond {
			return
		}
		last = time.Now()
		i.progress("\r\033[K%d/%d %s %3.0f %%, %d records", len(seen), files, filepath.Base(p.File), 100*float64(p.Done)/float64(max(p.Total, 1)), p.Records)
	}
}

// stored returns when everything that was imported can be looked at: the
// processors have passed the end of the input, and the sink that of the outcomes.
func (i *importer) stored(ctx context.Context, p *process, calls []ingest.ImportedCall) error {
	conn, err := clickhouse.Open(i.s.ClickHouse)
	if err != nil {
		return err
	}
	defer conn.Close()
	opts, err := i.s.Kafka.Options()
	if err != nil {
		return err
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return fmt.Errorf("cannot make a Kafka client: %w", err)
	}
	defer client.Close()
	adm := kadm.NewClient(client)
	i.progress("Waiting until %d calls can be looked at …", len(calls))
	defer i.progress("\r\033[K")
	if err := passed(ctx, adm, i.s.Processors.Group, telemetry.TopicTelemetry, telemetry.TopicRegistrations); err != nil {
		return fmt.Errorf("the telemetry is in Kafka, but no processor has taken it yet (does `earshot process` run?): %w", err)
	}
	if err := passed(ctx, adm, clickhouse.Group, telemetry.TopicOutcomes); err != nil {
		return fmt.Errorf("the calls are in Kafka, but no sink has stored them yet (does `earshot sink` run?): %w", err)
	}
	store := query.New(conn, query.Options{}).Company(i.company)
	for _, call := range calls {
		if _, err := store.Call(ctx, call.CallID); err != nil {
			return fmt.Errorf("call %s was imported but cannot be found: %w", call.CallID, err)
		}
	}
	return nil
}

// passed returns when a group has committed all that was in the topics when it was called.
func passed(ctx context.Context, adm *kadm.Client, group string, topics ...string) error {
	ends, err := adm.ListEndOffsets(ctx, topics...)
	if err != nil {
		return fmt.Errorf("cannot list offsets: %w", err)
	}
	if err := ends.Error(); err != nil {
		return fmt.Errorf("cannot list offsets: %w", err)
	}
	for {
		committed, err := adm.FetchOffsetsForTopics(ctx, group, topics...)
		if err == nil {
			behind := false
			ends.Each(func(end kadm.ListedOffset) {
				at, _ := committed.Lookup(end.Topic, end.Partition)
				// The last one may be the marker of a transaction, which is nobody's to commit.
				behind = behind || end.Offset-max(at.At, 0) > 1
			})
			if !behind {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// callLink is where the portal of the `up` that listens on apiAddr shows a call.
func (s *settings) callLink(apiAddr, company, callID string) string {
	base := s.API.PublicURL
	if base == "" {
		base = "http://" + reachable(cmp.Or(apiAddr, s.API.Listen))
	}
	return base + "/c/" + company + "/calls/" + callID
}

// passedOver names what of a file could not be used.
func passedOver(reasons map[string]int) string {
	if len(reasons) == 0 {
		return ""
	}
	var list []string
	for _, reason := range slices.Sorted(maps.Keys(reasons)) {
		list = append(list, fmt.Sprintf("%d %s", reasons[reason], reason))
	}
	return "; passed over: " + strings.Join(list, ", ")
}

func (i *importer) print(calls []ingest.ImportedCall, asJSON bool) error {
	out := i.cmd.OutOrStdout()
	if !asJSON {
		for _, call := range calls {
			fmt.Fprintf(out, "%s  %s\n", filepath.Base(call.File), i.s.callLink(i.apiAddr, i.company, call.CallID))
		}
		for _, f := range i.files {
			fmt.Fprintf(out, "%s  %d records%s\n", filepath.Base(f.File), f.Records, passedOver(f.PassedOver))
		}
		if len(calls) == 0 {
			fmt.Fprintln(out, "No calls were found.")
		}
		return nil
	}
	type line struct {
		File   string `json:"file"`
		CallID string `json:"call_id"`
		Link   string `json:"link"`
	}
	lines := make([]line, 0, len(calls))
	for _, call := range calls {
		lines = append(lines, line{call.File, call.CallID, i.s.callLink(i.apiAddr, i.company, call.CallID)})
	}
	return writeJSON(out, lines)
}

func writeJSON(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}
