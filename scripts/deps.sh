#!/bin/sh
# Looks for what a build needs, and with the argument `test` also for what the tests need.
#
# As root on a Debian-like system it installs what is missing; anywhere else it prints the line that does and stops.
# It changes nothing, and asks no network, when nothing is missing.
set -eu
cd "$(dirname "$0")/.."

toolchain=${RUSTUP_TOOLCHAIN:-$(sed -n 's/^channel *= *"\(.*\)"/\1/p' rust-toolchain.toml)}
oldest=$(sed -n 's/^rust-version *= *"\(.*\)"/\1/p' Cargo.toml)

fail() {
    printf '%s\n' "$@" >&2
    exit 1
}

has() { command -v "$1" >/dev/null 2>&1; }

# need WHAT PACKAGES TEST…: notes both where TEST fails.
need() {
    what=$1 names=$2
    shift 2
    if ! "$@" >/dev/null 2>&1; then
        missing="$missing${missing:+, }$what"
        packages="$packages $names"
    fi
}

look() {
    missing='' packages=''
    need 'a C compiler' 'gcc libc6-dev' has cc
    need cmake cmake has cmake # zlib-ng, which Pingora compresses with
    need curl 'curl ca-certificates' has curl
    [ "$1" = test ] || return 0
    need openssl openssl has openssl # makes the tests' certificate
    need 'Python 3.11 or newer with venv' 'python3 python3-venv' \
        python3 -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))'
    need 'Node.js 18 or newer' nodejs \
        node -e 'process.exit(parseInt(process.versions.node) < 18 ? 1 : 0)'
    need npm npm has npm
    need Chromium chromium has chromium # drives the console
    # The other side of the tests of proxies and host names.
    need tinyproxy tinyproxy-bin has tinyproxy
    need microsocks microsocks has microsocks
    # shellcheck disable=SC2016 # the inner shell expands it
    need dnsmasq dnsmasq-base sh -c 'PATH=$PATH:/usr/sbin command -v dnsmasq'
}

apt_install() {
    export DEBIAN_FRONTEND=noninteractive
    # The package lists of a fresh image are empty; only then are they fetched.
    apt-get install -y --no-install-recommends "$@" </dev/null ||
        { apt-get update && apt-get install -y --no-install-recommends "$@" </dev/null; }
}

can_install() { has apt-get && [ "$(id -u)" = 0 ]; }

tools() {
    look "$1"
    [ -n "$missing" ] || return 0
    has apt-get || fail "Missing: $missing." 'Install it with your package manager, then run make again.'
    can_install || fail "Missing: $missing. As root, run" \
        "  apt-get update && apt-get install -y --no-install-recommends$packages" 'then make again.'
    echo "Installing $missing" >&2
    # shellcheck disable=SC2086
    apt_install $packages
    look "$1"
    [ -z "$missing" ] || fail "Still missing: $missing. This system's packages are too old for it."
}

toolchain_ready() {
    rustup run "$toolchain" cargo fmt --version && rustup run "$toolchain" cargo clippy --version
}

rust() {
    if ! has rustup && has cargo; then
        found=$(cargo --version | cut -d' ' -f2)
        [ "$(printf '%s\n' "$oldest" "$found" | sort -V | head -n1)" = "$oldest" ] ||
            fail "cargo is $found, keyweir needs $oldest. rustup installs it:" "$rustup_line" 'Then run make again.'
        return 0
    fi
    if ! has rustup && can_install; then
        echo 'Trying the distribution'\''s rustup' >&2 # Debian has it from 13 on
        apt_install rustup >/dev/null 2>&1 || true
    fi
    has rustup || fail "Rust is missing (a distribution's own cargo is mostly too old). rustup installs it:" \
        "$rustup_line" 'Then run make again.'
    if ! toolchain_ready >/dev/null 2>&1; then
        rustup toolchain install "$toolchain" --profile minimal --component rustfmt --component clippy
    fi
}

rustup_line="  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal"
tools "${1:-build}"
rust
