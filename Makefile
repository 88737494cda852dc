# `make help` lists the targets. Tools and servers that the tests need are
# installed into .tools, which git ignores.

GO       ?= go
TOOLS    := $(CURDIR)/.tools
INFLUXD  := $(TOOLS)/bin/influxd
NATSD    := $(TOOLS)/bin/nats-server
ALERTMANAGER := $(TOOLS)/bin/alertmanager
BENCHSTAT := $(TOOLS)/bin/benchstat
VERSION  ?= 0.1.0
LDFLAGS  := -X main.release=$(VERSION)

export WEIR_INFLUXD = $(INFLUXD)
export WEIR_NATS_SERVER = $(NATSD)
export WEIR_ALERTMANAGER = $(ALERTMANAGER)
export WEIR_REQUIRE_SERVERS = 1

.DEFAULT_GOAL := help
.PHONY: help build run test check short fuzz bench bench-compare e2e-bench tools clean

help: ## Show this help
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F':.*## ' '{printf "  %-16s %s\n", $$1, $$2}'

build: ## Build weir, the simulator and the simulated firmware into bin/
	$(GO) build -ldflags '$(LDFLAGS)' -o bin/weir ./cmd/weir
	$(GO) build -ldflags '$(LDFLAGS)' -o bin/simulator ./cmd/simulator
	$(GO) build -o bin/firmware-sim ./firmware-sim

run: build ## Run weir with the demo config and a small simulated fleet; Ctrl-C stops both
	@test/demo.sh

tools: $(INFLUXD) $(NATSD) $(ALERTMANAGER) ## Install the real servers that the tests talk to

$(INFLUXD):
	GOBIN=$(TOOLS)/bin GOFLAGS=-mod=mod $(GO) install github.com/influxdata/influxdb/cmd/influxd@v1.8.10

$(NATSD):
	GOBIN=$(TOOLS)/bin $(GO) install github.com/nats-io/nats-server/v2@v2.15.2

$(ALERTMANAGER): # later versions can't be built without their user interface
	GOBIN=$(TOOLS)/bin GOFLAGS=-mod=mod $(GO) install github.com/prometheus/alertmanager/cmd/alertmanager@v0.28.1

$(BENCHSTAT):
	GOBIN=$(TOOLS)/bin $(GO) install golang.org/x/perf/cmd/benchstat@latest

check: ## gofmt and go vet
	@files=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$files" ]; then echo "gofmt wants:"; echo "$$files"; exit 1; fi
	$(GO) vet ./...

test: check tools build ## Everything that a commit must pass: format, vet, all tests with -race
	$(GO) test -race -timeout 20m ./...

short: ## The tests that need no server and no time
	$(GO) test -short ./...

fuzz: ## Fuzz every parser of outside bytes for FUZZTIME each (default 20s)
	@FUZZTIME=$${FUZZTIME:-20s} test/fuzz.sh

bench: ## Run the benchmarks of every stage
	$(GO) test -run '^$$' -bench . -benchmem ./...

bench-compare: $(BENCHSTAT) ## benchstat of the working tree against REF (default main): make bench-compare PKG=./ingest/ring REF=HEAD~1
	@BENCHSTAT=$(BENCHSTAT) test/benchcompare.sh

e2e-bench: build ## Measure the whole path from publish to sink, beside the peers that are installed
	$(GO) build -o bin/mochi ./test/peers/mochi
	@test/e2ebench.sh

clean: ## Remove what was built; tools and data stay
	rm -rf bin
