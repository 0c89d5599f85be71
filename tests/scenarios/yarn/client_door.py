"""A client of YARN's at a live ResourceManager, without the wire between."""

from __future__ import annotations

import inspect
from typing import Any

from google.protobuf.message import Message

from hrm.config.yarn_values import YarnConfig
from hrm.model.errors import HrmError
from hrm.model.ids import ApplicationId
from hrm.testing.lives import Life
from hrm.testing.played_masters import Master
from hrm.yarn.application_messages import Links
from hrm.yarn.calls import Caller
from hrm.yarn.client_tokens import ClientTokens
from hrm.yarn.clients import Clients, application_client_service
from hrm.yarn.errors import YarnError, from_hrm
from hrm.yarn.ids import application_message
from hrm.yarn.nodes import NodeAddress, NodeAddresses
from hrm.yarn.proto import records_pb2 as records
from hrm.yarn.proto import service_pb2 as service
from hrm.yarn.tokens.secrets import TokenSecrets
from hrm.yarn.tokens.state import TokenState

WEB = "http://rm:8088"


class Door:
    """Calls methods by name, as ``user``. Errors are YARN's, as a client would get them."""

    def __init__(self, life: Life, config: YarnConfig = YarnConfig()) -> None:
        self.life = life
        self.nodes = NodeAddresses("rm:8088")
        self.nodes.add("n1", NodeAddress("127.0.0.1", 8041, "rm:8088"))
        clock = life.manager.clock
        self.secrets = TokenSecrets(TokenState.new(clock()), lambda data: None, clock=clock)
        self.links = Links(web=WEB)
        self.clients = Clients(
            life.service,
            config=config,
            secrets=self.secrets,
            nodes=self.nodes,
            links=self.links,
            check_submitter=self._check_submitter,
            clock=clock,
        )
        self.tokens = ClientTokens(self.secrets, service="rm:8032")
        self.service = application_client_service(self.clients, self.tokens)

    async def _check_submitter(self, user: str) -> None:
        return None

    async def call(self, method: str, request: Message, *, user: str = "ada", admin: bool = False) -> Any:
        try:
            answer = self.service.handlers[method](request, Caller(user=user, admin=admin))
            return await answer if inspect.isawaitable(answer) else answer
        except YarnError:
            raise
        except HrmError as error:
            raise from_hrm(error) from None

    async def new_id(self) -> records.ApplicationIdProto:
        response = await self.call("getNewApplication", service.GetNewApplicationRequestProto())
        return response.application_id

    async def submit(self, *, user: str = "ada", **fields: Any) -> str:
        """Submit one that may say more by ``fields``, and let it begin."""
        context = submission(await self.new_id(), **fields)
        return await self.submit_context(context, user=user)

    async def submit_context(self, context: records.ApplicationSubmissionContextProto, *, user: str = "ada") -> str:
        request = service.SubmitApplicationRequestProto(application_submission_context=context)
        await self.call("submitApplication", request, user=user)
        await self.life.settle()
        given = context.application_id
        return str(ApplicationId(given.cluster_timestamp, given.id))

    async def report(self, application_id: str, *, user: str = "ada") -> records.ApplicationReportProto:
        request = service.GetApplicationReportRequestProto(application_id=id_message(application_id))
        return (await self.call("getApplicationReport", request, user=user)).application_report

    async def listed(self, *, user: str = "ada", **filters: Any) -> list[str]:
        """Names of the applications that a list tells."""
        response = await self.call("getApplications", service.GetApplicationsRequestProto(**filters), user=user)
        return [report.name for report in response.applications]

    def master(self, application_id: str, attempt: int = 1) -> Master:
        return Master(self.life, application_id, attempt)


def id_message(application_id: str) -> records.ApplicationIdProto:
    return application_message(ApplicationId.parse(application_id))


def submission(new: records.ApplicationIdProto, **fields: Any) -> records.ApplicationSubmissionContextProto:
    """One as Spark's is: a master of 1 GiB and one CPU."""
    context = records.ApplicationSubmissionContextProto(
        application_id=new,
        application_name="pi",
        applicationType="SPARK",
        am_container_spec=records.ContainerLaunchContextProto(command=["sleep", "1000"]),
        resource=records.ResourceProto(memory=1024, virtual_cores=1),
    )
    more = records.ApplicationSubmissionContextProto(**fields)
    if more.am_container_spec.command:
        context.am_container_spec.ClearField("command")
    context.MergeFrom(more)
    return context
