"""The same one-line script on 200 hosts: through agents, asyncssh and pyinfra; the floor is a fork and an exec."""
