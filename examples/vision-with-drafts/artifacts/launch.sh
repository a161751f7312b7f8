#!/usr/bin/env bash
# Rendered by planner for fleet vision-with-drafts on vLLM 0.33.0; change the fleet, not this file.
#
#   launch.sh up [SERVER ...]     start in plan order and return when all are healthy
#   launch.sh run                 the same, then stay: Ctrl-C or a dead server stops all
#   launch.sh down [SERVER ...]   stop in reverse order
#   launch.sh status              one line for each server
#   launch.sh check [SERVER ...]  only the checks that come before a start
#   launch.sh show [SERVER ...]   print the commands
#   launch.sh reload              the router reads its keys and its certificate again; no request is lost
#
# A server starts when all servers before it that share a GPU with it answer /health, so two never load or profile on
# one GPU at the same time. Settings come from the environment or from .env beside this file.
#
# Conditions call functions on purpose here; their failures are the answer.
# shellcheck disable=SC2310,SC2312
set -Eeuo pipefail
# The end of a pipeline runs in this process, so that it can set variables. bash 5.2 takes the text of a trap for a part of
# the $( ) that it is expanding when the signal comes, and ends: nothing that starts or watches servers may expand one.
shopt -s lastpipe

readonly fleet=vision-with-drafts
readonly engine=0.33.0
readonly -A gpu_names=(
  [0]='NVIDIA L40S'
)
readonly router_port=8000
readonly stop_seconds=60
readonly servers=(
  reader
  writer
)

# Sets what the plan says about one server.
plan_of() {
  case "$1" in
    reader)
      port=8001
      gpus=(0)
      after=()
      memory=29606448179 # bytes on each GPU, everything included
      start_seconds=2340
      weights=Qwen/Qwen3.5-9B
      revision=c202236235762e1c871ad0ccb60c8ee5ba337b9a
      arguments=(
        Qwen/Qwen3.5-9B
        --host 127.0.0.1
        --port 8001
        --served-model-name reader
        --revision c202236235762e1c871ad0ccb60c8ee5ba337b9a
        --dtype auto
        --max-model-len 16384
        --max-num-seqs 8
        --max-num-batched-tokens 2048
        --kv-cache-dtype auto
        --kv-cache-memory-bytes 6918635520
        --gpu-memory-utilization 0.6103
        --tensor-parallel-size 1
        --reasoning-parser qwen3
        --tool-call-parser qwen3_coder
        --enable-auto-tool-choice
        --speculative-config '{"method":"mtp","num_speculative_tokens":2}'
        --limit-mm-per-prompt '{"image":4,"video":0}'
        --shutdown-timeout 30
        --disable-access-log-for-endpoints '/health,/metrics,/ping'
        --disable-fastapi-docs
      )
      ;;
    writer)
      port=8002
      gpus=(0)
      after=(reader)
      memory=14240870212 # bytes on each GPU, everything included
      start_seconds=2280
      weights=RedHatAI/Qwen3.5-4B-FP8-dynamic
      revision=''
      arguments=(
        RedHatAI/Qwen3.5-4B-FP8-dynamic
        --host 127.0.0.1
        --port 8002
        --served-model-name writer
        --dtype auto
        --max-model-len 16384
        --max-num-seqs 8
        --max-num-batched-tokens 2048
        --kv-cache-dtype auto
        --kv-cache-memory-bytes 5276958720
        --gpu-memory-utilization 0.2882
        --tensor-parallel-size 1
        --reasoning-parser qwen3
        --tool-call-parser qwen3_coder
        --enable-auto-tool-choice
        --language-model-only
        --shutdown-timeout 30
        --disable-access-log-for-endpoints '/health,/metrics,/ping'
        --disable-fastapi-docs
      )
      ;;
    *)
      say "the plan has no server $1: it has ${servers[*]}"
      exit 64
      ;;
  esac
}

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
readonly here
if [[ -f "${here}/.env" ]]; then
  set -a
  # shellcheck source=/dev/null
  source "${here}/.env"
  set +a
fi
readonly state="${PLANNER_STATE_DIR:-${here}/run}"
readonly logs="${PLANNER_LOG_DIR:-${here}/logs}"
# As Compose keeps them.
readonly log_bytes=52428800 log_files=3
started=() # by this run of the script, in order

say() { printf 'launch: %s\n' "$*" >&2; }

pause() {
  sleep 1 9>&- &
  wait "$!" || true
}

# Sets the ``status`` of a process, its ``group`` and when it was ``born``; all are empty when there is none (proc(5),
# /proc/PID/stat).
look_at() {
  local line fields
  status='' group='' born=''
  { read -r line <"/proc/$1/stat"; } 2>/dev/null || return 0
  read -r -a fields <<<"${line##*) }"
  status=${fields[0]} group=${fields[2]} born=${fields[19]}
}

# Sets ``pid`` of a running server, the one this script started and not a later process of the same number; fails, and
# leaves it empty, when there is none.
running() {
  local number since status group born
  pid=''
  [[ -f "${state}/$1.pid" ]] || return 1
  read -r number since _ <"${state}/$1.pid"
  look_at "${number}"
  [[ "${status:-Z}" != Z && "${born}" == "${since}" ]] || return 1
  pid=${number}
}

# Sets ``planned``, a number for the command line of the server; another plan's is another.
command_sum() { printf '%q ' "${gpus[*]}" "${arguments[@]}" | cksum | tr ' ' - | read -r planned; }

# Succeeds when the server runs with other options than the plan's: another plan started it.
stale() {
  local sum pid planned
  running "$1" || return 1
  read -r _ _ sum <"${state}/$1.pid"
  plan_of "$1"
  command_sum
  [[ "${sum:-}" != "${planned}" ]]
}

# Says whether a process group has a living process.
has_members() {
  local entry status group born
  for entry in /proc/[0-9]*; do
    look_at "${entry#/proc/}"
    [[ "${group}" != "$1" || "${status}" == Z ]] || return 0
  done
  return 1
}

# Sets ``ids``, the GPUs of the server, as PLANNER_GPU_<index> or else by index.
gpu_ids() {
  local index name
  ids=''
  for index in "${gpus[@]}"; do
    name="PLANNER_GPU_${index}"
    ids+="${ids:+,}${!name:-${index}}"
  done
}

healthy() { curl --fail --silent --max-time 3 --output /dev/null "http://127.0.0.1:$1/health"; }

router_wanted() { [[ "${PLANNER_ROUTER:-on}" != off ]] && command -v haproxy >/dev/null; }

# Puts a log aside that has grown large, and forgets the oldest. A log that is being written can be emptied at any time
# (truncate --size 0), because every line is appended.
rotate() {
  local log="${logs}/$1.log" number size
  [[ -f "${log}" ]] || return 0
  stat --format %s "${log}" | read -r size
  ((size > log_bytes)) || return 0
  for ((number = log_files - 1; number > 1; number--)); do
    [[ ! -f "${log}.$((number - 1))" ]] || mv -f -- "${log}.$((number - 1))" "${log}.${number}"
  done
  mv -f -- "${log}" "${log}.1"
}

# Starts a program in a session of its own and remembers it, with the number that stale wants to see.
spawn() {
  local name=$1 sum=$2 pid status group born
  shift 2
  rotate "${name}"
  setsid "$@" </dev/null >>"${logs}/${name}.log" 2>&1 9>&- &
  pid=$!
  started+=("${name}")
  look_at "${pid}"
  printf '%s %s %s\n' "${pid}" "${born}" "${sum}" >"${state}/${name}.pid"
}

start() {
  local ids planned
  plan_of "$1"
  say "starting $1 on GPU ${gpus[*]}, port ${port}"
  export VLLM_ENGINE_READY_TIMEOUT_S=${start_seconds} # the engine's own limit, ten minutes unless it is told otherwise
  gpu_ids
  command_sum
  CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES=${ids} spawn "$1" "${planned}" vllm serve "${arguments[@]}"
}

# Ends what a stopped or dead server left in its process group: workers outlive a killed parent, with all their memory.
clear_group() {
  local name=$1 pid since status group born
  [[ -f "${state}/${name}.pid" ]] || return 0
  read -r pid since _ <"${state}/${name}.pid"
  look_at "${pid}"
  if [[ -z "${born}" || "${born}" == "${since}" ]]; then # else the number belongs to another program by now
    while has_members "${pid}"; do
      kill -KILL -- "-${pid}" 2>/dev/null || true
      pause
    done
  fi
  rm -f "${state}/${name}.pid"
}

stop() {
  local name=$1 pid deadline signal=TERM
  [[ "${name}" != router ]] || signal=USR1 # HAProxy finishes its answers then
  if running "${name}"; then
    say "stopping ${name}"
    kill -s "${signal}" "${pid}" 2>/dev/null || true
    deadline=$((SECONDS + stop_seconds))
    while running "${name}" && ((SECONDS < deadline)); do
      pause
      [[ "${signal}" == TERM ]] || kill -s "${signal}" "${pid}" 2>/dev/null || true # lost while it reads its files again
    done
  fi
  clear_group "${name}"
}

# Prints what runs or ran here and is not in the plan: servers of another plan.
leftovers() {
  local file name
  for file in "${state}"/*.pid; do
    name=$(basename -- "${file}" .pid)
    [[ ! -f "${file}" || " ${servers[*]} router " == *" ${name} "* ]] || printf '%s\n' "${name}"
  done
}

# Stops the named servers, last first.
stop_all() {
  local name reversed=()
  for name in "$@"; do reversed=("${name}" "${reversed[@]}"); done
  for name in "${reversed[@]}"; do stop "${name}"; done
}

fail() {
  trap '' INT TERM HUP
  say "$1"
  stop_all "${started[@]}"
  exit 1
}

# Refuses with one sentence when the machine is not ready for the servers that are not running yet.
check() {
  local name index flags=(--engine "${engine}") need=()
  [[ "${PLANNER_PREFLIGHT:-on}" != off ]] || return 0
  command -v curl >/dev/null || { say 'curl is not on PATH' && return 78; }
  for name in "$@"; do
    running "${name}" && continue
    plan_of "${name}"
    bash "${here}/gate.sh" --check "${flags[@]}" --weights "${weights}" --revision "${revision}" --port "${port}" || return
    flags=()
    for index in "${gpus[@]}"; do need[index]=$((${need[index]:-0} + memory)); done
  done
  for index in "${!need[@]}"; do
    bash "${here}/gate.sh" --check --gpu "${index}" --gpu-name "${gpu_names[${index}]}" --memory "${need[index]}" || return
  done
}

# Starts the named servers as soon as the ones before them allow, and waits for all of them.
bring_up() {
  local name other left deadlines=() number
  local -A phase=()
  for name in "$@"; do phase[${name}]=waiting; done
  left=yes
  while [[ "${left}" == yes ]]; do
    left=no
    number=0
    for name in "$@"; do
      number=$((number + 1))
      [[ "${phase[${name}]}" != up ]] || continue
      left=yes
      plan_of "${name}"
      if [[ "${phase[${name}]}" == waiting ]]; then
        for other in "${after[@]}"; do [[ "${phase[${other}]:-up}" == up ]] || continue 2; done
        running "${name}" || start "${name}"
        phase[${name}]=starting
        deadlines[number]=$((SECONDS + start_seconds))
      elif ! running "${name}"; then
        tail -n 40 "${logs}/${name}.log" >&2
        fail "${name} stopped before it was healthy; the end of ${logs}/${name}.log is above"
      elif healthy "${port}"; then
        say "${name} is healthy"
        phase[${name}]=up
      elif ((SECONDS >= deadlines[number])); then
        tail -n 40 "${logs}/${name}.log" >&2
        fail "${name} is not healthy after ${start_seconds} seconds; the end of ${logs}/${name}.log is above"
      fi
    done
    [[ "${left}" == no ]] || pause
  done
}

# Tells the router where further keys and the certificate are: beside .env, or where the variables say.
use_files() {
  [[ -n "${PLANNER_KEYS:-}" || ! -f "${here}/keys" ]] || PLANNER_KEYS=${here}/keys
  [[ -n "${PLANNER_TLS:-}" || ! -f "${here}/tls.pem" ]] || PLANNER_TLS=${here}/tls.pem
  [[ "${PLANNER_KEYS:-/}" == /* ]] || PLANNER_KEYS=${here}/${PLANNER_KEYS}
  [[ "${PLANNER_TLS:-/}" == /* ]] || PLANNER_TLS=${here}/${PLANNER_TLS}
  export PLANNER_KEYS PLANNER_TLS
}

reload() {
  local pid
  running router || { say 'the router does not run' && exit 75; }
  kill -USR2 "${pid}"
}

start_router() {
  if ! router_wanted; then
    say "no router (haproxy is not on PATH, or PLANNER_ROUTER=off): clients use the servers' own ports"
    return
  fi
  if running router; then
    reload
    return
  fi
  say "starting the router, port ${router_port}"
  use_files
  spawn router - haproxy -W -db -f "${here}/router/haproxy.cfg"
  until (exec 3<>"/dev/tcp/${PLANNER_BIND:-127.0.0.1}/${router_port}") 2>/dev/null; do
    if ! running router; then
      tail -n 40 "${logs}/router.log" >&2
      fail "the router stopped; the end of ${logs}/router.log is above"
    fi
    pause
  done
}

up() {
  local name names
  for name in "$@"; do
    ! stale "${name}" || { say "${name} runs as another plan says: launch.sh down ${name}, then up" && exit 75; }
    running "${name}" || clear_group "${name}"
  done
  names=$(leftovers)
  [[ -z "${names}" ]] || { say "servers of another plan are here: ${names//$'\n'/ }; launch.sh down, then up" && exit 75; }
  check "$@"
  ulimit -S -n 65536 2>/dev/null || say "warning: only $(ulimit -n) open files are allowed; the engine wants 65536"
  trap 'fail "interrupted"' INT TERM HUP
  export HF_HUB_OFFLINE="${HF_HUB_OFFLINE:-1}" VLLM_NO_USAGE_STATS=1 DO_NOT_TRACK=1
  bring_up "$@"
  start_router
  say "fleet ${fleet} is up"
}

run() {
  local name
  up "${servers[@]}"
  while pause; do
    for name in "${servers[@]}"; do
      running "${name}" || fail "${name} is dead; see ${logs}/${name}.log"
    done
  done
}

status() {
  local name word pid code=0
  for name in "${servers[@]}"; do
    plan_of "${name}"
    word=stopped
    if running "${name}"; then
      word=starting
      healthy "${port}" && word=healthy
    elif [[ -f "${state}/${name}.pid" ]]; then
      word=dead
    fi
    [[ "${word}" == healthy ]] || code=3
    printf '%-24s %-9s port %s  GPU %s  pid %s\n' "${name}" "${word}" "${port}" "${gpus[*]}" "${pid}"
  done
  return "${code}"
}

show() {
  local name ids
  for name in "$@"; do
    plan_of "${name}"
    gpu_ids
    printf 'CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES=%s VLLM_ENGINE_READY_TIMEOUT_S=%s' "${ids}" "${start_seconds}"
    printf ' vllm serve'
    printf ' %q' "${arguments[@]}"
    printf '\n'
  done
}

# Prints the named servers in plan order, or all.
chosen() {
  local name wanted
  for wanted in "$@"; do plan_of "${wanted}"; done
  for name in "${servers[@]}"; do
    [[ -z "$*" || " $* " == *" ${name} "* ]] && printf '%s\n' "${name}"
  done
  return 0
}

usage() {
  sed -n '4,10s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
  exit 64
}

main() {
  local action=${1:-} names left
  (($# > 0)) || usage
  shift
  names=$(chosen "$@")
  mapfile -t names <<<"${names}"
  case "${action}" in
    check | show)
      "${action}" "${names[@]}"
      ;;
    status) status ;;
    reload) reload ;;
    up | run | down)
      mkdir -p "${state}" "${logs}"
      exec 9>"${state}/lock"
      flock --nonblock 9 || { say 'another launch.sh is at work' && exit 75; }
      if [[ "${action}" == run ]]; then
        run
      elif [[ "${action}" == up ]]; then
        up "${names[@]}"
      elif (($# > 0)); then
        stop_all "${names[@]}"
      else
        mapfile -t left < <(leftovers)
        stop_all "${left[@]}" "${names[@]}" router
      fi
      ;;
    *) usage ;;
  esac
}

main "$@"
