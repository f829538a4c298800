# demo   tells the story with real commands: a key made in one region signs in another, and a copy survives kill -9
# test   everything that must hold before a change goes in; ends with the test runner's own summary
# interop  runs unmodified clients of AWS: boto3, the AWS CLI 1 and 2, Cloud Custodian, the SDKs for JavaScript, Go and Rust
# fuzz   looks for inputs that panic or hang, for as long as STRONGROOM_FUZZ_SECONDS says per target
# bench  measures the release binary on this machine: start, calls, copies, keys, signatures

TOOLS := target/tools
export PATH := $(CURDIR)/$(TOOLS)/bin:$(PATH)

.PHONY: demo test interop bench fuzz
demo:
	@scripts/demo.sh

test:
	@scripts/prepare-tests.sh $(TOOLS)
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo xtask map
	cargo xtask drift
	cargo deny --locked check bans licenses sources
	scripts/run-tests.sh

# CLIENTS names some of them; without it all.
interop:
	@tests/interop/run.sh $(CLIENTS)

# Each target so long, two at a time; `make test` gives each 20,000 inputs.
fuzz: export STRONGROOM_FUZZ_SECONDS ?= 600
fuzz:
	cargo test --locked --package strongroom-wire --package strongroom-iam --package strongroom-link --package strongroom-engine --test fuzz -- --nocapture
	cargo test --locked --package strongroom-hsm --lib fuzz -- --nocapture

bench:
	@scripts/bench.sh
