#!/bin/sh
# Gates the matrix here against a recorded run, for any CI; what follows goes to `bench gate` (--only, --skip …).
#
# Settings, from the environment:
#   BASELINE                folder of the run to compare with: what publish.sh left on the main branch   [baseline]
#   MATRIX                  the new side's matrix                                                        [matrix.toml]
#   OUT                     where gate.json, gate.xml (JUnit) and gate.md go                             [gate]
#   BUDGET_MINUTES          time for measuring; what it cannot decide is inconclusive                    [40]
#   TRUST_BASELINE          true: the baseline may need packages, in exact versions, that MATRIX does not   [false]
#                           name; say so only where nobody but your main branch can have written it
#   PASS_IF_INCONCLUSIVE    true: exit 3 becomes green, with a warning                                   [false]
#   PASS_IF_NOTHING_JUDGED  true: exit 4 becomes green, with a warning                                   [false]
#
# Exits: 0 nothing got slower, or a warning as set above · 1 a regression or lost support · 2 a mistake in the command
# or the matrix · 3 inconclusive · 4 nothing judged · 70 a fault of bench · 130 interrupted · anything else: bench died
# without an answer.
set -eu

BASELINE=${BASELINE:-baseline}
MATRIX=${MATRIX:-matrix.toml}
OUT=${OUT:-gate}
BUDGET_MINUTES=${BUDGET_MINUTES:-40}
TRUST_BASELINE=${TRUST_BASELINE:-false}
PASS_IF_INCONCLUSIVE=${PASS_IF_INCONCLUSIVE:-false}
PASS_IF_NOTHING_JUDGED=${PASS_IF_NOTHING_JUDGED:-false}

on_github() {
  [ "${GITHUB_ACTIONS:-}" = true ]
}

say() { # KIND TEXT: a line in the log; on GitHub an annotation too, of kind notice, warning or error
  if on_github; then
    echo "::$1 title=Touchstone::$2"
  else
    echo "touchstone: $2"
  fi
}

end_as() { # SETTING CODE TEXT: green with a warning, or red with bench's own code
  if [ "$1" = true ]; then
    say warning "$3"
    exit 0
  fi
  say error "$3"
  exit "$2"
}

for policy in "$TRUST_BASELINE" "$PASS_IF_INCONCLUSIVE" "$PASS_IF_NOTHING_JUDGED"; do
  case $policy in
    true | false) ;;
    *)
      say error "TRUST_BASELINE and the PASS_IF_ settings are true or false, not '$policy'"
      exit 2
      ;;
  esac
done

if [ ! -f "$BASELINE/run.json" ]; then
  end_as "$PASS_IF_NOTHING_JUDGED" 4 "There is no baseline in $BASELINE yet, so nothing was judged: run publish.sh on the main branch."
fi

if on_github; then
  set -- --github "$@"
fi

if [ "$TRUST_BASELINE" = true ]; then
  set -- --trust-baseline "$@"
fi

code=0
bench gate --baseline "$BASELINE" --matrix "$MATRIX" --budget-minutes "$BUDGET_MINUTES" --out "$OUT" "$@" || code=$?

case $code in
  0)
    echo "touchstone: nothing got slower and nothing lost support."
    ;;
  1)
    echo "touchstone: a confirmed regression, or a cell that lost support: $OUT/gate.md names it."
    exit 1
    ;;
  2)
    say error "The command or the matrix is wrong: the log says what, and what to do."
    exit 2
    ;;
  3)
    end_as "$PASS_IF_INCONCLUSIVE" 3 "Inconclusive, which is no pass: the machine was too noisy or the time too short to tell."
    ;;
  4)
    end_as "$PASS_IF_NOTHING_JUDGED" 4 "Nothing was judged: the baseline is of another machine or needs trust, or cells could not be measured."
    ;;
  70)
    say error "A fault of bench, so there is no answer: the log names a crash report."
    exit 70
    ;;
  130)
    say error "Interrupted: there is no answer."
    exit 130
    ;;
  *)
    say error "bench ended with $code, which is no answer of a gate: see the log."
    exit "$code"
    ;;
esac
