"""`make demo DEMO_EXIT=1` as a newcomer runs it: in a fresh clone with a HOME of its own, and once more."""
