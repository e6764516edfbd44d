# Everything a developer needs. `make help` lists it.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c

# Here a PostgreSQL that is missing is an error, and no reason to skip.
test-%: export TEST_POSTGRES = required
# A program with the race detector would sleep for a second before it ends.
export GORACE = atexit_sleep_ms=50

.PHONY: help demo build test test-all test-go test-race test-sealed test-postgres test-client test-e2e test-accounts test-examples bench fuzz generate check-format tools

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

demo: ## run the demo at http://127.0.0.1:8080
	go run ./cmd/cloakroom demo

build: ## build the program into bin/
	CGO_ENABLED=0 go build -trimpath -o bin/cloakroom ./cmd/cloakroom

test: tools ## everything that must pass; installs what it needs
	@$(MAKE) --no-print-directory -j4 --output-sync=line check-format test-go test-client
	@$(MAKE) --no-print-directory -j2 --output-sync=line test-e2e test-examples

test-all: test ## every case and attack over every pair, the model tests for longer, the fuzz targets for a minute each
	CLOAKROOM_TEST_STORAGE=sealed go test -race -count=1 .
	CLOAKROOM_TEST_ACCOUNTS=postgres go test -race -count=1 . ./internal/accounts
	go test -race -count=1 -timeout 30m ./internal/storage -run Model -rapid.checks=3000
	cd e2e && node run.js --all
	@$(MAKE) --no-print-directory fuzz

tools: ## install what the tests need: Debian's browsers and PostgreSQL, npm packages
	@./scripts/install.sh

check-format:
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$unformatted" || { echo "gofmt wants to change: $$unformatted"; exit 1; }
	go vet ./...

test-go: test-race test-sealed test-postgres ## the Go tests with the race detector, and once more over the other storage and the other database

test-race: # vet has its own place
	go test -race -vet=off -count=1 ./...
test-sealed: # and an upload of a gigabyte: it is a tenth of it with the race detector
	CLOAKROOM_TEST_STORAGE=sealed go test -count=1 .
test-postgres:
	CLOAKROOM_TEST_ACCOUNTS=postgres go test -count=1 ./internal/accounts

test-client: ## the TypeScript client: types, tests, and that the committed build is what the source makes
	cd web/client && npm test && npm run check-build

test-e2e: ## the browser suite: the default pair of storage and delivery in full, the others in the main
	cd e2e && node run.js

test-accounts: ## the cases of accounts in full over sealed sessions too, with either database; test-e2e plays the main of them
	cd e2e && E2E_PAIR=sealed/proxy node run.js accounts factors
	cd e2e && E2E_PAIR=sealed/proxy E2E_ACCOUNTS=postgres node run.js accounts factors

test-examples: ## the programs of examples/: the front ends driven in a browser, the API asked from one and without
	cd examples/express-apollo && npm test
	cd e2e && E2E_CASES=../examples/test node run.js

bench: ## CPU per request beside a bare reverse proxy
	go run ./bench

fuzz: ## each fuzz target for a minute
	@for target in $$(grep -rhoE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' . | cut -d' ' -f2); do \
		package=$$(dirname $$(grep -rlE --include='*_test.go' "^func $$target\(" . | head -1)); \
		echo "fuzz $$package $$target"; go test $$package -run '^$$' -fuzz "^$$target$$" -fuzztime 60s; \
	done

generate: ## write the generated pages of the docs anew
	go generate ./...
