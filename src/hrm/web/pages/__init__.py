"""The pages of the site, one module each: what a page shows, as plain values for its template."""

from hrm.web.page import Site
from hrm.web.pages.application import APPLICATION, LOG
from hrm.web.pages.applications import APPLICATIONS
from hrm.web.pages.gpus import GPUS
from hrm.web.pages.history import HISTORY
from hrm.web.pages.node import NODE
from hrm.web.pages.nodes import NODES
from hrm.web.pages.overview import OVERVIEW
from hrm.web.pages.queues import QUEUE, QUEUES
from hrm.web.pages.submit import SUBMIT
from hrm.web.pages.weight import WEIGHT

SITE = Site((OVERVIEW, GPUS, QUEUES, QUEUE, WEIGHT, APPLICATIONS, APPLICATION, LOG, NODES, NODE, HISTORY, SUBMIT))
