#!/usr/bin/env bash
# Starts one server when its turn has come, or says in one sentence why it must not start.
#
#   gate.sh [option ...] -- COMMAND [ARGUMENT ...]
#   gate.sh --check [option ...]          only the checks
#
#   --engine VERSION    the vLLM version that the plan was made for
#   --weights MODEL     Hugging Face id or folder that must be complete on disk
#   --revision REV      commit, branch or tag of the weights
#   --gpu INDEX         a GPU of the plan (repeatable; none given: every visible one, as in a container); the variable
#                       PLANNER_GPU_<INDEX> may name another index or a UUID for it
#   --gpu-name NAME     what nvidia-smi must call that GPU (repeatable: any of them will do); "CARD MIG PROFILE" is a slice
#   --memory BYTES      what must be free on each of these GPUs
#   --unified KIND      the GPU has no memory of its own: what counts as free is what Linux calls "available", or only
#                       what it calls "free", as the engine counts it
#   --meminfo FILE      where Linux says that (default /proc/meminfo)
#   --memory-wait SEC   how long to wait for it: a stopped server releases memory slowly (default 60)
#   --port PORT         must not be answered by anybody yet
#   --lock FILE         held from before the checks until the server is healthy (repeatable, same order everywhere)
#   --health URL        the server is up when this answers
#   --listens PORT      it is up when this port of PLANNER_BIND (127.0.0.1) is open
#   --timeout SEC       how long that may take (default 1800); the engine is told the same
#   --end-with SIGNAL   what tells COMMAND to finish its answers and end (default TERM)
#
# For one part of a server that spans machines:
#   --here VARIABLE     holds this machine's address, which the parts use among themselves
#   --head VARIABLE     holds the address of the machine whose part answers requests
#   --takes BYTES       a part that answers nothing is up when it has taken so much of each GPU ...
#   --follows PORT      ... and stops when the head no longer listens on this port, because it cannot serve another start
#                       of the head; it then counts as failed, so that it is started again
#   --followed PORT     the head's own: it stops, to be started again, when a part that joined on this port has gone,
#                       because the engine would let every request wait for it
#   --joined PORT       the head's own where every part answers requests: the gates of the others keep a connection to it
#   --joins PORT        such a part: it stops when the connection breaks; so does the head when one of them does
#   --ready FILE        written when it is up
#
# Servers that start with the same lock files never load or profile at the same time: at the first start, in a crash
# loop, after a reboot. The lock belongs to the kernel, so a server that dies while loading gives it back.
# Exit codes: 78 the machine does not match the plan, 75 try again later, 143 stopped by a signal, otherwise the code of
# COMMAND.
#
# Conditions call functions on purpose here; their failures are the answer.
# shellcheck disable=SC2310,SC2312
set -Eeuo pipefail
# The end of a pipeline runs in this process, so that it can set variables. bash 5.2 takes the text of a trap for a part of
# the $( ) that it is expanding when the signal comes, and ends: nothing that waits or watches may expand one.
shopt -s lastpipe

check_only=no engine='' weights='' revision='' memory='' unified='' meminfo=/proc/meminfo memory_wait=60 port='' health='' listens='' timeout=1800 end_with=TERM
here='' head='' takes='' follows='' followed='' joins='' joined_at='' ready=''
gpus=() gpu_names=() locks=() lock_fds=() command=() free_before=() joined=0
child='' told_to_stop=no

say() { printf 'gate: %s\n' "$*" >&2; }

stop_with() {
  say "${*:2}"
  exit "$1"
}

pause() {
  sleep 1 &
  wait "$!" || true
}

parse() {
  while (($# > 0)) && [[ "$1" != -- ]]; do
    if [[ "$1" == --check ]]; then
      check_only=yes
      shift
      continue
    fi
    [[ "$1" != --*=* ]] || set -- "${1%%=*}" "${1#*=}" "${@:2}"
    (($# >= 2)) || stop_with 64 "$1 needs a value"
    case "$1" in
      --engine) engine=$2 ;;
      --weights) weights=$2 ;;
      --revision) revision=$2 ;;
      --gpu) gpus+=("$2") ;;
      --gpu-name) gpu_names+=("$2") ;;
      --memory) memory=$2 ;;
      --unified) unified=$2 ;;
      --meminfo) meminfo=$2 ;;
      --memory-wait) memory_wait=$2 ;;
      --port) port=$2 ;;
      --lock) locks+=("$2") ;;
      --health) health=$2 ;;
      --listens) listens=$2 ;;
      --timeout) timeout=$2 ;;
      --end-with) end_with=$2 ;;
      --here) here=$2 ;;
      --head) head=$2 ;;
      --takes) takes=$2 ;;
      --follows) follows=$2 ;;
      --followed) followed=$2 ;;
      --joins) joins=$2 ;;
      --joined) joined_at=$2 ;;
      --ready) ready=$2 ;;
      *) stop_with 64 "unknown option $1" ;;
    esac
    shift 2
  done
  (($# == 0)) || shift
  command=("$@")
}

# Turns the plan's GPU indices into this machine's GPUs, and shows the command only these.
choose_gpus() {
  local index name ids=()
  ((${#gpus[@]} > 0)) || return 0
  for index in "${gpus[@]}"; do
    name="PLANNER_GPU_${index}"
    ids+=("${!name:-${index}}")
  done
  gpus=("${ids[@]}")
  CUDA_VISIBLE_DEVICES=$(
    IFS=,
    printf '%s' "${gpus[*]}"
  )
  export CUDA_VISIBLE_DEVICES CUDA_DEVICE_ORDER=PCI_BUS_ID
}

check_key() {
  local file="${CREDENTIALS_DIRECTORY:-/nonexistent}/vllm_api_key"
  if [[ -z "${VLLM_API_KEY:-}" && -r "${file}" ]]; then
    VLLM_API_KEY=$(<"${file}")
    export VLLM_API_KEY
  fi
  [[ -n "${VLLM_API_KEY:-}" ]] || stop_with 78 "VLLM_API_KEY is not set: copy .env.example to .env and put a long random key there"
  [[ "${VLLM_API_KEY}" =~ ^[[:graph:]]+$ ]] || stop_with 78 'VLLM_API_KEY contains spaces or control characters'
  # A router's certificate comes the same way; without one the file holds another word.
  if grep -qs -e '-----BEGIN' "${file%/*}/tls.pem"; then export PLANNER_TLS="${file%/*}/tls.pem"; fi
}

# Prints "NAME ADDRESS" of each network interface; nothing where Python is missing.
interfaces() {
  command -v python3 >/dev/null || return 0
  python3 - <<'PYTHON'
import fcntl, socket, struct

with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
    for _, name in socket.if_nameindex():
        try:
            answer = fcntl.ioctl(probe, 0x8915, struct.pack("256s", name.encode()[:15]))  # SIOCGIFADDR
        except OSError:
            continue
        print(name, socket.inet_ntoa(answer[20:24]))
PYTHON
}

# The parts of one server find each other by address, and must not guess the interface: a machine has several.
check_addresses() {
  local name address found
  for name in ${here:+"${here}"} ${head:+"${head}"}; do
    [[ -n "${!name:-}" ]] || stop_with 78 "${name} is not set: write the private addresses of the machines into .env, the same on all of them"
  done
  [[ -n "${here}" ]] || return 0
  address=${!here}
  [[ "${address}" =~ ^[0-9.]+$|: ]] || stop_with 78 "${here} must be an IP address, not ${address}"
  export VLLM_HOST_IP=${address}
  [[ "${address}" != *:* ]] || return 0
  found=$(interfaces)
  [[ -n "${found}" ]] || return 0
  found=$(awk -v address="${address}" '$2 == address { print $1; exit }' <<<"${found}")
  [[ -n "${found}" ]] || stop_with 78 "${here} is ${address}, which is no address of this machine"
  export GLOO_SOCKET_IFNAME=${GLOO_SOCKET_IFNAME:-${found}} NCCL_SOCKET_IFNAME=${NCCL_SOCKET_IFNAME:-${found}}
}

check_engine() {
  local found
  [[ -n "${engine}" ]] || return 0
  command -v vllm >/dev/null || stop_with 78 "vllm is not on PATH: install vllm==${engine} and put its environment on PATH"
  found=$(vllm --version 2>&1 | tail -n 1) || stop_with 78 "vllm --version fails: ${found}"
  found=${found##* }
  [[ "${found%%+*}" == "${engine}" ]] || stop_with 78 "the plan is for vLLM ${engine}, but vllm on PATH is ${found}"
}

# Prints the folder of the weights, or nothing when the cache does not have them.
snapshot() {
  local repository hub commit
  if [[ "${weights}" == /* ]]; then
    printf '%s' "${weights}"
    return
  fi
  hub=${HF_HUB_CACHE:-${HF_HOME:-${XDG_CACHE_HOME:-${HOME:-}/.cache}/huggingface}/hub}
  repository="${hub}/models--${weights//\//--}"
  commit=${revision:-main}
  [[ -f "${repository}/refs/${commit}" ]] && commit=$(<"${repository}/refs/${commit}")
  printf '%s' "${repository}/snapshots/${commit}"
}

check_weights() {
  local folder index shard file
  [[ -n "${weights}" ]] || return 0
  folder=$(snapshot)
  for file in "${folder}"/*; do
    [[ -r "${file}" || ! -e "${file}" ]] || stop_with 78 "${file} cannot be read by the user of this server ($(id -u))"
  done
  [[ -f "${folder}/config.json" ]] || stop_with 78 "the weights of ${weights} are missing in ${folder}: fetch them first (README.md says how)"
  index="${folder}/model.safetensors.index.json"
  [[ -f "${index}" ]] || return 0
  while read -r shard; do
    [[ -e "${folder}/${shard}" ]] || stop_with 78 "the weights of ${weights} are incomplete (${shard} is missing): fetch them first (README.md says how)"
  done < <(grep -Eo '"[^"]+\.safetensors"' "${index}" | tr -d '"' | sort -u)
}

check_gpu_names() {
  local id name
  ((${#gpu_names[@]} > 0)) || return 0
  while IFS=, read -r id name; do
    name=${name# }
    planned "${name}" || stop_with 78 "the plan is for ${gpu_names[0]}, but GPU ${id} is ${name}"
  done < <(query index,name)
}

planned() {
  local wanted
  for wanted in "${gpu_names[@]}"; do
    [[ "$1" != "${wanted}" ]] || return 0
  done
  return 1
}

# Says whether the plan is for MIG slices.
sliced() { [[ "${gpu_names[*]}" == *' MIG '* ]]; }

# Prints "UUID NAME" of each MIG slice: of all, of the GPU with this number or UUID, or the one with this UUID.
slices() {
  nvidia-smi -L 2>/dev/null | awk -v only="$1" '
    /^GPU / {
      number = $2; sub(/:.*/, "", number)
      card = $0; sub(/^GPU [0-9]+: /, "", card); sub(/ [(]UUID.*/, "", card)
      of = $0; sub(/.*UUID: /, "", of); sub(/[)].*/, "", of)
    }
    /^ +MIG / {
      profile = $2; sub(/[+].*/, "", profile) # "+me" adds media engines only
      uuid = $0; sub(/.*UUID: /, "", uuid); sub(/[)].*/, "", uuid)
      if (only == "" || only == number || only == of || only == uuid) print uuid, card " MIG " profile
    }'
}

# A slice has no entry of its own among the GPUs: nvidia-smi prints the name of the card, and in a container no memory.
# The engine's own check decides whether the memory is free.
check_slices() {
  local id uuid name found ids=("${gpus[@]}")
  if ((${#ids[@]} == 0)); then # a container is told its slices by their UUIDs, and may see others
    mapfile -t ids < <(tr ',' '\n' <<<"${CUDA_VISIBLE_DEVICES:-${NVIDIA_VISIBLE_DEVICES:-}}" | grep '^MIG-')
    ((${#ids[@]} > 0)) || ids=('')
  fi
  for id in "${ids[@]}"; do
    found=no
    while read -r uuid name; do
      found=yes
      planned "${name}" || stop_with 78 "the plan is for ${gpu_names[0]}, but ${uuid} is ${name}"
    done < <(slices "${id}")
    [[ "${found}" == yes ]] || check_card "${id}"
  done
}

# Checks what is known of a slice that nvidia-smi does not list: its card, and whether that is divided at all.
check_card() {
  local id=$1 cards name mode
  if [[ "${id}" == MIG-* ]]; then
    [[ -z "$(slices '')" ]] || stop_with 78 "the plan is for ${gpu_names[0]}, but nvidia-smi -L lists no slice ${id}"
    id=''
  fi
  cards=$(nvidia-smi ${id:+-i "${id}"} --query-gpu=name,mig.mode.current --format=csv,noheader 2>/dev/null) \
    || stop_with 78 "nvidia-smi does not find GPU ${id}: write the UUID of each slice (nvidia-smi -L) into .env"
  while IFS=, read -r name mode; do
    planned "${name}" && continue
    [[ " ${gpu_names[*]} " == *" ${name} MIG "* ]] || stop_with 78 "the plan is for ${gpu_names[0]}, but GPU ${id} is ${name}"
    [[ "${mode# }" != Disabled ]] || stop_with 78 "the plan is for ${gpu_names[0]}, but GPU ${id} is not divided into slices"
    say 'warning: nvidia-smi lists no slices here, so the profile is not checked'
  done <<<"${cards}"
}

query() {
  local id
  if ((${#gpus[@]} == 0)); then
    nvidia-smi "--query-gpu=$1" --format=csv,noheader,nounits
    return
  fi
  for id in "${gpus[@]}"; do
    nvidia-smi -i "${id}" "--query-gpu=$1" --format=csv,noheader,nounits
  done
}

# Prints a line of /proc/meminfo in MiB.
system_mib() { awk -v key="$1:" '$1 == key { print int($2 / 1024) }' "${meminfo}"; }

# Prints "INDEX FREE_MIB" of each GPU as the engine will see it; for unified memory nvidia-smi prints [N/A].
free_gpus() {
  local id free system=''
  [[ "${unified}" != available ]] || system=$(system_mib MemAvailable)
  [[ "${unified}" != free ]] || system=$(system_mib MemFree)
  while IFS=', ' read -r id free; do
    printf '%s %s\n' "${id}" "${system:-${free}}"
  done < <(query index,memory.free)
}

# Prints the first GPU with too little free memory, as "INDEX FREE_MIB"; nothing when all have enough.
short_gpu() {
  local id free
  while read -r id free; do
    [[ "${free}" =~ ^[0-9]+$ ]] || continue # not known here; the engine's own check decides
    if ((free * 1048576 < memory)); then
      printf '%s %s\n' "${id}" "${free}"
      return
    fi
  done < <(free_gpus)
}

# Prints how many MiB Linux could give back, while fewer are really free than the plan needs: files that were read or
# written lately fill unified memory.
page_cache() {
  local free available
  free=$(system_mib MemFree) available=$(system_mib MemAvailable)
  if ((free * 1048576 < memory && available > free)); then printf '%s' "$((available - free))"; fi
}

check_gpus() {
  local id free deadline cached='' drop='sync && echo 1 | sudo tee /proc/sys/vm/drop_caches'
  ((${#gpu_names[@]} > 0)) || [[ -n "${memory}" ]] || return 0
  if ! command -v nvidia-smi >/dev/null; then
    say 'warning: nvidia-smi is not on PATH, so the GPU and its free memory are not checked'
    return
  fi
  if sliced; then
    check_slices
    return
  fi
  query index >/dev/null || stop_with 78 "nvidia-smi does not find GPU ${gpus[*]:-}"
  check_gpu_names
  [[ -n "${memory}" ]] || return 0
  deadline=$((SECONDS + memory_wait))
  [[ -z "${unified}" ]] || cached=$(page_cache)
  while short_gpu | read -r id free; do
    if ((SECONDS >= deadline)); then
      [[ "${unified}" == free && -n "${cached}" ]] || drop=''
      stop_with 75 "the plan needs $((memory / 1048576)) MiB free on GPU ${id}, but only ${free} MiB are free: stop what else uses it (nvidia-smi lists the processes)${drop:+, or drop the ${cached} MiB of page cache: ${drop}}"
    fi
    pause
  done
  [[ -z "${cached}" ]] || say "warning: ${cached} MiB of the free memory are page cache, which Linux gives back as the engine loads; should that be slow or fail, drop it: ${drop}"
}

check_port() {
  [[ -n "${port}" ]] || return 0
  if (exec 3<>"/dev/tcp/127.0.0.1/${port}") 2>/dev/null; then
    stop_with 75 "port ${port} is taken by another program"
  fi
}

take_locks() {
  local lock fd
  for lock in "${locks[@]}"; do
    exec {fd}<"${lock}" || stop_with 78 "cannot open the lock file ${lock}"
    flock --nonblock "${fd}" || say "waiting for another server that is starting on this GPU"
    until flock --nonblock "${fd}"; do pause; done
    lock_fds+=("${fd}")
  done
}

drop_locks() {
  local fd
  for fd in "${lock_fds[@]}"; do exec {fd}<&-; done
  lock_fds=()
}

# Prints the free MiB of each GPU, one a line; nothing where that is not known.
free_mib() { free_gpus 2>/dev/null | sed -En 's/.* ([0-9]+)$/\1/p'; }

# Says whether the command has taken its memory on every GPU since the start.
taken() {
  local before after index
  [[ -n "${free_before[*]}" ]] || return 0 # nvidia-smi is missing, or does not say
  free_mib | mapfile -t after
  for index in "${!free_before[@]}"; do
    before=${free_before[${index}]}
    ((before - ${after[${index}]:-${before}} >= takes / 1048576)) || return 1
  done
}

head_listens() { (exec 3<>"/dev/tcp/${!head}/${follows}") 2>/dev/null; }

# Sets ``connections``, how many the parts of a server keep open to the port of its head (proc(5), /proc/net/tcp).
count_connections() {
  local port
  printf -v port ':%04X' "${followed}"
  { cat /proc/net/tcp /proc/net/tcp6 2>/dev/null || true; } | awk -v port="${port}" '$4 == "01" && $2 ~ port "$"' | wc -l | read -r connections
}

# Says whether the other parts of the server are still there.
together() {
  if [[ -n "${follows}" ]]; then head_listens; else count_connections && ((connections >= joined)); fi
}

healthy() {
  if [[ -n "${takes}" ]]; then
    taken
  elif [[ -n "${listens}" ]]; then
    (exec 3<>"/dev/tcp/${PLANNER_BIND:-127.0.0.1}/${listens}") 2>/dev/null
  elif command -v curl >/dev/null; then
    curl --fail --silent --max-time 3 --output /dev/null "${health}" 2>/dev/null
  else
    python3 -c 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=3)' "${health}" 2>/dev/null
  fi
}

alive() { kill -0 "${child}" 2>/dev/null; }

# Waits for the child to end, through any number of signals, and exits with its code. A server that was told to stop
# counts as stopped by the signal whatever it returns, so that Docker starts it again after a reboot.
finish() {
  local code=0 last=0
  while alive; do
    if [[ "${told_to_stop}" == yes && "${end_with}" != TERM ]]; then
      pause # HAProxy loses a signal that comes while it reads its files again
      kill -s "${end_with}" "${child}" 2>/dev/null || true
    else
      wait "${child}" || code=$?
    fi
  done
  wait "${child}" 2>/dev/null || last=$?
  ((last == 127)) || code=${last} # 127: already collected by the loop
  [[ "${told_to_stop}" == no ]] || code=143
  exit "${code}"
}

# shellcheck disable=SC2329 # the trap calls it
forward() {
  told_to_stop=yes
  [[ -n "${child}" ]] || exit 143
  kill -s "${end_with}" "${child}" 2>/dev/null || true
}

# A router reads its files again then.
# shellcheck disable=SC2329 # the trap calls it
reread() { [[ -z "${child}" ]] || kill -USR2 "${child}" 2>/dev/null || true; }

# Waits for the child, and ends it when another part of its server has gone that was there.
watch_parts() {
  local misses=0 met=no
  while alive && [[ "${told_to_stop}" == no ]]; do
    if together; then misses=0 met=yes; elif [[ "${met}" == yes ]]; then misses=$((misses + 1)); fi
    ((misses < 3)) || end_child 'another part of this server has stopped'
    for _ in {1..5}; do
      alive && [[ "${told_to_stop}" == no ]] || return 0
      pause
    done
  done
}

# Holds the connections between the gates of a server whose parts all answer, and ends when one of them breaks. Only what
# greets like a gate counts: the engine has used the port before, and anybody may look at it.
hold_links() {
  python3 - "$@" <<'PYTHON'
import select, socket, sys, time

role, address, port, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
greeting, deadline = b"planner\n", time.monotonic() + seconds


def told(link):
    try:
        return link.recv(64)
    except OSError:
        return b""


def watched(link):
    link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 5), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 2)):
        if hasattr(socket, option):
            link.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    link.sendall(greeting)
    return link


def again(attempt):
    while time.monotonic() < deadline:
        try:
            if found := attempt():
                return found
        except OSError:
            pass
        time.sleep(1)
    sys.exit(1)


def reach():
    link = socket.create_connection((address, port), timeout=5)
    if link.recv(64) == greeting:
        link.settimeout(None)
        return watched(link)
    link.close()


family = socket.AF_INET6 if ":" in address else socket.AF_INET
if role == "joins":
    while told(again(reach)):
        pass
    sys.exit(1)
door = again(lambda: socket.create_server((address, port), family=family))
links, gates = [door], set()
while True:
    for link in select.select(links, [], [])[0]:
        if link is door:
            try:
                links.append(watched(door.accept()[0]))
            except OSError:
                pass
        elif told(link) == greeting:
            gates.add(link)
        elif link in gates:
            sys.exit(1)
        else:
            links.remove(link)
PYTHON
}

# Waits for the child, and ends it when the gate of another part has gone.
watch_links() {
  local links
  command -v python3 >/dev/null || return 0
  if [[ -n "${joins}" ]]; then hold_links joins "${!head}" "${joins}" "${timeout}" & else hold_links joined "${!head}" "${joined_at}" "${timeout}" & fi
  links=$!
  while alive && [[ "${told_to_stop}" == no ]]; do
    kill -0 "${links}" 2>/dev/null || end_child 'another part of this server has stopped'
    pause
  done
  kill "${links}" 2>/dev/null || true
}

# Ends a child that is of no use, by force if need be.
end_child() {
  local deadline=$((SECONDS + 30))
  say "$1"
  kill -TERM "${child}" 2>/dev/null || true
  while alive && ((SECONDS < deadline)); do pause; done
  kill -KILL "${child}" 2>/dev/null || true
  exit 75
}

serve() {
  local deadline waited_for="no answer from ${health:-port ${listens}}"
  [[ -z "${takes}" ]] || { waited_for='the memory of the GPUs is not taken' && free_mib | mapfile -t free_before; }
  [[ -z "${ready}" ]] || rm -f -- "${ready}"
  # The child must not inherit the locks, nor report itself ready before it answers.
  (
    drop_locks
    unset NOTIFY_SOCKET
    # The engine gives up by itself, after ten minutes unless it is told otherwise: one figure for both.
    export VLLM_ENGINE_READY_TIMEOUT_S=${timeout}
    exec "${command[@]}"
  ) &
  child=$!
  if [[ -n "${health}${listens}${takes}" ]]; then
    deadline=$((SECONDS + timeout))
    until healthy && [[ "${told_to_stop}" == no ]]; do
      alive || finish
      # A signal that comes while the engine loads can be lost there, so it is told again until it ends.
      [[ "${told_to_stop}" == no ]] || kill -s "${end_with}" "${child}" 2>/dev/null || true
      if ((SECONDS >= deadline)); then
        end_child "${waited_for} after ${timeout} seconds"
      fi
      pause
    done
    alive || finish
  fi
  drop_locks
  if [[ -n "${NOTIFY_SOCKET:-}" ]] && command -v systemd-notify >/dev/null; then systemd-notify --ready; fi
  [[ -z "${ready}" ]] || : >"${ready}"
  [[ -z "${followed}" ]] || { count_connections && joined=${connections}; }
  [[ -z "${follows}${followed}" ]] || watch_parts
  [[ -z "${joins}${joined_at}" ]] || watch_links
  finish
}

parse "$@"
trap forward TERM INT
trap reread USR2
choose_gpus
check_key
check_addresses
check_engine
check_weights
take_locks
check_port
check_gpus
[[ "${check_only}" == no ]] || exit 0
((${#command[@]} > 0)) || stop_with 64 'no command after --'
serve
