#!/bin/sh
# Run the cycle from cron, at most once at a time and never for longer than LIMIT.
#
#     */10 * * * *  /opt/phyda/phyda-cycle.sh /etc/phyda/cycle.toml
#
# phyda holds a lock of its own, waits for inputs, and publishes each analysis whole or not at all.
# flock and timeout are here for what phyda cannot do: a run that hangs in the kernel is ended, and
# the next one does not pile up behind it. Further words go to phyda cycle run.
set -u
config=${1:?usage: phyda-cycle.sh CONFIG [OPTION...]}
shift
limit=${LIMIT:-5h}
log=${LOG:-/var/log/phyda-cycle.log}
lock=${LOCK:-/tmp/phyda-cycle.$(id -u).lock}

exec 9>"$lock" || exit 2
flock -n 9 || exit 75
timeout -k 30s "$limit" phyda cycle run --config "$config" "$@" 2>>"$log" 9>&-
code=$?
case $code in
0 | 75) ;;                       # all is published, or another run is at work
3 | 4) ;;                        # inputs are missing: the next run tries again
*) echo "phyda cycle ended with $code; see $log" >&2 ;;   # cron mails this
esac
exit $code
