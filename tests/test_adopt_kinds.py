"""Adopt: kinds of files and habits of people, each with what the engine would be given."""

import json
from pathlib import Path
from typing import Any

import pytest

from planner.adopt.arguments import read_arguments
from planner.adopt.files import read_files
from planner.adopt.server import Server
from planner.adopt.start import verdicts
from planner.catalog import load_catalog
from planner.engine.options import engine_options
from planner.plan import plan_from_yaml


def servers(tmp_path: Path, **files: str) -> list[Server]:
    """Write files, with ``__`` for a dot in their names, and return the servers of the first."""
    paths = []
    for name, text in files.items():
        path = tmp_path / name.replace("__", ".")
        path.write_text(text, encoding="utf-8")
        paths.append(path)
    return list(read_files(paths[:1]).servers)


def flags_of(tmp_path: Path, **files: str) -> tuple[str, dict[str, Any]]:
    (found,) = servers(tmp_path, **files)
    return found.model, found.flags


@pytest.mark.parametrize(
    ("version", "words", "flags"),
    [
        ("0.8.5", "--limit-mm-per-prompt image=4,video=1", {"limit-mm-per-prompt": {"image": 4, "video": 1}}),
        ("0.8.5", "--enable-chunked-prefill=True", {"enable-chunked-prefill": True}),
        ("0.8.5", "--enable-prefix-caching False", {"enable-prefix-caching": False}),
        ("0.8.5", '--rope-scaling {"factor":4.0}', {"rope-scaling": {"factor": 4.0}}),
        ("0.8.5", "-O3", {"compilation-config": {"level": 3}}),
        ("0.33.0", "-O3", {"optimization-level": 3}),
        ("0.33.0", "--gpu-memory-util 0.8", {"gpu-memory-utilization": 0.8}),
        ("0.33.0", "--max-model-len auto", {"max-model-len": -1}),
    ],
)
def test_flags_are_read_as_their_version_had_them(version: str, words: str, flags: dict[str, Any]) -> None:
    assert read_arguments(words.split(" "), engine_options(version)).flags == flags


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("vllm/vllm-openai:v0.8.5.post1", "0.8.5.post1"),
        ("rocm/vllm:rocm6.4.1_vllm_0.10.1_20250909", "0.10.1"),
        ("quay.io/modh/vllm:rhoai-2.20-cuda", None),
        ("nvcr.io/nvidia/vllm:25.09-py3", None),
    ],
)
def test_only_a_version_of_the_engine_is_taken_from_an_image(tmp_path: Path, image: str, version: str | None) -> None:
    (found,) = servers(tmp_path, a__sh=f"docker run {image} --model m")

    assert found.engine_version == version


def test_between_two_listed_versions_only_a_flag_that_neither_has_is_unknown(tmp_path: Path) -> None:
    (found,) = servers(tmp_path, a__sh="docker run vllm/vllm-openai:v0.10.0 --model m --runner pooling --nothing 1")

    assert found.unknown_flags == ("nothing",)


def test_compose_services_extend_one_another(tmp_path: Path) -> None:
    main = """
services:
  base:
    image: vllm/vllm-openai:v0.11.2
    environment: {A: "1", B: "1"}
  own:
    extends: {service: base}
    environment: ["B=2"]
    command: [--model, one]
  other:
    extends: {file: common.yml, service: shared}
    command: --model two
"""
    common = "services: {shared: {image: 'vllm/vllm-openai:v0.12.0', command: [--model, none]}}"

    own, other = servers(tmp_path, compose__yaml=main, common__yml=common)

    assert (own.model, own.engine_version, own.environment) == ("one", "0.11.2", {"A": "1", "B": "2"})
    assert (other.model, other.engine_version) == ("two", "0.12.0")


def test_a_router_names_the_servers_behind_it(tmp_path: Path) -> None:
    router = tmp_path / "litellm.yaml"
    router.write_text("""
model_list:
  - {model_name: coder, litellm_params: {model: hosted_vllm/Qwen/Qwen3-8B, api_base: "http://coder:8000/v1"}}
  - {model_name: chat, litellm_params: {model: hosted_vllm/Qwen/Qwen3-14B, api_base: "http://10.0.0.1:8000/v1"}}
  - {model_name: hosted, litellm_params: {model: anthropic/claude}}
  - {model_name: local, litellm_params: {model: openai/x, api_base: "http://10.0.0.2/v1"}}
""")
    compose = tmp_path / "compose.yaml"
    compose.write_text("services: {coder: {image: vllm/vllm-openai, command: --model Qwen/Qwen3-8B --port 8000}}")

    alone, together = read_files([router]), read_files([router, compose])

    assert [(one.name, one.model, one.flags) for one in alone.servers] == [
        ("coder", "Qwen/Qwen3-8B", {}),
        ("chat", "Qwen/Qwen3-14B", {}),
    ]
    assert [(one.name, one.engine) for one in alone.others] == [
        ("hosted", "anthropic"),
        ("local", "an OpenAI-compatible server"),
    ]
    assert [(one.name, one.flags) for one in together.servers] == [("coder", {"port": 8000}), ("chat", {})]


def test_a_python_script_is_followed_and_not_run(tmp_path: Path) -> None:
    text = """
import subprocess, sys
MODEL, N = "Qwen/Qwen3-8B", 2
NAME = "Qwen/Qwen3-8B"
PORT = 8000
FAST = False
def serve(length):
    cmd = ["vllm", "serve", NAME, "--port", str(PORT), "--max-model-len", str(length)]
    cmd += ["--enforce-eager"] if FAST else ["--no-enforce-eager"]
    cmd.extend(["--served-model-name", "a", "b"])
    cmd.append("--trust-remote-code")
    print(" ".join(cmd))
    with open("log") as out:
        subprocess.Popen(" ".join(cmd), shell=True, stdout=out)
open("never", "w")
"""
    assert flags_of(tmp_path, serve__py=text) == (
        "Qwen/Qwen3-8B",
        {
            "port": 8000, "max-model-len": "${length}", "enforce-eager": False, "served-model-name": ["a", "b"],
            "trust-remote-code": True,
        },
    )  # fmt: skip
    assert not (tmp_path / "never").exists()


@pytest.mark.parametrize(
    "text",
    [
        """
FAST = 0
with open("log") as out:
    if FAST:
        subprocess.Popen(["vllm", "serve", "other"], stdout=out)
    else:
        subprocess.Popen(["vllm", "serve", "m"], stdout=out)
""",
        """
try:
    cmd = ["vllm", "serve"]
    cmd.append("m")
    subprocess.run(cmd)
    cmd.append("--never-used")
except OSError:
    pass
""",
        """
try:
    find()
except OSError:
    cmd = ["vllm", "serve", "m"]
    subprocess.run(cmd)
""",
    ],
    ids=["a branch not taken", "words added later", "a handler"],
)
def test_a_python_script_starts_what_its_taken_lines_start(tmp_path: Path, text: str) -> None:
    assert flags_of(tmp_path, serve__py=f"import subprocess\n{text}") == ("m", {})


@pytest.mark.parametrize(
    ("text", "model", "flags"),
    [
        ('if [ -z "$1" ]; then exit 1; fi\nMODEL=$1; shift\nvllm serve $MODEL --port $1', "${1}", {"port": "${2}"}),
        ("if [ $# -lt 1 ]; then exit 1; fi\nvllm serve m", "m", {}),
        ('if [ "$RANK" = 0 ]; then vllm serve m --port 1; else ray start; fi', "m", {"port": 1}),
        ('if [ "$RANK" = 0 ]; then vllm serve m --port 1; fi', "m", {"port": 1}),
        ("for i in 0; do vllm serve m --port $((8000 + i * 2)) --seed $((i+N)); done", "m",
         {"port": 8000, "seed": "$((i+N))"}),
        ("A=(--port 1 # why\n--seed 2)\nvllm serve m ${A[@]}", "m", {"port": 1, "seed": 2}),
        ("A='--port 1'\neval \"vllm serve m $A\"", "m", {"port": 1}),
        ('tmux new-session -d -s x "CUDA_VISIBLE_DEVICES=1 vllm serve m --port 1"', "m", {"port": 1}),
        ("screen -dmS x bash -c 'vllm serve m --port 1'", "m", {"port": 1}),
        ("ray symmetric-run --address h:1 --min-nodes 2 -- vllm serve m --port 1", "m", {"port": 1}),
        ("./wait-for-it.sh db:5432 -t 30 -- vllm serve m --port 1", "m", {"port": 1}),
        ("bash /opt/gate.sh --lock a -- env --unset=KEY vllm serve m --port 1", "m", {"port": 1}),
        ("if [[ ' ' =~ ^[[:space:]]$ ]]; then vllm serve m --port 1; fi", "m", {"port": 1}),
    ],
)  # fmt: skip
def test_habits_of_shell_scripts(tmp_path: Path, text: str, model: str, flags: dict[str, Any]) -> None:
    assert flags_of(tmp_path, run__sh=text) == (model, flags)


def test_scripts_that_call_one_another_in_vain_are_each_followed_once(tmp_path: Path) -> None:
    files = {f"s{number}__sh": f"bash s{number + 1}.sh\n" for number in range(30)}

    assert not servers(tmp_path, **files, s30__sh="echo done\n")


@pytest.mark.parametrize(
    "name_and_text",
    [
        ("README__md", "Start\n\n```bash\nvllm serve m --port 1\n```\n"),
        ("Makefile", "M ?= m\nPORT := 1\nserve:\n\t@vllm serve $(M) \\\n\t\t--port $(PORT)\n"),
        ("supervisord__conf", "[program:x]\nautostart=true\ncommand=/venv/bin/vllm serve m --port 1\n"),
        ("x__container", '[Container]\nImage=vllm/vllm-openai\nEntrypoint=["vllm","serve"]\nExec=m --port 1\n'),
        ("Dockerfile", 'FROM x\nENTRYPOINT ["/bin/bash", "-c"]\nCMD ["exec vllm serve m --port 1"]\n'),
        ("ray__yaml", "applications: [{args: {llm_configs: [{model_loading_config: {model_id: x, model_source: m}, "
         "engine_kwargs: {port: 1}}]}}]"),
    ],
)  # fmt: skip
def test_other_kinds_of_files(tmp_path: Path, name_and_text: tuple[str, str]) -> None:
    name, text = name_and_text

    assert flags_of(tmp_path, **{name: text}) == ("m", {"port": 1})


def test_a_template_that_nobody_filled_in_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    text = """
apiVersion: apps/v1
kind: Deployment
metadata:
  labels:
    {{- include "x.labels" . | nindent 4 }}
spec:
  template:
    spec:
      containers:
        - image: "{{ .Values.repository }}:{{ .Values.tag | default "v0.10.0" }}"
          args:
            - --model
            - {{ .Values.model | quote }}
            - --max-model-len={{ .Values.maxModelLen }}
            {{- if .Values.eager }}
            - --enforce-eager
            {{- end }}
"""
    assert flags_of(tmp_path, a__yaml=text) == (
        "{{ .Values.model | quote }}",
        {"max-model-len": "{{ .Values.maxModelLen }}", "enforce-eager": True},
    )


def test_what_nobody_has_filled_in_is_named(tmp_path: Path) -> None:
    (found,) = servers(
        tmp_path, a__sh="vllm serve $MODEL --port ${PORT} -tp $(nvidia-smi -L | wc -l) --seed {{ seed }}"
    )
    catalog = load_catalog()

    (verdict,) = verdicts([found], catalog.gpu("L4"), catalog)

    assert found.unexpanded == ("${MODEL}", "${PORT}", "$(nvidia-smi -L | wc -l)", "{{ seed }}")
    assert (verdict.starts, verdict.reason) == (None, "the model is only known where it runs: ${MODEL}")


def test_a_group_of_nodes_knows_its_own_size(tmp_path: Path) -> None:
    document = {
        "apiVersion": "leaderworkerset.x-k8s.io/v1",
        "kind": "LeaderWorkerSet",
        "spec": {
            "leaderWorkerTemplate": {
                "size": 4,
                "workerTemplate": {
                    "spec": {
                        "containers": [
                            {"image": "vllm/vllm-openai", "command": ["sh", "-c"],
                             "args": ["vllm serve m -dp $((LWS_GROUP_SIZE * 8)) -dpa $LWS_LEADER_ADDRESS"]}
                        ]
                    }
                },
            }
        },
    }  # fmt: skip

    assert flags_of(tmp_path, a__json=json.dumps(document)) == (
        "m",
        {"data-parallel-size": 32, "data-parallel-address": "${LWS_LEADER_ADDRESS}"},
    )


def test_the_own_server_of_kserve_names_model_and_checkpoint_its_way(tmp_path: Path) -> None:
    text = """
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {name: a}
spec: {predictor: {model: {modelFormat: {name: huggingface},
  args: [--model_name=chat, --model_id=Qwen/Qwen3-8B, --max-model-len=8192]}}}
"""
    assert flags_of(tmp_path, a__yaml=text) == (
        "Qwen/Qwen3-8B",
        {"served-model-name": ["chat"], "max-model-len": 8192},
    )


def test_values_of_another_chart_are_no_configuration_of_the_engine(tmp_path: Path) -> None:
    assert not servers(tmp_path, values__yaml="model: m\nimage: {tag: v0.9.2}\nreplicaCount: 1\n")


@pytest.mark.parametrize("name", ["compose.yaml", "llama-swap/config.yaml", "systemd/*.service"])
def test_files_of_a_plan_are_read_through_their_gate(name: str) -> None:
    folder = Path(__file__).parent.parent / "examples" / "desk-in-turns"
    planned = plan_from_yaml(folder / "plan.yaml").servers

    found = read_files(sorted((folder / "artifacts").glob(name))).servers

    assert {(one.model, one.flags["max-model-len"]) for one in found} == {
        (one.repository, one.max_model_len) for one in planned
    }


def test_shares_alone_tell_that_two_servers_cannot_start_at_once(tmp_path: Path) -> None:
    text = """
services:
  a: {image: vllm/vllm-openai, command: --model x/never-heard-of --gpu-memory-utilization 0.35}
  b: {image: vllm/vllm-openai, command: --model y/never-heard-of --gpu-memory-utilization 0.2}
"""
    catalog = load_catalog()

    first, second = verdicts(servers(tmp_path, compose__yaml=text), catalog.gpu("RTX 5090"), catalog)

    assert (first.starts, second.starts, second.change) == (None, False, ("start", "one after another"))


def test_docker_gives_every_container_that_asks_for_a_number_the_first_gpus(tmp_path: Path) -> None:
    (found,) = servers(tmp_path, a__sh="docker run --gpus 2 vllm/vllm-openai --model m")

    assert found.gpu_ids == ("0", "1")


def test_a_first_start_that_is_close_and_later_ones_that_are_not_count_as_starting(tmp_path: Path) -> None:
    catalog = load_catalog()
    line = "docker run vllm/vllm-openai:v0.27.1 --model Qwen/Qwen3-4B --gpu-memory-utilization 0.9 --max-model-len {}"

    def verdict(length: int) -> tuple[bool | None, str]:
        (found,) = verdicts(servers(tmp_path, a__sh=line.format(length)), catalog.gpu("RTX 4060 Ti 16GB"), catalog)
        return found.starts, (found.reason or "")[:12]

    answers = [verdict(length) for length in range(24_000, 41_000, 2_000)]

    assert (True, "a close call") in answers
    assert answers.index((True, "a close call")) > answers.index((True, ""))


def test_of_several_kinds_of_gpu_none_is_taken_for_the_one(tmp_path: Path) -> None:
    task = "resources: {{accelerators: {}}}\nrun: vllm serve m\n"

    (one,), (several,) = (servers(tmp_path, a__yaml=task.format(kinds)) for kinds in ("{L4: 2}", "[L4:1, A10G:1]"))

    assert (one.gpu_name, one.gpus) == ("L4", 2)
    assert (several.gpu_name, several.gpus) == ("", 1)


def test_settings_that_change_what_is_captured_are_heeded(tmp_path: Path) -> None:
    catalog = load_catalog()
    line = "vllm serve Qwen/Qwen3-4B --max-model-len 8192"
    few = """ --compilation-config '{"cudagraph_capture_sizes": [1]}'"""

    taken = [
        verdicts(servers(tmp_path, a__sh=text), catalog.gpu("RTX 4090"), catalog)[0].takes_bytes
        for text in (line, line + few)
    ]

    assert taken[0] != taken[1]


def test_a_server_without_a_gpu_of_its_own_takes_the_first_one(tmp_path: Path) -> None:
    text = """
CUDA_VISIBLE_DEVICES=1 vllm serve Qwen/Qwen3-8B --max-model-len 8192 --port 1 &
vllm serve Qwen/Qwen3-4B --max-model-len 8192 --port 2 &
"""
    catalog = load_catalog()

    each = verdicts(servers(tmp_path, a__sh=text), catalog.gpu("RTX 4090"), catalog)

    assert [one.starts for one in each] == [True, True]
