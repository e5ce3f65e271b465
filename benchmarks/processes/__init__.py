"""Process collection against psutil, `ps` with `ss`, and a C floor."""
