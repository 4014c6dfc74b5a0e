# Whirligig's tasks. `make run` and `make test` need only Rust and make.

CARGO ?= cargo
FUZZ_SECONDS ?= 60
SEEDS ?= 10000

.PHONY: help run test format clippy check-tests doc examples corpora fuzz sanitize sanitize-threads sanitize-leaks bench models instructions sim mutants small soak clean

help:
	@echo "make run        start the delayserver, ask it with two clients, stop it"
	@echo "make test       everything that CI checks: format, clippy, tests, docs, examples, corpora"
	@echo "make fuzz       fuzz each target for FUZZ_SECONDS (60); needs nightly and cargo-fuzz"
	@echo "make bench      measure what the runtime costs; with PEERS=DIR, compare it with the programs there"
	@echo "make models     run the client of every style on the same work, and draw docs/models.svg"
	@echo "make instructions  count instructions, and compare with docs/INSTRUCTIONS.md; needs valgrind"
	@echo "make sanitize   run the tests under sanitizers and valgrind; needs nightly and valgrind"
	@echo "make sim        run the general workload over SEEDS (10000) simulated worlds"
	@echo "make mutants    put known bugs into copies of the sources; the workload has to find each"
	@echo "make soak       load the delayserver for SECONDS (300) in every way, and see that it stays level"
	@echo "make small      build the delayserver for size, and see that it is within its bound"
	@echo "make doc        build the documentation"
	@echo "make clean      remove what was built"

run:
	@$(CARGO) build --release --quiet --bins
	@sh docs/run.sh "$$($(CARGO) build --release --quiet --bins --message-format=json | \
	  sed -n 's/.*"executable":"\([^"]*\)\/delayserver".*/\1/p')"

# Everything is built once, so that nothing is kept for a next time.
test: export CARGO_INCREMENTAL = 0
test: format clippy check-tests doc
	@echo "all is well"

format:
	$(CARGO) fmt --check
	$(CARGO) fmt --check --manifest-path fuzz/Cargo.toml

# Warnings are errors here, and only here: they are no reason to stop somebody else's build.
clippy:
	$(CARGO) clippy --all-targets --quiet -- -D warnings
	$(CARGO) clippy --all-targets --all-features --quiet -- -D warnings

# Unit, integration and doc tests, examples, and every fuzz corpus: all with the features; then, as
# users build it, optimised and without them, what shares memory or time and what is another program.
# Walks through every order of events belong to no build in particular: they go where they are fast.
WALKS = --skip walk --skip canaries --skip interleaving
AS_USED = budgets clients delayserver fibers fibers_mixed generators homes net tasks wakers workers
check-tests:
	$(CARGO) test --quiet --all-features -- $(WALKS)
	$(CARGO) test --quiet --release --lib $(AS_USED:%=--test %)
	$(CARGO) run --quiet --profile abort --example leaked-fiber

doc:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --quiet --all-features

FUZZ_TARGETS = event_parser http_request http_response kernels reactor_events timers url

# New finds go to fuzz/target/corpus, so that the corpora in the repository stay small.
fuzz:
	@$(CARGO) fuzz --version >/dev/null 2>&1 || { \
	  echo "make fuzz needs cargo-fuzz: cargo install cargo-fuzz" >&2; exit 1; }
	@$(CARGO) +nightly --version >/dev/null 2>&1 || { \
	  echo "make fuzz needs a nightly toolchain: rustup toolchain install nightly" >&2; exit 1; }
	@set -e; for target in $(FUZZ_TARGETS); do \
	  echo "fuzzing $$target for $(FUZZ_SECONDS) s"; \
	  mkdir -p fuzz/target/corpus/$$target; \
	  case $$target in http_*) words=-dict=fuzz/dictionaries/http.dict;; *) words=;; esac; \
	  $(CARGO) +nightly fuzz run $$target fuzz/target/corpus/$$target fuzz/corpus/$$target -- \
	    -max_total_time=$(FUZZ_SECONDS) -timeout=90 -max_len=2000 $$words; \
	done

# With PEERS the figures and the picture in docs/ are written anew; ROUNDS and CASES are for a closer
# look, and with CASES nothing is written.
BENCH = $(CARGO) run --profile fast --quiet --features bench --bin bench --
COMPARE = $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(CASES),--cases $(CASES)) \
  $(if $(PEERS),--peers $(PEERS) $(if $(CASES),,--figures docs/bench.tsv --chart docs/bench.svg))

bench:
	@$(BENCH) compare $(COMPARE)

# The client of every style on the same work. Its figures depend on the machine and on its peace.
models:
	@$(CARGO) build --profile fast --quiet --bins
	@$(BENCH) models --figures docs/models.tsv --chart docs/models.svg

# UPDATE=1 writes the counts instead.
instructions:
	@$(BENCH) instructions --kept docs/INSTRUCTIONS.md $(if $(UPDATE),--update)

# AddressSanitizer has to be told of switches between stacks, which takes the cfg; valgrind is told
# where stacks are by instructions that are always there. Tests that measure their own stack, or
# have many fibers at once, would take valgrind too long.
# Leaks are looked for where stacks, callbacks and machines are: other tests leave things on purpose.
LEAKLESS = fibers fibers_mixed generators callbacks callbacks_fibers callbacks_mixed
HOST = $(shell rustc -vV | sed -n 's/^host: //p')
sanitize:
	@$(CARGO) +nightly --version >/dev/null 2>&1 || { \
	  echo "make sanitize needs a nightly toolchain: rustup toolchain install nightly" >&2; exit 1; }
	@valgrind --version >/dev/null 2>&1 || { echo "make sanitize needs valgrind" >&2; exit 1; }
	$(MAKE) --no-print-directory sanitize-threads sanitize-leaks
	ASAN_OPTIONS=detect_leaks=0 RUSTFLAGS="-Zsanitizer=address --cfg whirligig_asan" \
	  $(CARGO) +nightly test --quiet --all-features --target $(HOST) --target-dir target/asan \
	  --lib --tests
	ASAN_OPTIONS=detect_leaks=1 RUSTFLAGS="-Zsanitizer=address --cfg whirligig_asan" \
	  $(CARGO) +nightly test --quiet --all-features --target $(HOST) --target-dir target/asan \
	  $(LEAKLESS:%=--test %) -- --test-threads 1
	env "CARGO_TARGET_$$(echo $(HOST) | tr a-z- A-Z_)_RUNNER=valgrind -q --error-exitcode=9" \
	  $(CARGO) test --quiet --target $(HOST) --test fibers --test fibers_mixed --test generators -- \
	  --test-threads 1 --skip five_thousand --skip what_does_not_fit

# Under ThreadSanitizer go the tests that are made for it: std's own locks and channels, which others
# use, were compiled without it, so that whatever they guard would be reported.
STRESS_ROUNDS ?= 3000
sanitize-threads:
	STRESS_ROUNDS=$(STRESS_ROUNDS) \
	TSAN_OPTIONS="suppressions=$(CURDIR)/tests/sanitizers/thread.supp" \
	RUSTFLAGS="-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer --cfg whirligig_tsan" \
	  $(CARGO) +nightly test --quiet --target $(HOST) --target-dir target/tsan --test stress

# Unit tests let memory go on purpose, to see what happens then; so these are tests from outside.
SEARCHED_FOR_LEAKS = stress tasks sync net http_server
sanitize-leaks:
	LSAN_OPTIONS="suppressions=$(CURDIR)/tests/sanitizers/leak.supp" \
	RUSTFLAGS="-Zsanitizer=leak -Cunsafe-allow-abi-mismatch=sanitizer" \
	  $(CARGO) +nightly test --quiet --target $(HOST) --target-dir target/lsan \
	  $(SEARCHED_FOR_LEAKS:%=--test %)

sim:
	@$(CARGO) run --quiet --profile sim --features sim --example sim -- $(SEEDS)

# Unlike tests this takes real time: whatever leaks a little shows after a while.
SECONDS ?= 300
soak:
	@$(CARGO) build --release --quiet --bin delayserver --example soak
	@$(CARGO) run --release --quiet --example soak -- $(SECONDS)
	@$(CARGO) run --release --quiet --example soak -- $(SECONDS) --workers=2

# Panics unwind as in any build; backtraces have no names, as it is stripped. An empty program takes
# 290 kB so, all of them std's.
SMALL_BYTES_MAX = 600000
small:
	@$(CARGO) build --profile small --quiet --bin delayserver
	@program="$$($(CARGO) build --profile small --quiet --bin delayserver \
	  --message-format=json | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p')"; \
	bytes=$$(wc -c < "$$program"); echo "$$bytes bytes: $$program"; \
	test $$bytes -le $(SMALL_BYTES_MAX) || { \
	  echo "that is more than $(SMALL_BYTES_MAX) bytes" >&2; exit 1; }

mutants:
	@SEEDS=$(SEEDS) sh tests/mutants/run.sh

clean:
	$(CARGO) clean
