# make up     everything local in the foreground; ARGS are for `sheaf up`, as in make up ARGS="--port 9000"
# make test   the whole test suite, beside a throwaway cluster and S3; ARGS are for the test runner
# make lint   formatting and lints
# make linter the linter of the OpenAPI document, from npm into target/; the suite runs it where it is, or fetches it by npx
# make prometheus  Debian's package of Prometheus, unpacked into target/; the suite asks it for every panel and alert where it is
# make check  the independent check for 30 minutes (CHECK_SECONDS; the suite: 1 on each topology), extremes of every field (the suite: of
#             each fourth), a hostile neighbour; thousands of histories
# make fuzz   schemathesis against the running API's OpenAPI document, 3 minutes (FUZZ_SECONDS)
# make duckdb the archive's SQL beside DuckDB over the same objects, on real invoices: equal to the penny
# make garage the archive's tests on Garage, a real S3 server, instead of our own local one; needs `garage` on PATH
# make bench  side-by-side comparisons; writes target/bench/compare.json

CARGO ?= cargo
ARGS ?=
# `ci` compiles from nothing in half of the time, and runs slower; for lint and test.
PROFILE ?= release
# With the tests, as `make test` builds: their features of the libraries are more than those of the programs alone, which would
# have everything built twice.
BUILD = $(CARGO) build --release --workspace --bins --tests

CHECK_SECONDS ?= 1800

.PHONY: up test check lint linter prometheus fuzz duckdb garage bench postgres

up: postgres
	$(CARGO) build --release -p sheaf
	exec target/release/sheaf up $(ARGS)

# Tests that need a Citus cluster have `citus_` in their path; without the extension they are skipped, and counted so.
test: postgres
	$(CARGO) test --profile $(PROFILE) --workspace --no-run
	target/$(PROFILE)/with-cluster -- sh -c ' \
	if $(CARGO) nextest --version >/dev/null 2>&1; then \
	    [ "$$SHEAF_TEST_CITUS" = 1 ] || skip="-E not(test(/citus_/))"; \
	    exec $(CARGO) nextest run --cargo-profile $(PROFILE) --workspace $$skip $(ARGS); \
	else \
	    [ "$$SHEAF_TEST_CITUS" = 1 ] || skip="--skip citus_"; \
	    exec $(CARGO) test --profile $(PROFILE) --workspace $(ARGS) -- $$skip; \
	fi'

check: postgres
	$(CARGO) test --release --workspace --no-run
	SHEAF_CHECK_SECONDS=$(CHECK_SECONDS) SHEAF_CHECK_SEED=$$$$ SHEAF_POISON_EVERY=1 \
	    $(CARGO) test --release -p sheaf --test e2e -- --include-ignored --test-threads 1 \
	    check:: poison::
	SHEAF_HISTORIES=5000 target/release/with-cluster -- $(CARGO) test --release -p sheaf-archive --test suite -- histories

lint:
	$(CARGO) fmt --check
	$(CARGO) clippy --profile $(PROFILE) --workspace --all-targets -- -D warnings

linter:
	npm install --silent --no-audit --no-fund --ignore-scripts --prefix target/linter @redocly/cli@2.77.0

prometheus:
	[ -x target/prometheus/usr/bin/promtool ] || { mkdir -p target/prometheus && cd target/prometheus && \
	    { apt-get download -q prometheus || { apt-get update -q && apt-get download -q prometheus; }; } && \
	    dpkg-deb -x prometheus_*.deb .; }

fuzz: postgres
	$(BUILD)
	crates/sheaf/tests/fuzz.sh $(ARGS)

duckdb: postgres
	$(BUILD)
	archive/tests/duckdb.sh $(ARGS)

garage: postgres
	$(CARGO) test --release --workspace --no-run
	target/release/with-cluster -- archive/tests/garage.sh $(CARGO) test --release --workspace --test suite -- \
	    --test-threads 2 $(ARGS)

bench: postgres
	$(BUILD)
	target/release/compare $(ARGS)

postgres:
	@sh deploy/install-postgres.sh
