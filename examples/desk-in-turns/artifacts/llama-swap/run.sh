#!/usr/bin/env bash
# Rendered by planner for fleet desk-in-turns on vLLM 0.33.0; change the fleet, not this file.
#
#   llama-swap/run.sh      start llama-swap and stay; Ctrl-C stops it, and the servers that sleep with it
#
# Wants `llama-swap` on PATH (github.com/mostlygeek/llama-swap), with routing by a matrix of sets.
set -Eeuo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
readonly here
if [[ -f "${here}/../.env" ]]; then
  set -a
  # shellcheck source=/dev/null
  source "${here}/../.env"
  set +a
fi
: "${VLLM_API_KEY:?copy .env.example to .env and put a long random key there}"
export PLANNER_STATE_DIR="${PLANNER_STATE_DIR:-${here}/../run}" PLANNER_LOG_DIR="${PLANNER_LOG_DIR:-${here}/../logs}"
mkdir -p "${PLANNER_STATE_DIR}" "${PLANNER_LOG_DIR}"
cd -- "${here}"

# Stops the servers that were left asleep.
# shellcheck disable=SC2329 # the trap calls it
finish() {
  local file
  for file in "${PLANNER_STATE_DIR}"/*.sleeper; do
    [[ -f "${file}" ]] || continue
    file=${file##*/}
    bash sleeper.sh --name "${file%.sleeper}" --stop
  done
}
trap finish EXIT
trap 'kill -TERM "${child}" 2>/dev/null || true' INT TERM

llama-swap --config config.yaml --listen "${PLANNER_BIND:-127.0.0.1}:8000" &
child=$!
code=0
wait "${child}" || code=$?
while kill -0 "${child}" 2>/dev/null; do wait "${child}" || code=$?; done
exit "${code}"
