"""The shipped catalog: names resolve, facts are complete, entries agree with each other."""

from collections import Counter

import pytest

from planner.catalog import Catalog, load_catalog
from planner.errors import UnknownName
from planner.units import GIB


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("NVIDIA H100 80GB HBM3", "H100 80GB SXM5"),
        ("h100-80gb-sxm5", "H100 80GB SXM5"),
        ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", "RTX PRO 6000 Blackwell Workstation"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("rtx 4090", "RTX 4090"),
        ("NVIDIA A100-SXM4-80GB MIG 1g.10gb", "A100 80GB SXM4 MIG 1g.10gb"),
        ("DGX Spark", "GB10"),
        ("AMD Instinct MI300X", "Instinct MI300X"),
    ],
)
def test_a_gpu_answers_to_its_catalog_name_its_product_name_and_its_aliases(
    catalog: Catalog, asked: str, found: str
) -> None:
    assert catalog.gpu(asked).name == found


def test_a_name_shared_by_several_cards_means_the_one_with_the_least_memory(catalog: Catalog) -> None:
    shared = [gpu for gpu in catalog.gpus if gpu.product == "NVIDIA GeForce RTX 4090"]

    assert len(shared) == 2
    assert catalog.gpu("NVIDIA GeForce RTX 4090").memory_bytes == min(gpu.memory_bytes for gpu in shared)


def test_an_unknown_gpu_names_the_nearest_ones(catalog: Catalog) -> None:
    with pytest.raises(UnknownName) as caught:
        catalog.gpu("RTX 6090")

    assert caught.value.kind == "GPU"
    assert "RTX 5090" in caught.value.nearest


@pytest.mark.parametrize(
    ("asked", "repository"),
    [
        ("Qwen/Qwen2.5-Coder-32B-Instruct", "Qwen/Qwen2.5-Coder-32B-Instruct"),
        ("qwen2.5-coder-32b-instruct", "Qwen/Qwen2.5-Coder-32B-Instruct"),
        ("Qwen/Qwen2.5-Coder-32B-Instruct-AWQ", "Qwen/Qwen2.5-Coder-32B-Instruct-AWQ"),
        ("TheBloke/deepseek-coder-33B-instruct-AWQ", "TheBloke/deepseek-coder-33B-instruct-AWQ"),
        ("meta-llama/Meta-Llama-3.1-8B-Instruct", "meta-llama/Llama-3.1-8B-Instruct"),
        ("neuralmagic/Meta-Llama-3.1-8B-Instruct-FP8", "RedHatAI/Meta-Llama-3.1-8B-Instruct-FP8"),
    ],
)
def test_a_checkpoint_answers_to_its_repository_and_to_its_old_names(
    catalog: Catalog, asked: str, repository: str
) -> None:
    model, variant = catalog.find(asked)

    assert variant.repository == repository
    assert variant in model.variants


def test_an_unknown_model_names_the_nearest_ones(catalog: Catalog) -> None:
    with pytest.raises(UnknownName) as caught:
        catalog.find("Qwen2.5-Coder-34B-Instruct")

    assert "Qwen2.5-Coder-32B-Instruct" in caught.value.nearest


def test_a_look_up_reads_only_the_families_that_mention_the_name() -> None:
    fresh = load_catalog()
    fresh.find("TheBloke/deepseek-coder-33B-instruct-AWQ")

    assert [path.name for path in fresh._families] == ["deepseek-coder.yaml"]


def test_no_two_checkpoints_share_a_name(catalog: Catalog) -> None:
    names = Counter(
        name.casefold()
        for model in catalog.models
        for variant in model.variants
        for name in (variant.repository, *variant.aliases, *(model.aliases if variant.native else ()))
    )

    assert [name for name, count in names.items() if count > 1] == []


def test_every_model_begins_with_its_own_repository(catalog: Catalog) -> None:
    assert all(
        model.variants[0].native and model.variants[0].repository == model.repository for model in catalog.models
    )
    assert all(sum(variant.native for variant in model.variants) == 1 for model in catalog.models)


def test_a_reranker_published_as_a_language_model_says_what_makes_it_one(catalog: Catalog) -> None:
    """Served as it is, it would answer with the likeness of two embeddings it was never trained for."""
    rerankers = [model for model in catalog.models if "rerank" in model.tasks]
    published = [model for model in rerankers if model.config["architectures"][0].endswith("ForCausalLM")]

    assert published
    assert all("ForSequenceClassification" in model.hf_overrides for model in published)


def test_every_fact_has_a_source(catalog: Catalog) -> None:
    unsourced = [gpu.name for gpu in catalog.gpus if not gpu.sources]
    unsourced += [model.name for model in catalog.models if not model.sources]
    unsourced += [v.repository for model in catalog.models for v in model.variants if not v.sources]
    unsourced += [f"{price.provider} {price.instance}" for price in catalog.prices if not price.source]

    assert unsourced == []


def test_torch_sees_less_memory_than_the_driver_and_the_driver_less_than_the_label(catalog: Catalog) -> None:
    for gpu in catalog.gpus:
        if gpu.driver_memory_bytes is not None:
            assert gpu.memory_bytes <= gpu.driver_memory_bytes, gpu.name
    h100 = catalog.gpu("H100 80GB SXM5")
    assert 79.1 < h100.memory_bytes / GIB < 79.2


def test_mig_instances_never_add_up_to_more_than_their_card(catalog: Catalog) -> None:
    cards = {gpu.name: gpu for gpu in catalog.gpus}
    for gpu in catalog.gpus:
        if gpu.parent:
            assert gpu.instances * gpu.memory_bytes <= cards[gpu.parent].memory_bytes, gpu.name


def test_every_price_is_for_a_gpu_of_the_catalog(catalog: Catalog) -> None:
    known = {gpu.name for gpu in catalog.gpus}

    assert {price.gpu for price in catalog.prices} <= known


def test_devices_without_a_memory_profile_say_why(catalog: Catalog) -> None:
    assert all(gpu.refusal for gpu in catalog.gpus if gpu.vendor != "nvidia")
    assert catalog.gpu("Tesla P40").refusal
    assert not catalog.gpu("H100 80GB SXM5").refusal


@pytest.mark.parametrize(
    ("shorthand", "name"),
    [
        ("h100-sxm-80gb", "H100 80GB SXM5"),
        ("rtx-4090", "RTX 4090"),
        ("L40s", "L40S"),
        ("a100-80gb", "A100 80GB SXM4"),
        ("RTX 3090 24GB", "RTX 3090"),
        ("NVIDIA L4 (23034 MiB)", "L4"),
        ("T4 16GB", "T4"),
        ("L40S 48GB", "L40S"),
    ],
)
def test_a_gpu_is_found_by_the_words_of_its_name(shorthand: str, name: str) -> None:
    assert load_catalog().gpu(shorthand).name == name


@pytest.mark.parametrize("name", ["sxm", "RTX 4050", "RTX 3090 SUPER", "RTX 2080 MAX", "RTX 6000", "H100 40GB"])
def test_a_name_of_another_card_or_of_none_is_refused(name: str) -> None:
    with pytest.raises(UnknownName):
        load_catalog().gpu(name)


def test_what_was_assumed_widens_a_config_and_what_was_read_does_not(catalog: Catalog) -> None:
    model, assumed = catalog.find("JunHowie/Qwen3-8B-GPTQ-Int4")
    settings = model.widest_config_for(assumed)["quantization_config"]

    assert {"group_size", "desc_act"} <= set(assumed.assumed_fields)
    assert (settings["group_size"], settings["desc_act"]) == (32, True)
    assert model.config_for(assumed)["quantization_config"]["group_size"] == 128
    model, read = catalog.find("Qwen/Qwen3-32B-FP8")
    assert read.assumed_fields == ()
    assert model.widest_config_for(read) == model.config_for(read)
