# shellcheck shell=bash
# Measurements of weir alone, under other loads than that of the comparison. Sourced.

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
  local round rate_count=200000
  say "case $1"
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
    idle) measure_idle && return ;; # memory does not need repeats
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

# measure_idle: memory of many quiet connections, each of which publishes once a minute.
measure_idle() {
  local n=${IDLE_CONNECTIONS:-19000} limit before during i pid
  limit=$(ulimit -n)
  [ "$limit" = unlimited ] || [ "$limit" -gt $((n + 500)) ] || n=$((limit - 500))
  dir=$(mktemp -d "$root/run.XXXXXX")
  start_sink
  start_weir
  sleep 2
  before=$(memory_kib VmRSS "${system[@]}")
  launch idle timeout "$TIMEOUT" "$SIMULATOR" bench --broker "tcp://$broker" --json --quiet --idle-connections "$n" --interval 1m --duration 75s
  pid=$launched
  during=0
  for ((i = 0; i < 160; i++)); do
    alive "$pid" || break
    local now
    now=$(memory_kib VmRSS "${system[@]}")
    [ "$now" -gt "$during" ] && during=$now
    sleep 1
  done
  wait "$pid"
  jq -c --argjson before "$before" --argjson during "$during" '. + {before_kib: $before, during_kib: $during}' "$dir/idle.out" >"$root/idle.json"
  say "  idle: $(jq -c . "$root/idle.json")"
  say "  idle: $(((during - before) * 1024 / n)) bytes a connection with $n connections, at most $((during / 1024)) MiB, $((before / 1024)) MiB before"
  stop_all
}
