# shellcheck shell=bash
# Measurements of weir alone, under other loads than that of the comparison; and
# the memory of quiet connections. Sourced.

all_cases="window-400 5x1000 1x1000 qos0 qos2 mqtt5 rate rate-linger subscriber influxdb idle"

# expand_cases prints the cases of a list, or fails on a name that is none.
expand_cases() {
  local c
  [ "$1" = all ] && echo "$all_cases" && return
  for c in $(tr , ' ' <<<"$1"); do
    case " $all_cases " in
    *" $c "*) echo "$c" ;;
    *) say "e2ebench: $c is not a case; they are: $all_cases" ;;
    esac
  done
}

run_case() {
  local round name rate_count=200000
  say "case $1"
  if [ "$1" = idle ]; then # memory needs no repeats
    for name in $(present_of weir,mochi,mosquitto); do measure_idle "$name"; done
    return
  fi
  for ((round = 1; round <= REPEATS; round++)); do
    case $1 in
    window-400) measure "$1" weir --count "$COUNT" --connections 50 --window 400 ;;
    5x1000) measure "$1" weir --count "$COUNT" --connections 5 --window 1000 ;;
    1x1000) measure "$1" weir --count "$COUNT" --connections 1 --window 1000 ;;
    qos0) measure "$1" weir --count "$COUNT" --qos 0 ;;
    qos2) measure "$1" weir --count "$COUNT" --qos 2 ;;
    mqtt5) measure "$1" weir --count "$COUNT" --mqtt-version 5 ;;
    rate) measure "$1" weir --count $rate_count --rate 20000 ;;
    rate-linger) WEIR_LOG="linger: 2ms" measure "$1" weir --count $rate_count --rate 20000 ;;
    subscriber) attach=attach_subscriber measure "$1" weir --count "$COUNT" ;;
    influxdb)
      [ -x "$INFLUXD" ] || { say "  absent: $INFLUXD is not there: run make tools" && return; }
      sink_kind=influxd measure "$1" weir --count "$COUNT"
      ;;
    esac
  done
}

# attach_subscriber: a client that takes all of the traffic at QoS 0 besides.
attach_subscriber() {
  local port=${broker##*:}
  command -v mosquitto_sub >/dev/null || die "the case subscriber needs mosquitto_sub"
  launch subscriber mosquitto_sub -h 127.0.0.1 -p "$port" -q 0 -t 'sensors/#' -F '%l'
  subscriber=$launched
  # The subscription is there when a message of this topic, which no source takes, comes back.
  await "the subscriber" subscriber_hears "$port"
}

subscriber_hears() {
  mosquitto_pub -h 127.0.0.1 -p "$1" -t sensors/x/hello -m hello && sleep 0.1 && [ -s "$dir/subscriber.out" ]
}

attach_subscriber_done() {
  local got
  sleep 1
  got=$(wc -l <"$dir/subscriber.out")
  alive "$subscriber" || say "  the subscriber was disconnected"
  note_run "the subscriber got $got"
}

# note_run adds a note to the last run.
note_run() {
  local last
  last=$(tail -n 1 "$runs" | jq -c --arg note "$1" '.note = $note')
  sed -i '$d' "$runs"
  echo "$last" >>"$runs"
}

# measure_idle SYSTEM: memory of many quiet connections, each of which publishes
# once a minute.
measure_idle() {
  local name=$1 n=$IDLE_CONNECTIONS limit before now peak=0 i pid
  limit=$(ulimit -n) # of each of the two processes
  [ "$limit" = unlimited ] || [ "$limit" -gt $((n + 500)) ] || n=$((limit - 500))
  dir=$(mktemp -d "$root/run.XXXXXX") attach=
  [ "$name" = weir ] && start_sink
  "start_$name"
  sleep 2
  before=$(memory_kib VmRSS "${system[@]}")
  launch idle timeout "$TIMEOUT" "$SIMULATOR" bench --broker "tcp://$broker" --json --quiet --idle-connections "$n" --interval 1m --duration 75s
  pid=$launched
  while alive "$pid"; do
    now=$(memory_kib VmRSS "${system[@]}")
    [ "$now" -gt "$peak" ] && peak=$now
    sleep 1
  done
  wait "$pid" || say "  idle $name: $(tail -n 1 "$dir/idle.log")"
  jq -c --arg system "$name" --argjson before "$before" --argjson peak "$peak" '{system: $system, before_mib: ($before / 1024), peak_mib: ($peak / 1024),
    kib_per_connection: (($peak - $before) / ([.open_at_end, 1] | max))} + .' "$dir/idle.out" >>"$idle"
  stop_all
  rm -rf "$dir"
}
