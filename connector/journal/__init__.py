"""Deliveries made durable at once, in groups, and later moved to landing.

Here belong the segment files, group commit and sealing. What does not: HTTP (`connector.receiver`), and the
layout of landed files (`connector.landing`).
"""
