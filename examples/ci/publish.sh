#!/bin/sh
# Measures the matrix and renders the report, for any CI; what follows goes to `bench run` (--budget, --only …).
# Run it on the main branch: its RUN is what gate.sh takes as BASELINE, so keep that folder as an artifact of the job.
#
# Settings, from the environment:
#   MATRIX   the matrix                                                        [matrix.toml]
#   RUN      folder of the run, which must not be there yet                    [run]
#   SITE     folder of the report, with an index.html: publish it as it is     [site]
#   FORMATS  what `bench report` writes                                        [html,csv,markdown,pytest-benchmark]
#
# Exits: 0 measured and rendered · 2 a mistake in the command or the matrix · 4 nothing was measured: the last baseline
# stays · 70 a fault of bench · 130 interrupted · anything else: bench died.
set -eu

MATRIX=${MATRIX:-matrix.toml}
RUN=${RUN:-run}
SITE=${SITE:-site}
FORMATS=${FORMATS:-html,csv,markdown,pytest-benchmark}

stop() { # CODE TEXT
  if [ "${GITHUB_ACTIONS:-}" = true ]; then
    echo "::error title=Touchstone::$2"
  else
    echo "touchstone: $2"
  fi
  exit "$1"
}

explain() { # CODE: why there is no report, and the same code
  case $1 in
    2) stop 2 "The command or the matrix is wrong: the log says what, and what to do." ;;
    4) stop 4 "Nothing was measured, so nothing is published and the last baseline stays: see the log." ;;
    70) stop 70 "A fault of bench: the log names a crash report." ;;
    130) stop 130 "Interrupted: half a run is no baseline." ;;
    *) stop "$1" "bench ended with $1, which is none of its exit codes: see the log." ;;
  esac
}

bench run --matrix "$MATRIX" --out "$RUN" "$@" || explain $?
bench report "$RUN" --out "$SITE" --format "$FORMATS" || explain $?

# A web server, GitHub's Pages among them, shows index.html.
if [ -f "$SITE/report.html" ]; then
  cp "$SITE/report.html" "$SITE/index.html"
fi
