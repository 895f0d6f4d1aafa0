"""What rules set off: requests, e-mails and calls that go out once the tables say so. No Dagster.

Deciding what is to be done, keeping it safe, and sending it belong here. The header of a rule does not: see
`pipelines.models.action`. Its SQL does not either: see `sql/rules/`.
"""
