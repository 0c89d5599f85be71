"""A script for a private Ray cluster, which is made of the job's own containers and is gone afterwards.

    hrm submit --kind ray --tasks 4 --memory 2G --wait -- examples/ray_job.py 2000000

Estimates pi by points in a square. Nothing of HRM is imported: `ray.init()` finds the cluster in the environment, and
the CPUs that Ray gives out are those that the queue granted.
"""

from __future__ import annotations

import random
import sys

import ray

PIECES = 20


@ray.remote
def hits(points: int, seed: int) -> int:
    """How many of so many points lie in the circle."""
    generator = random.Random(seed)
    return sum(generator.random() ** 2 + generator.random() ** 2 < 1 for _ in range(points))


def main() -> None:
    points = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    ray.init(log_to_driver=False)
    cpus = int(ray.cluster_resources()["CPU"])
    found = sum(ray.get([hits.remote(points // PIECES, seed) for seed in range(PIECES)]))
    print(f"{len(ray.nodes())} containers, {cpus} CPUs: pi is about {4 * found / (points // PIECES * PIECES):.3f}")


if __name__ == "__main__":
    main()
