"""Looking for the best workflow: rules that choose one, spaces that are searched."""
