"""`python -m pipelines.cli`: the same as `verbex-sync`."""

from pipelines.cli import main

main(prog_name="verbex-sync")
