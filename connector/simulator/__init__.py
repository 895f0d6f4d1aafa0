"""A Verbex on localhost: sends its webhooks, serves its REST API, and knows the truth about both.

Here belongs what a real account would send and answer, seeded and reproducible; everything follows from a
`World`. What does not: what verbex-sync makes of it. Tests and the demo compare the two.
"""
