"""The methods of YARN's protocols, with what each takes and answers."""

from __future__ import annotations

from hrm.yarn.calls import Method, RpcProtocol
from hrm.yarn.proto import records_pb2 as records
from hrm.yarn.proto import security_pb2 as security
from hrm.yarn.proto import service_pb2 as service

#: What clients say to the ResourceManager.
APPLICATION_CLIENT = RpcProtocol(
    "org.apache.hadoop.yarn.api.ApplicationClientProtocolPB",
    (
        Method("getNewApplication", service.GetNewApplicationRequestProto, service.GetNewApplicationResponseProto),
        Method(
            "getApplicationReport", service.GetApplicationReportRequestProto, service.GetApplicationReportResponseProto
        ),
        Method("submitApplication", service.SubmitApplicationRequestProto, service.SubmitApplicationResponseProto),
        Method(
            "failApplicationAttempt",
            service.FailApplicationAttemptRequestProto,
            service.FailApplicationAttemptResponseProto,
        ),
        Method("forceKillApplication", service.KillApplicationRequestProto, service.KillApplicationResponseProto),
        Method("getClusterMetrics", service.GetClusterMetricsRequestProto, service.GetClusterMetricsResponseProto),
        Method("getApplications", service.GetApplicationsRequestProto, service.GetApplicationsResponseProto),
        Method("getClusterNodes", service.GetClusterNodesRequestProto, service.GetClusterNodesResponseProto),
        Method("getQueueInfo", service.GetQueueInfoRequestProto, service.GetQueueInfoResponseProto),
        Method("getQueueUserAcls", service.GetQueueUserAclsInfoRequestProto, service.GetQueueUserAclsInfoResponseProto),
        Method("getDelegationToken", security.GetDelegationTokenRequestProto, security.GetDelegationTokenResponseProto),
        Method(
            "renewDelegationToken",
            security.RenewDelegationTokenRequestProto,
            security.RenewDelegationTokenResponseProto,
        ),
        Method(
            "cancelDelegationToken",
            security.CancelDelegationTokenRequestProto,
            security.CancelDelegationTokenResponseProto,
        ),
        Method(
            "moveApplicationAcrossQueues",
            service.MoveApplicationAcrossQueuesRequestProto,
            service.MoveApplicationAcrossQueuesResponseProto,
        ),
        Method(
            "getApplicationAttemptReport",
            service.GetApplicationAttemptReportRequestProto,
            service.GetApplicationAttemptReportResponseProto,
        ),
        Method(
            "getApplicationAttempts",
            service.GetApplicationAttemptsRequestProto,
            service.GetApplicationAttemptsResponseProto,
        ),
        Method("getContainerReport", service.GetContainerReportRequestProto, service.GetContainerReportResponseProto),
        Method("getContainers", service.GetContainersRequestProto, service.GetContainersResponseProto),
        Method("getNewReservation", service.GetNewReservationRequestProto, service.GetNewReservationResponseProto),
        Method(
            "submitReservation", service.ReservationSubmissionRequestProto, service.ReservationSubmissionResponseProto
        ),
        Method("updateReservation", service.ReservationUpdateRequestProto, service.ReservationUpdateResponseProto),
        Method("deleteReservation", service.ReservationDeleteRequestProto, service.ReservationDeleteResponseProto),
        Method("listReservations", service.ReservationListRequestProto, service.ReservationListResponseProto),
        Method("getNodeToLabels", service.GetNodesToLabelsRequestProto, service.GetNodesToLabelsResponseProto),
        Method("getLabelsToNodes", service.GetLabelsToNodesRequestProto, service.GetLabelsToNodesResponseProto),
        Method(
            "getClusterNodeLabels", service.GetClusterNodeLabelsRequestProto, service.GetClusterNodeLabelsResponseProto
        ),
        Method(
            "updateApplicationPriority",
            service.UpdateApplicationPriorityRequestProto,
            service.UpdateApplicationPriorityResponseProto,
        ),
        Method("signalToContainer", service.SignalContainerRequestProto, service.SignalContainerResponseProto),
        Method(
            "updateApplicationTimeouts",
            service.UpdateApplicationTimeoutsRequestProto,
            service.UpdateApplicationTimeoutsResponseProto,
        ),
        Method(
            "getResourceProfiles",
            service.GetAllResourceProfilesRequestProto,
            service.GetAllResourceProfilesResponseProto,
        ),
        Method("getResourceProfile", service.GetResourceProfileRequestProto, service.GetResourceProfileResponseProto),
        Method(
            "getResourceTypeInfo",
            service.GetAllResourceTypeInfoRequestProto,
            service.GetAllResourceTypeInfoResponseProto,
        ),
        Method(
            "getClusterNodeAttributes",
            service.GetClusterNodeAttributesRequestProto,
            service.GetClusterNodeAttributesResponseProto,
        ),
        Method(
            "getAttributesToNodes", service.GetAttributesToNodesRequestProto, service.GetAttributesToNodesResponseProto
        ),
        Method(
            "getNodesToAttributes", service.GetNodesToAttributesRequestProto, service.GetNodesToAttributesResponseProto
        ),
    ),
)

#: What masters say to the ResourceManager.
APPLICATION_MASTER = RpcProtocol(
    "org.apache.hadoop.yarn.api.ApplicationMasterProtocolPB",
    (
        Method(
            "registerApplicationMaster",
            service.RegisterApplicationMasterRequestProto,
            service.RegisterApplicationMasterResponseProto,
        ),
        Method(
            "finishApplicationMaster",
            service.FinishApplicationMasterRequestProto,
            service.FinishApplicationMasterResponseProto,
        ),
        Method("allocate", service.AllocateRequestProto, service.AllocateResponseProto),
    ),
)

#: What masters say to nodes.
CONTAINER_MANAGEMENT = RpcProtocol(
    "org.apache.hadoop.yarn.api.ContainerManagementProtocolPB",
    (
        Method("startContainers", service.StartContainersRequestProto, service.StartContainersResponseProto),
        Method("stopContainers", service.StopContainersRequestProto, service.StopContainersResponseProto),
        Method(
            "getContainerStatuses", service.GetContainerStatusesRequestProto, service.GetContainerStatusesResponseProto
        ),
        Method(
            "increaseContainersResource",
            service.IncreaseContainersResourceRequestProto,
            service.IncreaseContainersResourceResponseProto,
        ),
        Method("updateContainer", service.ContainerUpdateRequestProto, service.ContainerUpdateResponseProto),
        Method("signalToContainer", service.SignalContainerRequestProto, service.SignalContainerResponseProto),
        Method("localize", service.ResourceLocalizationRequestProto, service.ResourceLocalizationResponseProto),
        Method(
            "reInitializeContainer",
            service.ReInitializeContainerRequestProto,
            service.ReInitializeContainerResponseProto,
        ),
        Method("restartContainer", records.ContainerIdProto, service.RestartContainerResponseProto),
        Method("rollbackLastReInitialization", records.ContainerIdProto, service.RollbackResponseProto),
        Method("commitLastReInitialization", records.ContainerIdProto, service.CommitResponseProto),
        Method(
            "getLocalizationStatuses",
            service.GetLocalizationStatusesRequestProto,
            service.GetLocalizationStatusesResponseProto,
        ),
    ),
)

#: What administrators say to the ResourceManager (``yarn rmadmin``).
ADMINISTRATION = RpcProtocol(
    "org.apache.hadoop.yarn.server.api.ResourceManagerAdministrationProtocolPB",
    (
        Method("getGroupsForUser", service.GetGroupsForUserRequestProto, service.GetGroupsForUserResponseProto),
        Method(
            "addToClusterNodeLabels", service.AddToClusterNodeLabelsRequestProto, service.AdministrationResponseProto
        ),
        Method(
            "removeFromClusterNodeLabels",
            service.RemoveFromClusterNodeLabelsRequestProto,
            service.AdministrationResponseProto,
        ),
        Method("replaceLabelsOnNodes", service.ReplaceLabelsOnNodeRequestProto, service.AdministrationResponseProto),
        *(
            Method(name, service.AdministrationRequestProto, service.AdministrationResponseProto)
            for name in (
                "refreshQueues",
                "refreshNodes",
                "refreshSuperUserGroupsConfiguration",
                "refreshUserToGroupsMappings",
                "refreshAdminAcls",
                "refreshServiceAcls",
                "updateNodeResource",
                "refreshNodesResources",
                "checkForDecommissioningNodes",
                "refreshClusterMaxPriority",
                "mapAttributesToNodes",
            )
        ),
    ),
)
