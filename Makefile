# lapid: one line of help per target; `make` alone prints them.

GO       ?= go
LINT     := $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.12.2
VULN     := $(GO) run golang.org/x/vuln/cmd/govulncheck@v1.8.0
PACKAGES := $(shell $(GO) list ./... 2>/dev/null | grep -v -e /transport/conformance -e /transport/clients)
FUZZTIME ?= 20s
KILLS    ?= 1000
CUT      ?=
SOAK     ?= 10m
FLEET    ?= 10000
ATTACK   ?= 3m
FORGE    ?= 15s
PACKAGED ?= ^TestPackages$$
IMAGED   ?= ^TestImage$$
DATA     ?= lapid-data
# Tests wait for processes, disks and deadlines more than they compute, so more of a package run at
# once than there are processors. Under the race detector they compute.
BESIDE   ?= 4
# What "lapid version" says: the tag of this commit, if it has one, and the commit.
# Go notes the commit itself, but finds none in a second working tree of git's and in
# sources that were unpacked: there say make build COMMIT=… VERSION=… The environment's
# words of these names are not asked.
VERSION   = $(if $(wildcard .git),$(patsubst v%,%,$(shell git describe --tags --exact-match --match 'v[0-9]*' 2>/dev/null)))
COMMIT    = $(if $(wildcard .git),$(shell git describe --always --abbrev=40 --dirty --exclude '*' 2>/dev/null))
STAMPS    = $(if $(VERSION),-X main.version=$(VERSION)) $(if $(COMMIT),-X main.commit=$(COMMIT))
ROOT     := ^Test(Disk|Root|NotPermitted|FindConfig)

.DEFAULT_GOAL := help
.PHONY: help run run-cluster test root race flakes lint fuzz vuln crash push cluster-crash cluster-upgrade soak fleet attack console conform clients bench bench-short bench-peers bench-index build packages packages-test image image-test chart chart-test clean

help: ## print this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: build ## build lapid, start it on 127.0.0.1:8080 (LISTEN=, METRICS=, CONSOLE=, DATA=) and print three curl lines and a link to try
	./bin/lapid quickstart --dir $(DATA) $(if $(LISTEN),--listen $(LISTEN)) $(if $(METRICS),--metrics $(METRICS)) $(if $(CONSOLE),--console $(CONSOLE))

run-cluster: build ## build lapid, start three nodes with one history (DIR=.run/cluster, PORT=8080, and 100 and 200 above) and print lines to try
	./bin/lapid cluster quickstart --dir $(or $(DIR),.run/cluster) --port $(or $(PORT),8080)

build: ## build bin/lapid
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(strip $(STAMPS))' -o bin/lapid ./cmd/lapid

test: ## run the tests
	$(GO) test -timeout 20m -parallel $(BESIDE) $(PACKAGES)

root: ## run the tests that need root, which `make test` has only root run
	$(GO) test -count=1 -timeout 20m -v -run '$(ROOT)' ./cmd/lapid ./cmd/lapid/config

flakes: ## run the tests five times beside two busy loops (PACKAGES=./engine for one package)
	@GO="$(GO)" ./.ci/flakes $(PACKAGES)

race: ## run the tests under the race detector
	$(GO) test -race -timeout 30m -parallel 4 $(PACKAGES)

lint: ## vet, format, static checks, and the direction of imports
	$(GO) vet ./...
	$(LINT) run

conform: ## replay the recorded cases of the contract against a real process
	$(GO) test -count=1 -v ./transport/conformance | grep -E -v '^ *(=== |--- PASS)'

clients: ## drive a real process with the unchanged real clients (installs them), and with one generated from the description
	./transport/clients/install.sh
	$(GO) test -count=1 -tags clients -timeout 20m -v ./transport/clients
	$(GO) test -count=1 -tags clients -timeout 20m -v -run '^TestGeneratedClient$$' ./transport/conformance

fuzz: ## fuzz every decoder of foreign bytes, FUZZTIME each
	@GO="$(GO)" FUZZTIME=$(FUZZTIME) ./.ci/fuzz $(PACKAGES)

vuln: ## look for known vulnerabilities in what is linked (asks vuln.go.dev)
	$(VULN) ./...

crash: ## kill a real server KILLS times (1000) in the middle of writes, losing nothing
	$(GO) test -count=1 -timeout 0 -v -run '^TestCrash$$' ./cmd/lapid -kills $(KILLS)

push: ## kill a real server 50 times while a thousand polls are held and 200 event streams are open
	$(GO) test -count=1 -timeout 0 -v -run '^TestPushKills$$' ./cmd/lapid -push.kills 50 -push.held 1000 -push.streams 200

cluster-crash: ## strike one of three nodes KILLS times (1000) under writers and bouncers, and look for an order of all that was answered; CUT=1: each in a network of its own, cut off, too (root)
	$(GO) test -count=1 -timeout 0 -v -run '^TestClusterCrash$$' ./cmd/lapid -cluster.kills $(KILLS) $(if $(CUT),-cluster.cut)

cluster-upgrade: build ## replace three nodes of the program of commit FROM (HEAD~1) by those of this one, one after the other, under writers and a bouncer
	rm -rf .run/upgrade && mkdir -p .run/upgrade && git worktree add -q --force --detach .run/upgrade/from $(or $(FROM),HEAD~1)
	cd .run/upgrade/from && CGO_ENABLED=0 $(GO) build -trimpath -o ../lapid-from ./cmd/lapid; s=$$?; git worktree remove --force . ; exit $$s
	DIR=.run/upgrade/nodes ./.ci/cluster-upgrade "$(CURDIR)/.run/upgrade/lapid-from" "$(CURDIR)/bin/lapid"

soak: ## keep a real server busy for SOAK (10m), every answer checked, and see that it grows by nothing
	$(GO) test -count=1 -timeout 0 -v -run '^TestSoak$$' ./cmd/lapid -soak $(SOAK)

fleet: ## snapshot, back up, start and restore FLEET (10000) log processors, 100 bouncers and allowlist items for each
	$(GO) test -count=1 -timeout 0 -v -run '^TestFleet$$' ./engine -fleet $(FLEET)

attack: ## attack a real server for ATTACK (3m), flood it beside those who are known, forge what it stores and sends (FORGE each)
	$(GO) test -count=1 -timeout 0 -v -run '^(TestAttack|TestFlood)$$' ./cmd/lapid -attack $(ATTACK)
	@GO="$(GO)" FUZZTIME=$(FORGE) FUZZONLY='Forged|Snapshot|Replay|Backup|AlertBody|UsageRow|Fronts|Plain|Raw' ./.ci/fuzz ./engine ./persist ./transport ./transport/conn

console: ## the console in a browser for longer: rows replaced MORPHS (500) times, MANY (1000000) decisions, pictures of all pages into PICTURES
	$(if $(PICTURES),mkdir -p $(PICTURES) &&) LAPID_CONSOLE_PICTURES=$(abspath $(PICTURES)) $(GO) test -count=1 -timeout 30m -v -run '^TestBrowser$$' ./transport/console -console.morphs $(or $(MORPHS),500) -console.many $(or $(MANY),1000000)

bench: ## weigh the whole house at a million decisions (twenty minutes), into bench/results
	./bench/peers/install.sh
	$(GO) run ./bench/cmd/bench full

bench-short: ## the same in a minute and a half, at a hundred thousand: figures, no judgement
	$(GO) run ./bench/cmd/bench short

bench-peers: ## beside the reference, Redis, HAProxy and nginx (installs them)
	./bench/peers/install.sh
	$(GO) run ./bench/cmd/bench peers

bench-index: ## index libraries side by side, cidranger among them
	$(GO) run ./bench/cmd/bench index

packages: ## build deb, rpm and archive of each of ARCHES (amd64 arm64) into dist/, with SHA256SUMS
	@GO="$(GO)" ./cmd/lapid/dist/package/packages.sh

packages-test: ## build packages for this processor, read them back, and install, upgrade, remove and purge them under a systemd of their own (root)
	$(GO) test -count=1 -tags packages -timeout 20m -v -run '$(PACKAGED)' ./cmd/lapid/dist/package

image: ## build an OCI layout of each of ARCHES (amd64 arm64) into dist/image, and its files for cmd/lapid/dist/Dockerfile
	$(GO) run ./cmd/lapid/dist/image

image-test: ## build the image for this processor twice, start it from its layers with a read-only root, kill it, ask it (root)
	$(GO) test -count=1 -tags image -timeout 20m -v -run '$(IMAGED)' ./cmd/lapid/dist/image

chart: ## pack the chart for Helm into dist/chart
	$(GO) run ./cmd/lapid/dist/helm

chart-test: ## have Helm (which is built first) look at the chart and write it out for a dozen files of values
	$(GO) test -count=1 -tags chart -timeout 20m -v ./cmd/lapid/dist/helm

clean: ## remove what was built
	rm -rf bin dist
