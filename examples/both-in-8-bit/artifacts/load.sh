#!/usr/bin/env bash
# Rendered by planner for fleet both-in-8-bit on vLLM 0.33.0; change the fleet, not this file.
#
#   load.sh [SERVER ...]     without a name: all servers at the same time, as the plan has them
#   load.sh --beside         each server alone, then all at the same time: what servers that share a GPU do to each other
#
# Sends each server as many requests at once as the plan gives it, as long as the planned ones, with the engine's own
# benchmark, and holds what the engine counts against the plan. Prints one line per check and the times that were
# measured, beside the ranges of the plan; the exit code is 1 when a check fails. Being slower is no failure: a range
# holds 80 of 100 measurements. In a container, where the engine and the key already are:
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
  coder
  general
)
# Every place is taken this many times, one request after another.
readonly rounds=3
# What this shell has started and not waited for.
pids=()

# Sets what the plan says about one server.
plan_of() {
  case "$1" in
    coder)
      port=8001
      role=coder
      weights=Qwen/Qwen2.5-Coder-32B-Instruct-GPTQ-Int8
      revision=5772063af4a0219bcae4f1401b0ee5da989014ce
      concurrency=16
      prompt_tokens=6144
      output_tokens=1024
      requests=(--backend openai --endpoint /v1/completions --dataset-name random --random-input-len 6144 --random-output-len 1024 --ignore-eos --percentile-metrics 'ttft,tpot,e2el')
      expected=(1479.724 37057.442 41.78 214.87 70.898 382.849 2.0)
      ;;
    general)
      port=8002
      role=general
      weights=Qwen/Qwen2.5-14B-Instruct-GPTQ-Int8
      revision=801d1799b049765aebe175acb5d529c372e7b1b9
      concurrency=16
      prompt_tokens=3072
      output_tokens=1024
      requests=(--backend openai --endpoint /v1/completions --dataset-name random --random-input-len 3072 --random-output-len 1024 --ignore-eos --percentile-metrics 'ttft,tpot,e2el')
      expected=(313.841 7859.678 13.644 70.17 218.722 1181.102 2.0)
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

# Prints the same number with its decimals.
exactly() { sed -n "s/.*\"$1\": \([0-9.]*\).*/\1/p" "${report}" | head -n 1; }

# Says whether a figure that was measured is in the plan's range. Where more is better, the last word says so.
within() {
  awk -v what="$1" -v found="$2" -v low="$3" -v high="$4" -v unit="$5" -v more="${6:-}" -v name="${name}" 'BEGIN {
    word = found + 0 < low ? (more ? "slower" : "faster") : found + 0 > high ? (more ? "faster" : "slower") : ""
    said = sprintf("%s %.4g %s, planned %.4g to %.4g", what, found, unit, low, high)
    printf "%-5s %-20s %s%s\n", (word == "slower" ? "SLOW" : "ok"), name, said, (word ? ": " word : "")
  }'
}

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
  [[ ${output_tokens} != 0 && -n "${expected[*]}" ]] || return 0
  within 'first token after' "$(exactly median_ttft_ms)" "${expected[@]:0:2}" ms
  within 'a token every' "$(exactly median_tpot_ms)" "${expected[@]:2:2}" ms
  within 'written' "$(exactly output_throughput)" "${expected[@]:4:2}" tokens/s more
}

# Prints what the benchmark measured.
times() {
  printf 'measured: %s tokens/s in all' "$(reported total_token_throughput)"
  if ((output_tokens > 0)); then
    printf ', %s of them written; first token after %s ms (95 %%: %s ms), then every %s ms (95 %%: %s ms)' \
      "$(reported output_throughput)" "$(reported median_ttft_ms)" "$(reported p95_ttft_ms)" \
      "$(reported median_tpot_ms)" "$(reported p95_tpot_ms)"
  fi
}

# Prints how many milliseconds a server takes for a token, from its last report; nothing where it writes none.
pace() {
  local report="${work}/$1.json"
  [[ -s "${report}" ]] && exactly median_tpot_ms
}

# Loads each server alone, then all at once, and prints how much longer a token then takes.
beside() {
  local name before
  declare -A alone
  for name in "${servers[@]}"; do
    load "${name}" >"${work}/${name}.out" || { cat "${work}/${name}.out" && return 1; }
    alone[${name}]=$(pace "${name}" || true)
    rm -f "${work}/${name}.json"
  done
  for name in "${servers[@]}"; do
    beside_others "${name}" &
    pids+=("$!")
  done
  wait
  pids=()
  for name in "${servers[@]}"; do
    plan_of "${name}"
    before=${alone[${name}]}
    [[ -n "${before}" && -n "${expected[*]}" ]] || continue
    awk -v name="${name}" -v alone="${before}" -v now="$(pace "${name}" || true)" -v bound="${expected[6]}" 'BEGIN {
      if (now + 0 == 0) printf "%-20s no result beside the others\n", name
      else printf "%-20s a token every %.4g ms alone, %.4g ms beside the others: %.2f times; the plan allows for %.4g\n", name, alone, now, now / alone, bound
    }'
  done
}

# Everything is read before the first command runs, because the script itself may be standard input.
main() {
  local name failed=0 slow
  PATH="${PATH}:/opt/vllm/bin"
  command -v vllm >/dev/null || { printf 'load: vllm is not on PATH\n' >&2 && exit 78; }
  export HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1 DO_NOT_TRACK=1
  work=$(mktemp -d)
  readonly work
  trap 'stop; rm -rf "${work}"' EXIT
  trap 'exit 143' INT TERM
  if [[ "${1:-}" == --beside ]]; then
    beside
    return
  fi
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
  slow=$(cat "${work}"/*.out | grep -c '^SLOW') || true
  ((slow == 0)) || printf 'slower than 9 of 10 measurements would be: %s\n' "$( ((slow == 1)) && printf 'one figure' || printf '%s figures' "${slow}")"
  printf 'the plan holds under its load\n'
}

main "$@"
