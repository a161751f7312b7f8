#!/usr/bin/env bash
# Runs the servers of one pod in one container, each behind a gate of its own, and starts again whichever ends.
#
#   together.sh [option ...] --next NAME [gate option ...] -- COMMAND [ARGUMENT ...] [--next NAME ...]
#   together.sh [option ...] --ready [NAME ...]     says which of these servers does not answer, and fails then
#
#   --state FOLDER     a file NAME.ready there says that a server answers (default /tmp/planner)
#   --again SEC        a server that ended waits so long for its next start, and twice as long each time, up to five
#                      minutes, as the kubelet does (default 10)
#   --every SEC        how often a server that was healthy is asked again (default 10)
#   --patience COUNT   how many answers in a row it may miss before it is ended (default 10)
#   --stop SEC         how long a server may take to stop (default 100)
#
# A cluster without DRA gives a GPU to one container, so servers that share one are in one container. The first start of
# each begins when that of the one before has come to its end, in a server that answers or in a failure. From then on each
# is on its own: the locks of the gates keep two from loading at the same time.
#
# Conditions call functions on purpose here; their failures are the answer.
# shellcheck disable=SC2310,SC2312
set -Eeuo pipefail

state=/tmp/planner again=10 every=10 patience=10 stop=100
keepers=() stopping=no child=''
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
readonly here

say() { printf 'together: %s\n' "$*" >&2; }

pause() {
  sleep 1 &
  wait "$!" || true
}

is_ready() {
  local name code=0
  for name in "$@"; do
    [[ -e "${state}/${name}.ready" ]] || { printf '%s does not answer\n' "${name}" && code=1; }
  done
  return "${code}"
}

answers() {
  if command -v curl >/dev/null; then
    curl --fail --silent --max-time 15 --output /dev/null "$1" 2>/dev/null
  else
    python3 -c 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=15)' "$1" 2>/dev/null
  fi
}

alive() { kill -0 "${child}" 2>/dev/null; }

# Ends the process group of the child, workers that outlived it included: they would keep the memory of the GPU.
clear_group() {
  while kill -KILL -- "-${child}" 2>/dev/null; do pause; done
  child=''
}

end_child() {
  local deadline=$((SECONDS + stop))
  kill -TERM "${child}" 2>/dev/null || true
  while alive && ((SECONDS < deadline)); do pause; done
}

# Waits until the child has ended, or does not answer any more.
watch() {
  local name=$1 health=$2 asked=${SECONDS} missed=0
  while alive && [[ "${stopping}" == no ]]; do
    pause
    [[ -e "${state}/${name}.ready" ]] || asked=${SECONDS}
    ((SECONDS - asked >= every)) || continue
    if answers "${health}"; then missed=0; else missed=$((missed + 1)); fi
    asked=${SECONDS}
    ((missed < patience)) || { say "${name} has missed ${missed} answers" && return; }
  done
}

# Keeps one server running.
keep() {
  local name=$1 health='' word wait=${again} began deadline
  shift
  trap 'stopping=yes' TERM INT
  for word in "$@"; do
    [[ "${word}" != -- ]] || break
    [[ "${word}" != --health=* ]] || health=${word#--health=}
  done
  while [[ "${stopping}" == no ]]; do
    began=${SECONDS}
    setsid bash "${here}/gate.sh" --ready "${state}/${name}.ready" "$@" > >(exec sed -u "s/^/${name} | /") 2>&1 </dev/null &
    child=$!
    watch "${name}" "${health}"
    end_child
    clear_group
    rm -f -- "${state}/${name}.ready"
    : >"${state}/${name}.tried"
    [[ "${stopping}" == no ]] || return 0
    ((SECONDS - began < 600)) || wait=${again}
    say "${name} has ended; it starts again in ${wait} seconds"
    deadline=$((SECONDS + wait))
    while ((SECONDS < deadline)) && [[ "${stopping}" == no ]]; do pause; done
    wait=$((wait * 2 < 300 ? wait * 2 : 300))
  done
}

# Starts to keep a server, and waits for the end of its first start.
launch() {
  rm -f -- "${state}/$1.ready" "${state}/$1.tried"
  keep "$@" &
  keepers+=("$!")
  until [[ -e "${state}/$1.ready" || -e "${state}/$1.tried" || "${stopping}" == yes ]]; do pause; done
}

# shellcheck disable=SC2329 # the trap calls it
forward() {
  stopping=yes
  ((${#keepers[@]} == 0)) || kill -TERM "${keepers[@]}" 2>/dev/null || true
}

main() {
  local words=()
  while (($# > 0)) && [[ "$1" != --next && "$1" != --ready ]]; do
    case "$1" in
      --state) state=$2 ;;
      --again) again=$2 ;;
      --every) every=$2 ;;
      --patience) patience=$2 ;;
      --stop) stop=$2 ;;
      *) say "unknown option $1" && exit 64 ;;
    esac
    shift 2
  done
  if [[ "${1:-}" == --ready ]]; then
    is_ready "${@:2}"
    return
  fi
  mkdir -p -- "${state}"
  trap forward TERM INT
  while (($# > 0)) && [[ "${stopping}" == no ]]; do
    shift
    words=()
    while (($# > 0)) && [[ "$1" != --next ]]; do
      words+=("$1")
      shift
    done
    launch "${words[@]}"
  done
  for keeper in "${keepers[@]}"; do
    while kill -0 "${keeper}" 2>/dev/null; do
      # Told again until it ends: bash has been seen to miss a signal between two commands.
      if [[ "${stopping}" == yes ]]; then
        kill -TERM "${keeper}" 2>/dev/null || true
        pause
      else
        wait "${keeper}" || true
      fi
    done
  done
  [[ "${stopping}" == no ]] || exit 143
}

main "$@"
