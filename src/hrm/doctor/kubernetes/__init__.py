"""Checks of Kubernetes."""

from __future__ import annotations

from hrm.doctor.checks import Check, Fact
from hrm.doctor.kubernetes import certificates, gpus, health, images, networks, node, setup, tools

CHECKS: tuple[Check, ...] = (
    node.swap_is_off,
    node.containerd_serves_kubelet,
    health.kubelet_is_well,
    setup.nothing_is_left_of_an_earlier_setup,
    setup.ports_are_free,
    networks.networks_are_apart,
    images.images_are_to_be_had,
    certificates.certificates_are_valid_now,
    tools.curl_knows_https,
    gpus.pods_get_gpus,
)
FACTS: tuple[Fact, ...] = (node.version, node.cgroup_driver)
