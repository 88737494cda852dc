# shellcheck shell=bash
# What test/e2ebench.sh needs to start, watch and stop processes. Sourced.

pids=()   # of everything that was started and not stopped yet
system=() # those of them that belong to the system measured
ticks=$(getconf CLK_TCK)

# say prints a line for the reader; results are on standard output only.
say() { echo "$*" >&2; }

die() {
  say "e2ebench: $*"
  exit 1
}

# launch NAME COMMAND...: starts it in the background, logs to $dir/NAME.log.
launch() {
  local name=$1
  shift
  "$@" >"$dir/$name.out" 2>"$dir/$name.log" </dev/null &
  launched=$!
  pids+=("$launched")
}

# stop PID...: asks each to end, and ends it if it has not after 15 s.
stop() {
  local pid i
  for pid in "$@"; do kill -TERM "$pid" 2>/dev/null; done
  for pid in "$@"; do
    for ((i = 0; i < 150; i++)); do
      kill -0 "$pid" 2>/dev/null || break
      sleep 0.1
    done
    kill -KILL "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
  done
}

stop_all() {
  [ ${#pids[@]} -gt 0 ] && stop "${pids[@]}"
  pids=() system=()
}

alive() {
  local pid
  for pid in "$@"; do kill -0 "$pid" 2>/dev/null || return 1; done
}

# free_port prints a port of the loopback address that nothing listens on, below
# those that the kernel gives to clients.
free_port() {
  local port i
  for ((i = 0; i < 100; i++)); do
    port=$((20000 + RANDOM % 12000))
    if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
      echo "$port"
      return
    fi
  done
  die "found no free port in 100 tries"
}

# await WHAT COMMAND...: runs the command until it succeeds, for 30 s at most.
await() {
  local what=$1 i
  shift
  for ((i = 0; i < 300; i++)); do
    "$@" >/dev/null 2>&1 && return
    alive "${pids[@]}" || break
    sleep 0.1
  done
  tail -n 5 "$dir"/*.log >&2
  die "$what: not ready after 30 s, or it has ended; its log is above"
}

listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# cpu_ticks PID...: user and system time that the processes have used.
cpu_ticks() {
  local pid line sum=0 f
  for pid in "$@"; do
    read -r line <"/proc/$pid/stat" || continue
    read -ra f <<<"${line##*) }" # the name before it may hold blanks
    sum=$((sum + f[11] + f[12]))
  done
  echo "$sum"
}

# busy_ticks: time that the whole machine was not idle, stolen time included.
busy_ticks() { awk '/^cpu /{print $2+$3+$4+$7+$8+$9}' /proc/stat; }

# memory_kib KEY PID...: the sum of VmHWM or VmRSS.
memory_kib() {
  local key=$1 pid
  shift
  for pid in "$@"; do cat "/proc/$pid/status" 2>/dev/null; done | awk -v k="$key:" '$1==k{s+=$2} END{print s+0}'
}

# await_quiet waits until all programs together used less than a tenth of a core
# for 3 s, for $QUIET seconds at most. Only a hint: others_cores says what a run met.
await_quiet() {
  local end=$((SECONDS + QUIET)) before now still=0
  before=$(busy_ticks)
  while [ $still -lt 3 ] && [ $SECONDS -lt $end ]; do
    sleep 1
    now=$(busy_ticks)
    if [ $((now - before)) -lt $((ticks / 10)) ]; then still=$((still + 1)); else still=0; fi
    before=$now
  done
}
