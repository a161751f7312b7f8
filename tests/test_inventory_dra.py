"""Inventory where NVIDIA's DRA driver gives out the GPUs: slices, and what claims have of them."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from inventories import Json, claim, device, labels_of, listed, mig_device, node, pod, resource_slice, said, saved

from planner.catalog import Catalog, load_catalog
from planner.cli import main
from planner.fleet import load_fleet

EIGHT = tuple(device(f"gpu-{number}") for number in range(8))


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


def pools(folder: Path, catalog: Catalog, *objects: Json, code: int = 0) -> list[Any]:
    """Return what a planner reads from the fleet made of all objects in one file: GPU, GPUs of a node, nodes."""
    file = saved(folder, "all.json", listed(*objects))
    result = CliRunner().invoke(main, ["init", str(folder / "fleet.yaml"), "--force", "--from-kubectl", str(file)])
    assert result.exit_code == code, result.output
    if code:
        return [result.stderr]
    fleet = load_fleet(folder / "fleet.yaml", catalog)
    assert fleet.cluster.dra
    return sorted((pool.gpu.name, pool.gpus_per_node, pool.nodes) for pool in fleet.pools)


def bare(name: str) -> Json:
    """A node whose GPUs no device plugin gives out."""
    return node(name, {}, labels={})


def using(name: str, on: str, claimed: str) -> Json:
    """A pod with one claim."""
    return pod(name, on, resourceClaims=[{"name": "gpus", "resourceClaimName": claimed}])


def test_devices_of_slices_are_free_but_for_those_that_claims_have(tmp_path: Path, catalog: Catalog) -> None:
    found = pools(
        tmp_path, catalog, bare("a"), bare("b"), resource_slice("a", *EIGHT), resource_slice("b", *EIGHT),
        using("train", "a", "big"), claim("big", "a", "gpu-0", "gpu-1", by="train"),
        claim("watch", "a", "gpu-2", by="probe", adminAccess=True),
    )  # fmt: skip

    assert found == [("H100 80GB SXM5", 6, 1), ("H100 80GB SXM5", 8, 1)]
    assert "claim team-a/big of team-a/train holds 2 on a" in said(tmp_path)
    assert "`kubectl get resourceslices -o json`" in said(tmp_path)


def test_slices_have_the_product_of_their_card_and_their_profile(tmp_path: Path, catalog: Catalog) -> None:
    slices = resource_slice("a", *(mig_device(f"m-{number}", "3g.40gb") for number in range(2)))

    assert pools(tmp_path, catalog, bare("a"), pod("x"), slices, claim("c", "a", "m-1")) == [
        ("A100 80GB SXM4 MIG 3g.40gb", 1, 1)
    ]


def test_a_card_that_is_cut_on_demand_is_taken_when_a_part_of_it_is(tmp_path: Path, catalog: Catalog) -> None:
    cards, parts = [], []
    for number in range(2):
        sets = [{"counterSet": f"card-{number}", "counters": {}}]
        cards.append(device(f"gpu-{number}", "NVIDIA A100-SXM4-80GB", "81920Mi", consumesCounters=sets))
        parts.append(mig_device(f"mig-{number}", "1g.10gb", consumesCounters=sets))

    found = pools(tmp_path, catalog, bare("a"), pod("x"), resource_slice("a", *cards, *parts), claim("c", "a", "mig-0"))

    assert found == [("A100 80GB SXM4", 1, 1)]
    assert "only made when a claim asks for them" in said(tmp_path)


def test_the_newest_generation_counts_and_the_first_beta_is_read(tmp_path: Path, catalog: Catalog) -> None:
    old = resource_slice("a", *EIGHT, generation=1)
    new = resource_slice("a", *({"name": one["name"], "basic": one} for one in EIGHT[:4]), generation=2)

    assert pools(tmp_path, catalog, bare("a"), pod("x"), old, new) == [("H100 80GB SXM5", 4, 1)]


@pytest.mark.parametrize(
    ("objects", "reason"),
    [
        pytest.param([resource_slice("b", *EIGHT, count=2)], "1 of its 2 resource slices are in the files", id="part"),
        pytest.param(
            [resource_slice("b", *EIGHT), using("train", "b", "big")], "pods have resource claims there", id="no claims"
        ),
        pytest.param(
            [resource_slice("b", device("g", taints=[{"key": "sick", "effect": "NoExecute"}]))], "sick:NoExecute",
            id="tainted",
        ),
        pytest.param(
            [resource_slice("b", *(one | {"attributes": {"type": {"string": "vfio"}}} for one in EIGHT[:1]))], "vfio",
            id="virtual machine",
        ),
    ],
)  # fmt: skip
def test_devices_of_which_not_all_is_known_are_left_out(
    tmp_path: Path, catalog: Catalog, objects: list[Json], reason: str
) -> None:
    found = pools(tmp_path, catalog, bare("a"), bare("b"), pod("x"), resource_slice("a", *EIGHT), *objects)

    assert found == [("H100 80GB SXM5", 8, 1)]
    assert reason in said(tmp_path).split("Left out: b, ")[1]


def test_gpus_of_a_device_plugin_are_left_out_beside_those_of_the_driver(tmp_path: Path, catalog: Catalog) -> None:
    plugin = node("plugin", labels=labels_of())

    assert pools(tmp_path, catalog, bare("a"), plugin, pod("x"), resource_slice("a", *EIGHT)) == [
        ("H100 80GB SXM5", 8, 1)
    ]
    assert "Left out: plugin, 8 x NVIDIA-H100-80GB-HBM3: the device plugin gives them out" in said(tmp_path)
    both = pools(tmp_path, catalog, node("a"), pod("x"), resource_slice("a", *EIGHT), code=1)[0]
    assert "the node's device plugin gives out the same GPUs" in both


def test_a_device_that_is_not_as_the_api_has_it_is_named_with_its_place(tmp_path: Path, catalog: Catalog) -> None:
    wrong = device("g", memory="plenty")

    told = pools(tmp_path, catalog, bare("a"), pod("x"), resource_slice("a", device("f"), wrong), code=1)[0]

    assert "all.json: items[2].spec.devices[1].capacity.memory.value: 'plenty' is no quantity" in told
