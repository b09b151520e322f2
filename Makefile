# The two commands that matter: `make run` and `make test`.
# Everything else is a step of one of them, or for those who change Earshot.

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS   += --no-builtin-rules

GO      ?= go
NPM     ?= npm
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
NPM_CI  := $(NPM) ci --no-audit --no-fund --loglevel=error
step     = @printf '\033[1m==> %s\033[0m\n' "$(1)"

# Without cgo the program runs on any Linux or macOS of its architecture.
export CGO_ENABLED ?= 0

.DEFAULT_GOAL := help
.PHONY: help
help: ## this list
	@grep -hE '^[a-z][a-z-]*:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

# --- what a person does ------------------------------------------------------

.PHONY: run
run: build engines ## build, start Earshot with demo traffic, print a sign-in link
	$(call step,Starting Earshot; stop it with Ctrl-C)
	@exec bin/earshot up --demo

.PHONY: test
test: test-quick test-app ## install what tests need, then run everything

.PHONY: build
build: portal bin/earshot ## the program, at bin/earshot

# --- parts -------------------------------------------------------------------

.PHONY: bin/earshot
bin/earshot:
	$(call step,Building bin/earshot (the first time downloads the Go modules))
	@$(GO) build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o bin/earshot ./cmd/earshot

.PHONY: portal
portal: api/portal/dist/index.html ## the web portal

portal_sources := $(shell find api/portal/src api/portal/public -type f 2>/dev/null) $(wildcard api/portal/*.html api/portal/*.ts api/portal/*.json)
api/portal/dist/index.html: api/portal/node_modules/.package-lock.json $(portal_sources)
	$(call step,Building the portal)
	@cd api/portal && $(NPM) run --silent build
	@touch $@

api/portal/node_modules/.package-lock.json: api/portal/package-lock.json
	$(call step,Installing what the portal is built with)
	@cd api/portal && $(NPM_CI)
	@touch $@

.PHONY: sdk
sdk: ingest/webrtc/sdk/dist/earshot.js ## the browser SDK, an npm package in ingest/webrtc/sdk

ingest/webrtc/sdk/dist/earshot.js: ingest/webrtc/sdk/node_modules/.package-lock.json $(wildcard ingest/webrtc/sdk/src/*.ts ingest/webrtc/sdk/*.ts ingest/webrtc/sdk/*.json)
	$(call step,Building the browser SDK)
	@cd ingest/webrtc/sdk && $(NPM) run --silent build
	@touch $@

ingest/webrtc/sdk/node_modules/.package-lock.json: ingest/webrtc/sdk/package-lock.json
	$(call step,Installing what the browser SDK is built with)
	@cd ingest/webrtc/sdk && $(NPM_CI)
	@touch $@

internal/apptest/rtcstats/node_modules/.package-lock.json: internal/apptest/rtcstats/package-lock.json
	$(call step,Installing the rtcstats clients for the tests)
	@cd internal/apptest/rtcstats && $(NPM_CI)
	@touch $@

api/export/readers/node_modules/.package-lock.json: api/export/readers/package-lock.json
	$(call step,Installing the readers of exports for the tests)
	@cd api/export/readers && $(NPM_CI)
	@touch $@

.PHONY: engines
engines: deploy/engines/node_modules/.package-lock.json ## the ClickHouse engine, as an npm package (about 160 MB to fetch)

deploy/engines/node_modules/.package-lock.json: deploy/engines/package-lock.json
	$(call step,Installing the ClickHouse engine (about 160 MB to fetch: takes a minute))
	@cd deploy/engines && $(NPM_CI)
	@touch $@

.PHONY: kafka
kafka: .engines/kafka/.complete ## Apache Kafka's jars, for tests

.engines/kafka/.complete: internal/kafkatest/pom.xml
	$(call step,Fetching Apache Kafka for the tests)
	@mkdir -p .engines
	@cd internal/kafkatest && mvn -B -q dependency:copy-dependencies -DoutputDirectory="$(CURDIR)/.engines/kafka" -DincludeScope=runtime
	@touch $@

# --- tests -------------------------------------------------------------------

# What tests run, as program or file to look for, and the Debian package that has it.
NEEDS := chromium:chromium baresip:baresip-core sngrep:sngrep kamailio:kamailio rtpengine:rtpengine-daemon linphonec:linphone-cli sipp:sip-tester java:default-jre-headless mvn:maven gcc:gcc /usr/lib/postgresql/*/bin/initdb:postgresql

.PHONY: test-needs
test-needs: engines kafka api/export/readers/node_modules/.package-lock.json
.PHONY: debian-packages
kafka: debian-packages
debian-packages:
	@set -f; missing=(); for need in $(NEEDS); do found=$${need%%:*}; set +f; command -v "$$found" >/dev/null || compgen -G "$$found" >/dev/null || missing+=("$${need##*:}"); set -f; done; \
	if (( $${#missing[@]} == 0 )); then exit 0; fi; \
	if [[ $$(id -u) == 0 ]] && command -v apt-get >/dev/null; then \
	  printf '\033[1m==> Installing for the tests: %s\033[0m\n' "$${missing[*]}"; \
	  apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$${missing[@]}" >/dev/null; \
	else \
	  printf 'The tests need these packages; install them as root, then run make test again:\n  apt-get install %s\n' "$${missing[*]}" >&2; exit 1; \
	fi

.PHONY: test-quick
test-quick: lint test-go test-portal test-sdk ## all but the tests of the whole program: a few minutes

# The race detector watches our code, and not SQLite, which is C translated to Go: with it everything that stores takes ten times as long.
UNWATCHED := $(foreach module,sqlite libc memory,-gcflags=modernc.org/$(module)/...=-race=false)

.PHONY: test-go
test-go: test-needs portal ## Go tests with the race detector
	$(call step,Go tests)
	@CGO_ENABLED=1 $(GO) test -race $(UNWATCHED) -timeout 30m $$($(GO) list ./... | grep -v -e /internal/apptest -e /benchmarks)

.PHONY: test-portal
test-portal: portal ## the portal's unit tests and linter
	$(call step,Portal unit tests)
	@cd api/portal && $(NPM) run --silent lint && $(NPM) test --silent

.PHONY: test-sdk
test-sdk: sdk ## the browser SDK's unit tests, size and linter
	$(call step,Browser SDK unit tests)
	@cd ingest/webrtc/sdk && $(NPM) run --silent lint && $(NPM) test --silent

.PHONY: test-app
test-app: test-needs portal sdk internal/apptest/rtcstats/node_modules/.package-lock.json ## the program from the outside: imports, verdicts, phones, demo, kills, Apache Kafka, the pages in Chromium
	$(call step,Tests of the whole program (about ten minutes))
	@$(GO) test -timeout 40m -p 1 -v ./internal/apptest ./benchmarks/verdicts | grep --line-buffered -E '^ *(---|ok|FAIL|PASS|panic)|_test\.go:|seed'

.PHONY: lint
lint: ## go vet, staticcheck, gofmt, TypeScript
	$(call step,Linting)
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); if [[ -n $$unformatted ]]; then echo "gofmt these: $$unformatted"; exit 1; fi
	@$(GO) vet ./...
	@$(GO) tool staticcheck ./...

.PHONY: verdicts
verdicts: engines portal ## what Earshot says of the recorded calls in benchmarks/verdicts, and what is true
	@$(GO) test -count 1 -timeout 20m ./benchmarks/verdicts -v -args -write

.PHONY: bench
bench: build engines api/export/readers/node_modules/.package-lock.json ## the figures in benchmarks/
	@$(GO) test -run "^$$" -bench . -benchtime 1x -timeout 2h ./benchmarks/...

FUZZTIME ?= 30s
.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME (default 30s)
	@for pkg in $$($(GO) list ./...); do for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	  printf '\033[1m==> %s %s\033[0m\n' "$$pkg" "$$target"; $(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$pkg; done; done

.PHONY: proto
proto: ## regenerate telemetry/*.pb.go (needs protoc)
	@GOBIN=$(CURDIR)/.engines/bin $(GO) install google.golang.org/protobuf/cmd/protoc-gen-go github.com/planetscale/vtprotobuf/cmd/protoc-gen-go-vtproto
	@PATH=$(CURDIR)/.engines/bin:$$PATH $(GO) generate ./telemetry

.PHONY: clean
clean: ## what builds made; not the data
	@rm -rf bin api/portal/dist/assets api/portal/dist/index.html ingest/webrtc/sdk/dist
