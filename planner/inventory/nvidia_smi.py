"""Files that nvidia-smi wrote on several hosts -> their GPUs; a file is called as its host.

``nvidia-smi -q -x`` follows NVIDIA's ``nvsmi_device_v12.dtd`` and its neighbours, of which the elements read here are
the same since version 7; ``--format=csv`` heads every column with the property that was asked for.
"""

import csv
import re
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from msgspec import Struct

from planner.errors import Problem
from planner.facts.gpu import GPU
from planner.inventory.documents import found, raise_all, read_text, refuse
from planner.inventory.machine import Devices, Inventory, LeftOut
from planner.inventory.products import Products, Unclear
from planner.units import MIB, ceil_div, format_gib

XML = "nvidia-smi -q -x"
CSV = "nvidia-smi --query-gpu=index,name,memory.total,memory.used,mig.mode.current --format=csv"
_HINT = f"a file is what one host wrote: {XML} > HOST.xml, or {CSV} > HOST.csv"
_COLUMNS = ("index", "name", "memory.total", "memory.used")
_HOST_COLUMNS = ("host", "hostname")
_ROUNDED_TO = 256 * MIB
"""Memory in use is rounded up to this step: what a desktop holds changes by the minute."""
LIGHT = 0.05
"""GPUs of which others hold no more than this share are planned alike, as the fullest of them on their host."""


def rounded(used_bytes: int) -> int:
    """Return what others hold of a GPU, rounded up.

    Below one step it is the driver's own bookkeeping, which the memory profile counts as the baseline.
    """
    return ceil_div(used_bytes, _ROUNDED_TO) * _ROUNDED_TO if used_bytes >= _ROUNDED_TO else 0


class _Card(Struct, frozen=True, kw_only=True):
    """One GPU as nvidia-smi says it; sizes are texts such as ``81559 MiB``."""

    host: str
    place: str
    index: int
    product: str
    total: str
    used: str
    mig: str


def from_nvidia_smi(paths: Sequence[Path], products: Products) -> Inventory:
    """Return the GPUs of hosts, with the memory that others hold on each.

    Raises:
        InputError: a file is not what nvidia-smi writes, or a GPU is there twice.
    """
    cards = [card for path in paths for card in _cards(path)]
    raise_all(_twice(paths, cards))
    by_host: dict[str, list[_Card]] = defaultdict(list)
    for card in cards:
        by_host[card.host].append(card)
    read = [one for host in by_host.values() for one in _on_host(host, products)]
    return Inventory(
        sources=(f"`{XML}` or `{CSV}` on each host", ", ".join(path.name for path in paths)),
        devices=tuple(one for one in read if isinstance(one, Devices)),
        left_out=tuple(one for one in read if isinstance(one, LeftOut)),
    )


def _cards(path: Path) -> Iterator[_Card]:
    text = read_text(path, _HINT)
    if text.lstrip().startswith("<"):
        return _from_xml(path, text)
    return _from_csv(path, text)


def _from_xml(path: Path, text: str) -> Iterator[_Card]:
    try:
        # The declaration names an encoding that the text, once decoded, no longer has.
        root = ElementTree.fromstring(re.sub(r"^\s*<\?xml[^>]*\?>", "", text))
    except ElementTree.ParseError as error:
        line, column = error.position
        refuse(path, f"is no XML that can be read: {str(error).split(':')[0]}", _HINT, line=line, column=column + 1)
    if root.tag != "nvidia_smi_log":
        refuse(path, f"is XML of {found(root.tag)}, not of nvidia_smi_log", _HINT)
    for index, gpu in enumerate(root.findall("gpu")):
        product = _said(gpu, "product_name")
        if not product:
            refuse(path, "expected a name", _HINT, path=f"gpu[{index}].product_name")
        yield _Card(
            host=path.stem,
            place=f"gpu[{index}]",
            index=index,
            product=product,
            total=_said(gpu, "fb_memory_usage/total"),
            used=_said(gpu, "fb_memory_usage/used"),
            mig=_said(gpu, "mig_mode/current_mig"),
        )


def _said(gpu: ElementTree.Element, path: str) -> str:
    return " ".join((gpu.findtext(path) or "").split())


def _from_csv(path: Path, text: str) -> Iterator[_Card]:
    rows = [row for row in csv.reader(text.splitlines(), skipinitialspace=True) if row]
    names = [cell.split(" [")[0].strip().lower() for cell in rows[0]]
    missing = [column for column in _COLUMNS if column not in names]
    if missing:
        message = f"has no column {', '.join(missing)}: it begins with {found(', '.join(rows[0]))}"
        refuse(path, message, f"{_HINT}; keep the header", line=1, column=1)
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(names):
            refuse(path, f"has {len(row)} values under {len(names)} columns", _HINT, line=number, column=1)
        cells = {name: cell.strip() for name, cell in zip(names, row, strict=True)}
        if not cells["index"].isascii() or not cells["index"].isdigit():
            refuse(path, f"{found(cells['index'])} is no device number", _HINT, line=number, column=1)
        host = next((cells[name] for name in _HOST_COLUMNS if cells.get(name)), path.stem)
        yield _Card(
            host=host,
            place=f"line {number}",
            index=int(cells["index"]),
            product=cells["name"],
            total=cells["memory.total"],
            used=cells["memory.used"],
            mig=cells.get("mig.mode.current", ""),
        )


def _twice(paths: Sequence[Path], cards: Sequence[_Card]) -> Iterator[Problem]:
    names = ", ".join(path.name for path in paths)
    seen: dict[tuple[str, int], _Card] = {}
    for card in cards:
        if not card.host.isprintable() or not card.product.isprintable():
            yield Problem(names, 0, 0, card.place, "a host or a GPU has a name that does not print", "")
        elif (card.host, card.index) in seen:
            hint = "files are called as their hosts; give each once"
            yield Problem(names, 0, 0, card.place, f"GPU {card.index} of {card.host} is there twice", hint)
        seen[card.host, card.index] = card


def _on_host(cards: Sequence[_Card], products: Products) -> Iterator[Devices | LeftOut]:
    """Yield the GPUs of a host, neighbours that are alike together."""
    usable: list[tuple[_Card, GPU, int]] = []
    for card in sorted(cards, key=lambda card: card.index):
        fact = _fact(card, products)
        if isinstance(fact, str):
            yield LeftOut(host=card.host, called=card.product, count=1, reason=fact)
        else:
            usable.append((card, *fact))
    most: dict[str, int] = defaultdict(int)
    for _, gpu, used in usable:
        if used <= LIGHT * gpu.memory_bytes:
            most[gpu.name] = max(most[gpu.name], used)
    alike = [(card, gpu, most[gpu.name] if used <= LIGHT * gpu.memory_bytes else used) for card, gpu, used in usable]
    numbered = enumerate(alike)
    for _, run in groupby(numbered, key=lambda one: (one[1][0].index - one[0], one[1][1].name, one[1][2])):
        members = [one for _, one in run]
        card, gpu, used = members[0]
        yield Devices(
            host=card.host,
            gpu=gpu,
            called=card.product,
            count=len(members),
            total=len(members),
            index=card.index,
            memory_in_use_bytes=used,
        )


def _fact(card: _Card, products: Products) -> tuple[GPU, int] | str:
    """Return the GPU and what others hold of it, or why no plan can have it."""
    if card.mig.lower() == "enabled":
        return "MIG is on, and nvidia-smi does not say the profiles there: write its slices as pools by hand"
    total, used = _bytes(card.total), _bytes(card.used)
    gpu = products.find(card.product, total or 0)
    if isinstance(gpu, Unclear):
        return gpu.reason
    if gpu.integrated:
        return gpu, 0  # what is in use there is the operating system's part, which the catalog has
    if used is None:
        return f"nvidia-smi says {found(card.used)} of its memory in use"
    held = rounded(used)
    if held >= gpu.memory_bytes - gpu.system_memory_bytes:
        return f"others hold {format_gib(used)} of it"
    return gpu, held


def _bytes(text: str) -> int | None:
    match = re.fullmatch(r"([0-9]{1,9})(?: MiB)?", text)
    return int(match[1]) * MIB if match else None
