#!/bin/sh
# Drives the console in Debian's Chromium, on the real server with the mock provider.
#
# `make test` does this. Alone, from the repository's root:
#
#   make ui && cargo build && make tests/console/node_modules/.installed
#   tests/console/run.sh
#
# KEYWEIR is the absolute path of the binary (target/debug/keyweir), CHROMIUM that of the browser.
set -eu
cd "$(dirname "$0")"
KEYWEIR=${KEYWEIR:-$(realpath ../../target/debug/keyweir)}
CHROMIUM=${CHROMIUM:-$(command -v chromium)}
export KEYWEIR CHROMIUM
unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY
# The console's picture of the API is this server's.
[ ! -d ../../ui/node_modules ] || node ../../ui/scripts/types.mjs --check
exec node --test --test-concurrency=1 ./*.test.js
