"""Landing, the record of truth: raw rows as Parquet, never edited.

The zones and their schemas belong here, and the naming, writing, reading and merging of landed files. Nothing
about Verbex or the meaning of the rows does.
"""
