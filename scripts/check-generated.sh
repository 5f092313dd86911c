#!/usr/bin/env bash
# The generated code under src/proto/gen is what the .proto texts give.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../src/proto"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
buf generate --output "$scratch"
diff -r gen "$scratch/gen" || {
  echo "src/proto/gen differs from what the .proto texts give; run: npm run generate" >&2
  exit 1
}
