"""Inventory: files that a cluster's own commands wrote in; its GPUs that a fleet may have, and what is left out, out.

``documents`` reads JSON and says where it is wrong, ``machine`` is what all readers yield. ``objects``, ``quantity``,
``pods``, ``node``, ``offers`` and ``kubernetes`` read what kubectl wrote. ``products`` finds the catalog's GPU for a
name, ``pools`` makes pools of equal machines, and ``fleet_text`` writes them.
"""

from planner.inventory.fleet_text import hardware_text
from planner.inventory.machine import Devices, Inventory, LeftOut

__all__ = ["Devices", "Inventory", "LeftOut", "hardware_text"]
