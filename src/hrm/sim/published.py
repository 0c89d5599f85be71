"""What others have published on the traces that are read here, to be printed beside our figures.

GPU allocation in percent, mean of ten seeds, at 130 % arrived demand, from Weng et al., "Beware of Fragmentation",
USENIX ATC'23 (its artefact's tables). Their Packing and Clustering are other strategies than our `pack`.
"""

from __future__ import annotations

from hrm.model.scheduling import Strategy

PUBLISHED_LOAD = 1.3

_ALLOCATION = {
    "openb_pod_list_default": {
        Strategy.RANDOM: 87.47,
        Strategy.DOT_PRODUCT: 90.85,
        Strategy.BEST_FIT: 93.08,
        Strategy.FGD: 95.39,
    },
    "openb_pod_list_gpushare100": {
        Strategy.RANDOM: 79.44,
        Strategy.DOT_PRODUCT: 82.42,
        Strategy.BEST_FIT: 85.01,
        Strategy.FGD: 86.90,
    },
    "openb_pod_list_multigpu50": {
        Strategy.RANDOM: 90.27,
        Strategy.DOT_PRODUCT: 94.85,
        Strategy.BEST_FIT: 95.74,
        Strategy.FGD: 97.18,
    },
}


def published_allocation(list_name: str, placement: str, load: float) -> float | None:
    """By the name of the list of tasks, without its ending. None where nothing was published."""
    if load != PUBLISHED_LOAD:
        return None
    return next((figure for one, figure in _ALLOCATION.get(list_name, {}).items() if one == placement), None)
