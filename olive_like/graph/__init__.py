"""From a validated workflow to a graph, its keys and a plan."""
