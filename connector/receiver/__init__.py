"""HTTP in: each request is authenticated, its event is stored, and only then it is answered.

Here belong the server, its limits, TLS, the proof of who sends, and the processes that share a port. What
does not: how bytes become durable (`connector.journal`), and what an event means (`sql/`).
"""
