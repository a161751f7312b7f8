"""Roles that write down speech: what a fleet may say of them, what is sized, and how a recording finds its server."""

import json
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import parsed
import plans
import pytest
from staged import KEY, free_ports, program, shellcheck, stage
from test_artifacts import TARGETS, run

from planner.artifacts import render, write
from planner.artifacts.bench import bench
from planner.artifacts.read_back import read_back
from planner.catalog import Catalog, load_catalog
from planner.catalog.asked import asked_model
from planner.errors import InputError
from planner.fleet import Fleet, load_fleet
from planner.fleet.open_role import open_candidates
from planner.plan import NoPlan, Plan
from planner.solve import solve
from planner.tensors.weights import Rank, parameter_bytes


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


FLEET = """\
name: office
gpu: l4
roles:
  ear:
    task: {task}
    models: {model}
    context: 448
"""


def load(
    folder: Path, catalog: Catalog, *more: str, task: str = "transcription", model: str = "whisper-small"
) -> Fleet:
    path = folder / "fleet.yaml"
    path.write_text(FLEET.format(task=task, model=model) + "".join(f"{line}\n" for line in more), encoding="utf-8")
    return load_fleet(path, catalog)


def test_a_recording_wants_a_model_that_hears_and_such_a_model_does_nothing_else(
    tmp_path: Path, catalog: Catalog
) -> None:
    assert [model.name for model in load(tmp_path, catalog).roles[0].models] == ["whisper-small"]
    for task, model in (("transcription", "Qwen3-4B"), ("chat", "whisper-small"), ("embedding", "whisper-small")):
        with pytest.raises(InputError) as refused:
            load(tmp_path, catalog, task=task, model=model)
        assert f"{model} does not do the task {task}" in str(refused.value)


def test_a_role_that_speaks_is_refused_by_its_name(tmp_path: Path, catalog: Catalog) -> None:
    with pytest.raises(InputError) as refused:
        load(tmp_path, catalog, task="speech")

    assert "roles.ear.task: vLLM serves no model that speaks" in str(refused.value)
    assert "transcription is speech to text" in str(refused.value)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("    speed: {ttft: 1s}", "roles.ear.speed: the speed of transcription is not known"),
        ("    images: {per_request: 1}", "roles.ear.images: the task transcription takes sound alone"),
        ("    speculative: ngram", "roles.ear.speculative: no server that writes down speech"),
        ("    pipeline_parallel: 2", "roles.ear.pipeline_parallel: a role for transcription has no pipeline stages"),
        ("objective: throughput", "roles.ear.task: the speed of transcription is not known"),
    ],
)
def test_what_a_hearing_role_cannot_have_is_refused(tmp_path: Path, catalog: Catalog, line: str, problem: str) -> None:
    with pytest.raises(InputError) as refused:
        load(tmp_path, catalog, line)

    assert problem in str(refused.value)


def test_the_best_known_model_that_hears_is_the_one_with_the_fewest_wrong_words(catalog: Catalog) -> None:
    models = open_candidates(catalog, "transcription")
    scale = catalog.accuracy.scale_for("transcription", models)
    scores = {m.name: catalog.accuracy.of(m, m.variants[0], "transcription", scale=scale).score for m in models}

    assert scale == "open-asr-short"
    assert (scores["whisper-large-v3"] or 0) > (scores["whisper-large-v3-turbo"] or 0) > 9000


@pytest.mark.parametrize(
    ("size", "mib"), [("tiny", 144), ("base", 277), ("small", 922), ("medium", 2914), ("large-v3", 5887)]
)
def test_the_shapes_have_the_parameters_that_the_published_files_hold(catalog: Catalog, size: str, mib: int) -> None:
    """Four bytes for each parameter, as MTEB publishes them; the engine adds the biases that keys do not have."""
    name = f"openai/whisper-{size}"
    asked = asked_model(catalog, name)
    config = catalog.find(name)[0].config
    keys = config["encoder_layers"] + 2 * config["decoder_layers"]
    held = parameter_bytes(asked.architecture, asked.quantization, Rank()) // 2 - keys * config["d_model"]

    assert held == catalog.find(name)[0].parameters
    assert abs(held * 4 / 2**20 - mib) < 1


def test_nothing_is_said_of_the_speed_of_an_encoder(tmp_path: Path, catalog: Catalog) -> None:
    fleet = load(tmp_path, catalog, "    request: {prompt_tokens: 4, output_tokens: 200}", "    concurrency: 4")

    plan = solve(fleet, catalog)
    assert isinstance(plan, Plan)
    (server,) = plan.servers

    assert (server.task, server.max_model_len, server.pooling) == ("transcription", 448, False)
    assert server.speed is not None
    assert server.speed.reason == "what the encoder of WhisperForConditionalGeneration takes has not been measured"
    assert server.concurrency_request >= 4


def test_a_folder_with_a_model_that_only_reads_is_no_candidate(tmp_path: Path, catalog: Catalog) -> None:
    (tmp_path / "reader").mkdir()
    config = {**catalog.find("Qwen/Qwen3-4B")[0].config}
    (tmp_path / "reader" / "config.json").write_text(json.dumps(config), encoding="utf-8")

    answer = solve(load(tmp_path, catalog, model=f"{tmp_path}/reader"), catalog)

    assert isinstance(answer, NoPlan)
    details = [rejection.detail for rejection in answer.rejections]
    assert details == ["vLLM does not serve Qwen3ForCausalLM at /v1/audio/transcriptions, as far as is known here"]


def test_the_benchmark_of_the_engine_has_no_recordings() -> None:
    assert bench(plans.server("ear", task="transcription", max_model_len=448), "0.33.0").arguments == ()


def test_what_is_rendered_for_roles_that_hear_passes_the_programs_that_read_it(tmp_path: Path) -> None:
    ear = plans.server("ear", task="transcription", max_model_len=448)
    write(render(plans.plan(ear, plans.server("chat", port=8002)), targets=TARGETS), tmp_path)

    scripts = [tmp_path / name for name in ("gate.sh", "launch.sh", "smoke.sh", "load.sh")]
    shellcheck(*scripts)
    run("shfmt", "-d", "-i", "2", "-ci", "-bn", *scripts)
    run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", tmp_path / "compose.yaml")
    run("haproxy", "-q", "-c", "-f", tmp_path / "router" / "haproxy.cfg", VLLM_API_KEY="x")
    assert {command.server for command in read_back(tmp_path)["compose.yaml"]} == {"ear", "chat"}


def test_every_target_asks_for_the_libraries_that_read_sound_and_only_for_roles_that_hear() -> None:
    ear = plans.server("ear", task="transcription", max_model_len=448)
    both = render(plans.plan(ear, plans.server("chat", port=8002)), targets=TARGETS)
    without = render(plans.plan(plans.server("chat")), targets=TARGETS)
    service = parsed.one(both["compose.yaml"].text)["services"]["ear"]

    assert 'RUN uv pip install --system "vllm[audio]==0.33.0"' in service["build"]["dockerfile_inline"]
    for path, told in {
        "compose.yaml": "--extra=audio",
        "systemd/planner-workstation--ear.service": "--extra audio",
        "quadlet/planner-workstation--ear.container": "--extra audio",
        "kubernetes/fleet/servers.yaml": "--extra=audio",
        "launch.sh": "extra=(--extra audio)",
    }.items():
        assert both[path].text.count(told) == 1
    assert "vllm[audio]" in both["README.md"].text
    assert not any("--extra" in file.text or "audio]" in file.text for file in without.values())


@pytest.fixture(scope="module", params=[1, 2])
def door(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    """How many roles hear, and the port of the router before them and a role that chats."""
    program("haproxy")
    *ports, router = free_ports(4)
    hearing = ["ear", "ear.two"][: request.param]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("planner.artifacts.router.ROUTER_PORT", router)
        servers = [
            plans.server(name, port=port, task="transcription", max_model_len=448)
            for name, port in zip(hearing, ports, strict=False)
        ]
        fleet = plans.plan(*servers, plans.server("chat", port=ports[2]))
        staged = stage(fleet, tmp_path_factory.mktemp("door"), PLANNER_ROUTER="on", FAKE_START_SECONDS="0.1")
    deaf = staged.run("launch.sh", "up")
    assert deaf.returncode == 78
    assert "vllm on PATH reads no sound: install vllm[audio]==0.33.0" in deaf.stderr
    library = staged.folder.parent / "site" / "soundfile.py"
    library.parent.mkdir()
    library.touch()
    staged.environment["PYTHONPATH"] = str(library.parent)
    up = staged.run("launch.sh", "up")
    assert up.returncode == 0, up.stderr
    smoke = staged.run("smoke.sh")
    assert smoke.returncode == 0, smoke.stdout
    for name in (*hearing, "router"):
        assert f"{name:20} transcription" in smoke.stdout
    yield request.param, router
    staged.run("launch.sh", "down")


def send(port: int, model: str, file: bytes, *, model_first: bool = True) -> tuple[int, dict[str, object]]:
    fields = [
        f'name="model"\r\n\r\n{model}'.encode(),
        b'name="file"; filename="a.wav"\r\nContent-Type: audio/wav\r\n\r\n' + file,
    ]
    parts = fields if model_first else fields[::-1]
    body = b"".join(b"--X\r\nContent-Disposition: form-data; " + part + b"\r\n" for part in parts) + b"--X--\r\n"
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "multipart/form-data; boundary=X"}
    with closing(HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        connection.request("POST", "/v1/audio/transcriptions", body, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def test_a_recording_larger_than_any_text_reaches_the_server_of_its_role(door: tuple[int, int]) -> None:
    roles, port = door
    recording = bytes(range(256)) * 4 * 2**12 * 5

    for name in ["ear", "ear.two"][:roles]:
        status, answer = send(port, name, recording)
        assert (status, answer["served_by"], answer["received"]) == (200, name, len(recording))


def test_a_model_that_does_not_hear_gets_no_recording(door: tuple[int, int]) -> None:
    _, port = door

    for name in ("chat", "earXtwo", "no-such-model"):
        assert send(port, name, b"\0" * 1000)[0] == 404


def test_the_one_role_that_hears_has_a_recording_whose_model_comes_last(door: tuple[int, int]) -> None:
    roles, port = door

    assert send(port, "ear", bytes(2**20), model_first=False)[0] == 200
    assert send(port, "ear", bytes(5 * 2**20), model_first=False)[0] == (200 if roles == 1 else 404)


def test_a_recording_that_the_engine_would_refuse_is_not_let_in(door: tuple[int, int]) -> None:
    _, port = door
    with closing(HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        connection.putrequest("POST", "/v1/audio/transcriptions")
        connection.putheader("Authorization", f"Bearer {KEY}")
        connection.putheader("Content-Length", str(27 * 2**20))
        connection.endheaders()
        assert connection.getresponse().status == 413
