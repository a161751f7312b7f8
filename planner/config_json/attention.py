"""The attention layer a config describes."""

from planner.architecture import Attention, Latent
from planner.config_json.family import Family, switched
from planner.config_json.fields import Fields


def grouped_query(text: Fields, family: Family, index: int, kind: str) -> Attention:
    """Return multi-head or grouped-query attention under the common field names.

    Raises:
        InvalidConfig: a size is missing, out of range, or heads do not divide evenly.
    """
    heads = text.integer("num_attention_heads")
    kv_heads = text.integer("num_key_value_heads", heads)
    if heads % kv_heads:
        raise text.error("num_key_value_heads", f"{kv_heads} does not divide num_attention_heads {heads}")
    size = head_dim(text)
    return Attention(
        num_heads=heads,
        num_kv_heads=kv_heads,
        head_dim=size,
        value_head_dim=text.integer("v_head_dim", size),
        window=text.integer("sliding_window") if kind == "sliding" else None,
        chunk=text.integer("attention_chunk_size") if kind == "chunked" else None,
        qkv_bias=switched(text, family.qkv_bias),
        output_bias=switched(text, family.output_bias),
        qk_norm=family.qk_norm if switched(text, family.qk_norm_switch) else "none",
        output_gate=switched(text, family.output_gate),
        sinks=switched(text, family.sinks),
        path=family.attention_path,
    )


def head_dim(text: Fields) -> int:
    """Return the size of one head: stated, or hidden size by heads."""
    stated = text.optional_integer("head_dim")
    if stated:
        return stated
    heads, hidden = text.integer("num_attention_heads"), text.integer("hidden_size")
    if hidden % heads:
        raise text.error("num_attention_heads", f"{heads} heads do not divide hidden_size {hidden}")
    return hidden // heads


def latent(text: Fields, family: Family, index: int, kind: str) -> Attention:
    """Return multi-head latent attention (deepseek_v2.py of vLLM 0.33.0), with the indexer of sparse attention."""
    heads = text.integer("num_attention_heads")
    sparse = text.has("index_topk")
    indexed = sparse and _has_indexer(text, index)
    facts = Latent(
        query_rank=text.optional_integer("q_lora_rank"),
        kv_rank=text.integer("kv_lora_rank"),
        nope_head_dim=text.integer("qk_nope_head_dim"),
        rope_head_dim=text.integer("qk_rope_head_dim"),
        value_head_dim=text.integer("v_head_dim"),
        index_heads=text.integer("index_n_heads") if indexed else 0,
        index_head_dim=text.integer("index_head_dim") if indexed else 0,
        index_topk=text.integer("index_topk") if sparse else 0,
    )
    return Attention(
        num_heads=heads,
        num_kv_heads=heads,
        head_dim=facts.nope_head_dim + facts.rope_head_dim,
        value_head_dim=facts.value_head_dim,
        latent=facts,
    )


def _has_indexer(text: Fields, index: int) -> bool:
    """Whether a layer of a sparse model chooses tokens itself or reuses an earlier layer's choice."""
    pattern = text.text("index_topk_pattern")
    if pattern:
        return index >= len(pattern) or pattern[index] != "S"
    frequency = text.integer("index_topk_freq", 1)
    offset = text.integer("index_skip_topk_offset", 2, minimum=0)
    return max(index - offset + 1, 0) % frequency == 0
