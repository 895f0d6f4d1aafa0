"""The HTTP side: it authenticates each request, stores the event, and only then answers.

The server, its limits, TLS, authentication, and the processes that share a port belong here. See
`connector.journal` for how bytes become durable, and `sql/` for the meaning of an event.
"""
