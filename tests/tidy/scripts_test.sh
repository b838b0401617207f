#!/bin/bash
# The scripts in deploy/ are clean, and refuse what they cannot do in words.
set -uo pipefail

failures=0
check() {
  local what=$1
  shift
  if ! "$@"; then
    echo "FAILED: $what" >&2
    failures=$((failures + 1))
  fi
}

# COMMAND fails, and its output has TEXT.
fails_saying() {
  local text=$1 out
  shift
  if out=$("$@" 2>&1); then
    echo "it succeeded: $*" >&2
    return 1
  fi
  if [[ $out != *"$text"* ]]; then
    echo "it said: $out" >&2
    return 1
  fi
}

check 'shellcheck finds nothing' \
  shellcheck deploy/install-packages deploy/quickstart deploy/test

check 'an unknown group is named' \
  fails_saying 'no group "nosuch"' deploy/install-packages nosuch
check 'no group is explained' \
  fails_saying 'name at least one group' deploy/install-packages

# A list whose package does not exist stands for a machine that lacks one.
mkdir -p "$TEST_TMPDIR/deploy"
cp deploy/install-packages "$TEST_TMPDIR/deploy/"
echo 'build no-such-package-in-debian # for this test' > "$TEST_TMPDIR/deploy/packages.txt"
# Whoever runs this, `id` says somebody without root.
printf '#!/bin/bash\necho 1000\n' > "$TEST_TMPDIR/id"
chmod +x "$TEST_TMPDIR/id"
check 'without root the fix is spelt out' \
  fails_saying 'apt-get install --yes --no-install-recommends no-such-package-in-debian' \
  env PATH="$TEST_TMPDIR:$PATH" "$TEST_TMPDIR/deploy/install-packages" build

check 'quickstart refuses an unknown argument' \
  fails_saying 'unknown argument --port' deploy/quickstart --port 7
check 'quickstart refuses what is no address' \
  fails_saying 'is not HOST:PORT' deploy/quickstart --listen 50051
check 'test refuses an unknown configuration' \
  fails_saying 'there are plain, sanitize, asan, ubsan and tsan' deploy/test msan

# A port that somebody has already.
exec 5< <(exec python3 -c '
import socket
taken = socket.socket()
taken.bind(("127.0.0.1", 0))
taken.listen()
print(taken.getsockname()[1], flush=True)
taken.accept()')
holder=$!
read -r port <&5
check 'quickstart names the port in use and the fix' \
  fails_saying "127.0.0.1:$port is in use; stop what listens there, or choose another port: ./deploy/quickstart --listen" \
  deploy/quickstart --listen "127.0.0.1:$port"
kill "$holder" 2> /dev/null

[[ $failures -eq 0 ]]
