"""How long tests wait for what should happen."""

HANG_S = 120
"""Ends only what hangs: however busy the machine is, nothing that works takes as long."""
