"""What a role pins of the engine arrives in the plan, on every command line, and comes back from them."""

import codecs
from pathlib import Path
from typing import Any

import jinja2
import pytest
from commands import run, solved
from fleets import catalog, changed, fleet
from msgspec.structs import replace
from plans import plan, server

from planner.artifacts.read_back import read_back
from planner.artifacts.serve_args import planned_server, serve_arguments
from planner.check import check
from planner.engine.adapters import Lora
from planner.engine.chat_templates import chat_template
from planner.engine.flags import ServeFlags, default_flags
from planner.engine.images import Images
from planner.engine.options import engine_options
from planner.engine.profile import load_profile
from planner.engine.settings import NOTHING, SETTINGS, EngineSettings, read_settings, serve_flags, settings_options
from planner.engine.speculation import Speculation
from planner.errors import InputError
from planner.fleet.engine_keys import EngineKeys
from planner.memory.cuda_graphs import capture_sizes
from planner.memory.pins import server_refusal
from planner.memory.terms import Server, Terms, terms
from planner.options.served import served
from planner.plan import plan_to_yaml
from planner.tensors.kv_pages import state_bytes, state_dtypes
from planner.units import GIB

SMALL: dict[str, Any] = {
    "name": "small",
    "engine": {"name": "vllm", "version": "0.33.0"},
    "gpu": {"name": "L4"},
    "roles": {
        "chat": {"task": "chat", "models": ["Qwen2.5-7B-Instruct"], "schemes": "awq-int4", "context": "8k"},
    },
}
TARGETS = ("quadlet", "kubernetes", "helm-values")
GIVEN: dict[str, tuple[Any, EngineSettings]] = {
    "eager": (True, EngineSettings(eager=True)),
    "cpu_offload": ("8GiB", EngineSettings(cpu_offload_bytes=8 * GIB)),
    "kv_offload": ("64GiB", EngineSettings(kv_offload_bytes=64 * GIB)),
    "block_size": (32, EngineSettings(block_size=32)),
    "mamba_cache_dtype": ("float32", EngineSettings(mamba_cache_dtype="float32")),
    "mamba_ssm_cache_dtype": ("float16", EngineSettings(mamba_ssm_cache_dtype="float16")),
    "capture_sizes": ([4, 1, 2], EngineSettings(capture_sizes=(1, 2, 4))),
    "max_capture_size": (64, EngineSettings(max_capture_size=64)),
    "attention_backend": ("TRITON_ATTN", EngineSettings(attention_backend="TRITON_ATTN")),
    "moe_backend": ("triton", EngineSettings(moe_backend="triton")),
    "env": ({"NCCL_DEBUG": "WARN", "A_B": 1}, EngineSettings(env=("A_B=1", "NCCL_DEBUG=WARN"))),
    "extra_args": (
        ["--max-log-len=200", "--allowed-origins", '["https://a b"]', "--enable-log-requests"],
        EngineSettings(
            extra_args=("--max-log-len 200", """--allowed-origins '["https://a b"]'""", "--enable-log-requests")
        ),
    ),
    "lora": (
        {"adapters": 2, "rank": 32, "held": 4, "modules": ["q_proj", "o_proj"], "names": {"sql": "org/sql"}},
        EngineSettings(
            lora=Lora(adapters=2, rank=32, held=4, modules=("q_proj", "o_proj"), names=(("sql", "org/sql"),))
        ),
    ),
    "speculative": (
        {"method": "ngram", "tokens": 3},
        EngineSettings(speculative=Speculation(method="ngram", tokens=3)),
    ),
    "images": ({"per_request": 4, "videos": 0}, EngineSettings(images=Images(per_request=4, videos=0))),
    "language_model_only": (True, EngineSettings(language_model_only=True)),
}
"""Each key with a value as a fleet file has it, and what is made of it."""


def test_every_setting_has_a_key_and_a_case() -> None:
    fields = list(EngineSettings.__struct_fields__)
    flags = set(ServeFlags.__struct_fields__)

    assert sorted(fields) == sorted(setting.field for setting in SETTINGS)
    assert {setting.key for setting in SETTINGS} == set(GIVEN) == set(EngineKeys.model_fields)
    assert {setting.flag for setting in SETTINGS if setting.flag} <= flags
    assert set(EngineKeys.later) == set(EngineKeys.model_fields)


@pytest.mark.parametrize("key", GIVEN)
def test_a_key_arrives(key: str) -> None:
    value, wanted = GIVEN[key]

    assert fleet(changed(SMALL, f"roles.chat.{key}", value)).role("chat").settings == wanted


def test_no_images_at_all_may_be_said_by_the_number_alone() -> None:
    assert fleet(changed(SMALL, "roles.chat.images", 0)).role("chat").settings.images == Images(per_request=0)


@pytest.mark.parametrize("key", GIVEN)
def test_a_setting_comes_back_from_its_options(key: str) -> None:
    settings = GIVEN[key][1]
    options = settings_options(settings, engine_options("0.33.0"))
    pinned = server("chat", settings=settings)

    assert read_settings(dict(options), settings) == settings
    assert planned_server(pinned, serve_arguments(pinned, engine_options("0.33.0"))) == pinned


@pytest.mark.parametrize("key", GIVEN)
def test_a_fleet_that_pins_nothing_has_the_digest_of_one_without_the_key(key: str) -> None:
    nothing = EngineKeys.model_fields[key].default
    plain = fleet(SMALL)
    document = SMALL if nothing in (None, "", ()) else changed(SMALL, f"roles.chat.{key}", nothing)

    assert fleet(document).source_sha256 == plain.source_sha256
    assert fleet(changed(SMALL, f"roles.chat.{key}", GIVEN[key][0])).source_sha256 != plain.source_sha256
    assert plain.role("chat").settings == NOTHING


def test_a_pin_is_sized_rendered_in_every_target_and_verified(tmp_path: Path) -> None:
    targets = [word for target in TARGETS for word in ("--target", target)]
    found = solved(tmp_path, changed(SMALL, "roles.chat.eager", True), *targets)
    (chat,) = found.servers

    assert chat.settings == EngineSettings(eager=True)
    assert chat.ledger.cuda_graph_bytes == 0
    assert "eager true" in run("solve", str(tmp_path / "fleet.yaml"), "--out", str(tmp_path))[1]
    commands = {path: command for path, (command,) in read_back(tmp_path / "artifacts").items()}
    assert {path.split("/")[0] for path in commands} == {"launch.sh", "compose.yaml", "systemd", *TARGETS}
    assert all("--enforce-eager" in [one.flag for one in command.arguments] for command in commands.values())
    assert run("verify", str(tmp_path))[0] == 0

    launch = tmp_path / "artifacts" / "launch.sh"
    launch.write_text(launch.read_text(encoding="utf-8").replace("        --enforce-eager\n", ""), encoding="utf-8")
    code, output = run("verify", str(tmp_path))
    assert code == 5
    assert "lacks --enforce-eager" in output


def test_a_plan_whose_pin_was_edited_fails_its_check(tmp_path: Path) -> None:
    found = solved(tmp_path, SMALL)
    assert "settings" not in (tmp_path / "plan.yaml").read_text(encoding="utf-8")
    (chat,) = found.servers
    edited = replace(found, servers=(replace(chat, settings=EngineSettings(eager=True)),))

    assert check(found, fleet(SMALL), catalog()) == []
    assert "settings is" in check(edited, fleet(SMALL), catalog())[0].message


def test_a_difference_is_told_with_the_key(tmp_path: Path) -> None:
    for name, settings in (("old", NOTHING), ("new", EngineSettings(eager=True))):
        text = plan_to_yaml(plan(server("chat", settings=settings)))
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")

    code, output = run("diff", str(tmp_path / "old.yaml"), str(tmp_path / "new.yaml"))
    assert code == 5
    assert "chat: settings of the engine eager true instead of nothing" in output


def sized(name: str, version: str = "0.33.0", **flags: Any) -> Server:  # noqa: ANN401 - any field of ServeFlags
    """Return the server that a catalog model is at 8k with these flags."""
    model, variant = catalog().find(name)
    architecture, quantization = served(model, variant, "chat")
    profile = load_profile(version)
    return Server(
        architecture=architecture,
        quantization=quantization,
        flags=default_flags(profile, catalog().gpu("H100"), architecture, max_model_len=8192, max_num_seqs=8, **flags),
    )


def found(server: Server, version: str = "0.33.0") -> Terms:
    return terms(server, catalog().gpu("H100"), load_profile(version))


def test_layers_move_to_the_host_and_embeddings_stay() -> None:
    plain = found(sized("Qwen/Qwen2.5-7B-Instruct")).weights_bytes
    some = found(sized("Qwen/Qwen2.5-7B-Instruct", cpu_offload_bytes=4 * GIB)).weights_bytes
    all_of_it = found(sized("Qwen/Qwen2.5-7B-Instruct", cpu_offload_bytes=100 * GIB)).weights_bytes

    assert plain - some == 4 * GIB
    assert all_of_it > 2 * 152_064 * 3584 * 2  # the embedding and the head, which are no layers


@pytest.mark.parametrize(
    ("flags", "captured"),
    [
        ({"capture_sizes": (1, 2, 4)}, (1, 2, 4)),
        ({"max_capture_size": 16}, (1, 2, 4, 8, 16)),
        ({"enforce_eager": True}, ()),
    ],
)
def test_graphs_are_captured_for_the_sizes_that_are_pinned(flags: dict[str, Any], captured: tuple[int, ...]) -> None:
    server, gpu = sized("Qwen/Qwen2.5-7B-Instruct", **flags), catalog().gpu("H100")

    assert capture_sizes(server.flags, load_profile("0.33.0"), gpu) == captured
    if len(captured) < 5:
        assert found(server).cuda_graph_bytes < found(sized("Qwen/Qwen2.5-7B-Instruct")).cuda_graph_bytes


def test_states_have_the_dtype_that_is_pinned() -> None:
    states = [layer.state for layer in sized("Qwen/Qwen3-Next-80B-A3B-Instruct").architecture.layers if layer.state]
    own, wide, half = (
        state_bytes(states[0], 2, 1, state_dtypes(*told))
        for told in (("auto", "auto"), ("float32", "auto"), ("auto", "float16"))
    )
    values = states[0].heads * states[0].head_dim * states[0].key_head_dim

    assert wide > own >= half
    assert half == own - values * ((states[0].state_dtype_bytes or 2) - 2)


@pytest.mark.parametrize(("cache", "states", "page"), [("float32", "auto", 2_195_456), ("auto", "float32", 2_146_304)])
def test_a_state_is_as_large_as_the_engine_says(cache: str, states: str, page: int) -> None:
    """vLLM 0.32.0 built the model on the meta device with these options, and printed its layers' pages."""
    layers = sized("Qwen/Qwen3-Next-80B-A3B-Instruct").architecture.layers
    state = next(layer.state for layer in layers if layer.state)

    assert state_bytes(state, 2, 1, state_dtypes(cache, states)) == page


@pytest.mark.parametrize(
    ("settings", "version", "rule"),
    [
        (EngineSettings(moe_backend="nothing"), "0.33.0", "pinned-option"),
        (EngineSettings(moe_backend="triton"), "0.12.0", "pinned-option"),
        (EngineSettings(mamba_cache_dtype="bfloat16"), "0.12.0", "pinned-option"),
        (EngineSettings(kv_offload_bytes=GIB), "0.13.0", "host-cache"),
        (EngineSettings(capture_sizes=(4096, 8192)), "0.33.0", "capture-sizes"),
        (EngineSettings(attention_backend="FLASHMLA"), "0.33.0", "no-backend"),
    ],
)
def test_what_an_engine_refuses_of_a_pin(settings: EngineSettings, version: str, rule: str) -> None:
    server = sized("Qwen/Qwen2.5-7B-Instruct", version, max_num_batched_tokens=2048, **serve_flags(settings))
    refused = server_refusal(server, settings, load_profile(version), catalog().gpu("H100"))

    assert refused is not None
    assert refused.rule == rule


def test_windows_keep_a_cache_in_host_memory_out_of_older_engines() -> None:
    settings = EngineSettings(kv_offload_bytes=GIB, cpu_offload_bytes=GIB)
    gpu = catalog().gpu("H100")
    rules = {
        version: server_refusal(sized("google/gemma-3-27b-it", version), settings, load_profile(version), gpu)
        for version in ("0.19.0", "0.20.2", "0.33.0")
    }

    assert {version: rule and rule.rule for version, rule in rules.items()} == {
        "0.19.0": "offload-groups",
        "0.20.2": "host-cache-groups",
        "0.33.0": None,
    }


def test_a_cache_that_nobody_measured_is_planned_when_it_is_pinned(tmp_path: Path) -> None:
    document = changed(changed(SMALL, "roles.chat.kv_cache_dtype", "int8_per_token_head"), "gpu.name", "RTX 4090")
    plain = solved(tmp_path, changed(document, "roles.chat.kv_cache_dtype", "auto")).servers[0]
    packed = solved(tmp_path, document).servers[0]

    assert packed.kv_cache_dtype == "int8_per_token_head"
    assert packed.accuracy.label == "unknown"
    assert packed.kv_cache_tokens >= plain.kv_cache_tokens
    assert run("verify", str(tmp_path))[0] == 0


@pytest.mark.parametrize(
    ("pins", "said"),
    [
        ({"capture_sizes": [1, 2], "max_capture_size": 4}, "say the same thing"),
        ({"eager": True, "max_capture_size": 4}, "no CUDA graphs are captured"),
        ({"block_size": 24}, "a multiple of 16"),
        ({"capture_sizes": 8}, "a list of batch sizes.*\n  hint: one size is max_capture_size: 8"),
        ({"capture_sizes": True}, "a list of batch sizes.*, not true$"),
        ({"mamba_cache_dtype": "fp8"}, "unknown dtype"),
    ],
)
def test_a_contradiction_is_told_with_its_key(pins: dict[str, Any], said: str) -> None:
    document = SMALL
    for key, value in pins.items():
        document = changed(document, f"roles.chat.{key}", value)

    with pytest.raises(InputError, match=said):
        fleet(document)


ODD = {"A": "two words", "B": "$HOME %h 'x' \"y\"", "C": "back\\slash"}


def test_what_is_in_no_option_is_in_the_environment_of_every_target(tmp_path: Path) -> None:
    targets = [word for target in TARGETS for word in ("--target", target)]
    solved(tmp_path, changed(SMALL, "roles.chat.env", ODD), *targets)

    for path, commands in read_back(tmp_path / "artifacts").items():
        for command in commands:
            assert {name: command.environment.get(name) for name in ODD} == ODD, path
    assert run("verify", str(tmp_path))[0] == 0

    unit = next((tmp_path / "artifacts" / "systemd").glob("*chat.service"))
    unit.write_text(unit.read_text(encoding="utf-8").replace("two words", "two words more"), encoding="utf-8")
    assert "has A=two words more in its environment, planned A=two words" in run("verify", str(tmp_path))[1]


@pytest.mark.parametrize(
    ("written", "made"),
    [
        ({"max-log-len": 200, "log-stats": False}, ("--max-log-len 200", "--no-log-stats")),
        (["--max_log_len 200"], ("--max-log-len 200",)),
        ("--seed=-1", ("--seed -1",)),
        ({"media-io-kwargs": {"b": 1, "a": [2]}}, ("""--media-io-kwargs '{"a": [2], "b": 1}'""",)),
    ],
)
def test_extra_args_are_read_as_people_write_them(written: object, made: tuple[str, ...]) -> None:
    assert EngineKeys.model_validate({"extra_args": written}).extra_args == made


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("extra_args", ["--max-model-len", 4096], "the plan sets --max-model-len itself"),
        ("extra_args", ["--max_num_seqs=4"], "the key for it is concurrency"),
        ("extra_args", ["--no-enable-expert-parallel"], "expert_parallel"),
        ("extra_args", ["--enforce-eager"], "write eager"),
        ("extra_args", ["--max-loras=4"], "write lora"),
        ("extra_args", ["--spec-method", "ngram"], "the key for it is speculative"),
        ("extra_args", ["--limit-mm-per-prompt.image=2"], "the key for it is images"),
        ("extra_args", ["--api-key", "x"], "environment file"),
        ("extra_args", ["--kv-cache-dtype-skip-layers", 1], "how the KV cache is cut"),
        ("extra_args", ["--max-log-lenn", 3], "did you mean --max-log-len"),
        ("extra_args", ["--seed"], "takes --seed with a value"),
        ("attention_backend", "FLASHATTN", "did you mean FLASH_ATTN"),
        ("moe_backend", "flashinfer_cutlas", "did you mean flashinfer_cutlass"),
        ("extra_args", ["-tp", 2], "not the long name"),
        ("extra_args", ["--seed=1", "--seed=2"], "there twice"),
        ("extra_args", [7], "belongs to no option"),
        ("env", {"HF_TOKEN": "hf_x"}, "looks like a secret"),
        ("env", {"VLLM_API_KEY": "x"}, "looks like a secret"),
        ("env", {"CUDA_VISIBLE_DEVICES": "0"}, "the artifacts set"),
        ("env", {"VLLM_ATTENTION_BACKEND": "FLASH_ATTN"}, "attention_backend"),
        ("env", {"A": True}, "text or a number"),
        ("env", {"a b": 1}, "not the name of a variable"),
    ],
)
def test_what_contradicts_the_plan_is_refused_with_its_place(key: str, value: object, said: str) -> None:
    with pytest.raises(InputError, match=said) as error:
        fleet(changed(SMALL, f"roles.chat.{key}", value))

    assert f"roles.chat.{key}" in str(error.value)


def test_what_nobody_knows_the_price_of_is_said_to_be_unpriced(tmp_path: Path) -> None:
    document = changed(SMALL, "roles.chat.extra_args", ["--max-log-len=200", "--disable-custom-all-reduce"])
    solved(tmp_path, document)
    text = " ".join(run("solve", str(tmp_path / "fleet.yaml"), "--out", str(tmp_path))[1].split())

    assert "--max-log-len 200, --disable-custom-all-reduce (what it costs in memory is not known)" in text


def test_prefix_caching_among_the_extra_args_is_priced() -> None:
    assert serve_flags(EngineSettings(extra_args=("--no-enable-prefix-caching",))) == {"prefix_caching": False}


@pytest.mark.parametrize(
    ("version", "option"), [("0.33.0", "--disable-prefix-caching"), ("0.19.0", "--no-enable-prefix-caching")]
)
def test_a_switch_is_spelled_as_the_version_does(version: str, option: str) -> None:
    for written in ("--no-enable-prefix-caching", "--disable-prefix-caching"):
        settings = EngineSettings(extra_args=(written,))
        found = settings_options(settings, engine_options(version))

        assert found == ((option, ()),)
        assert read_settings(dict(found), settings) == settings


def test_a_parser_of_the_users_own_takes_the_place_of_the_models() -> None:
    pins = EngineSettings(extra_args=("--tool-call-parser hermes",))
    arguments = serve_arguments(server("chat", tool_parser="mistral", settings=pins), engine_options("0.33.0"))

    assert [one.value for one in arguments if one.flag == "--tool-call-parser"] == ["hermes"]


def test_an_original_reranker_gets_the_prompt_it_was_trained_on(tmp_path: Path) -> None:
    role = {"task": "rerank", "models": ["Qwen3-Reranker-0.6B"], "context": "8k"}
    (found,) = solved(tmp_path, {**SMALL, "roles": {"rank": role}}).servers
    template = codecs.decode(found.chat_template, "unicode_escape")  # as the engine reads an option that is no file
    messages = [{"role": "query", "content": "why?"}, {"role": "document", "content": "because."}]
    prompt = jinja2.Template(template, keep_trailing_newline=True).render(messages=messages)

    assert prompt.startswith("<|im_start|>system\nJudge whether")
    assert "<Query>: why?\n<Document>: because.<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n" in prompt
    for path, commands in read_back(tmp_path / "artifacts").items():
        given = [one.value for command in commands for one in command.arguments if one.flag == "--chat-template"]
        assert given == [found.chat_template], path
    assert run("verify", str(tmp_path))[0] == 0
    assert chat_template(found.hf_overrides, "0.12.0") == ""
