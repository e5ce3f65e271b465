"""4 rules with 3 matches among all processes: the collector against psutil, `ps` with `ss`, and a C floor."""
