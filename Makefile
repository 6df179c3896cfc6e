# The two commands of the project: `make demo` starts everything, `make test` proves it.
# Both install what is missing on the machine first (see scripts/setup.sh).

SHELL := /bin/bash
PROFILE ?= release
CARGO_FLAGS ?=

# Of each fuzz target.
SECONDS ?= 60

# Of `make bench`.
FORM ?= quick
BENCH_FLAGS ?=

# What the demo runs. Built within the workspace: a package by itself has other features, and most would be built twice.
DEMO_PROGRAMS := portcullis schema appserver pingserver message-server api package-search package-upload \
                 hostagent-messenger outbox-relay

.PHONY: help demo test fuzz bench setup setup-test certs build

help:
	@echo 'make demo    build, start the workers and the edge on this machine, run until Ctrl-C'
	@echo '             PROFILE=dev|release  WORKERS=N  HTTP_PORT=80 HTTPS_PORT=443 GRPC_PORT=6554  SHIFT=0'
	@echo 'make test    format, lints, every fuzz target for 5 s, and every test'
	@echo 'make fuzz    feed hostile input to every parser, SECONDS=N seconds each'
	@echo 'make bench   compare with HAProxy, nginx, Apache and Caddy on this machine'
	@echo '             FORM=quick|full  BENCH_FLAGS="--cases h1,h2 --proxies portcullis,haproxy"'
	@echo 'make certs   throw-away certificates in certs/'
	@echo 'make setup   install what is missing'

demo: build certs
	@PROFILE='$(PROFILE)' exec scripts/demo.sh

test: setup-test certs
	cargo build --workspace --all-targets $(CARGO_FLAGS)
	cargo fmt --all --check
	cargo clippy --workspace --all-targets $(CARGO_FLAGS) -- -D warnings
	@scripts/fuzz.sh 5
	@scripts/run-tests.sh $(CARGO_FLAGS)

fuzz: setup
	@scripts/fuzz.sh '$(SECONDS)'

bench: setup
	cargo build --release --workspace --bin portcullis --bin loadtest $(CARGO_FLAGS)
	@FORM='$(FORM)' scripts/bench.sh $(BENCH_FLAGS)

build: setup
	cargo build --profile '$(PROFILE)' --workspace $(addprefix --bin ,$(DEMO_PROGRAMS)) $(CARGO_FLAGS)

certs: setup
	@scripts/certs.sh

setup:
	@scripts/setup.sh

setup-test:
	@scripts/setup.sh test
