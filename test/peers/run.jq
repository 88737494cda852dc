# One run's figures from what simulator bench reports and what was read around it.
(if $sinks == 1 then ($sink.last_write_unix // $t2) - $t0 else .seconds end) as $seconds
| ($sink.distinct_points // 0) as $arrived
| {
    label: $run, system: $system, durable: ($durable == "yes"), reaches_sink: ($sinks == 1),
    connections, qos, window, rate_limit: (.rate_limit_per_second // null), mqtt_version,
    sent, acked, seconds: $seconds,
    events_per_second: ((if $sinks == 1 then ([$arrived, .acked] | min) else .acked end) / $seconds),
    acked_per_second,
    ack_ms: .ack_latency_ms,
    out_of_order_acks, refused, unexpected_acks,
    cpu_seconds: ($cpu / $ticks),
    cpu_seconds_per_million: ($cpu / $ticks / ([.acked, 1] | max) * 1e6),
    generator_cpu_seconds, sink_cpu_seconds: ($sink_cpu / $ticks),
    peak_memory_mib: ($peak / 1024),
    lines: ($sink.lines // null),
    lost: (if $sinks == 1 then ([.acked - $arrived, 0] | max) else null end),
    repeated: (if $sinks == 1 then ($sink.lines - $arrived) else null end),       # under the same identity: counts once
    invented: (if $sinks == 1 then ([$arrived - .sent, 0] | max) else null end),  # under another identity
    books_balanced: (if $audit then $audit.balanced else null end),
    # How much one append, which is one fsync, and one write to the sink took.
    events_per_append: (if $audit then .acked / ([$audit.partitions[].head] | add) else null end),
    lines_per_write: (if $sink.writes then $sink.lines / ([$sink.writes, 1] | max) else null end),
    load_average: $load1,
    # Cores that other programs took from this run.
    others_cores: ([($busy - $cpu - $sink_cpu) / $ticks - .generator_cpu_seconds, 0] | max / ($t2 - $t0)),
    ok: ($status == 0 and ($audit | . == null or .balanced) and ($sinks == 0 or (.acked <= $arrived and $arrived <= .sent)))
  }
