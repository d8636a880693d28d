# Tandem. `make` alone lists what there is to do.

GO      ?= go
BIN     := bin/tandem
MODULE  := github.com/tandem-sync/tandem
POCKET  := tests/thirdparty/pocketbase

# The servers of `make test` are its own: another checkout, or a `go test` by
# hand, neither uses nor ends them.
export TANDEM_TESTENV_DIR ?= $(CURDIR)/.testenv
TESTENV := $(GO) run ./internal/testenv/cmd/testenv
TOOL    := $(GO) tool -modfile=.ci/tools/go.mod

# Seconds matter more here than in a developer's loop: ten minutes on two cores,
# from an empty build cache, is the limit of the whole of `make test`.
TEST_FLAGS ?= -count=1

# Packages whose goroutines share memory; the race detector costs several times
# the CPU, so the rest runs without it.
RACE := ./api/... ./channels/... ./messages/... ./store/... ./sync/pass/... ./transport/... ./workers/...

# SQLite is C made Go: under the race detector it costs four times as much as all
# the rest of a test, and its memory is none of ours.
RACE_FLAGS := -race -gcflags='modernc.org/sqlite/lib=-race=false' -gcflags='modernc.org/libc=-race=false'

.DEFAULT_GOAL := help
.PHONY: help build run test test-units test-race test-pocketbase lint vulncheck bench sim prove mutants fmt up down clean go-version

## help: list the targets
help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST) | awk -F': ' '{printf "  make %-16s %s\n", $$1, $$2}'

## build: build bin/tandem
build: go-version
	$(GO) build -trimpath -o $(BIN) ./cmd/tandem

## run: build, then show the main job at work with no service installed
run: build
	$(BIN) demo

## test: set up all that is needed, run every test, take it down again
test: go-version
	@$(MAKE) --no-print-directory up
	@status=0; \
	for part in test-vet test-race test-units test-sim test-pocketbase; do \
		$(MAKE) --no-print-directory $$part || { status=1; echo "make test: $$part failed" >&2; }; \
	done; \
	$(MAKE) --no-print-directory down; \
	exit $$status

.PHONY: test-vet
test-vet:
	$(GO) vet ./...

## test-race: the packages with shared memory, under the race detector
test-race: go-version
	$(GO) test $(RACE_FLAGS) $(TEST_FLAGS) $(RACE)

## test-units: the other packages of the module
test-units: go-version
	$(GO) test $(TEST_FLAGS) $$($(GO) list ./... | grep -vE '^$(MODULE)/(api|channels|messages|store|sync/pass|tests/convergence|tests/sim|transport|workers)(/|$$)')

## test-sim: the simulations, which keep every core busy and so come on their own
test-sim: go-version
	$(GO) test $(TEST_FLAGS) ./tests/convergence/... ./tests/sim/...

## test-pocketbase: sync a real PocketBase, embedded and as a fleet
test-pocketbase: go-version
	cd $(POCKET) && $(GO) vet ./... && $(GO) test $(TEST_FLAGS) -timeout 9m ./...

## up: start the tests' PostgreSQL and RabbitMQ and keep them running
up: go-version
	$(TESTENV) up

## down: end them and remove their files
down: go-version
	$(TESTENV) down

## lint: golangci-lint with the import table, for both modules
lint: go-version
	$(TOOL) golangci-lint run ./...
	cd $(POCKET) && $(GO) tool -modfile=$(CURDIR)/.ci/tools/go.mod golangci-lint run --config $(CURDIR)/.golangci.yml ./...

## vulncheck: known vulnerabilities in what is called (needs vuln.go.dev)
vulncheck: go-version
	@$(TOOL) govulncheck ./... || { status=$$?; \
		[ $$status -eq 3 ] || echo "make vulncheck: could not be checked; its database https://vuln.go.dev must be reachable" >&2; \
		exit $$status; }

## bench: Tandem against hand-written loops, both ways (a table, and bench/out/bench.json)
bench: go-version
	$(GO) run ./bench $(BENCH_FLAGS)

## sim: the deterministic simulations of direct and of two-way sync, with SEEDS=n seeds
sim: go-version
	TANDEM_SIM_SEEDS=$(or $(SEEDS),1000) $(GO) test -count=1 -timeout 120m -v -run 'DirectSync|TwoWaySync' ./tests/sim/... ./tests/convergence/...

## mutants: break the code on purpose and count the SEEDS=n until the simulation notices
mutants: go-version
	$(GO) run ./tests/convergence/mutants -seeds $(or $(SEEDS),400) $(if $(ONLY),-only "$(ONLY)")

## prove: PROVE_MINUTES=n minutes of edits on both sides while everything is killed
prove: go-version
	cd $(POCKET) && PROVE_MINUTES=$(or $(PROVE_MINUTES),5) $(GO) test -count=1 -timeout 2h -v -run 'TestTwoWay' .

## fmt: format all Go files
fmt: go-version
	$(TOOL) golangci-lint fmt ./...
	cd $(POCKET) && $(GO) tool -modfile=$(CURDIR)/.ci/tools/go.mod golangci-lint fmt --config $(CURDIR)/.golangci.yml ./...

## clean: remove what was built
clean:
	rm -rf bin bench/out

go-version:
	@command -v $(GO) >/dev/null 2>&1 || { echo "make: Go is not on the PATH; install Go 1.26 or newer from https://go.dev/dl/" >&2; exit 2; }
	@v=$$($(GO) env GOVERSION 2>/dev/null); case "$$v" in \
		go1.2[6-9]*|go1.[3-9][0-9]*|devel*) ;; \
		*) echo "make: Go 1.26 or newer is needed, this is $${v:-too old to tell} and it cannot fetch a newer one; see https://go.dev/dl/" >&2; exit 2;; esac
