"""The order of files of SQL that need each other, and the circles in which there is none.

Only names belong here. What is done with a file in a circle does not: see `pipelines.models.load`.
"""

from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter


def in_order(graph: Mapping[str, Iterable[str]]) -> tuple[list[str], dict[str, str]]:
    """Return the names of a graph, each one after those that it points to, and why some are in no order.

    Names that the graph does not have are left out. Those in a circle are in the list too, at any place.
    """
    own = {name: sorted(set(others) & graph.keys()) for name, others in graph.items()}
    problems: dict[str, str] = {}
    while True:
        try:
            return list(TopologicalSorter(own).static_order()), problems
        except CycleError as error:
            circle: list[str] = error.args[1]
            problem = f"These files of SQL need each other in a circle: {' -> '.join(circle)}."
            problems |= dict.fromkeys(circle, f"{problem} Break the circle in one of them.")
            own |= {name: [] for name in circle}
