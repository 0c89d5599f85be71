"""Checks of CUDA, cuDNN and what else programs on GPUs need."""

from __future__ import annotations

from hrm.doctor.checks import Check, Fact
from hrm.doctor.cuda import cudnn, linking, toolkit_checks

CHECKS: tuple[Check, ...] = (
    toolkit_checks.driver_suffices,
    toolkit_checks.link_is_right,
    toolkit_checks.parts_are_of_one_release,
    toolkit_checks.compiler_is_the_toolkits,
    linking.configuration_names_what_is_there,
    linking.cache_has_what_is_named,
    linking.library_path_leads_to_the_toolkit,
    cudnn.versions_agree,
    cudnn.files_are_as_installed,
    cudnn.built_for_its_toolkit,
)
FACTS: tuple[Fact, ...] = (toolkit_checks.default_release, linking.search_path, cudnn.default_version)
