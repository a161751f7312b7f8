#!/usr/bin/env bash
# Rendered by planner for fleet desk-in-turns on vLLM 0.33.0; change the fleet, not this file.
#
# Fetches exactly the chosen checkpoints into the Hugging Face cache (HF_HOME), resumes what was interrupted, and checks
# that every shard is there. Gated models need HF_TOKEN or HF_TOKEN_PATH; a token never appears on a command line.
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
unset HF_HUB_OFFLINE
readonly hub="${HF_HUB_CACHE:-${HF_HOME:-${XDG_CACHE_HOME:-${HOME}/.cache}/huggingface}/hub}"
# What the engine reads; no second copy of the weights in another format.
readonly files=('*.safetensors' '*.json' '*.jinja' '*.model' '*.txt' '*.tiktoken' '*.py')

say() { printf 'download: %s\n' "$*" >&2; }

folder() { printf '%s/models--%s' "${hub}" "${1//\//--}"; }

# Prints the snapshot of a checkpoint, which may not exist yet.
snapshot() {
  local commit=${2:-main} base
  base=$(folder "$1")
  [[ -f "${base}/refs/${commit}" ]] && commit=$(<"${base}/refs/${commit}")
  printf '%s/snapshots/%s' "${base}" "${commit}"
}

# Succeeds when config and weights are there: all shards that the index names, or at least one weight file.
complete() {
  local at shard
  at=$(snapshot "$1" "$2")
  [[ -f "${at}/config.json" ]] || return 1
  if [[ -f "${at}/model.safetensors.index.json" ]]; then
    while read -r shard; do
      [[ -e "${at}/${shard}" ]] || return 1
    done < <(grep -Eo '"[^"]+\.safetensors"' "${at}/model.safetensors.index.json" | tr -d '"' | sort -u)
    return 0
  fi
  compgen -G "${at}/*.safetensors" >/dev/null || compgen -G "${at}/*.bin" >/dev/null
}

# Bytes of a checkpoint that are on disk already.
present() {
  local base
  base=$(folder "$1")
  if [[ -d "${base}/blobs" ]]; then du -sk "${base}/blobs" | cut -f 1; else echo 0; fi
}

# One pattern in each call: the programs disagree on how several are written.
fetch() {
  local pattern
  local -a program pinned=()
  if command -v hf >/dev/null; then
    program=(hf download)
  elif command -v huggingface-cli >/dev/null; then
    program=(huggingface-cli download)
  else
    say 'neither hf nor huggingface-cli is on PATH: pip install huggingface_hub'
    exit 78
  fi
  [[ -z "$2" ]] || pinned=(--revision "$2")
  for pattern in "${files[@]}"; do "${program[@]}" "$1" "${pinned[@]}" --include "${pattern}" >/dev/null; done
  complete "$1" "$2" || "${program[@]}" "$1" "${pinned[@]}" --include '*.bin' >/dev/null
}

# repository, revision (empty: the newest), bytes
readonly checkpoints=(
  btbtyler09/Qwen3-Coder-30B-A3B-Instruct-gptq-4bit '' 16754069504
  RedHatAI/Qwen3-14B-NVFP4 '' 10694330368
  BAAI/bge-base-en-v1.5 a5beb1e3e68b9ab74eb54cfd186867f64f240e1a 400000000
)

main() {
  local index repository revision size missing free kib=0
  mkdir -p "${hub}"
  for ((index = 0; index < 9; index += 3)); do
    repository=${checkpoints[index]} revision=${checkpoints[index + 1]} size=${checkpoints[index + 2]}
    complete "${repository}" "${revision}" && continue
    missing=$((size / 1024 - $(present "${repository}")))
    ((missing <= 0)) || kib=$((kib + missing))
  done
  free=$(df --output=avail -k "${hub}" | tail -n 1)
  say "$((kib / 1048576)) GiB to fetch into ${hub}, $((free / 1048576)) GiB free"
  if ((kib > free)); then
    say "the disk is $(((kib - free) / 1048576 + 1)) GiB short: free some, or set HF_HOME to another disk"
    exit 75
  fi
  for ((index = 0; index < 9; index += 3)); do
    repository=${checkpoints[index]} revision=${checkpoints[index + 1]}
    if complete "${repository}" "${revision}"; then
      say "${repository} is complete"
      continue
    fi
    say "fetching ${repository}${revision:+ at ${revision}}"
    fetch "${repository}" "${revision}"
    complete "${repository}" "${revision}" || {
      say "${repository} is not complete after the download: run this script again"
      exit 75
    }
  done
  say 'all checkpoints are complete'
}

main
