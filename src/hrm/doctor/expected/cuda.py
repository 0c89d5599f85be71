"""What is expected of CUDA, cuDNN and what else programs on GPUs need."""

from __future__ import annotations

from dataclasses import dataclass

from hrm.doctor.expected.about import about


@dataclass(frozen=True, slots=True, kw_only=True)
class CudaExpected:
    """The section `doctor.cuda` of ``hrm.yaml``."""

    toolkit: str | None = about("The toolkit that /usr/local/cuda is to lead to: 10.1, or 10.1.105.", None)
    cudnn: str | None = about("The cuDNN that is to lie in it: 7.6, or 7.6.4.", None)
