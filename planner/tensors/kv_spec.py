"""The cache of one layer: what a block costs and how many blocks one request needs."""

from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from planner.tensors.kv_rules import KVRules
from planner.units import ceil_div

Kind = Literal["full", "sliding", "chunked", "latent", "state", "cross"]


class CacheSpec(Struct, frozen=True, kw_only=True):
    """The cache of one layer on one rank.

    ``page_bytes`` is one block of ``block_size`` tokens, padding included; for recurrent state a block is one state
    and ``block_size`` is the distance between states. ``reach`` is the window or chunk in tokens (0: everything);
    ``state`` names the kind of recurrent state, of which a sequence has ``lookahead`` more for drafts to verify.
    ``packed`` pages of different sizes lie side by side in one block.
    """

    kind: Kind
    block_size: int
    page_bytes: int
    reach: int = 0
    state: str = ""
    lookahead: int = 0
    packed: bool = False

    def blocks(self, tokens: int, in_flight_tokens: int, rules: KVRules) -> int:
        """Return the blocks one request of ``tokens`` holds at most.

        Source: ``max_memory_usage_bytes`` of each spec in ``v1/kv_cache_interface.py``, vLLM 0.8.5 to 0.33.0. A
        window may begin inside a block, hence one more.
        """
        if self.kind == "state":
            return rules.states(self.state) + self.lookahead
        if self.kind == "sliding":
            return ceil_div(min(self.reach - 1 + in_flight_tokens, tokens), self.block_size) + 1
        if self.kind == "cross":  # room for one batch of encoder tokens (CrossAttentionSpec)
            return ceil_div(in_flight_tokens // rules.in_flight_batches, self.block_size)
        if self.kind == "chunked":
            return ceil_div(min(self.reach + in_flight_tokens, tokens), self.block_size)
        return ceil_div(tokens, self.block_size)

    def promoted(self) -> "CacheSpec":
        """Return the spec as full attention, which keeps every token."""
        return replace(self, kind="full", reach=0)
