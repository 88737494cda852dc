# shellcheck shell=bash
# The systems that test/e2ebench.sh measures. Each start_NAME sets
#   broker   the address to publish to
#   system   the ids of its processes, whose CPU time and memory count
#   sinks    1 if events reach the sink, 0 if there is nothing behind the broker
#   durable  whether PUBACK says that the event is on disk
# Sourced; $dir is the folder of the run, $sink_url the sink.

# start_sink: counts lines, and points by identity. Not part of any system.
start_sink() {
  launch sink "$SIMULATOR" sink --listen 127.0.0.1:0 --distinct
  sink=$launched
  await "the sink" grep -q 'listening on' "$dir/sink.log"
  sink_url=$(sed -n 's/^listening on //p' "$dir/sink.log")
}

# start_influxd: a real InfluxDB 1.8 in the place of the sink.
start_influxd() {
  local port rpc
  port=$(free_port) rpc=$(free_port)
  cat >"$dir/influxd.conf" <<-END
	reporting-disabled = true
	bind-address = "127.0.0.1:$rpc"
	[meta]
	dir = "$dir/influx/meta"
	[data]
	dir = "$dir/influx/data"
	wal-dir = "$dir/influx/wal"
	query-log-enabled = false
	[http]
	bind-address = "127.0.0.1:$port"
	log-enabled = false
	[monitor]
	store-enabled = false
	END
  launch influxd "$INFLUXD" run -config "$dir/influxd.conf"
  sink=$launched sink_url=http://127.0.0.1:$port
  await "influxd" curl -sf "$sink_url/ping"
  curl -sf "$sink_url/query" --data-urlencode "q=CREATE DATABASE telemetry" >/dev/null || die "influxd: create database"
}

# start_weir: everything as it comes: the log on disk, one rule, one sink, the
# registry of devices. WEIR_LOG holds further keys of log:.
start_weir() {
  local mqtt http
  mqtt=$(free_port) http=$(free_port)
  cat >"$dir/weir.yaml" <<-END
	data_dir: $dir/data
	log: {${WEIR_LOG:-}}
	mqtt: {listen: "127.0.0.1:$mqtt", anonymous: true}
	http: {listen: "127.0.0.1:$http"${PPROF:+, pprof: true}}
	sources:
	  - name: plant
	    topic: "sensors/{device}/telemetry"
	    format: json
	    time: {field: ts, unit: ms}
	    measurement: telemetry
	    exclude: [device]
	rules: ["rules.yaml"]
	sinks:
	  - name: influx
	    influxdb: {url: "$sink_url", org: weir, bucket: telemetry, token: unused}
	END
  cat >"$dir/rules.yaml" <<-END
	groups:
	  - name: bench
	    rules:
	      - alert: Hot
	        expr: temperature > 60
	END
  launch weir "$WEIR" run -c "$dir/weir.yaml"
  broker=127.0.0.1:$mqtt api=http://127.0.0.1:$http system=("$launched") sinks=1 durable=yes
  await weir curl -sf "$api/readyz"
}

# start_mochi: the library that weir's broker is built on, with nothing behind it.
start_mochi() {
  launch mochi "$MOCHI" -listen 127.0.0.1:0
  await mochi grep -q 'listening on' "$dir/mochi.log"
  broker=$(sed -n 's/^listening on //p' "$dir/mochi.log") system=("$launched") sinks=0 durable=no
}

# start_mosquitto: nothing behind it. Its queues are unbounded, since it drops
# what a slow subscriber has not taken beyond 1,000 messages; it keeps nothing on disk.
start_mosquitto() {
  local port
  port=$(free_port)
  cat >"$dir/mosquitto.conf" <<-END
	listener $port 127.0.0.1
	allow_anonymous true
	persistence false
	max_inflight_messages 0
	max_queued_messages 0
	user $(id -un)
	log_dest stderr
	log_type error
	log_type warning
	log_type subscribe
	END
  launch mosquitto "$MOSQUITTO" -c "$dir/mosquitto.conf"
  broker=127.0.0.1:$port system=("$launched") sinks=0 durable=no
  await mosquitto listens "$port"
}

# start_telegraf: mosquitto, and Telegraf that subscribes at QoS 1, decodes the
# same JSON and writes the same lines. It has no rules, so it evaluates none.
# Batches and undelivered messages are larger than its defaults, which are slower.
start_telegraf() {
  start_mosquitto
  cat >"$dir/telegraf.conf" <<-END
	[agent]
	  interval = "1s"
	  flush_interval = "${TELEGRAF_FLUSH:-1s}"
	  metric_batch_size = ${TELEGRAF_BATCH:-5000}
	  metric_buffer_limit = 1000000
	  omit_hostname = true
	  quiet = true
	[[inputs.mqtt_consumer]]
	  servers = ["tcp://$broker"]
	  topics = ["sensors/+/telemetry"]
	  topic_tag = ""
	  qos = 1
	  persistent_session = true
	  client_id = "telegraf"
	  max_undelivered_messages = ${TELEGRAF_UNDELIVERED:-50000}
	  name_override = "telemetry"
	  data_format = "json"
	  tag_keys = ["device"]
	  json_time_key = "ts"
	  json_time_format = "unix_ms"
	[[outputs.influxdb]]
	  urls = ["$sink_url"]
	  database = "telemetry"
	  skip_database_creation = true
	  content_encoding = "identity"
	END
  launch telegraf "$TELEGRAF" --config "$dir/telegraf.conf"
  system+=("$launched")
  sinks=1
  await telegraf grep -q 'sensors/+/telemetry' "$dir/mosquitto.log"
}
