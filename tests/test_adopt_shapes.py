"""Adopt: shapes that public deployments have, each a small file of its own, with what the engine would be given."""

import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from planner.adopt.files import read_files
from planner.adopt.server import Server
from planner.adopt.to_fleet import to_fleet
from planner.catalog import load_catalog
from planner.cli import main

_SERVED: dict[str, Any] = {"max-model-len": 8192, "gpu-memory-utilization": 0.5}
_FLAGS = "--max-model-len 8192 --gpu-memory-utilization 0.5"


def read(tmp_path: Path, name: str, text: str) -> list[Server]:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return list(read_files([path]).servers)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("run.sh", 'A="--max-model-len 8192"\nB="--gpu-memory-utilization 0.5"\nC="$A $B"\nvllm serve m $C\n'),
        ("run.sh", 'A="--max-model-len 8192"\nU=0.5\nvllm serve m "${A%% *}" 8192 --gpu-memory-utilization=$U\n'),
        ("run.sh", "cat > /tmp/c.yaml <<EOF\nmodel: m\nmax-model-len: 8192\ngpu_memory_utilization: ${U:-0.5}\nEOF\n"
                   "vllm serve --config /tmp/c.yaml\n"),
        ("run.sh", f"OPTS=$(cat <<'X'\n{_FLAGS}\nX\n)\nvllm serve m $OPTS\n"),
        ("run.sh", f"ssh me@host bash -s <<'EOF'\ncd /srv\nvllm serve m {_FLAGS} &\nEOF\n"),
        ("run.sh", f"M=m\nsudo tee /etc/systemd/system/vllm.service >/dev/null <<EOF\n[Unit]\nDescription=x\n"
                   f"[Service]\nExecStart=/opt/v/bin/vllm serve $M {_FLAGS}\nEOF\nsystemctl start vllm\n"),
        ("run.sh", "declare -A LEN=( [small]=4096 [large]=8192 )\nSIZE=large\n"
                   "vllm serve m --max-model-len ${LEN[$SIZE]} --gpu-memory-utilization 0.5\n"),
        ("run.sh", "U=(0.9 0.5)\nvllm serve m --max-model-len 8192 --gpu-memory-utilization ${U[1]}\n"),
        ("run.py", "import os, subprocess, sys\nM = os.environ.get('MODEL', 'm')\n"
                   "cmd = [sys.executable, '-m', 'vllm.entrypoints.openai.api_server', '--model', M]\n"
                   "if os.getenv('EAGER'):\n    cmd.append('--enforce-eager')\n"
                   f"cmd += {_FLAGS.split()!r}\nsubprocess.Popen(cmd)\n"),
        ("run.py", "import argparse, subprocess\np = argparse.ArgumentParser()\n"
                   "p.add_argument('-m', '--model', default='m')\np.add_argument('--max-len', type=int, default=8192)\n"
                   "args = p.parse_args()\nsubprocess.run(['vllm', 'serve', args.model, '--max-model-len',\n"
                   "    str(args.max_len), '--gpu-memory-utilization', '0.5'])\n"),
        ("vllm.service.j2", f"[Service]\n{{% for k in env %}}\nEnvironment={{{{ k }}}}\n{{% endfor %}}\n"
                            f"ExecStart={{{{ venv }}}}/bin/vllm serve m {_FLAGS}\n"),
        ("site.yml", "- hosts: gpu\n  vars: {name: m, util: 0.5}\n  tasks:\n  - name: serve\n"
                     "    community.docker.docker_container:\n      name: vllm\n      image: vllm/vllm-openai:v0.19.1\n"
                     "      command: --model {{ name }} --max-model-len 8192 --gpu-memory-utilization {{ util }}\n"),
        ("task.json", '{"containerDefinitions": [{"name": "x", "image": "vllm/vllm-openai:v0.19.0", "command": '
                      '["--model", "m", "--max-model-len", "8192", "--gpu-memory-utilization", "0.5"]}]}'),
        ("ci.yml", f"on: push\njobs:\n  t:\n    steps:\n    - run: |\n        vllm serve m {_FLAGS} &\n"),
        ("user-data.yaml", "#cloud-config\nwrite_files:\n- path: /etc/systemd/system/x.service\n  content: |\n"
                           f"    [Service]\n    ExecStart=/opt/v/bin/vllm serve m {_FLAGS}\n"),
        ("knative.yaml", "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: x}\nspec:\n  template:\n"
                         "    spec:\n      containers:\n      - image: vllm/vllm-openai:v0.19.0\n"
                         f"        args: {['--model', 'm', *_FLAGS.split()]!r}\n"),
    ],
)  # fmt: skip
def test_every_shape_is_read_as_the_engine_would_get_it(tmp_path: Path, name: str, text: str) -> None:
    (server,) = read(tmp_path, name, text)

    assert (server.model, server.flags) == ("m", _SERVED)


def test_a_switch_that_a_configuration_file_takes_back_is_off(tmp_path: Path) -> None:
    (server,) = read(tmp_path, "c.yaml", "model: m\nno-enable-prefix-caching: true\nmax-num-seqs: 4\n")

    assert server.flags == {"enable-prefix-caching": False, "max-num-seqs": 4}


def test_the_instance_of_a_unit_stays_as_it_is_written(tmp_path: Path) -> None:
    (server,) = read(tmp_path, "vllm@.service", "[Service]\nExecStart=/v/vllm serve m --port 800%i\n")

    assert (server.name, server.flags, server.unexpanded) == ("vllm", {"port": "800%i"}, ("%i",))


def test_variables_of_a_llama_swap_model_reach_its_server(tmp_path: Path) -> None:
    text = 'models:\n  a:\n    cmd: vllm serve m --port ${PORT}\n    env: ["CUDA_VISIBLE_DEVICES=1", "X=y"]\n'

    (server,) = read(tmp_path, "config.yaml", text)

    assert server.gpu_ids == ("1",)
    assert server.environment == {"CUDA_VISIBLE_DEVICES": "1", "X": "y"}


def test_programs_of_supervisord_have_names_and_variables(tmp_path: Path) -> None:
    text = (
        '[program:chat]\ncommand=/v/vllm serve m --port 1\nenvironment=CUDA_VISIBLE_DEVICES="0,1",A=%(ENV_HOME)s\n'
        "[program:embed]\ncommand=bash -c 'vllm serve e --port 2' ; second\n[program:web]\ncommand=nginx\n"
    )

    chat, embed = read(tmp_path, "supervisord.conf", text)

    assert (chat.name, chat.model, chat.gpu_ids, chat.environment["A"]) == ("chat", "m", ("0", "1"), "${HOME}")
    assert (embed.name, embed.model, embed.flags) == ("embed", "e", {"port": 2})


def test_a_model_of_kubeai_is_a_server(tmp_path: Path) -> None:
    text = (
        "apiVersion: kubeai.org/v1\nkind: Model\nmetadata: {name: q}\nspec:\n  url: hf://org/m\n  engine: VLLM\n"
        "  args: [--max-model-len=8192]\n  resourceProfile: nvidia-gpu-l4:2\n  minReplicas: 3\n"
    )

    (server,) = read(tmp_path, "model.yaml", text)

    assert (server.name, server.model, server.gpus, server.replicas) == ("q", "org/m", 2, 3)
    assert server.flags == {"served-model-name": ["q"], "max-model-len": 8192}


def test_what_a_python_script_sets_for_its_server_is_its_environment(tmp_path: Path) -> None:
    text = "import os\nos.environ['CUDA_VISIBLE_DEVICES'] = '2'\nos.system('vllm serve m --port 1')\n"

    (server,) = read(tmp_path, "run.py", text)

    assert server.gpu_ids == ("2",)


def test_a_benchmark_of_a_server_is_no_server(tmp_path: Path) -> None:
    text = "jobs:\n  t:\n    steps:\n    - run: vllm bench serve --model m\n    - run: pip install vllm\n"

    assert read(tmp_path, "ci.yml", text) == []


def test_what_steers_a_terminal_is_written_out(tmp_path: Path) -> None:
    path = tmp_path / "run.sh"
    path.write_text("vllm serve 'a/\x1b]0;t\x07b' --x '\u202e'\n", encoding="utf-8")

    for given in (["check", str(path)], ["check", str(path), "--json"]):
        shown = CliRunner().invoke(main, given).output
        assert r"a/\u001b]0;t\u0007b" in shown
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", shown)


def test_a_word_longer_than_any_name_of_a_file_is_no_file(tmp_path: Path) -> None:
    assert read(tmp_path, "run.sh", f"{'a' * 5000} x\nsource {'b' * 5000}\n") == []


def test_what_is_left_to_fill_in_is_named(tmp_path: Path) -> None:
    (server,) = read(tmp_path, "run.sh", "vllm serve 'm' --port '<PORT>' --max-model-len {{ length }} --seed ${SEED}\n")

    assert server.unexpanded == ("<PORT>", "{{ length }}", "${SEED}")


def test_the_planners_own_script_is_read_in_its_order() -> None:
    example = Path(__file__).parents[1] / "examples" / "qwen-coder-32b-and-qwen-7b" / "artifacts" / "launch.sh"

    coder, general = read_files([example]).servers

    assert (coder.name, general.name, general.after) == ("coder", "general", ("coder",))
    assert (general.model, general.flags["port"], general.gpu_ids) == ("Qwen/Qwen2.5-7B-Instruct", 8002, ("0",))
    assert general.engine_version == "0.33.0"


def test_a_fleet_asks_for_no_more_context_than_the_model_has(tmp_path: Path) -> None:
    catalog = load_catalog(offline=True)
    found = read(tmp_path, "run.sh", "vllm serve Qwen/Qwen2.5-7B-Instruct --max-model-len 99999\n")

    text, left = to_fleet(found, catalog.gpu("RTX 4090"), catalog, "f")

    assert "context: 32768" in text
    assert left == ("run: the model has no more context than 32768; 99999 is left out",)


@pytest.mark.parametrize(
    ("start", "heeded"),
    [
        ("vllm serve m", False),
        ("python3 -m vllm.entrypoints.openai.api_server --model m", True),
        ("docker run vllm/vllm-openai:v0.27.0 python3 -m vllm.entrypoints.openai.api_server --model m", False),
        ("docker run vllm/vllm-openai:v0.28.0 python3 -m vllm.entrypoints.openai.api_server --model m", True),
    ],
)
def test_what_is_false_in_a_configuration_counts_where_the_parser_of_it_knows_the_switch(
    tmp_path: Path, start: str, heeded: bool
) -> None:
    """``vllm serve`` reads it with the parser of all commands; the module with its own, from 0.28 on."""
    (tmp_path / "c.yaml").write_text("enable-prefix-caching: false\nmax-model-len: 8192\n", encoding="utf-8")
    (server,) = read(tmp_path, "run.sh", f"{start} --config c.yaml\n")
    off = {"enable-prefix-caching": False} if heeded else {}

    assert server.flags == {"max-model-len": 8192, **off}
