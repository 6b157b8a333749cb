# The one door to everything; `make` alone lists it.
#
# Variables: CONFIG (keyweir.yaml) · ADMIN (http://127.0.0.1:8081) · POOL · ARGS · IMAGE · MIRROR=cn (downloads through
# mirrors in China). KEYWEIR_ADMIN_TOKEN is read from the environment.

CONFIG ?= keyweir.yaml
ADMIN ?= http://127.0.0.1:8081
IMAGE ?= keyweir:latest
TARGET = $(or $(CARGO_TARGET_DIR),target)
SDK = tests/sdk
CONSOLE = tests/console
# The database servers the store is tested on, beside SQLite.
DATABASES = postgres

# Where rustup has just put cargo, no new shell is needed.
export PATH := $(PATH):$(HOME)/.cargo/bin

ifeq ($(MIRROR),cn)
CARGO_FLAGS = --config 'source.crates-io.replace-with="mirror"' \
              --config 'source.mirror.registry="sparse+https://rsproxy.cn/index/"'
export RUSTUP_DIST_SERVER ?= https://rsproxy.cn
export RUSTUP_UPDATE_ROOT ?= https://rsproxy.cn/rustup
export PIP_INDEX_URL ?= https://pypi.tuna.tsinghua.edu.cn/simple
export npm_config_registry ?= https://registry.npmmirror.com
endif

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-all fuzz run dev build build-all deps deps-test clean coverage bench bench-scale bench-recovery lint fmt tidy ui ui-if-node \
        screenshots console-speed docker health stats blacklist reset-keys validate-keys

help:
	@awk -F ':.*## ' '/^##@ / { print "\n" substr($$0, 5) } /^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

##@ Using it

demo: deps ui-if-node ## Try it: a mock provider and a pool of keys, no configuration
	cargo run --profile demo --locked $(CARGO_FLAGS) -- demo $(ARGS)

run: deps ## Run with CONFIG
	cargo run --profile demo --locked $(CARGO_FLAGS) -- run -c $(CONFIG) $(ARGS)

validate-keys: deps ## Check CONFIG and its keys files
	cargo run -q --profile demo --locked $(CARGO_FLAGS) -- check -c $(CONFIG)

# The token goes through a pipe: an argument would show in the process list.
admin = @: "$${KEYWEIR_ADMIN_TOKEN:?must hold the admin token}"; \
        printf 'Authorization: Bearer %s\n' "$$KEYWEIR_ADMIN_TOKEN" | \
        curl -sS --fail-with-body -H @- $(1) '$(ADMIN)$(2)$(if $(POOL),?pool=$(POOL))' && echo

health: ## Ask a running keyweir whether it is ready
	@curl -sS --fail-with-body '$(ADMIN)/readyz?verbose' && echo

stats: ## Show a running keyweir's key statistics
	$(call admin,,/stats)

blacklist: ## Show the keys that rest or are disabled
	$(call admin,,/blacklist)

reset-keys: ## Put resting and disabled keys back
	$(call admin,-X POST,/reset-keys)

##@ Building it

build: deps ui-if-node ## Build the release binary
	cargo build --release --locked $(CARGO_FLAGS)
	@ls -l $(TARGET)/release/keyweir

BUILD_ALL = x86_64-unknown-linux-gnu aarch64-unknown-linux-gnu

build-all: deps ui-if-node ## Build release binaries for x86_64 and aarch64 Linux
	@command -v cargo-zigbuild >/dev/null || { echo 'Cross-building needs cargo-zigbuild and zig:' \
		'cargo install --locked cargo-zigbuild && pip install ziglang' >&2; exit 1; }
	rustup target add $(BUILD_ALL)
	# Any glibc from 2.28 on: Debian 10, RHEL 8 and newer.
	for target in $(BUILD_ALL); do cargo zigbuild --release --locked $(CARGO_FLAGS) --target $$target.2.28 || exit 1; done
	@ls -l $(BUILD_ALL:%=$(TARGET)/%/release/keyweir)

ui: ## Build the console
	@command -v npm >/dev/null || { echo 'Building the console needs Node.js 18 or newer, with npm.' >&2; exit 1; }
	@$(MAKE) --no-print-directory ui/dist/.built

# Not `npm ci`: it fails where a registry lacks the packages of other platforms, which the lock file then lacks too.
ui/node_modules/.installed: ui/package-lock.json
	cd ui && npm install --no-save --no-audit --no-fund
	@touch $@

ui/dist/.built: ui/node_modules/.installed $(shell find ui/src ui/public ui/scripts ui/*.* -type f 2>/dev/null)
	cd ui && npm run build
	@touch $@

ui-if-node:
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory ui; \
		else echo 'Without Node.js the console is left out.'; fi

screenshots: export KEYWEIR ?= $(abspath $(TARGET))/debug/keyweir
screenshots: export CHROMIUM ?= chromium
screenshots: ui $(CONSOLE)/node_modules/.installed ## Take the pictures in docs/images
	cargo build --locked $(CARGO_FLAGS)
	cd $(CONSOLE) && node screenshots.js

console-speed: export KEYWEIR ?= $(abspath $(TARGET))/release/keyweir
console-speed: export CHROMIUM ?= chromium
console-speed: ui $(CONSOLE)/node_modules/.installed ## Measure the console with 100,000 keys
	cargo build --release --locked $(CARGO_FLAGS)
	cd $(CONSOLE) && node speed.js

docker: ## Build the container image (docker, podman or buildah)
	@engine=$$(for e in docker podman buildah; do command -v $$e && break; done) || \
		{ echo 'Install docker, podman or buildah.' >&2; exit 1; }; set -x; \
	$$engine build -f deploy/Dockerfile -t $(IMAGE) --build-arg MIRROR=$(MIRROR) \
		--build-arg REVISION=$$(git rev-parse HEAD 2>/dev/null) .

##@ Working on it

deps: ## Check for what a build needs (as root on Debian: install it)
	@scripts/deps.sh

deps-test:
	@scripts/deps.sh test

dev: deps ## Run CONFIG in a debug build
	cargo run --locked $(CARGO_FLAGS) -- run -c $(CONFIG) $(ARGS)

test: deps-test ui-if-node $(SDK)/.venv/.installed $(SDK)/node_modules/.installed $(CONSOLE)/node_modules/.installed ## Run the tests
	scripts/databases.sh $(DATABASES) -- cargo test --locked $(CARGO_FLAGS)
	cargo test -q --locked $(CARGO_FLAGS) --manifest-path tests/loom/Cargo.toml --target-dir $(TARGET)/loom
	@if [ -x $(SDK)/run.sh ]; then KEYWEIR=$(abspath $(TARGET))/debug/keyweir $(SDK)/run.sh; fi
	KEYWEIR=$(abspath $(TARGET))/debug/keyweir tests/openapi/run.sh
	KEYWEIR=$(abspath $(TARGET))/debug/keyweir $(CONSOLE)/run.sh

test-all: export KEYWEIR_TEST_ALL = 1
test-all: DATABASES = postgres mariadb
test-all: test fuzz ## Run the tests, the long ones too

fuzz: deps ## Fuzz what reads foreign text, each target for SECONDS (60)
	scripts/fuzz.sh $(or $(SECONDS),60)

$(SDK)/.venv/.installed: $(SDK)/requirements.txt | deps-test
	python3 -m venv --clear $(SDK)/.venv
	$(SDK)/.venv/bin/pip install -q --disable-pip-version-check -r $<
	@touch $@

$(SDK)/node_modules/.installed: $(SDK)/package-lock.json | deps-test
	cd $(SDK) && npm ci
	@touch $@

$(CONSOLE)/node_modules/.installed: $(CONSOLE)/package-lock.json | deps-test
	cd $(CONSOLE) && npm ci --no-audit --no-fund
	@touch $@

bench: deps ## Run the benchmarks
	cargo bench --locked $(CARGO_FLAGS) --bench pool --bench verdict

bench-scale: deps ## Measure 100,000 keys: start, memory, import, pages, latency meanwhile
	benches/scale.py $(ARGS)

bench-recovery: deps ## Measure how soon what recovers is used again
	benches/recovery.py $(ARGS)

coverage: deps-test ## Write a coverage report to coverage/
	@command -v cargo-llvm-cov >/dev/null || { echo 'Coverage needs cargo-llvm-cov:' \
		'rustup component add llvm-tools && cargo install --locked cargo-llvm-cov' >&2; exit 1; }
	cargo llvm-cov --locked $(CARGO_FLAGS) --html --output-dir coverage

lint: deps ## Formatting, clippy, rustdoc, links, shell scripts, licences
	cargo fmt --check
	cargo clippy --all-targets --locked $(CARGO_FLAGS) -- -D warnings
	RUSTDOCFLAGS=-Dwarnings cargo doc --no-deps --locked $(CARGO_FLAGS)
	python3 .ci/check_docs.py
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory ui/node_modules/.installed && cd ui && npm run lint && npm test; \
		else echo 'Node.js is not installed: the console was not checked.'; fi
	@if command -v shellcheck >/dev/null; then set -x; shellcheck .ci/run scripts/*.sh tests/*/*.sh; \
		else echo 'shellcheck is not installed: shell scripts not checked.'; fi
	@if command -v cargo-deny >/dev/null; then set -x; cargo deny check bans licenses sources; \
		else echo 'cargo-deny is not installed: licences not checked.'; fi

fmt: ## Format the code
	cargo fmt

tidy: fmt ## Format, and look for dependencies nobody uses
	@if command -v cargo-machete >/dev/null; then set -x; cargo machete; \
		else echo 'cargo-machete is not installed (cargo install --locked cargo-machete): dependencies not checked.'; fi

clean: ## Remove everything that was built
	cargo clean
	rm -rf $(SDK)/.venv $(SDK)/node_modules $(CONSOLE)/node_modules ui/dist ui/node_modules coverage
