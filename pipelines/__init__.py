"""The way from landed files to published tables: what runs, when, and what is shown of it.

Running the SQL, the warehouse files, Dagster's assets, sensors and checks, and the command line belong here.
HTTP and the parsing of events do not: see `connector`. The meaning of a table does not either: see `sql/`.
"""
