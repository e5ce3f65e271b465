"""A script on 200 hosts: through agents, and through ssh."""
