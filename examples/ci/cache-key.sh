#!/bin/sh
# Prints the key of a CI cache that suits a recorded run: it changes with what the cache holds, and not with the commit.
# Runs with the same matrix, resolved packages, artifacts and version of touchstone-bench share one entry.
#
#   sh cache-key.sh RUN   RUN is the folder of a run, as `bench run --out` makes it
#
# Exits: 0 with the key on stdout · 2 RUN holds no run.
set -eu

RECORD=${1:-run}/run.json
if [ ! -f "$RECORD" ]; then
  echo "touchstone: there is no run in ${1:-run}, so there is no key for its cache." >&2
  exit 2
fi

python -c '
import hashlib, json, sys

with open(sys.argv[1], encoding="utf-8") as file:
    run = json.load(file)
runtimes = {name: [made["python"], made["packages"]] for name, made in run["runtimes"].items()}
# The code of the workers is in the cache too: it measures the base again.
held = [run["bench_version"], run.get("code"), run["matrix_text"], runtimes, run["artifacts"]]
print(hashlib.sha256(json.dumps(held, sort_keys=True).encode()).hexdigest()[:16])
' "$RECORD"
