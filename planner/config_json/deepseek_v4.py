"""DeepSeek-V4: attention over compressed latents, hashed routing, several residual streams."""

from collections.abc import Mapping

from planner.architecture import Attention, Compressed, Part, Rotary, Tensor
from planner.config_json.experts import Experts, shared_by_count
from planner.config_json.family import Family
from planner.config_json.fields import Fields
from planner.errors import UnsupportedModel

_RATIOS = (0, 1, 4, 128)
_INDEXED_RATIO = 4
_DEFAULTS = {"num_key_value_heads": 1, "hc_mult": 4, "tie_word_embeddings": False}
# What transformers 5.19 assumes where a config is silent (models/deepseek_v4/configuration_deepseek_v4.py).
_RATES = {"compressed_sparse_attention": 4, "heavily_compressed_attention": 128}
_HASHED = 3
_ROPE_HEAD_DIM = 64


def _attention(text: Fields, family: Family, index: int, kind: str) -> Attention:
    """Return one layer's attention (models/deepseek_v4/attention.py, vLLM 0.33.0)."""
    ratio = max(1, _ratio(text, index))
    indexed = ratio == _INDEXED_RATIO
    facts = Compressed(
        ratio=ratio,
        query_rank=text.integer("q_lora_rank"),
        output_rank=text.integer("o_lora_rank"),
        output_groups=text.integer("o_groups"),
        rope_head_dim=_rope_head_dim(text),
        index_heads=text.integer("index_n_heads") if indexed else 0,
        index_head_dim=text.integer("index_head_dim") if indexed else 0,
        index_topk=text.integer("index_topk"),
    )
    size = text.integer("head_dim")
    heads = text.integer("num_attention_heads")
    if heads % facts.output_groups:
        raise text.error("o_groups", f"{facts.output_groups} does not divide num_attention_heads {heads}")
    return Attention(
        num_heads=heads,
        num_kv_heads=1,
        head_dim=size,
        value_head_dim=size,
        window=text.integer("sliding_window"),
        compressed=facts,
        path="attn",
        output_path="wo_b",
    )


def _ratio(text: Fields, index: int) -> int:
    """Return a layer's ratio: listed, or named by the kind of its attention as transformers 5 writes it.

    Source: ``transformers_utils/deepseek_v4_utils.py:get_compress_ratios`` of vLLM 0.33.0.
    """
    listed = text.has("compress_ratios") or not text.has("layer_types")
    name = "compress_ratios" if listed else "layer_types"
    found = text.sequence(name)
    if len(found) < text.integer("num_hidden_layers"):
        raise text.error(name, f"lists {len(found)} layers, fewer than the model has")
    if listed:
        ratio = found[index]
    else:
        rates = {**_RATES, **text.section("compress_rates").values}
        ratio = rates.get(str(found[index]), 0 if found[index] == "sliding_attention" else None)
    if ratio not in _RATIOS or isinstance(ratio, bool):
        raise text.error(f"{name}[{index}]", f"{found[index]!r} is not a ratio the engine knows")
    return int(ratio)


def _hashed(text: Fields) -> int:
    """Return how many layers, the first ones, route by a table of token hashes."""
    if text.has("num_hash_layers") or not text.has("mlp_layer_types"):
        return text.integer("num_hash_layers", _HASHED, minimum=0)
    return text.texts("mlp_layer_types").count("hash_moe")


def _rope_head_dim(text: Fields) -> int:
    """Return the rotary part of a head, which transformers 5 writes as a share of it."""
    if text.has("qk_rope_head_dim") or not text.has("partial_rotary_factor"):
        return text.integer("qk_rope_head_dim", _ROPE_HEAD_DIM)
    return int(text.integer("head_dim") * text.number("partial_rotary_factor", 1.0))


def _extra(text: Fields, index: int, kind: str) -> tuple[Part, ...]:
    """Return the mixing of residual streams, in fp32, and the table of hashed routing in the first layers."""
    streams = text.integer("hc_mult")
    mixes = (2 + streams) * streams
    width = streams * text.integer("hidden_size")
    parts: list[Part] = [Tensor(path="hc", elements=mixes * width, dtype_bytes=4) for _ in range(2)]
    parts.append(Tensor(path="hc_scale", elements=2 * (mixes + 3), dtype_bytes=4))
    experts = text.integer("n_routed_experts")
    if index < _hashed(text):
        table = text.integer("vocab_size") * text.integer("num_experts_per_tok")
        parts.append(Tensor(path="ffn.gate.tid2eid", elements=table, dtype_bytes=4))
    elif text.text("topk_method", "noaux_tc") == "noaux_tc":
        parts.append(Tensor(path="ffn.gate.correction", elements=experts, dtype_bytes=4))
    return tuple(parts)


def _last(text: Fields) -> tuple[Part, ...]:
    """Return the projection of the residual streams onto one; every pipeline stage has it, the last one uses it."""
    streams = text.integer("hc_mult")
    elements = streams * streams * text.integer("hidden_size") + streams + 1
    return (Tensor(path="hc_head", elements=elements, dtype_bytes=4),)


def _no_vision(text: Fields) -> None:
    if text.integer("vision_n_layers", 0, minimum=0):
        raise UnsupportedModel(text.where, "the vision encoder of DeepSeek-V4")


def _kinds(text: Fields, count: int) -> tuple[str, ...]:
    _no_vision(text)
    return ("sliding",) * count


def _rotaries(text: Fields) -> tuple[Rotary, ...]:
    """Return one fp32 table without scaling for windows, and one with yarn for compressed tokens (common/rope.py)."""
    width = _rope_head_dim(text)
    positions = text.integer("max_position_embeddings", maximum=1 << 27)
    rope = text.section("rope_parameters" if text.has("rope_parameters") else "rope_scaling")
    rope = rope.section("compress") if rope.has("compress") else rope
    original = rope.integer("original_max_position_embeddings", positions, maximum=1 << 27)
    scaled = int(original * rope.number("factor", 1.0))
    ratios = {max(1, _ratio(text, index)) for index in range(text.integer("num_hidden_layers"))}
    plain = (Rotary(positions, width, dtype_bytes=4),) if 1 in ratios else ()
    return (*plain, Rotary(scaled, width, dtype_bytes=4)) if ratios - {1} else plain


DEEPSEEK_V4: Mapping[str, Family] = {
    "DeepseekV4ForCausalLM": Family(
        kinds=_kinds, attention=_attention, layer_extra=_extra, last=_last, rotaries=_rotaries, defaults=_DEFAULTS,
        mixture=Experts(count="n_routed_experts", shared=shared_by_count, path="ffn"),
    ),
}  # fmt: skip
