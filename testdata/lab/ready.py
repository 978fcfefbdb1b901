"""Waits until the controller at ADDRESS listens on every port: ready.py ADDRESS PORT..."""
import socket
import sys
import time

address, ports = sys.argv[1], [int(p) for p in sys.argv[2:]]
end = time.monotonic() + 60
while ports:
    try:
        socket.create_connection((address, ports[0]), 1).close()
        ports.pop(0)
    except OSError as why:
        if time.monotonic() > end:
            sys.exit(f"nothing listens on port {ports[0]}: {why}")
        time.sleep(0.05)
