"""Adopt: what files that start vLLM say, read as the programs that run them would, and nothing that they do not say."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from planner.adopt.arguments import read_arguments
from planner.adopt.compose import interpolate
from planner.adopt.documents import documents
from planner.adopt.files import read_files
from planner.adopt.shell import commands
from planner.adopt.to_fleet import to_fleet
from planner.catalog import load_catalog
from planner.cli import main
from planner.engine.options import engine_options
from planner.errors import InputError
from planner.fleet import load_fleet
from planner.plan import Plan
from planner.solve import solve

CASES = Path(__file__).parent / "cases" / "check"


def files_of(case: str) -> list[Path]:
    return sorted(path for path in (CASES / case).iterdir() if path.name != "expected.json")


def script(tmp_path: Path, text: str, name: str = "run.sh") -> list[Any]:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return list(read_files([path]).servers)


@pytest.mark.parametrize("case", sorted(path.name for path in CASES.iterdir()))
def test_every_server_and_flag_of_a_file_is_read(case: str) -> None:
    expected = json.loads((CASES / case / "expected.json").read_text(encoding="utf-8"))

    found = read_files(files_of(case)).servers

    assert [(one.name, one.model) for one in found] == [(one["name"], one["model"]) for one in expected["servers"]]
    for server, wanted in zip(found, expected["servers"], strict=True):
        assert server.flags == wanted["flags"]
        for field in ("gpus", "nodes", "replicas"):
            assert getattr(server, field) == wanted.get(field, getattr(server, field)), field
        assert list(server.gpu_ids) == wanted.get("gpu_ids", list(server.gpu_ids))


@pytest.mark.parametrize(
    ("words", "flags"),
    [
        ("m --max-model-len 8k", {"max-model-len": 8000}),
        ("m --max-model-len=8K", {"max-model-len": 8192}),
        ("m --max-model-len auto", {"max-model-len": -1}),
        ("m -tp 2 -q awq", {"tensor-parallel-size": 2, "quantization": "awq"}),
        ("m --tensor_parallel_size 2", {"tensor-parallel-size": 2}),
        ("m --no-enable-prefix-caching --enforce-eager", {"enable-prefix-caching": False, "enforce-eager": True}),
        ("m --served-model-name a b --port 1", {"served-model-name": ["a", "b"], "port": 1}),
        ("m --revision 12345", {"revision": "12345"}),
        ("m --hf-overrides.a.b 1 --hf-overrides.c x", {"hf-overrides": {"a": {"b": 1}, "c": "x"}}),
        ('m --hf-overrides {"a":1} --hf-overrides.b 2', {"hf-overrides": {"b": 2}}),
        ('m --hf-overrides.b 2 --hf-overrides {"a":1}', {"hf-overrides": {"b": 2}}),
        ("m --compilation-config.mode 3 -cc.backend x", {"compilation-config": {"backend": "x"}}),
        ("m -cc.mode 3 --compilation-config.backend x -cc.level 1", {"compilation-config": {"backend": "x"}}),
        ("m -cc.mode 3 -cc.backend x", {"compilation-config": {"mode": 3, "backend": "x"}}),
        ("m --seed -1", {"seed": -1}),
        ("m --gpu-memory-utilization ${SHARE}", {"gpu-memory-utilization": "${SHARE}"}),
        ("m ${EXTRA} --port ${PORT}", {"port": "${PORT}"}),
        ("m --port 1 --port 2", {"port": 2}),
        ("--model m --kv-cache-dtype fp8", {"kv-cache-dtype": "fp8"}),
    ],
)
def test_flags_are_read_as_the_engines_parser_does(words: str, flags: dict[str, Any]) -> None:
    found = read_arguments(words.split(), engine_options("0.33.0"))

    assert (found.model, found.flags, found.unknown) == ("m", flags, [])


def test_a_flag_the_version_does_not_have_is_named() -> None:
    found = read_arguments(["m", "--swap-space", "8", "--port", "1"], engine_options("0.33.0"))

    assert found.unknown == ["swap-space"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('X="a b"; run "$X" $X', ("run", "a b", "a", "b")),
        ("run ${X:-d} ${Y:+y} ${Z-}", ("run", "d")),
        ('A=(--a "1 2"); A+=(--b); run "${A[@]}"', ("run", "--a", "1 2", "--b")),
        ("run $(echo one two) \"$(echo 'a b')\"", ("run", "one", "two", "a b")),
        ('[ -n "$NOPE" ] && run 1; run 2', ("run", "2")),
        ('N=3; if [ "$N" -gt 2 ]; then run big; else run small; fi', ("run", "big")),
        ('case "$HOSTTYPE" in a*) run a;; *) run other;; esac', ("run", "other")),
        ("f() { run \"$1\" --x; }; f 'a b'", ("run", "a b", "--x")),
        ("P=/a/b.c; run ${P##*/} ${P%.*} ${#P}", ("run", "b.c", "/a/b", "6")),
        ("run a \\\n  # no\n b", ("run", "a")),
        ('set -- x y; run "$@" $#', ("run", "x", "y", "${#}")),
    ],
)
def test_the_shell_is_followed(text: str, words: tuple[str, ...]) -> None:
    assert commands(text)[0].words == words


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${A}", "1"), ("$A-$$A", "1-$A"), ("${B:-x${A}}", "x1"), ("${A:+y}", "y"), ("${B+y}", ""), ("${B}", "${B}"),
        ('{"a":${A:-2},"b":{"c":${B:-3}}}', '{"a":1,"b":{"c":3}}'),
    ],
)  # fmt: skip
def test_compose_puts_its_own_variables_in(text: str, value: str) -> None:
    assert interpolate(text, {"A": "1"}) == value


@pytest.mark.parametrize(
    "line",
    [
        "exec vllm serve m --port 1",
        "HF_HOME=/x nohup /opt/v/bin/vllm serve m --port 1 > log 2>&1 &",
        "python3 -m vllm.entrypoints.openai.api_server --model m --port 1",
        "uv run --with vllm vllm serve m --port 1",
        "sudo -u llm env A=1 numactl --cpunodebind=0 vllm serve m --port 1",
        "bash -c 'cd /x && vllm serve m --port 1'",
        "docker run --rm --gpus all -e A=1 -p 8000:8000 vllm/vllm-openai:v0.20.0 --model m --port 1",
        "podman run --device nvidia.com/gpu=all docker.io/vllm/vllm-openai:v0.20.0 m --port 1",
        "ssh host true; vllm serve m --port 1 | tee log",
    ],
)
def test_the_engine_is_found_behind_what_starts_it(tmp_path: Path, line: str) -> None:
    (found,) = script(tmp_path, line)

    assert (found.model, found.flags) == ("m", {"port": 1})


@pytest.mark.parametrize(
    "line", ["pip install vllm", "vllm bench serve --model m", "echo vllm serve m", "# vllm serve m"]
)
def test_what_only_names_the_engine_starts_no_server(tmp_path: Path, line: str) -> None:
    assert script(tmp_path, line) == []


def test_servers_of_other_engines_are_named_and_left_out(tmp_path: Path) -> None:
    path = tmp_path / "compose.yaml"
    path.write_text("services:\n  a: {image: ollama/ollama}\n  b: {image: 'vllm/vllm-openai:v0.20.0', command: [m]}\n")

    found = read_files([path])

    assert [one.name for one in found.servers] == ["b"]
    assert [(one.name, one.engine) for one in found.others] == [("a", "ollama")]


def test_nothing_of_a_file_is_run(tmp_path: Path) -> None:
    script(tmp_path, f"touch {tmp_path}/made\nX=$(touch {tmp_path}/made2) vllm serve m\n")

    assert not list(tmp_path.glob("made*"))


def test_only_files_beside_the_given_ones_are_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("vllm serve secret\n")
    inner = tmp_path / "inner"
    inner.mkdir()

    assert script(inner, "source ../secret\nbash ../../secret\n. /etc/passwd\nvllm serve m") != []
    assert [one.model for one in script(inner, "source ../secret\nvllm serve m")] == ["m"]


@pytest.mark.parametrize(
    "data",
    [b"\x00\x01\x02", b"a: &a [x,x]\nb: &b [*a,*a]\n" + b"".join(b"c%d: &c%d [*b,*b,*b]\n" % (n, n) for n in range(9))],
)
def test_files_that_are_none_are_refused_or_empty(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(data)

    try:
        assert read_files([path]).servers == ()
    except InputError as error:
        assert str(path) in str(error)


def test_aliases_may_not_grow_a_file() -> None:
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]

    with pytest.raises(ValueError, match="aliases"):
        documents("\n".join(rows))


@pytest.mark.parametrize(
    "text", ["f() { f; f; }; f", "while true; do X=$X$X.; done", "X=aaaaaaaaaa\n" + "X=$X$X\n" * 64]
)
def test_a_script_without_an_end_is_cut(tmp_path: Path, text: str) -> None:
    assert script(tmp_path, text) == []


def check(*arguments: str) -> dict[str, Any]:
    done = CliRunner().invoke(main, ["check", *arguments, "--json"])
    assert done.exit_code in (0, 3), done.output
    facts: dict[str, Any] = json.loads(done.stdout)
    assert done.exit_code == (3 if facts["starts"] is False else 0)
    return facts


def test_a_server_is_judged_by_the_engines_rules_and_told_the_least_change() -> None:
    facts = check(*map(str, files_of("shell-hybrid-default-seqs")), "--gpu", "H100 SXM 80GB")

    (server,) = facts["servers"]
    assert server["starts"] is False
    assert "Mamba cache blocks" in server["reason"]
    assert server["change"] == {"max-num-seqs": 512}


def test_without_a_gpu_nothing_is_claimed() -> None:
    facts = check(*map(str, files_of("quadlet-exec")))

    assert facts["starts"] is None
    assert "--gpu" in facts["servers"][0]["reason"]


def test_a_flag_the_version_lacks_is_a_reason() -> None:
    facts = check(*map(str, files_of("production-stack-values-two-models")))

    assert [(one["starts"], one["unknown_flags"]) for one in facts["servers"]] == [
        (False, ["disable-log-requests"]),
        (None, []),
    ]


def test_the_second_server_finds_what_the_first_one_holds(tmp_path: Path) -> None:
    path = tmp_path / "run.sh"
    path.write_text(
        "".join(f"vllm serve Qwen/Qwen3-8B --port {port} --gpu-memory-utilization 0.9 &\n" for port in (1, 2))
    )

    facts = check(str(path), "--gpu", "H100 SXM 80GB", "--engine-version", "0.20.2")

    assert facts["starts"] is False


def test_the_fleet_of_what_runs_can_be_solved(tmp_path: Path) -> None:
    source, target = tmp_path / "run.sh", tmp_path / "fleet.yaml"
    source.write_text(
        "vllm serve Qwen/Qwen3-8B --max-model-len 16384 --max-num-seqs 16 --kv-cache-dtype fp8 --port 8010 --seed 3 "
        "--enforce-eager &\n"
    )
    run = CliRunner().invoke

    done = run(main, ["check", str(source), "--gpu", "L40S", "--to-fleet", str(target)])
    planned = run(main, ["solve", str(target), "--dry-run", "--json"])
    again = run(main, ["check", str(source), "--gpu", "L40S", "--to-fleet", str(target)])

    assert "run: --seed has no key in a fleet" in done.output
    assert "run: --enforce-eager is left out; the key eager of a role asks for it" in done.output
    (server,) = json.loads(planned.stdout)["servers"]
    assert (server["repository"], server["kv_cache_dtype"], server["port"]) == ("Qwen/Qwen3-8B", "fp8", 8010)
    assert (server["max_model_len"], server["max_num_seqs"]) == (16384, 16)
    assert again.exit_code == 5


@pytest.mark.parametrize("case", sorted(path.name for path in CASES.iterdir()))
def test_the_fleet_of_every_file_can_be_solved(case: str, tmp_path: Path) -> None:
    catalog, target = load_catalog(offline=True), tmp_path / "fleet.yaml"
    servers = read_files(files_of(case)).servers

    text, left = to_fleet(servers, catalog.gpu("H200"), catalog, case)
    unknown = [sentence for sentence in left if "is not in the catalog" in sentence]

    if len(unknown) == len(servers):
        assert text == ""
        return
    target.write_text(text, encoding="utf-8")
    plan = solve(load_fleet(target, catalog), catalog)
    assert isinstance(plan, Plan)
    assert {server.role for server in plan.servers} == {role.name for role in load_fleet(target, catalog).roles}
    assert len(plan.servers) >= len(servers) - len(unknown)


def test_no_fleet_is_written_where_no_model_is_known(tmp_path: Path) -> None:
    path, target = tmp_path / "run.sh", tmp_path / "fleet.yaml"
    path.write_text("vllm serve /models/nobodys-own\n")

    done = CliRunner().invoke(main, ["check", str(path), "--gpu", "L40S", "--offline", "--to-fleet", str(target)])

    assert "/models/nobodys-own is not in the catalog" in done.output
    assert not target.exists()
