"""The pages of the site, one module each: what a page shows, as plain values for its template."""

from hrm.web.page import Site
from hrm.web.pages.nodes import NODES
from hrm.web.pages.overview import OVERVIEW

SITE = Site((OVERVIEW, NODES))
