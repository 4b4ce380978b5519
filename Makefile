# MozDef. Each target installs what it needs on a bare Debian machine.
#
#   make run     build, start everything on a fresh folder, play sample attacks, stay up until Ctrl-C
#   make demo    the same, checks the numbers and ends
#   make test    every test, beside a real Kafka and OpenSearch  [MOZDEF_TEST_LOG=local|kafka|both]
#   make cases   the recorded cases of the original  [CASES=DIR]
#   make bench   the benchmarks, in events per CPU second
#   make faults  the long form of the fault tests (kill -9, fuzzing)
#   make lint    format, clippy, licences, one version of each crate

SHELL := /bin/bash
.DEFAULT_GOAL := help

CASES ?= ../shared/cases
export MOZDEF_SHARED ?= $(abspath $(CASES)/..)
CI_PROFILE := --profile ci
# Log of the end-to-end suite: local, kafka, or both one after the other.
MOZDEF_TEST_LOG ?= both
BENCHES := model:event normalize:normalize stream:log ingest:gateway ingest:syslog sink:sink embedded:index correlate:window correlate:rules tests:whole tests:plugins

.PHONY: help run demo test cases bench faults lint rust chart-tools deny test-beside-servers

help:
	@sed -n 's/^#   //p' Makefile

rust:
	@tests/setup/rust

# Tools that judge the chart. Where a registry does not answer, its tests say so and fail, unless ALLOW_SKIP=1.
chart-tools:
	@tests/setup/chart || echo "the chart's tests lack their tools" >&2

deny: rust
	@tests/setup/deny

run: rust
	cargo build --release --locked -p mozdef
	cargo run --release --locked -q -p mozdef -- demo

demo: rust
	cargo build --release --locked -p mozdef
	cargo run --release --locked -q -p mozdef -- demo --check

# Tests are built with the binary, so that no crate is built twice with other features. Beside a real Kafka and a real OpenSearch. Where the registry does not answer: failure, unless ALLOW_SKIP=1.
test: rust chart-tools
	cargo build $(CI_PROFILE) --locked --workspace --bins --tests
	tests/servers/with kafka opensearch rabbitmq aws registry shippers -- $(MAKE) --no-print-directory test-beside-servers

# The end-to-end suite runs once over each log; what is only about the local log's folder, over that one.
test-beside-servers:
ifneq ($(MOZDEF_TEST_LOG),kafka)
	MOZDEF_TEST_LOG=local cargo test $(CI_PROFILE) --locked --workspace
endif
ifneq ($(MOZDEF_TEST_LOG),local)
	[ -z "$$MOZDEF_TEST_KAFKA" ] || MOZDEF_TEST_LOG=kafka cargo test $(CI_PROFILE) --locked --workspace --test it -- end_to_end:: kills::nothing
endif

cases: rust
	@cargo run $(CI_PROFILE) --locked -q -p tests --bin cases -- $(CASES)

bench: rust
	@tests/setup/machine
	cargo build --release --locked -q -p mozdef
	@set -e; for pair in $(BENCHES); do cargo bench --locked -q -p $${pair%%:*} --bench $${pair##*:}; done
	tests/servers/with kafka -- cargo bench --locked -q -p tests --bench kafka

# Ten million mutated inputs, fifty kills of the whole, twenty thousand random histories of windows and of the correlator.
faults: rust
	cargo build $(CI_PROFILE) --locked --workspace --bins
	MOZDEF_FUZZ_CASES=10000000 cargo test $(CI_PROFILE) --locked --workspace --lib -- differential --nocapture
	tests/servers/with kafka opensearch rabbitmq aws registry shippers -- env MOZDEF_LONG=1 MOZDEF_FUZZ_CASES=20000 cargo test $(CI_PROFILE) --locked --workspace -- --nocapture --skip differential

lint: deny
	cargo fmt --all --check
	cargo clippy $(CI_PROFILE) --locked --workspace --all-targets -- -D warnings
	PATH="$$HOME/.cache/mozdef/tools/bin:$$PATH" cargo deny --locked check licenses bans sources
