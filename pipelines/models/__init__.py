"""The files of `sql/`: what each header says, what each statement reads, and in which order they are built.

Here belongs reading the files. What does not: running them (`pipelines.warehouse`).
"""
