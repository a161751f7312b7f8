#!/usr/bin/env bash
# Rendered by planner for fleet desk-in-turns on vLLM 0.33.0; change the fleet, not this file.
#
#   turns.sh script|compose|systemd ROLE [ROLE ...]
#
# Gives roles their turn: those that may not be awake with them go first, then these come. What goes finishes what it is
# answering. Roles that take no turns are not touched. The first word says which way the fleet was started.
#
# Conditions call functions on purpose here; their failures are the answer.
# shellcheck disable=SC2310,SC2312
set -Eeuo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
readonly here
readonly drain_seconds=30
# Each group: how many of its roles are awake at once, then the roles.
readonly groups=(
  '1 coder writer'
)

# Sets the servers of a role, each as NAME:PORT, and what they do between their turns.
role() {
  case "$1" in
    coder)
      members=(coder:8001)
      between='sleep'
      ;;
    writer)
      members=(writer:8003)
      between='sleep'
      ;;
    *)
      say "$1 takes no turns; those who do are coder, writer"
      exit 64
      ;;
  esac
}

say() { printf 'turns: %s\n' "$*" >&2; }

healthy() { curl --fail --silent --max-time 3 --output /dev/null "http://127.0.0.1:$1/health"; }

post() { curl --fail --silent --show-error --output /dev/null --max-time 600 --request POST "http://127.0.0.1:$1$2" "${@:3}"; }

asleep() { curl --fail --silent --max-time 3 "http://127.0.0.1:$1/is_sleeping" | grep -q true; }

start() {
  case "${way}" in
    script) PLANNER_ROUTER=off "${here}/launch.sh" up "$1" ;;
    compose) docker compose --project-directory "${here}" up --detach --wait "$1" ;;
    systemd) systemctl start planner-desk-in-turns--"$1".service ;;
    *) exit 64 ;;
  esac
}

stop() {
  case "${way}" in
    script) "${here}/launch.sh" down "$1" ;;
    compose) docker compose --project-directory "${here}" stop "$1" ;;
    systemd) systemctl stop planner-desk-in-turns--"$1".service ;;
    *) exit 64 ;;
  esac
}

busy() {
  local waiting
  waiting=$(curl --silent --max-time 5 "http://127.0.0.1:$1/metrics" | awk '/^vllm:num_requests_(running|waiting)[{ ]/ { sum += $NF } END { print sum + 0 }') || true
  ((${waiting:-0} > 0))
}

awake() {
  local member
  role "$1"
  for member in "${members[@]}"; do
    healthy "${member#*:}" || continue
    [[ "${between}" == stop ]] || ! asleep "${member#*:}" || continue
    return 0
  done
  return 1
}

leave() {
  local member port until
  role "$1"
  for member in "${members[@]}"; do
    port=${member#*:}
    healthy "${port}" || continue
    say "${member%:*} goes"
    until=$((SECONDS + drain_seconds))
    while busy "${port}" && ((SECONDS < until)); do sleep 0.5; done
    case "${between}" in
      stop) stop "${member%:*}" ;;
      sleep-2) post "${port}" '/sleep?level=2&mode=wait' ;;
      *) post "${port}" '/sleep?level=1&mode=wait' ;;
    esac
  done
}

enter() {
  local member port
  role "$1"
  for member in "${members[@]}"; do
    port=${member#*:}
    say "${member%:*} comes"
    if ! healthy "${port}"; then
      start "${member%:*}"
    elif [[ "${between}" == sleep-2 ]] && asleep "${port}"; then
      post "${port}" '/wake_up?tags=weights'
      post "${port}" /collective_rpc --header 'Content-Type: application/json' --data '{"method": "reload_weights"}'
      post "${port}" '/wake_up?tags=kv_cache'
    elif [[ "${between}" == sleep ]] && asleep "${port}"; then
      post "${port}" /wake_up
    fi
  done
}

# Sends away whom the group has no room for beside the roles that come.
make_room() {
  local limit=$1 name coming=0 room
  shift
  for name in "$@"; do [[ " ${wanted[*]} " != *" ${name} "* ]] || coming=$((coming + 1)); done
  ((coming > 0)) || return 0
  if ((coming > limit)); then
    say "at most ${limit} of $* are awake at once"
    exit 64
  fi
  room=$((limit - coming))
  for name in "$@"; do
    [[ " ${wanted[*]} " != *" ${name} "* ]] || continue
    awake "${name}" || continue
    if ((room > 0)); then room=$((room - 1)); else leave "${name}"; fi
  done
}

way=${1:-}
if (($# < 2)) || [[ " script compose systemd " != *" ${way} "* ]]; then
  sed -n '4,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
  exit 64
fi
shift
readonly way wanted=("$@")
for name in "${wanted[@]}"; do role "${name}"; done
for group in "${groups[@]}"; do
  read -r -a words <<<"${group}"
  make_room "${words[@]}"
done
for name in "${wanted[@]}"; do enter "${name}"; done
