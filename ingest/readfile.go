package ingest

import (
	"path/filepath"

	"github.com/earshot/earshot/telemetry"
)

// ReadFile gives the records that Import would write for a file, in order, the
// end of its timeline last. It needs no Kafka. receivedUs is the time of
// reception that the records carry (Unix microseconds); resolver may be nil.
func ReadFile(name, company string, resolver Resolver, receivedUs int64, emit func(*telemetry.Record) error) ([]ImportedCall, error) {
	if company == "" {
		company = DefaultCompany
	}
	file := &importFileReader{name: name}
	f := fileImport{
		company: company, resolver: resolver, name: filepath.Base(name), open: file.open,
		receivedUs: receivedUs, waiting: DefaultConfig().Waiting, bindings: DefaultConfig().Bindings, correlation: defaultCorrelation(), emit: emit,
	}
	return f.run()
}
