#!/usr/bin/env bash
# Rendered by planner for fleet qwen-coder-32b-and-qwen-7b on vLLM 0.33.0; change the fleet, not this file.
#
#   sudo systemd/install.sh            copy units, gate, router and key into place, reload systemd
#   sudo systemd/install.sh remove     stop the fleet and take everything away again
#
# Copies the files keys and tls.pem too, where they are beside .env: further keys, and the certificate of the router.
# DESTDIR prefixes all paths, for images and packages; systemd is not touched then.
set -Eeuo pipefail

readonly prefix=planner-qwen-coder-32b-and-qwen-7b
readonly target="${DESTDIR:-}/etc/planner/qwen-coder-32b-and-qwen-7b"
readonly units="${DESTDIR:-}/etc/systemd/system"
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
readonly here

# The units of an earlier plan may have other names, so the list of what was installed is kept. One that has no successor
# is stopped, because nobody would stop it any more.
drop_units() {
  local unit
  [[ -f "${target}/units" ]] || return 0
  while read -r unit; do
    [[ -n "${DESTDIR:-}" || -e "${here}/systemd/${unit}" ]] || systemctl stop "${unit}"
    rm -f "${units}/${unit}"
  done <"${target}/units"
}

reload() {
  if [[ -z "${DESTDIR:-}" ]]; then systemctl daemon-reload; fi
}

key() {
  local line
  if [[ -n "${VLLM_API_KEY:-}" ]]; then
    printf '%s' "${VLLM_API_KEY}"
  elif [[ -f "${here}/.env" ]]; then
    line=$(grep -E '^VLLM_API_KEY=' "${here}/.env" | tail -n 1) || true
    printf '%s' "${line#VLLM_API_KEY=}"
  fi
}

install_fleet() {
  local value
  value=$(key)
  if [[ -z "${value}" && ! -s "${target}/vllm_api_key" ]]; then
    printf 'install: set VLLM_API_KEY, in the environment or in .env\n' >&2
    exit 78
  fi
  install -d -m 0755 "${target}" "${target}/locks" "${target}/router/errors" "${units}"
  install -m 0755 "${here}/gate.sh" "${here}/download.sh" "${here}/smoke.sh" "${target}/"
  install -m 0644 "${here}/locks/"* "${target}/locks/"
  install -m 0644 "${here}/router/"*.cfg "${here}/router/"*.json "${here}/router/"*.lua "${target}/router/"
  install -m 0644 "${here}/router/errors/"* "${target}/router/errors/"
  touch "${target}/keys"
  if [[ -f "${here}/keys" ]]; then install -m 0644 "${here}/keys" "${target}/keys"; fi
  if [[ -f "${here}/tls.pem" ]]; then install -m 0600 "${here}/tls.pem" "${target}/tls.pem"; fi
  [[ -f "${target}/env" ]] || install -m 0644 "${here}/systemd/env" "${target}/env"
  if [[ -n "${value}" ]]; then
    (umask 077 && printf '%s' "${value}" >"${target}/vllm_api_key")
  fi
  drop_units
  install -m 0644 "${here}/systemd/"*.service "${here}/systemd/"*.target "${units}/"
  (cd -- "${here}/systemd" && printf '%s\n' *.service *.target) >"${target}/units"
  reload
  printf 'install: done; start with: systemctl enable --now %s.target\n' "${prefix}" >&2
}

remove_fleet() {
  if [[ -z "${DESTDIR:-}" ]]; then systemctl disable --now "${prefix}.target" || true; fi
  drop_units
  rm -rf "${target}"
  reload
}

case "${1:-install}" in
  install) install_fleet ;;
  remove) remove_fleet ;;
  *)
    sed -n '4,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 64
    ;;
esac
