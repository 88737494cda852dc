#!/usr/bin/env bash
# Runs weir with its demo config and a small simulated fleet beside it. Both
# end with Ctrl-C, and with one another.
set -u
cd "$(dirname "$0")/.."
config=${CONFIG:-configs/demo.yaml}
broker=${BROKER:-tcp://127.0.0.1:1883}
api=${API:-http://127.0.0.1:8080}

bin/weir run -c "$config" &
weir=$!
fleet=
stop() {
  [ -n "$fleet" ] && kill -INT "$fleet" 2>/dev/null
  kill -INT "$weir" 2>/dev/null
}
trap stop INT TERM

# The fleet waits for the broker by itself; it is quiet, so that the alerts stand out.
bin/simulator run --broker "$broker" --devices "${DEVICES:-20}" --sites 3 --quiet &
fleet=$!
echo "weir takes MQTT at $broker and answers at $api; alerts appear below within a minute. Ctrl-C stops it." >&2

wait "$weir"
status=$?
while kill -0 "$weir" 2>/dev/null; do # a signal ended the wait, weir is stopping
  wait "$weir"
  status=$?
done
kill -INT "$fleet" 2>/dev/null
wait "$fleet" 2>/dev/null
[ "$status" -eq 130 ] && status=0
exit "$status"
