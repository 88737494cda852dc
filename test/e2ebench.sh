#!/usr/bin/env bash
# Measures the whole path from MQTT publish to sink, weir beside the peers that
# are installed, one after another and in turns, on this machine and now:
# absolute times on a shared machine say little, ratios of one run say more.
# It starts what it needs on free ports of the loopback address, downloads and
# builds nothing, and stops everything that it started.
set -u
cd "$(dirname "$0")/.." || exit 1
. test/peers/lib.sh
. test/peers/systems.sh
. test/peers/cases.sh
. test/peers/report.sh

usage() {
  cat <<'END'
usage: test/e2ebench.sh [--json] [--systems LIST] [--cases LIST]

  --systems LIST  of weir, mochi, mosquitto, telegraf (which reads from mosquitto); or none (default all that are there)
  --cases LIST    measurements of weir alone after the comparison: window-400, 5x1000, 1x1000, qos0, qos2, mqtt5,
                  rate, rate-linger, subscriber, idle, influxdb; or all
  --json          print every run and the summary as JSON

environment:
  COUNT=1000000 CONNECTIONS=50 WINDOW=100 QOS=1   the load of the comparison
  SUBSCRIBER=1                              attach a client that takes all of the traffic at QoS 0 besides
  IDLE_CONNECTIONS=19000                    of the case idle
  REPEATS=3                                 rounds; figures are medians
  QUIET=0                                   wait so many seconds, at most, before each run until other programs are still
  TIMEOUT=180                               seconds that one run may take
  E2E_DIR                                   where data goes; a real disk, since weir waits for it
  MOCHI MOSQUITTO TELEGRAF INFLUXD          the programs of the peers (default bin/mochi, PATH, PATH, .tools/bin/influxd)
  WEIR SIMULATOR                            ours (default bin/weir, bin/simulator)
  PROFILE=FILE                              save a CPU profile of weir's first run

example:
  REPEATS=1 test/e2ebench.sh --systems weir,mochi
END
}

json=0 systems=weir,mochi,mosquitto,telegraf,ekuiper cases=
while [ $# -gt 0 ]; do
  case $1 in
  --json) json=1 ;;
  --systems) systems=${2:-} && shift ;;
  --cases) cases=${2:-} && shift ;;
  -h | --help) usage && exit 0 ;;
  *) say "e2ebench: unknown argument $1" && usage >&2 && exit 2 ;;
  esac
  shift || { say "e2ebench: the last argument wants a value" && exit 2; }
done
COUNT=${COUNT:-1000000} QOS=${QOS:-1} CONNECTIONS=${CONNECTIONS:-50} WINDOW=${WINDOW:-100} IDLE_CONNECTIONS=${IDLE_CONNECTIONS:-19000} REPEATS=${REPEATS:-3} QUIET=${QUIET:-0} TIMEOUT=${TIMEOUT:-180}
WEIR=${WEIR:-bin/weir} SIMULATOR=${SIMULATOR:-bin/simulator} MOCHI=${MOCHI:-bin/mochi}
MOSQUITTO=${MOSQUITTO:-$(PATH=$PATH:/usr/sbin command -v mosquitto)}
TELEGRAF=${TELEGRAF:-$(command -v telegraf)}
INFLUXD=${INFLUXD:-.tools/bin/influxd}

for tool in curl jq awk; do command -v $tool >/dev/null || die "$tool is not installed, and this script needs it"; done
for bin in "$WEIR" "$SIMULATOR"; do [ -x "$bin" ] || die "$bin is not there: run make build"; done

# absent prints why a system cannot be measured, or nothing.
absent() {
  case $1 in
  weir) ;;
  mochi) [ -x "$MOCHI" ] || echo "$MOCHI is not there: go build -o bin/mochi ./test/peers/mochi" ;;
  mosquitto) [ -x "$MOSQUITTO" ] || echo "mosquitto is not installed: MOSQUITTO may say where it is" ;;
  telegraf)
    [ -x "$MOSQUITTO" ] || echo "mosquitto, which it reads from, is not installed"
    [ -x "$TELEGRAF" ] || echo "telegraf is not installed: TELEGRAF may say where it is"
    ;;
  ekuiper) echo "this script has no set-up for it" ;;
  *) echo "not a system that this script knows" ;;
  esac
}

root=$(mktemp -d "${E2E_DIR:-${TMPDIR:-/tmp}}/e2ebench.XXXXXX") || die "cannot make a folder for the data"
runs=$root/runs.jsonl idle=$root/idle.jsonl
: >"$runs" >"$idle"
trap 'stop_all; rm -rf "$root"' EXIT
trap 'exit 130' INT TERM
[ "$(stat -f -c %T "$root")" != tmpfs ] || die "$root is in memory: set E2E_DIR to a folder on a disk, or weir has none to wait for"

# sink_stats prints the sink's counts as JSON, also for InfluxDB.
sink_stats() {
  if [ "$sink_kind" = influxd ]; then
    curl -sf "$sink_url/query" --data-urlencode db=telemetry --data-urlencode 'q=SELECT count(seq) FROM telemetry' |
      jq -c --arg now "$(date +%s.%N)" '{lines: (.results[0].series[0].values[0][1] // 0)} | .distinct_points = .lines | .last_write_unix = ($now | tonumber)'
  else
    curl -sf "$sink_url/stats"
  fi
}

# drain waits until the sink has $1 lines, or has got nothing for 30 s.
drain() {
  local want=$1 lines=0 before=-1 still=0
  while [ $still -lt 300 ]; do
    stats=$(sink_stats) && lines=$(jq .lines <<<"$stats")
    [ "${lines:-0}" -ge "$want" ] && return
    if [ "$lines" = "$before" ]; then still=$((still + 1)); else still=0 before=$lines; fi
    sleep 0.1
  done
  say "  the sink has $lines of $want lines and gets no more"
}

# measure LABEL SYSTEM BENCH-ARGS...: one run, whose figures are appended to $runs.
measure() {
  local label=$1 name=$2 load1 c0 c1 s0 s1 b0 b1 t0 t1 t2 status acked audit=null
  shift 2
  await_quiet
  dir=$(mktemp -d "$root/run.XXXXXX") stats='' sink='' sink_kind=${sink_kind:-count}
  case $name in weir | telegraf) if [ "$sink_kind" = influxd ]; then start_influxd; else start_sink; fi ;; esac
  "start_$name"
  [ -n "${attach:-}" ] && "$attach"
  read -r load1 _ </proc/loadavg
  profile_if_asked "$name"
  c0=$(cpu_ticks "${system[@]}") s0=$(cpu_ticks $sink) b0=$(busy_ticks) t0=$(date +%s.%N)
  timeout "$TIMEOUT" "$SIMULATOR" bench --broker "tcp://$broker" --json --quiet "$@" >"$dir/bench.json" 2>"$dir/bench.err"
  status=$?
  t1=$(date +%s.%N)
  [ -s "$dir/bench.json" ] || { cat "$dir/bench.err" >&2 && die "$label: the load did not run"; }
  [ $status -eq 0 ] || say "  $label: $(tail -n 1 "$dir/bench.err")"
  acked=$(jq .acked "$dir/bench.json")
  [ "$sinks" = 1 ] && drain "$acked"
  c1=$(cpu_ticks "${system[@]}") s1=$(cpu_ticks $sink) b1=$(busy_ticks) t2=$(date +%s.%N)
  alive "${system[@]}" || die "$label: $name has ended during the run; see its last lines: $(tail -n 3 "$dir/$name.log")"
  [ "$name" = weir ] && audit=$("$WEIR" audit -c "$dir/weir.yaml" --json)
  jq -c --arg run "$label" --arg system "$name" --arg durable "$durable" --argjson sinks "$sinks" --argjson status $status \
    --argjson cpu $((c1 - c0)) --argjson sink_cpu $((s1 - s0)) --argjson busy $((b1 - b0)) --argjson ticks "$ticks" \
    --argjson t0 "$t0" --argjson t1 "$t1" --argjson t2 "$t2" --argjson load1 "$load1" --argjson audit "${audit:-null}" \
    --argjson peak "$(memory_kib VmHWM "${system[@]}")" --argjson cores "$(nproc)" --argjson sink "${stats:-null}" \
    -f test/peers/run.jq "$dir/bench.json" >>"$runs" || die "$label: the figures could not be put together"
  [ -n "${attach:-}" ] && "${attach}_done"
  tail -n 1 "$runs" | progress_line
  stop_all
  [ -n "${KEEP:-}" ] || rm -rf "$dir"
}

# profile_if_asked saves a CPU profile of weir's next seconds to $PROFILE, once.
profile_if_asked() {
  [ "$1" = weir ] && [ -n "${PROFILE:-}" ] && [ ! -e "$PROFILE" ] || return 0
  : >"$PROFILE"
  (sleep 0.3 && curl -sf "$api/debug/pprof/profile?seconds=${PROFILE_SECONDS:-2}" -o "$PROFILE") &
}

# present_of LIST prints the systems of it that are there.
present_of() {
  local name
  for name in $(tr , ' ' <<<"$1"); do [ -n "$(absent "$name")" ] || echo "$name"; done
}

compare() {
  local name round present
  for name in $(tr , ' ' <<<"$systems"); do absent "$name" | sed "s/^/absent: $name: /" >&2; done
  present=$(present_of "$systems")
  [ -n "$present" ] || die "none of these systems is there"
  [ -n "${PROFILE:-}" ] && PPROF=true
  for ((round = 1; round <= REPEATS; round++)); do
    say "round $round of $REPEATS: $COUNT events, $CONNECTIONS connections, QoS $QOS, window $WINDOW"
    for name in $present; do
      attach=${SUBSCRIBER:+attach_subscriber} measure compare "$name" --count "$COUNT" --connections "$CONNECTIONS" --window "$WINDOW" --qos "$QOS"
    done
  done
}

[ "$systems" = none ] || compare
for case in $(expand_cases "$cases"); do run_case "$case"; done
if [ $json = 1 ]; then report_json; else report_text; fi
jq -se 'all(.ok)' "$runs" >/dev/null || die "at least one run lost events, repeated some under another identity, or had acks out of order: see above"
