"""Resource profiles: amounts by names of their own, by which clients may ask (YARN's ResourceProfilesManager).

What is asked by a profile comes as an amount: clients look it up in what they are told here and at registration.
"""

from __future__ import annotations

from hrm.config.yarn_values import YarnConfig
from hrm.model.resources import Resources
from hrm.yarn.amounts import resource_message
from hrm.yarn.errors import FeatureNotEnabled, YarnError
from hrm.yarn.proto.records_pb2 import ResourceProfilesProto, ResourceProto

#: What counts where a client names no profile.
DEFAULT = "default"


def profiles(config: YarnConfig, maximum: Resources) -> ResourceProfilesProto | None:
    """All of them; None iff they are switched off. ``maximum``: the largest container there can be."""
    if not config.resource_profiles:
        return None
    named = {DEFAULT: config.minimum, **config.resource_profiles, "minimum": config.minimum, "maximum": maximum}
    message = ResourceProfilesProto()
    for name, amounts in named.items():
        message.resource_profiles_map.add(name=name, resources=resource_message(amounts))
    return message


def profiles_or_refusal(config: YarnConfig, maximum: Resources) -> ResourceProfilesProto:
    """Raises FeatureNotEnabled where they are switched off."""
    found = profiles(config, maximum)
    if found is None:
        raise FeatureNotEnabled(
            "Resource profile is not enabled, please enable resource profile feature before using its functions. "
            "(yarn.resource_profiles in hrm.yaml)"
        )
    return found


def profile(config: YarnConfig, maximum: Resources, name: str) -> ResourceProto:
    """Raises FeatureNotEnabled, and YarnError for one that there is not."""
    for entry in profiles_or_refusal(config, maximum).resource_profiles_map:
        if entry.name == name:
            return entry.resources
    raise YarnError(f"Resource profile '{name[:80]}' not found")
