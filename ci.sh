#!/bin/sh
# The first step on a machine that has nothing but a shell: brings Rust and the linker that cargo needs for itself, then hands over
# to `cargo ci`, which brings the rest. Where both are there it does nothing of its own.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)

has() {
    command -v "$1" >/dev/null 2>&1
}

# As root: sudo is taken where it asks for no password.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        env DEBIAN_FRONTEND=noninteractive "$@"
    else
        sudo -n env DEBIAN_FRONTEND=noninteractive "$@"
    fi
}

install() {
    if has apt-get && as_root true 2>/dev/null; then
        as_root apt-get update
        as_root apt-get install --yes --no-install-recommends "$@"
    else
        echo "ci.sh: please install: $*" >&2
        exit 1
    fi
}

has cc || install gcc libc6-dev
if ! has cargo && [ -r "${HOME:-}/.cargo/env" ]; then
    . "$HOME/.cargo/env"
fi
if ! has cargo; then
    has curl || install ca-certificates curl
    curl --proto '=https' --tlsv1.2 --fail --silent --show-error https://sh.rustup.rs | sh -s -- -y --profile minimal
    . "$HOME/.cargo/env"
fi
exec cargo run --quiet --manifest-path "$here/Cargo.toml" --package ci -- "$@"
