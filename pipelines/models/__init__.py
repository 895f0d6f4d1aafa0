"""The files of `sql/`: what each header says, what each statement reads, and the order to build them in.

Reading the files belongs here. Running them does not: see `pipelines.warehouse`.
"""
