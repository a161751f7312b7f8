"""Catalog: data files in; the models, checkpoints, GPUs and accuracy figures that a plan chooses from, out.

    catalog/models/<family>.yaml   base models and their published checkpoints
    catalog/schemes.yaml           what each quantization scheme writes into a config.json
    catalog/gpus/<vendor>.yaml     devices and their MIG instances
    catalog/prices/*.yaml          cloud list prices
    catalog/accuracy/*.yaml        scales per task, base scores, measured recoveries, class defaults
    catalog/speed/*.yaml           what kernels reach on each device, and what holds for the engine on all
    catalog/publishers.yaml        whose quantized checkpoints are chosen without having been named
    catalog/measured/*.yaml        start-ups and load tests of the user's own, in overlays alone

Nothing is read before it is asked for, and to find one model only the family files that mention its name are parsed,
so that a look-up costs milliseconds however long the catalog grows.
"""

from planner.catalog.catalog import Catalog, load_catalog

__all__ = ["Catalog", "load_catalog"]
