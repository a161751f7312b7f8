"""The mixture of experts a config describes: which layers have one, and its sizes."""

from collections.abc import Callable

from msgspec import Struct

from planner.architecture import Mixture
from planner.config_json.family import Switch, switched
from planner.config_json.fields import Fields

Where = Callable[[Fields, int], bool]
Size = Callable[[Fields], int]
_MAX_EXPERTS = 1 << 16
# Fields that only a model with experts has, besides their count.
IMPLYING = (
    "num_experts_per_tok", "num_experts_per_token", "moe_intermediate_size", "expert_ffn_hidden_size", "top_k_experts",
    "moe_k", "moe_topk", "moe_top_k", "n_shared_experts", "moe_num_shared_experts", "num_shared_experts",
)  # fmt: skip


def every_layer(text: Fields, index: int) -> bool:
    """Every layer has experts."""
    return True


def sparse_step(text: Fields, index: int) -> bool:
    """Qwen: every ``decoder_sparse_step``-th layer, except those listed as dense."""
    if index in text.sequence("mlp_only_layers"):
        return False
    return (index + 1) % text.integer("decoder_sparse_step", 1) == 0


def after_dense(text: Fields, index: int) -> bool:
    """DeepSeek: after the first dense layers, every ``moe_layer_freq``-th (a number, or a list of switches)."""
    frequency = text.get("moe_layer_freq")
    if isinstance(frequency, list | tuple):
        if index >= len(frequency):
            raise text.error("moe_layer_freq", f"lists {len(frequency)} layers, too few for the model")
        return bool(frequency[index])
    first = text.integer("first_k_dense_replace", 0, minimum=0)
    return index >= first and index % text.integer("moe_layer_freq", 1) == 0


def interleaved(text: Fields, index: int) -> bool:
    """Llama 4: every ``interleave_moe_layer_step``-th layer."""
    step = text.integer("interleave_moe_layer_step", 1, minimum=0)
    return step > 0 and (index + 1) % step == 0


def ernie_layers(text: Fields, index: int) -> bool:
    """Ernie: every ``moe_layer_interval``-th layer between a first and a last one."""
    first = text.integer("moe_layer_start_index", 0, minimum=0)
    last = text.integer("moe_layer_end_index", -1, minimum=-1)
    inside = index >= first and (last < 0 or index <= last)
    return inside and (index + 1) % text.integer("moe_layer_interval", 1) == 0


def never(text: Fields) -> bool:
    """The family does not have it."""
    return False


def always(text: Fields) -> bool:
    """The family always has it."""
    return True


def by_topk_method(text: Fields) -> bool:
    """DeepSeek: balancing without an auxiliary loss is named in the config."""
    return text.text("topk_method") == "noaux_tc"


def no_shared(text: Fields) -> int:
    """No shared expert."""
    return 0


def shared_by_count(text: Fields) -> int:
    """Return the width of ``n_shared_experts`` shared experts, each as wide as a routed one."""
    return text.integer("n_shared_experts", 0, minimum=0) * text.integer("moe_intermediate_size")


def shared_by_size(name: str, count: str = "") -> Size:
    """Return a rule that reads the shared expert's width from a field, times a count if the family has one."""

    def size(text: Fields) -> int:
        return text.integer(name, 0, minimum=0) * (text.integer(count, 0, minimum=0) if count else 1)

    return size


class Experts(Struct, frozen=True, kw_only=True):
    """The names and peculiarities of one family's mixture; calling it returns the mixture of a layer, or None.

    ``correction`` says whether there is an fp32 balancing term per expert, ``router_dtype_bytes`` is the router's own
    width where it has one, ``router_dtype`` the field that may ask for fp32, ``width`` the field with the experts' own
    hidden size.
    """

    count: str = "num_experts"
    active: str = "num_experts_per_tok"
    size: str = "moe_intermediate_size"
    where: Where = every_layer
    shared: Size = no_shared
    shared_gate: bool = False
    shared_path: str = "shared_experts"
    correction: Callable[[Fields], bool] = never
    router_bias: Switch = False
    router_dtype_bytes: int | None = None
    router_dtype: str = ""
    gated: bool = True
    bias: bool = False
    width: str = ""
    path: str = "mlp"
    router_path: str = "gate"

    def __call__(self, text: Fields, index: int, kind: str) -> Mixture | None:
        """Return the mixture of one layer, or None where the layer is dense.

        Raises:
            InvalidConfig: a size is missing or out of range.
        """
        count = text.optional_integer(self.count, minimum=0, maximum=_MAX_EXPERTS)
        if count is None and (said := next((name for name in IMPLYING if text.get(name)), None)):
            raise text.error(self.count, f"missing, though {said} says that there are experts")
        if not count or not self.where(text, index):
            return None
        active = text.integer(self.active)
        if active > count:
            raise text.error(self.active, f"{active} active of {count} experts")
        return Mixture(
            count=count,
            active=active,
            intermediate_size=text.integer(self.size),
            gated=self.gated,
            bias=self.bias,
            shared_intermediate_size=self.shared(text),
            shared_gate=self.shared_gate,
            router_bias=switched(text, self.router_bias),
            router_dtype_bytes=self._router_bytes(text),
            correction=self.correction(text),
            width=text.optional_integer(self.width) if self.width else None,
            path=self.path,
            router_path=self.router_path,
            shared_path=self.shared_path,
        )

    def _router_bytes(self, text: Fields) -> int | None:
        single = bool(self.router_dtype) and text.text(self.router_dtype) == "fp32"
        return 4 if single else self.router_dtype_bytes
