#!/bin/sh
# Fuzzes the admin listener from its own OpenAPI document, with schemathesis.
#
# `make test` does this for about a minute, `make test-all` for longer. Alone, from the repository's root:
#
#   cargo build && make tests/sdk/.venv/.installed
#   tests/openapi/run.sh
#
# KEYWEIR is the absolute path of the binary (target/debug/keyweir). Arguments go to schemathesis:
#
#   tests/openapi/run.sh --seed 7 --include-path-regex tokens
set -eu
cd "$(dirname "$0")"

KEYWEIR=${KEYWEIR:-$(realpath ../../target/debug/keyweir)}
export KEYWEIR PYTHONDONTWRITEBYTECODE=1
# Nothing here leaves the machine, whatever proxy it uses otherwise.
unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY
exec ../sdk/.venv/bin/python fuzz.py "$@"
