"""The rules of KV-cache planning that changed between engine versions, as data."""

from msgspec import Struct

from planner.engine.profile import EngineProfile
from planner.facts.gpu import GPU

_HOPPER = 9


class KVRules(Struct, frozen=True, kw_only=True):
    """How one engine version groups layers, counts blocks and words its log line. Defaults are those of 0.33.

    ``hybrid_groups``: sliding-window layers get groups of their own; otherwise they are kept like full attention.
    ``chunked_groups``: the same for chunked local attention.
    ``in_flight_batches``: batches of ``max_num_batched_tokens`` a window must hold besides itself (one stage).
    ``batches_grow_with_stages``: each further pipeline stage adds one.
    ``pad_groups_percent``: when the largest bucket of layers is below this share of the smallest, groups are padded
    to the largest instead of cut to the smallest (0: never).
    ``packed_groups``: pages of compressed attention lie side by side in blocks cut to the groups; otherwise every block
    has slots for all of them.
    ``null_block_in_check``: the fit check sets aside the block that stands for "no block".
    ``tokens_from_concurrency``: the logged token count is concurrency × context, not blocks × block size.
    ``state_blocks``: blocks of recurrent state one sequence holds (2 when prefix caching aligns states to blocks).
    ``state_checkpoints``: kinds of state that hold one block more then, for a checkpoint inside a prefill.
    """

    hybrid_groups: bool = True
    chunked_groups: bool = True
    in_flight_batches: int = 2
    batches_grow_with_stages: bool = True
    pad_groups_percent: int = 150
    packed_groups: bool = True
    null_block_in_check: bool = True
    tokens_from_concurrency: bool = True
    state_blocks: int = 2
    state_checkpoints: tuple[str, ...] = ("kimi-delta", "mamba2", "gated-delta")

    def window_tokens(self, max_num_batched_tokens: int, stages: int) -> int:
        """Return the tokens in flight that a sliding window must hold besides itself."""
        batches = self.in_flight_batches + (stages - 1 if self.batches_grow_with_stages else 0)
        return batches * max_num_batched_tokens

    def states(self, kind: str) -> int:
        """Return the blocks one sequence holds of a kind of recurrent state."""
        aligned = self.state_blocks > 1
        return self.state_blocks + (1 if aligned and kind in self.state_checkpoints else 0)


def kv_rules(profile: EngineProfile, prefix_caching: bool | None = None, gpu: GPU | None = None) -> KVRules:
    """Return the cache-planning rules of an engine version; ``prefix_caching`` None leaves it to the engine.

    Gated delta nets take checkpoints only where FlashInfer runs their prefill, from SM90 on
    (layers/mamba/gdn/qwen_gdn_linear_attn.py:_resolve_gdn_prefill_backend, vLLM 0.33.0).
    """
    states = {None: profile.state_blocks, True: profile.state_blocks_aligned, False: 1}[prefix_caching]
    older = gpu is not None and gpu.compute_capability is not None and gpu.compute_capability[0] < _HOPPER
    checkpoints = tuple(kind for kind in profile.state_checkpoints if not (older and kind == "gated-delta"))
    return KVRules(
        hybrid_groups=profile.hybrid_groups,
        chunked_groups=profile.chunked_groups,
        in_flight_batches=profile.in_flight_batches,
        batches_grow_with_stages=profile.batches_grow_with_stages,
        pad_groups_percent=profile.pad_groups_percent,
        packed_groups=profile.packed_groups,
        null_block_in_check=profile.null_block_in_check,
        tokens_from_concurrency=profile.tokens_from_concurrency,
        state_blocks=states,
        state_checkpoints=checkpoints,
    )
