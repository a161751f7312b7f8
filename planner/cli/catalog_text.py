"""Tables and pages of the catalog commands."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from planner.cli.catalog_models import marks
from planner.cli.text import table
from planner.facts.gpu import GPU
from planner.units import BILLION, format_gib

if TYPE_CHECKING:
    from planner.catalog.check import Report


_MARKS = {
    "GiB*": "* assumed: nobody has published it; `planner catalog show NAME` says why",
    "not planned": "not planned: no plan can be made for it; `planner catalog show NAME` says why",
    " CC ": "CC: compute capability",
}


def gpus_table(gpus: Iterable[GPU]) -> str:
    """Return one line per device."""
    rows = [
        (
            gpu.name,
            format_gib(gpu.memory_bytes) + ("*" if gpu.memory_assumed else ""),
            ".".join(map(str, gpu.compute_capability)) if gpu.compute_capability else "",
            f"{gpu.bandwidth_bytes_per_second / BILLION:.0f} GB/s" if gpu.bandwidth_bytes_per_second else "",
            gpu.interconnect,
            gpu.refusal and "not planned",
        )
        for gpu in gpus
    ]
    header = ("GPU", "MEMORY", "CC", "BANDWIDTH", "INTERCONNECT", "")
    listed = table(header, rows, right=frozenset({1, 2, 3}))
    return "\n".join((listed, *marks(listed, _MARKS)))


def model_text(data: dict[str, Any]) -> str:
    """Return the page of one model."""
    lines = [data["repository"]]
    licence = data["licence"] + ", non-commercial" * data["non_commercial"] + ", gated" * data["gated"]
    lines += _facts(
        ("licence", licence),
        ("released", data["released"]),
        ("tasks", ", ".join(data["tasks"]) + "; pre-trained only, not to answer" * data["pretrained"]),
        ("parameters", f"{data['parameters']:,} ({data['parameters_grade']})"),
        ("active", f"{data['active_parameters']:,}" if data["active_parameters"] else None),
        ("architecture", data["architecture"]),
        ("context", f"{data['context_tokens']:,} tokens" if data["context_tokens"] else None),
        ("vLLM from", data["engine_minimum"]),
        ("tool parser", data["tool_parser"]),
        ("reasoning", data["reasoning_parser"]),
        ("aliases", ", ".join(data["aliases"])),
        *(("no cache", f"{dtype}: {why}") for dtype, why in data["cache_refusals"].items()),
        ("assumed", ", ".join(data["assumed"])),
        *(("conflict", text) for text in data["conflicts"]),
        ("note", data["note"]),
        *(("source", text) for text in data["sources"]),
    )
    for row in data["scores"]:
        mode = f" ({row['mode']})" if row["mode"] else ""
        lines.append(f"  score        {row['scale']} {row['percent']:g}{mode}: {row['source']}")
    for variant in data["variants"]:
        lines += ["", f"  {variant['repository']}"]
        lines += _facts(
            ("scheme", variant["scheme"] + (f", groups of {variant['group_size']}" if variant["group_size"] else "")),
            ("weights", format_gib(variant["weights_bytes"]) if variant["weights_bytes"] else None),
            ("not planned", variant["refusal"]),
            ("published", _published(variant)),
            ("revision", _revision(variant)),
            ("aliases", ", ".join(variant["aliases"])),
            ("assumed", ", ".join(variant["assumed"])),
            *(("conflict", text) for text in variant["conflicts"]),
            *(("source", text) for text in variant["sources"]),
            indent="    ",
        )
        for row in variant["measured"]:
            lines.append(f"    measured     {row['benchmark']} {row['percent']:g} of {row['base_percent']:g}")
    return "\n".join(lines)


def gpu_text(data: dict[str, Any]) -> str:
    """Return the page of one device."""
    rates = {
        "FP16": data["fp16_dense_flops"],
        "FP8": data["fp8_dense_flops"],
        "INT8": data["int8_dense_ops"],
        "FP4": data["fp4_dense_flops"],
    }
    bandwidth = data["bandwidth_bytes_per_second"]
    driver = data["driver_memory_bytes"]
    lines = [data["name"]]
    lines += _facts(
        ("NVML name", data["product"]),
        ("aliases", ", ".join(data["aliases"])),
        ("memory", f"{format_gib(data['memory_bytes'])} as an engine sees it"),
        ("assumed", data["memory_assumed"]),
        ("system", _system(data)),
        ("driver", f"{format_gib(driver)} as nvidia-smi prints it" if driver else None),
        ("capability", data["compute_capability"]),
        ("bandwidth", f"{bandwidth / BILLION:g} GB/s" if bandwidth else None),
        ("dense rates", ", ".join(f"{kind} {rate / 10**12:g} T/s" for kind, rate in rates.items() if rate)),
        ("derived", ", ".join(data["derived_rates"])),
        ("interconnect", data["interconnect"]),
        ("board", f"{data['board_watts']} W" if data["board_watts"] else None),
        ("released", data["released"]),
        ("MIG of", data["mig_parent"]),
        ("per card", str(data["mig_instances"]) if data["mig_instances"] else None),
        ("not planned", data["refusal"]),
        ("note", data["note"]),
        *(("source", text) for text in data["sources"]),
    )
    for row in data["prices"]:
        when, market = row["date"] or "undated", row["market"].replace("-", " ")
        when += ", which is old" if row["stale"] else ""
        lines.append(f"  price        {row['provider']} {row['instance']}, {row['gpus']} GPU: "
                     f"{row['usd_per_hour']:g} USD/h {market}, {when}")  # fmt: skip
    return "\n".join(lines)


def checked_text(report: "Report") -> str:
    """Say what a check of the catalog found besides its problems, which stand on stderr."""
    count = len(report.problems)
    lines = [
        f"{report.file_count} files, {report.model_count} models, {report.checkpoint_count} names of checkpoints, "
        f"{report.gpu_count} GPUs: {count or 'no'} problem{'s' if count != 1 else ''}"
    ]
    lines += [f"  listed, not planned: {repository}: {reason}" for repository, reason in report.unsized]
    return "\n".join(lines)


def _facts(*pairs: tuple[str, str | None], indent: str = "  ") -> list[str]:
    return [f"{indent}{name:<12} {value}" for name, value in pairs if value]


def _system(data: dict[str, Any]) -> str | None:
    """Say what the operating system holds of a memory it shares with the GPU, and who measured that."""
    held = data["system_memory_bytes"]
    return f"up to {format_gib(held)} of it ({data['system_memory_source']})" if held else None


def _revision(variant: dict[str, Any]) -> str | None:
    seen = f", the newest seen on {variant['revision_date']}" if variant["revision_date"] else ""
    return f"{variant['revision']}{seen}" if variant["revision"] else None


def _published(variant: dict[str, Any]) -> str | None:
    if not variant["published_bytes"]:
        return None
    return f"{variant['published_bytes'] / BILLION:g} GB: {variant['published_source']}"
