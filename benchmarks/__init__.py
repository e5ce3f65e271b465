"""Performance: with peers and the floor in the same run, as ratios."""
