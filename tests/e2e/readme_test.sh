#!/bin/bash
# The five-minute walk of README.md, block by block as a reader would type it.
# Only what depends on the machine differs: where binaries and files lie, and the
# ports.
set -uo pipefail

readme=$PWD/README.md
mkdir -p "$TEST_TMPDIR/bin"
ln -s "$PWD/server/callgated" "$PWD/server/cli/callgate" "$TEST_TMPDIR/bin/"
export PATH=$TEST_TMPDIR/bin:$PATH
export HOME=$TEST_TMPDIR

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

# block N: the N-th sh block of the section.
block() {
  awk -v wanted="$1" '
    /^## / { inside = ($0 == "## Five minutes") }
    inside && /^```sh$/ { number++; printing = (number == wanted); next }
    /^```$/ { printing = 0 }
    printing' "$readme" |
    sed -e "s:/tmp/walk:$TEST_TMPDIR/walk:g" \
      -e "s:^callgated :callgated --listen=127.0.0.1\:0 --metrics=127.0.0.1\:0 :"
}

# The first block sets the path, which is done above; its last line counts.
mkdir -p "$TEST_TMPDIR/walk"
cd "$TEST_TMPDIR/walk" || fail 'no directory to walk in'
trap 'kill $(jobs -p) 2> /dev/null' EXIT

[[ $(block 1) == *'bazel info'* ]] || fail 'the first block is not about the path any more'
# shellcheck disable=SC1090
source <(block 2) || fail 'the guest does not compile'
[[ -s dice.wasm ]] || fail 'there is no dice.wasm'
# shellcheck disable=SC1090
source <(block 3) || fail 'the policy is not accepted'
# A reader waits for the daemon's word; so does this, through a pipe.
mkfifo said
exec 5<> said
# shellcheck disable=SC1090
source <(block 4) >&5
read -r -t 60 ready <&5 || fail 'the daemon did not start'
echo "$ready"
[[ $ready =~ listen=([^ ]+)\ .*metrics=([^ ]+) ]] || fail "no addresses in: $ready"
CALLGATE_SERVER=${BASH_REMATCH[1]}
CALLGATE_METRICS=${BASH_REMATCH[2]}
export CALLGATE_SERVER CALLGATE_METRICS

# shellcheck disable=SC1090
source <(block 5) > run.out 2> run.err
code=$?
cat run.out run.err
[[ $code -eq 1 ]] || fail "the guest should have ended with 1, not $code"
grep -q '^sha256:[0-9a-f]\{64\}$' run.out || fail 'push did not print the digest'
grep -q 'no dice: ' run.err || fail 'the guest did not say that it was refused'
grep -q 'dice-are-out' run.err || fail 'the verdict was not shown'

# shellcheck disable=SC1090
local_run=$(source <(block 6) 2> /dev/null) || fail 'the local run failed'
[[ $local_run =~ ^rolled\ a\ [1-6]$ ]] || fail "the local run printed: $local_run"

# shellcheck disable=SC1090
source <(block 7) > seen.out 2> seen.err
cat seen.out seen.err
grep -q 'decision deny wasi_snapshot_preview1.random_get by no-dice/dice-are-out' seen.out ||
  fail 'the denial is not among the events'
grep -q '^callgate_rule_matches_total{.*rule="dice-are-out".*} 1$' seen.out ||
  fail 'the denial is not on the metrics page'
[[ -z $(block 8) ]] || fail 'README.md has a block that this test does not know'
wait %1
