# shellcheck shell=bash
# What test/e2ebench.sh prints. Sourced; $runs is a file with one JSON object a run.

# progress_line prints a run on one line while the others go on.
progress_line() {
  jq -r '"  \(.label) \(.system): \(.events_per_second|round)/s, \(.cpu_seconds_per_million*100|round/100) CPU s per million, " +
    "ack p50 \(.ack_ms.p50//0|.*100|round/100) p99 \(.ack_ms.p99//0|.*100|round/100) ms, " +
    "lost \(.lost // "-"), " + (if .events_per_append then "\(.events_per_append|round) an append, " else "" end) + (if .lines_per_write then "\(.lines_per_write|round) a write, " else "" end) + "peak \(.peak_memory_mib|round) MiB, load \(.load_average), others \(.others_cores*100|round/100) cores" +
    (if .ok then "" else "  FAILED" end)' >&2
}

# summary reduces the runs to one object a label and system: medians, and the
# worst of what must be zero.
summary='
  def median: sort | if length == 0 then null elif length % 2 == 1 then .[length/2|floor] else (.[length/2-1] + .[length/2]) / 2 end;
  def worst: map(select(. != null)) | if length == 0 then null else max end;
  group_by([.label, .system]) | map({
    label: .[0].label, system: .[0].system, runs: length, durable: .[0].durable, reaches_sink: .[0].reaches_sink,
    connections: .[0].connections, qos: .[0].qos, window: .[0].window,
    events_per_second: (map(.events_per_second) | median),
    slowest: (map(.events_per_second) | min), fastest: (map(.events_per_second) | max),
    cpu_seconds_per_million: (map(.cpu_seconds_per_million) | median),
    ack_p50_ms: (map(.ack_ms.p50 // 0) | median), ack_p99_ms: (map(.ack_ms.p99 // 0) | median),
    peak_memory_mib: (map(.peak_memory_mib) | median),
    events_per_append: (map(.events_per_append // empty) | median), lines_per_write: (map(.lines_per_write // empty) | median),
    lost: (map(.lost) | worst), repeated: (map(.repeated) | worst), invented: (map(.invented) | worst),
    out_of_order_acks: (map(.out_of_order_acks) | worst),
    others_cores: (map(.others_cores) | max), note: (map(.note // empty) | last), ok: all(.ok)
  })
  | (map(select(.label == "compare" and .system == "weir")) | first) as $weir
  | map(if .label == "compare" and $weir then . + {
      speed_to_weir: (.events_per_second / $weir.events_per_second),
      cpu_to_weir: (.cpu_seconds_per_million / $weir.cpu_seconds_per_million)} else . end)'

machine() {
  jq -nc --arg cpu "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)" --argjson cores "$(nproc)" --arg kernel "$(uname -r)" \
    --arg disk "$(stat -f -c %T "$root")" --arg date "$(date -u +%FT%TZ)" --arg weir "$("$WEIR" version 2>/dev/null | head -n 1)" \
    '{$date, $cpu, $cores, $kernel, filesystem: $disk, $weir}'
}

report_json() {
  jq -s --argjson machine "$(machine)" --argjson count "$COUNT" "{machine: \$machine, count: \$count, summary: ($summary), runs: ., idle: \$idle}" --slurpfile idle "$idle" "$runs"
}

# table COLUMNS: prints tab-separated input in columns of equal width.
table() { column -t -s $'\t' 2>/dev/null || cat; }

report_text() {
  machine | jq -r '"\(.date)  \(.weir)  \(.cores) x \(.cpu)  Linux \(.kernel)  \(.filesystem)"'
  if [ "$systems" != none ]; then
    echo
    echo "$COUNT events, $CONNECTIONS connections, QoS $QOS, window $WINDOW; medians of $REPEATS; until the sink has them, or the ack where there is none"
    {
      printf 'system\tevents/s\tslowest-fastest\tto weir\tCPU s/million\tto weir\tdurable\tin the sink\tlost\trepeated\tinvented\tdisorder\tack p50/p99 ms\tpeak MiB\tothers, cores\n'
      jq -rs "$summary"'
        | def n: if . == null then "-" else . end; def r2: . * 100 | round / 100;
        map(select(.label == "compare")) | sort_by(-.events_per_second) | sort_by(.system != "weir") | .[] |
        [.system, (.events_per_second|round), "\(.slowest|round)-\(.fastest|round)", (.speed_to_weir|n|if type == "number" then r2 else . end),
         (.cpu_seconds_per_million|r2), (.cpu_to_weir|n|if type == "number" then r2 else . end), (if .durable then "yes" else "no" end),
         (if .reaches_sink then "yes" else "no" end), (.lost|n), (.repeated|n), (.invented|n), .out_of_order_acks,
         "\(.ack_p50_ms|r2)/\(.ack_p99_ms|r2)", (.peak_memory_mib|round), (.others_cores|r2)] | @tsv' "$runs"
    } | table
  fi
  if jq -se 'any(.label != "compare")' "$runs" >/dev/null; then
    echo
    echo "weir alone"
    {
      printf 'case\tload\tevents/s\tCPU s/million\tack p50/p99 ms\tlost\trepeated\tdisorder\tevents/append\tlines/write\tpeak MiB\tothers, cores\tnote\n'
      jq -rs "$summary"'
        | def n: if . == null then "-" else . end; def r2: . * 100 | round / 100;
        .[] | select(.label != "compare") |
        [.label, "\(.connections) x \(.window) QoS \(.qos)", (.events_per_second|round), (.cpu_seconds_per_million|r2),
         "\(.ack_p50_ms|r2)/\(.ack_p99_ms|r2)", (.lost|n), (.repeated|n), .out_of_order_acks, (.events_per_append|if . then round else "-" end),
         (.lines_per_write|if . then round else "-" end), (.peak_memory_mib|round), (.others_cores|r2), (.note // "")] | @tsv' "$runs"
    } | table
  fi
  if [ -s "$idle" ]; then
    echo
    echo "quiet connections, each publishing once a minute"
    {
      printf 'system\tconnections\trefused\tdropped\tKiB a connection\tMiB before\tpeak MiB\tack p50/p99 ms\n'
      jq -r 'def r1: . * 10 | round / 10; [.system, .open_at_end, .refused + .failed, .dropped, (.kib_per_connection|r1), (.before_mib|round),
        (.peak_mib|round), "\(.ack_latency_ms.p50|r1)/\(.ack_latency_ms.p99|r1)"] | @tsv' "$idle"
    } | table
  fi
}
