#!/bin/sh
# Runs the official OpenAI SDKs, for Python and for Node.js, and curl as clients of keyweir.
#
# `make test` does all this. Alone, from the repository's root:
#
#   cargo build
#   make tests/sdk/.venv/.installed tests/sdk/node_modules/.installed
#   tests/sdk/run.sh
#
# KEYWEIR is the absolute path of the binary (target/debug/keyweir). Arguments go to Python's unittest, and then only Python runs:
#
#   tests/sdk/run.sh test_basics.Basics.test_models
#   tests/sdk/run.sh -k stream
set -eu
cd "$(dirname "$0")"

KEYWEIR=${KEYWEIR:-$(realpath ../../target/debug/keyweir)}
export KEYWEIR PYTHONDONTWRITEBYTECODE=1
# Nothing here leaves the machine, whatever proxy it uses otherwise.
unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY

if [ $# -gt 0 ]; then
    cd python
    exec ../.venv/bin/python -m unittest "$@"
fi

failed=0
echo 'The OpenAI SDK for Python, and curl:'
(cd python && ../.venv/bin/python -m unittest) || failed=1
echo 'The OpenAI SDK for Node.js:'
node --test node/*.test.js || failed=1
exit $failed
