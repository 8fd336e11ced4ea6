#!/bin/bash
# record.sh PREFIX...      e.g. record.sh nsenter -t PID -a --
# Asks a real, booted systemd what it makes of the texts in *.cases, and writes its answers to *.answers beside
# them. PREFIX runs a command inside that system as root, with stdin and stdout passed through; python3 is
# needed there. Nothing is left behind but units in its /run.
#
# A case is a line of JSON; an answer is a line of JSON, in the same order.
set -eu
cd "$(dirname "$0")"
for kind in commands specifiers environment spans capabilities limits; do
    "$@" python3 -c "$(cat ask.py)" "$kind" <"$kind.cases" >"$kind.answers"
    echo "$kind: $(wc -l <"$kind.answers") answers"
done
"$@" systemctl --version | sed 1q >version
