#!/usr/bin/env bash
# Stands for a vLLM server that sleeps between its turns: starts or wakes it, stays, and puts it to sleep when it is
# told to stop. The server itself goes on, with the memory that it keeps asleep.
#
#   sleeper.sh --name NAME --port PORT --level 1|2 -- COMMAND [ARGUMENT ...]
#   sleeper.sh --name NAME --stop          ends the server
#
# Level 1 keeps the weights in the machine's memory. Level 2 forgets them: they are loaded again before the server
# answers, or it would answer nonsense. The server must run with --enable-sleep-mode and VLLM_SERVER_DEV_MODE=1.
#
# Conditions call functions on purpose here; their failures are the answer.
# shellcheck disable=SC2310,SC2312
set -Eeuo pipefail

name='' port='' level=1 stop=no command=()
while (($# > 0)); do
  case "$1" in
    --name) name=$2 && shift 2 ;;
    --port) port=$2 && shift 2 ;;
    --level) level=$2 && shift 2 ;;
    --stop) stop=yes && shift ;;
    --)
      shift
      command=("$@")
      break
      ;;
    *)
      printf 'sleeper: unknown option %s\n' "$1" >&2
      exit 64
      ;;
  esac
done
readonly state="${PLANNER_STATE_DIR:-run}/${name}.sleeper" log="${PLANNER_LOG_DIR:-logs}/${name}.log"
readonly base="http://127.0.0.1:${port}"
# Requests that are being answered when the turn ends have this long.
readonly drain_seconds=30

say() { printf 'sleeper: %s: %s\n' "${name}" "$*" >&2; }

pause() {
  sleep 0.2 &
  wait "$!" || true
}

# Functions set variables here and print nothing: bash 5.2 takes the text of a trap for a part of the $( ) that it is
# expanding when the signal comes, and ends.

# Sets the ``status`` of a process and when it was ``born``; both are empty when there is none (proc(5), /proc/PID/stat).
look_at() {
  local line fields
  status='' born=''
  { read -r line <"/proc/$1/stat"; } 2>/dev/null || return 0
  read -r -a fields <<<"${line##*) }"
  status=${fields[0]} born=${fields[19]}
}

# Sets ``server``, the process id of the server that an earlier turn left here, and fails when there is none.
running() {
  local pid since status born
  server=''
  { read -r pid since <"${state}"; } 2>/dev/null || return 1
  look_at "${pid}"
  [[ "${status:-Z}" != Z && "${born}" == "${since}" ]] || return 1
  server=${pid}
}

post() { curl --fail --silent --show-error --output /dev/null --max-time 600 --request POST "${base}$1" "${@:2}"; }

busy() {
  curl --silent --max-time 5 "${base}/metrics" | awk '/^vllm:num_requests_(running|waiting)[{ ]/ { sum += $NF } END { exit !(sum > 0) }'
}

wake() {
  if [[ "${level}" == 2 ]]; then
    post '/wake_up?tags=weights'
    post /collective_rpc --header 'Content-Type: application/json' --data '{"method": "reload_weights"}'
    post '/wake_up?tags=kv_cache'
  else
    post /wake_up
  fi
}

# Versions of the engine that cannot wait themselves ignore the mode, so this waits first.
rest() {
  local until=$((SECONDS + drain_seconds))
  while busy && ((SECONDS < until)); do pause; done
  post "/sleep?level=${level}&mode=wait"
}

if [[ "${stop}" == yes ]]; then
  if running; then
    kill -TERM "${server}" 2>/dev/null || true
    while running; do pause; done
  fi
  rm -f "${state}"
  exit 0
fi

told=no
trap 'told=yes' TERM INT
if running; then
  say 'waking'
  wake
else
  say 'starting'
  setsid "${command[@]}" </dev/null >>"${log}" 2>&1 &
  server=$!
  look_at "${server}"
  printf '%s %s\n' "${server}" "${born}" >"${state}"
fi
while [[ "${told}" == no ]] && running; do pause; done
if ! running; then
  say "the server has ended; see ${log}"
  rm -f "${state}"
  exit 1
fi
say 'going to sleep'
if curl --fail --silent --max-time 5 --output /dev/null "${base}/health"; then
  rest
else
  kill -TERM "${server}" 2>/dev/null || true # it never came up, so there is nothing to keep
  while running; do pause; done
  rm -f "${state}"
fi
