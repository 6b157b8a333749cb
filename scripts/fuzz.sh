#!/usr/bin/env bash
# Fuzzes what reads foreign text: fuzz.sh SECONDS [TARGET…], each target for that long (all by default). Findings stay in
# fuzz/artifacts, what was learnt in fuzz/corpus.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=$1
shift
[ $# -gt 0 ] || set -- verdict rules first_event keys_file configuration

command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz

# Seeds are what the project holds anyway.
mkdir -p fuzz/corpus/{verdict,rules,first_event,keys_file,configuration}
cp src/verdict/packs/*.yaml fuzz/corpus/rules
cp conf/*.example.yaml fuzz/corpus/configuration
find conf tests/samples/legacy -type f | while read -r file; do cp "$file" "fuzz/corpus/keys_file/${file//\//_}"; done
python3 - <<'PYTHON'
import json, pathlib

verdict, stream = pathlib.Path("fuzz/corpus/verdict"), pathlib.Path("fuzz/corpus/first_event")
for line in open("tests/classification/cases.jsonl"):
    case = json.loads(line)
    body = case.get("body", "")
    body = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
    headers = "".join(f"{name}: {value}\n" for name, value in case.get("headers", {}).items())
    (verdict / case["id"]).write_text(f"{case['provider']} {case['status']}\n{headers}\n{body}")
    (stream / case["id"]).write_text(f"\x07data: {body}\n\n")
PYTHON

# Stable Rust has no sanitizers, and safe code needs none.
for target; do
    cargo fuzz run --sanitizer none "$target" -- -max_total_time="$seconds" -max_len=65536 -timeout=10 -rss_limit_mb=4096 \
        -print_final_stats=1
done
