"""What is expected of Kubernetes."""

from __future__ import annotations

from dataclasses import dataclass

from hrm.doctor.expected.about import about


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesExpected:
    """The section `doctor.kubernetes` of ``hrm.yaml``."""

    pod_cidr: str | None = about(
        "Addresses of pods, as for kubeadm init --pod-network-cidr, to be free of all others.", None
    )
    image_repository: str | None = about("Where images come from, as for kubeadm init --image-repository.", None)
    images: tuple[str, ...] = about("Images that nodes are to have or be able to pull, besides kubeadm's own.", ())
