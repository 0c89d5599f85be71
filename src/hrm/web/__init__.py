"""The web page: HTML made on the server from what the facade tells, brought up to date by server-sent events.

A room above the API, whose guards, tokens and rights it shares: whoever sees or may do something here may do so there,
and nobody else.
"""
