# Short names for what CONTRIBUTING.md explains. `just` alone lists them.

default:
    @just --list

# Everything that must pass
ci:
    .ci/run

# Format and lints
lint:
    cargo fmt
    cargo clippy --all-targets --locked -- -D warnings

# All tests, or those whose names contain FILTER
test FILTER="":
    cargo test --locked {{FILTER}}

# The whole product on this machine, without a CloudStack
demo *ARGS:
    cargo run --locked -- demo {{ARGS}}

# Write the documents that bursar makes itself
generated:
    .ci/generated

# Licences, sources, banned crates, advisories
deny:
    cargo deny --locked check

# The files in deploy/, through nginx, HAProxy and systemd
deploy-check:
    .ci/deploy

# One static binary
static FILE="":
    deploy/build-static.sh {{FILE}}
