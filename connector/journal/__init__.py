"""The journal: it makes deliveries durable at once, in groups, and later seals them into landing.

Segment files, group commit and sealing belong here. See `connector.receiver` for HTTP, and
`connector.landing` for the layout of landed files.
"""
