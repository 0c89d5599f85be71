"""YARN's REST interface, the proxy to masters' pages, and the output of containers, over HTTP."""
