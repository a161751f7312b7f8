#!/usr/bin/env bash
# Rendered by planner for fleet deepseek-33b-and-mistral-7b on vLLM 0.33.0; change the fleet, not this file.
#
# Calls every server and the router as a client would, and compares what the engines announce with the plan. Prints one
# line per check; the exit code is 1 when any of them fails. PLANNER_ROUTER=off leaves the router out.
#
# Conditions call functions on purpose here; their failures are the answer.
# shellcheck disable=SC2310,SC2312
set -Eeuo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
if [[ -f "${here}/.env" ]]; then
  set -a
  # shellcheck source=/dev/null
  source "${here}/.env"
  set +a
fi
: "${VLLM_API_KEY:?copy .env.example to .env and put the key there}"
scheme=http unnamed=()
if [[ -n "${PLANNER_TLS:-}" || -f "${here}/tls.pem" ]]; then
  scheme=https
  [[ -n "${PLANNER_BASE_URL:-}" ]] || unnamed=(--insecure) # this machine is asked by address, which no certificate names
fi
readonly router="${PLANNER_BASE_URL:-${scheme}://${PLANNER_BIND:-127.0.0.1}:8000}"
# The engine may round its pool down by a block in each group; more missing than this is a difference from the plan.
readonly tolerance_percent=2
failures=0

ok() { printf 'ok    %-20s %s\n' "$1" "$2"; }

bad() {
  printf 'FAIL  %-20s %s\n' "$1" "$2"
  failures=$((failures + 1))
}

keyless() { curl --silent --max-time 10 "${unnamed[@]}" "$@"; }

# The key reaches curl through a pipe, because everybody can read a command line.
call() { keyless --max-time 120 --header @<(printf 'Authorization: Bearer %s\n' "${VLLM_API_KEY}") "$@"; }

post() { call --header 'Content-Type: application/json' --data-binary "$2" "$1" "${@:3}"; }

code_of() { "$@" --output /dev/null --write-out '%{http_code}' || true; }

expect_code() {
  local name=$1 what=$2 wanted=$3 got
  shift 3
  got=$(code_of "$@")
  if [[ "${got}" == "${wanted}" ]]; then ok "${name}" "${what}: ${got}"; else bad "${name}" "${what}: expected ${wanted}, got ${got}"; fi
}

# Prints the first number that follows "field": in JSON.
number() { grep -Eo "\"$1\": *[0-9]+" | head -n 1 | grep -Eo '[0-9]+$' || true; }

check_text() {
  local name=$1 model=$2 base=$3 answer tokens lines
  answer=$(post "${base}/v1/completions" "{\"model\": ${model}, \"prompt\": \"One, two, three,\", \"max_tokens\": 8, \"temperature\": 0}") || true
  tokens=$(number completion_tokens <<<"${answer}")
  if ((${tokens:-0} > 0)); then ok "${name}" "completion of ${tokens} tokens"; else bad "${name}" "no completion: ${answer:0:200}"; fi
  lines=$(post "${base}/v1/completions" "{\"model\": ${model}, \"prompt\": \"One, two, three,\", \"max_tokens\": 8, \"temperature\": 0, \"stream\": true}" | grep -c '^data: ') || true
  if ((${lines:-0} > 1)); then ok "${name}" "stream of ${lines} events"; else bad "${name}" "no stream"; fi
}

# Asks a model $3 with its chat template, for which it answers what the parsers of the plan read; $4 is more of the body,
# $5 the most tokens of the answer.
chat() { post "$1/v1/chat/completions" "{\"model\": $2, \"messages\": [{\"role\": \"user\", \"content\": \"$3\"}], \"max_tokens\": ${5:-1024}, \"temperature\": 0, $4}"; }

# Only of a role that is for chat ($4) is it a fault that its model has no template for one.
check_chat() {
  local name=$1 model=$2 base=$3 task=$4 answer lines
  answer=$(chat "${base}" "${model}" 'Say one word.' '"stream": false' 16) || true
  if [[ "${task}" != chat ]] && grep -iq 'chat template' <<<"${answer}"; then
    ok "${name}" 'no chat: the model has no template for it'
    return
  fi
  if grep -Eq '"role": *"assistant"' <<<"${answer}"; then ok "${name}" 'chat'; else bad "${name}" "no chat: ${answer:0:200}"; fi
  answer=$(chat "${base}" "${model}" 'Say one word.' '"stream": true' 16) || true
  lines=$(grep -c '^data: {' <<<"${answer}") || true
  if ((${lines:-0} > 1)) && grep -q '^data: \[DONE\]' <<<"${answer}"; then ok "${name}" "chat in a stream of ${lines} events"; else bad "${name}" "no stream of a chat: ${answer:0:200}"; fi
}

check_tools() {
  local name=$1 model=$2 base=$3 answer
  local tool='"tool_choice": "auto", "tools": [{"type": "function", "function": {"name": "weather", "description": "Tells the weather of a city", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}]'
  answer=$(chat "${base}" "${model}" 'What is the weather in Paris? Call the tool.' "${tool}") || true
  if grep -Eq '"tool_calls": *\[ *\{' <<<"${answer}"; then ok "${name}" 'tool call'; else bad "${name}" "no tool call: ${answer:0:200}"; fi
}

check_limits() {
  local name=$1 url=$2 model=$3 max_model_len=$4 kv_cache_tokens=$5 answer got metrics
  answer=$(call "${url}/v1/models") || true
  got=$(number max_model_len <<<"${answer}")
  if [[ "${got}" == "${max_model_len}" ]] && grep -Fq "${model}" <<<"${answer}"; then
    ok "${name}" "serves ${model} with a context of ${got}"
  else
    bad "${name}" "expected ${model} with a context of ${max_model_len}, got ${answer:0:200}"
  fi
  metrics=$(call "${url}/metrics" | grep '^vllm:cache_config_info' | head -n 1) || true
  got=$(grep -Eo 'kv_cache_size_tokens="[0-9]+"' <<<"${metrics}" | grep -Eo '[0-9]+') || true
  if [[ -z "${metrics}" ]]; then
    bad "${name}" 'KV tokens: no metrics'
  elif [[ -z "${got}" ]]; then
    ok "${name}" 'KV tokens: not announced by this engine version'
  elif ((got * 100 >= kv_cache_tokens * (100 - tolerance_percent))); then
    ok "${name}" "KV tokens: ${got}, planned ${kv_cache_tokens}"
  else
    bad "${name}" "KV tokens: ${got}, planned ${kv_cache_tokens}"
  fi
}

name=coder model='"coder"' url=http://127.0.0.1:8001
expect_code "${name}" 'health' 200 keyless "${url}/health"
expect_code "${name}" 'without a key' 401 keyless "${url}/v1/models"
check_limits "${name}" "${url}" "${model}" 16384 114704
check_text "${name}" "${model}" "${url}"
check_chat "${name}" "${model}" "${url}" code

name=general model='"general"' url=http://127.0.0.1:8002
expect_code "${name}" 'health' 200 keyless "${url}/health"
expect_code "${name}" 'without a key' 401 keyless "${url}/v1/models"
check_limits "${name}" "${url}" "${model}" 32768 65552
check_text "${name}" "${model}" "${url}"
check_chat "${name}" "${model}" "${url}" general
check_tools "${name}" "${model}" "${url}"

# The router notices within seconds that a server has become healthy.
settle() {
  local attempt
  for attempt in {1..20}; do
    [[ "$(code_of post "${router}/v1/completions" "{\"model\": $1}")" == 503 ]] || return 0
    sleep 0.5
  done
  bad router "no healthy server for $1 after ${attempt} attempts"
}

if [[ "${PLANNER_ROUTER:-on}" != off ]]; then
  settle '"coder"'
  check_text router '"coder"' "${router}"
  check_chat router '"coder"' "${router}" code
  settle '"general"'
  check_text router '"general"' "${router}"
  check_chat router '"general"' "${router}" general
  expect_code router 'model list' 200 call "${router}/v1/models"
  expect_code router 'health' 200 keyless "${router}/health"
  expect_code router 'without a key' 401 keyless "${router}/v1/models"
  expect_code router 'wrong key' 401 keyless --header 'Authorization: Bearer wrong' "${router}/v1/models"
  expect_code router 'unknown model' 404 post "${router}/v1/completions" '{"model": "no such model", "prompt": "x"}'
  for path in /metrics /docs /v1/../metrics; do
    expect_code router "closed path ${path}" 404 call --path-as-is "${router}${path}"
  done
  for path in /invocations /tokenize /v1/../invocations; do
    body='{"model": "coder", "prompt": "x"}'
    expect_code router "closed path ${path}" 404 post "${router}${path}" "${body}" --path-as-is
  done
fi

if ((failures > 0)); then
  printf '%s checks failed\n' "${failures}"
  exit 1
fi
printf 'all checks passed\n'
