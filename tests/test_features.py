"""Adapters, drafts and limits of images: from the fleet to the ledger, the router, and what is refused."""

from pathlib import Path
from typing import Any

import parsed
import pytest
import yaml
from commands import run, solved
from fleets import catalog, changed, fleet

from planner.artifacts.read_routes import read_routes
from planner.catalog.stored import stored
from planner.engine.adapters import Lora
from planner.engine.faults import Case, known_faults
from planner.engine.flags import default_flags
from planner.engine.profile import load_profile
from planner.engine.settings import EngineSettings, serve_flags
from planner.engine.speculation import Speculation
from planner.errors import InputError
from planner.memory.demand import demand
from planner.memory.features import feature_reasons
from planner.memory.started import started
from planner.memory.terms import Server, terms
from planner.plan import plan_from_yaml

CHAT: dict[str, Any] = {
    "name": "features",
    "engine": {"name": "vllm", "version": "0.33.0"},
    "gpu": {"name": "L40S"},
    "roles": {"chat": {"task": "chat", "models": ["Qwen3-8B"], "schemes": "bf16", "context": "8k"}},
}
NAMES = {"adapters": 2, "rank": 16, "names": {"chat-sql": "org/sql", "chat-tone": "org/tone"}}
MTP = Speculation(method="mtp", tokens=2)
NGRAM = Speculation(method="ngram", tokens=3)


def server(name: str, version: str = "0.33.0", **flags: Any) -> Server:  # noqa: ANN401 - any field of ServeFlags
    profile = load_profile(version)
    architecture, quantization = stored(*catalog().find(name))
    built = started(architecture, flags, profile)
    given = default_flags(profile, catalog().gpu("L40S"), built, **({"max_model_len": 8192} | flags))
    return Server(architecture=built, quantization=quantization, flags=given)


def refusals(name: str, version: str = "0.33.0", **flags: Any) -> list[str]:  # noqa: ANN401 - any field of ServeFlags
    made = server(name, version, **flags)
    return [refusal.rule for refusal in feature_reasons(made.architecture, made.flags, load_profile(version))]


def test_adapters_are_model_names_at_the_router_and_are_downloaded(tmp_path: Path) -> None:
    found = solved(tmp_path, changed(CHAT, "roles.chat.lora", NAMES), "--target", "litellm")
    routes = read_routes(tmp_path / "artifacts")
    models = (tmp_path / "artifacts" / "router" / "models.json").read_text(encoding="utf-8")
    (chat,) = found.servers

    for path, known in routes.items():
        assert known.keys() == {"chat", "chat-sql", "chat-tone"}, path
        assert len(set(known.values())) == 1
    assert [one["id"] for one in parsed.one(models)["data"]] == ["chat", "chat-sql", "chat-tone"]
    assert "org/tone" in (tmp_path / "artifacts" / "download.sh").read_text(encoding="utf-8")
    assert chat.settings.lora == Lora(
        adapters=2, rank=16, held=2, names=(("chat-sql", "org/sql"), ("chat-tone", "org/tone"))
    )
    assert run("verify", str(tmp_path))[0] == 0

    config = tmp_path / "artifacts" / "router" / "haproxy.cfg"
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace("-- chat-tone }", "-- chat-tine }"), encoding="utf-8")
    code, output = run("verify", str(tmp_path))
    assert code == 5
    assert "chat-tone is answered by nobody" in output


def test_adapters_take_their_slots_of_the_ledger(tmp_path: Path) -> None:
    without = solved(tmp_path, CHAT).servers[0].ledger
    with_adapters = solved(tmp_path, changed(CHAT, "roles.chat.lora", NAMES), "--fresh").servers[0].ledger

    assert with_adapters.weights_bytes - without.weights_bytes > 100_000_000
    assert with_adapters.cuda_graph_bytes > without.cuda_graph_bytes


def test_automatic_drafts_are_off_and_say_why(tmp_path: Path) -> None:
    plain = solved(tmp_path, CHAT).servers[0]
    (tmp_path / "fleet.yaml").write_text(yaml.safe_dump(changed(CHAT, "roles.chat.speculative", "auto")))
    code, output = run("solve", str(tmp_path / "fleet.yaml"), "--out", str(tmp_path), "--fresh")
    automatic = plan_from_yaml(tmp_path / "plan.yaml").servers[0]

    assert code == 0
    assert "speculative auto: off, because" in output
    assert automatic.ledger == plain.ledger
    assert "--speculative-config" not in (tmp_path / "artifacts" / "launch.sh").read_text(encoding="utf-8")
    assert run("verify", str(tmp_path))[0] == 0


def test_heads_add_their_layer_states_and_slots() -> None:
    gpu, profile = catalog().gpu("L40S"), load_profile("0.33.0")
    plain, drafting = server("Qwen3.5-9B"), server("Qwen3.5-9B", speculative=MTP)
    without, with_heads = (terms(one, gpu, profile) for one in (plain, drafting))
    attending = [layer for layer in plain.architecture.layers if layer.attention]

    assert with_heads.weights_bytes > without.weights_bytes
    assert len(with_heads.layout.groups[-1].layers) == len(attending) + 1
    states = [next(g.spec for g in one.layout.groups if g.spec.kind == "state") for one in (without, with_heads)]
    assert states[1].blocks(8192, 0, with_heads.layout.rules) == states[0].blocks(8192, 0, without.layout.rules) + 2


def test_heads_stay_on_the_gpu_when_all_layers_are_in_host_memory() -> None:
    gpu, profile = catalog().gpu("L40S"), load_profile("0.33.0")
    plain, moved = (
        [terms(server("Qwen3.5-9B", speculative=one, cpu_offload_bytes=size), gpu, profile) for one in (None, MTP)]
        for size in (0, 1 << 40)
    )

    assert moved[1].weights_bytes - moved[0].weights_bytes == plain[1].weights_bytes - plain[0].weights_bytes > 0


def test_every_request_has_slots_for_its_drafts() -> None:
    gpu, profile = catalog().gpu("L40S"), load_profile("0.33.0")
    needs = [demand(server("Qwen3-8B", speculative=one), gpu, profile, 4096) for one in (None, NGRAM)]

    assert needs[1].kv_bytes_per_sequence == needs[0].kv_bytes_per_sequence * 257 // 256
    assert needs[1].activation_bytes_per_sequence == 4 * needs[0].activation_bytes_per_sequence


def test_a_model_that_drafts_is_loaded_and_cached(tmp_path: Path) -> None:
    wanted = {"method": "draft_model", "model": "Qwen3-0.6B", "tokens": 2}
    without = solved(tmp_path, CHAT).servers[0]
    drafting = solved(tmp_path, changed(CHAT, "roles.chat.speculative", wanted), "--fresh").servers[0]

    assert drafting.settings.speculative == Speculation(method="draft_model", tokens=2, model="Qwen/Qwen3-0.6B")
    assert drafting.ledger.weights_bytes - without.ledger.weights_bytes > 1_100_000_000
    assert drafting.ledger.kv_cache_bytes > without.ledger.kv_cache_bytes * 60 // 36
    assert "Qwen/Qwen3-0.6B" in (tmp_path / "artifacts" / "download.sh").read_text(encoding="utf-8")
    assert run("verify", str(tmp_path))[0] == 0


def test_the_encoder_is_counted_for_the_images_let_in() -> None:
    gpu, profile = catalog().gpu("L40S"), load_profile("0.33.0")
    limits: list[dict[str, Any]] = [{}, {"mm_limits": {"image": 1, "video": 0}}, {"language_model_only": True}]
    whole, few, none = (terms(server("Qwen3.5-9B", max_model_len=65536, **flags), gpu, profile) for flags in limits)

    assert whole.weights_bytes == few.weights_bytes > none.weights_bytes
    assert whole.line.warm_floor_bytes >= few.line.warm_floor_bytes > none.line.warm_floor_bytes


@pytest.mark.parametrize(
    ("rule", "name", "version", "flags"),
    [
        ("adapters-class", "MiMo-V2-Flash", "0.33.0", {"max_loras": 1}),
        ("adapters-class", "gpt-oss-20b", "0.11.0", {"max_loras": 1}),
        ("adapters-rank", "Qwen3-8B", "0.33.0", {"max_loras": 1, "max_lora_rank": 24}),
        ("adapters-rank", "Qwen3-8B", "0.11.0", {"max_loras": 1, "max_lora_rank": 1}),
        ("drafts-heads", "Qwen3-8B", "0.33.0", {"speculative": MTP}),
        ("drafts-method", "Qwen3.5-9B", "0.11.0", {"speculative": MTP}),
        ("drafts-model", "Qwen3-8B", "0.33.0", {"speculative": Speculation(method="eagle3", tokens=3, model="a/b")}),
        ("drafts-stages", "Qwen3-8B", "0.33.0", {"speculative": NGRAM, "pipeline_parallel_size": 2}),
        (
            "adapters-drafts",
            "Qwen3-8B",
            "0.33.0",
            {"max_loras": 1, "speculative": NGRAM, "max_num_seqs": 1024, "max_num_batched_tokens": 2048},
        ),
    ],
)
def test_what_the_engine_refuses(rule: str, name: str, version: str, flags: dict[str, Any]) -> None:
    assert rule in refusals(name, version, **flags)


def test_what_the_engine_takes() -> None:
    assert refusals("Qwen3-8B", max_loras=8, max_lora_rank=64, speculative=NGRAM) == []
    assert refusals("Qwen3.5-9B", speculative=MTP) == []
    assert refusals("gpt-oss-20b", "0.12.0", max_loras=1) == []


@pytest.mark.parametrize(
    ("key", "value", "where"),
    [
        ("lora", {"adapters": 4, "held": 2}, "roles.chat.lora.held: 2 in host memory are fewer than 4 on the GPU"),
        ("lora", {"adapters": 1, "rank": 24}, "roles.chat.lora.rank: expected one of the ranks 1, 8, 16"),
        ("lora", {"adapters": 1, "names": {"chat": "org/a"}}, "a role is called chat already"),
        ("lora", {"adapters": 1, "names": {"sql": "sql"}}, "expected a Hugging Face id such as org/adapter"),
        ("speculative", {"method": "draft_model"}, "draft_model needs the model that drafts"),
        ("speculative", {"method": "ngram", "model": "Qwen3-0.6B"}, "ngram drafts without a model of its own"),
        ("speculative", "sometimes", "unknown method 'sometimes'"),
        ("images", -1, "expected a whole number of images"),
    ],
)
def test_what_contradicts_itself_is_refused_with_its_place(key: str, value: Any, where: str) -> None:  # noqa: ANN401
    with pytest.raises(InputError, match=r"fleet\.yaml:\d+:\d+: ") as caught:
        fleet(changed(CHAT, f"roles.chat.{key}", value))

    assert where in str(caught.value)


def test_roles_that_pool_draft_nothing_and_vision_needs_its_encoder() -> None:
    pooling = {"task": "embedding", "models": ["Qwen3-Embedding-0.6B"], "context": "8k", "speculative": "auto"}
    seeing = {"task": "vision", "models": ["Qwen3.5-9B"], "context": "8k"}

    with pytest.raises(InputError, match="the task embedding generates no tokens"):
        fleet(changed(CHAT, "roles.embedder", pooling))
    with pytest.raises(InputError, match="the task vision is about images"):
        fleet(changed(CHAT, "roles.eye", {**seeing, "images": 0}))
    with pytest.raises(InputError, match="without its encoder a model takes no images"):
        fleet(changed(CHAT, "roles.eye", {**seeing, "language_model_only": True}))


def test_images_of_a_text_model_leave_no_plan(tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").write_text(yaml.safe_dump(changed(CHAT, "roles.chat.images", 2)), encoding="utf-8")
    code, output = run("solve", str(tmp_path / "fleet.yaml"), "--out", str(tmp_path))

    assert code == 3
    assert "takes no images" in output


@pytest.mark.parametrize(
    ("version", "prefix_caching", "faults"),
    [
        ("0.29.0", None, {"hybrid-mtp-prefix-cache-corrupts"}),
        ("0.29.0", False, set()),
        ("0.30.0", None, {"hybrid-mtp-prefix-hits-zero"}),
    ],
)
def test_heads_beside_recurrent_states_have_known_faults(
    version: str, prefix_caching: bool | None, faults: set[str]
) -> None:
    made = server("Qwen3.5-9B", version, speculative=MTP, prefix_caching=prefix_caching)
    gpu = catalog().gpu("H100-SXM-80GB")
    case = Case(
        version=version, gpu=gpu, architecture=made.architecture, quantization=made.quantization, flags=made.flags
    )

    assert {fault.id for fault in known_faults(case) if "mtp" in fault.id} == faults


def test_a_pinned_fleet_says_what_its_settings_become() -> None:
    settings = EngineSettings(lora=Lora(adapters=2, rank=8, held=2), speculative=NGRAM)

    assert serve_flags(settings) == {"max_loras": 2, "max_lora_rank": 8, "lora_modules": (), "speculative": NGRAM}
