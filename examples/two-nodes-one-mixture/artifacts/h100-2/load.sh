#!/usr/bin/env bash
# Rendered by planner for fleet two-nodes-one-mixture on vLLM 0.33.0; change the fleet, not this file.
#
#   load.sh [SERVER ...]     without a name: all servers at the same time, as the plan has them
#
# Sends each server as many requests at once as the plan gives it, as long as the planned ones, with the engine's own
# benchmark, and holds what the engine counts against the plan. Prints one line per check and the times that were
# measured; the exit code is 1 when a check fails. In a container, where the engine and the key already are:
#
#   docker compose exec -T SERVER bash -s SERVER <load.sh
#
# Conditions call functions on purpose here; their failures are the answer.
# shellcheck disable=SC2310,SC2312
set -Eeuo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]:-/nowhere/load.sh}")" 2>/dev/null && pwd) || true
if [[ -f "${here}/.env" ]]; then
  set -a
  # shellcheck source=/dev/null
  source "${here}/.env"
  set +a
fi
: "${VLLM_API_KEY:?copy .env.example to .env and put the key there}"
readonly servers=(
  assistant
)
# Every place is taken this many times, one request after another.
readonly rounds=3
# What this shell has started and not waited for.
pids=()

# Sets what the plan says about one server.
plan_of() {
  case "$1" in
    assistant)
      port=8001
      role=assistant
      weights=deepseek-ai/DeepSeek-V3.2
      revision=a7e62ac04ecb2c0a54d736dc46601c5606cf10a6
      concurrency=256
      prompt_tokens=6144
      output_tokens=2048
      requests=(--backend openai --endpoint /v1/completions --dataset-name random --random-input-len 6144 --random-output-len 2048 --ignore-eos --percentile-metrics 'ttft,tpot,e2el')
      ;;
    *)
      printf 'load: the plan has no server %s: it has %s\n' "$1" "${servers[*]}" >&2
      exit 64
      ;;
  esac
}

# Prints the folder of the weights, where the tokenizer is.
snapshot() {
  local hub commit repository
  if [[ "${weights}" == /* ]]; then
    printf '%s' "${weights}"
    return
  fi
  hub=${HF_HUB_CACHE:-${HF_HOME:-${XDG_CACHE_HOME:-${HOME:-}/.cache}/huggingface}/hub}
  repository="${hub}/models--${weights//\//--}"
  commit=${revision:-main}
  [[ -f "${repository}/refs/${commit}" ]] && commit=$(<"${repository}/refs/${commit}")
  printf '%s/snapshots/%s' "${repository}" "${commit}"
}

metrics() { curl --silent --max-time 10 "http://127.0.0.1:${port}/metrics" || true; }

# Prints a hundred times the sum of a metric over all its labels, from the page; 0 when it is not there.
metric() {
  awk -v name="$1" 'index($0, name "{") == 1 || index($0, name " ") == 1 { sum += $NF } END { printf "%d", 100 * sum }'
}

# Prints the number that follows "field": in the benchmark's report, without its decimals.
reported() { sed -n "s/.*\"$1\": \([0-9]*\).*/\1/p" "${report}" | head -n 1; }

# Prints why the benchmark counts a request as lost: the last line of its first traceback, or the first one about an error.
reason() { grep -Em 1 '^[[:alnum:]_.]+(Error|Exception)' "${log}" || grep -im 1 error "${log}" || true; }

ok() { printf 'ok    %-20s %s\n' "${name}" "$1"; }

bad() {
  printf 'FAIL  %-20s %s\n' "${name}" "$1"
  code=1
}

stop() { kill "${pids[@]}" 2>/dev/null || true; }

# Loads one server and prints what came of it.
load() {
  local name=$1 code=0 report="${work}/$1.json" log="${work}/$1.log" tokenizer running=0 usage=0 page now before pid
  plan_of "${name}"
  if [[ -z "${requests[*]}" ]]; then
    ok 'the benchmark of this engine version cannot load this role'
    return
  fi
  tokenizer=$(snapshot)
  before=$(metrics | metric vllm:num_preemptions_total)
  OPENAI_API_KEY="${VLLM_API_KEY}" vllm bench serve --base-url "http://127.0.0.1:${port}" \
    --model "${tokenizer}" "--served-model-name=${role}" "${requests[@]}" \
    --num-prompts "$((rounds * concurrency))" --max-concurrency "${concurrency}" \
    --ready-check-timeout-sec 30 --disable-tqdm --metric-percentiles 95 \
    --save-result --result-dir "${work}" --result-filename "${name}.json" </dev/null >"${log}" 2>&1 &
  pid=$!
  pids=("${pid}")
  while kill -0 "${pid}" 2>/dev/null; do
    page=$(metrics)
    now=$(metric vllm:num_requests_running <<<"${page}")
    ((now <= running)) || running=${now}
    now=$(metric vllm:kv_cache_usage_perc <<<"${page}")
    ((now <= usage)) || usage=${now}
    sleep 0.2
  done
  wait "${pid}" || code=1
  pids=()
  if ((code != 0)) || [[ ! -s "${report}" ]]; then
    bad "the benchmark ended without a result; its last lines: $(tail -n 5 "${log}")"
    return 1
  fi
  judge
  return "${code}"
}

# The same, beside others: a signal, or whatever else ends it, ends the benchmark too.
beside_others() {
  pids=()
  trap stop EXIT
  trap 'exit 143' INT TERM
  load "$1" >"${work}/$1.out"
}

judge() {
  local done_requests preempted
  done_requests=$(reported completed)
  if ((done_requests == rounds * concurrency)); then
    ok "${done_requests} requests of ${prompt_tokens} + ${output_tokens} tokens, ${concurrency} at once, all answered"
  else
    bad "${done_requests} of $((rounds * concurrency)) requests were answered: $(reason)"
  fi
  preempted=$((($(metrics | metric vllm:num_preemptions_total) - before) / 100))
  if ((preempted == 0)); then ok 'no request was thrown out of the KV cache'; else bad "${preempted} requests were thrown out of the KV cache"; fi
  running=$((running / 100))
  if ((output_tokens == 0)); then
    : # answered within one step, so that none of them runs long enough to be counted
  elif ((running >= concurrency)); then
    ok "requests at once: ${running}, planned ${concurrency}"
  elif ((usage >= 95)); then
    bad "requests at once: ${running}, planned ${concurrency}: the KV cache is full"
  else
    ok "requests at once: ${running}, planned ${concurrency}; the KV cache had room (${usage} % full): the answers are too short to overlap more"
  fi
  ok "$(times)"
}

# Prints what the benchmark measured; the plan promises none of it.
times() {
  printf 'measured: %s tokens/s in all' "$(reported total_token_throughput)"
  if ((output_tokens > 0)); then
    printf ', %s of them written; first token after %s ms (95 %%: %s ms), then every %s ms (95 %%: %s ms)' \
      "$(reported output_throughput)" "$(reported median_ttft_ms)" "$(reported p95_ttft_ms)" \
      "$(reported median_tpot_ms)" "$(reported p95_tpot_ms)"
  fi
}

# Everything is read before the first command runs, because the script itself may be standard input.
main() {
  local name failed=0
  PATH="${PATH}:/opt/vllm/bin"
  command -v vllm >/dev/null || { printf 'load: vllm is not on PATH\n' >&2 && exit 78; }
  export HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1 DO_NOT_TRACK=1
  work=$(mktemp -d)
  readonly work
  trap 'stop; rm -rf "${work}"' EXIT
  trap 'exit 143' INT TERM
  (($# > 0)) || set -- "${servers[@]}"
  for name in "$@"; do plan_of "${name}"; done
  for name in "$@"; do
    beside_others "${name}" &
    pids+=("$!")
  done
  for name in "$@"; do
    wait "${pids[0]}" || failed=$((failed + 1))
    pids=("${pids[@]:1}")
    cat "${work}/${name}.out"
  done
  ((failed == 0)) || { printf 'servers that fall short of the plan: %s\n' "${failed}" && exit 1; }
  printf 'the plan holds under its load\n'
}

main "$@"
