"""The end-to-end tests' application: says its version to whoever connects, for as long as it is told to live."""

import signal
import socket
import sys

port, version, lifetime_s = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
signal.alarm(lifetime_s)
listener = socket.create_server(("127.0.0.1", port))
while True:
    connection, _ = listener.accept()
    with connection:
        connection.sendall(version.encode() + b"\n")
