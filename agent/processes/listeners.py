"""Listening TCP sockets by netlink's sock_diag (man 7 sock_diag): port and inode of each, IPv4 and IPv6.

/proc/net/tcp would walk the kernel's whole table of connections; sock_diag dumps the listeners alone.
"""

import socket
import struct
from collections.abc import Iterator
from pathlib import Path

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST_DUMP = 0x301
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_STATE_LISTEN = 10
_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, pid
_REQUEST = struct.Struct("=BBBxI48x")  # inet_diag_req_v2: family, protocol, extensions, states, socket id
_PORT_AT, _INODE_AT = 4, 68  # in inet_diag_msg: id.idiag_sport (network order), idiag_inode
_TIMEOUT_S = 5.0


def listening_sockets() -> dict[int, int]:
    """The inode of every listening TCP socket of this network namespace, and its port.

    Falls back to /proc/net/tcp where netlink is forbidden.
    """
    try:
        return _by_netlink()
    except OSError:
        return _by_proc()


def _by_netlink() -> dict[int, int]:
    found: dict[int, int] = {}
    with socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG
    ) as netlink:
        netlink.settimeout(_TIMEOUT_S)
        for family in (socket.AF_INET, socket.AF_INET6):
            body = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, 1 << _STATE_LISTEN)
            length = _HEADER.size + len(body)
            netlink.send(_HEADER.pack(length, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST_DUMP, family, 0) + body)
            found.update(_dump(netlink))
    return found


def _dump(netlink: socket.socket) -> Iterator[tuple[int, int]]:
    while True:
        data, offset = netlink.recv(256 * 1024), 0
        while offset + _HEADER.size <= len(data):
            length, kind, *_ = _HEADER.unpack_from(data, offset)
            if kind == _NLMSG_DONE:
                return
            if kind == _NLMSG_ERROR or length < _HEADER.size:
                raise OSError("cannot list listening sockets: netlink answered with an error")
            body = offset + _HEADER.size
            port = int(struct.unpack_from("!H", data, body + _PORT_AT)[0])
            inode = int(struct.unpack_from("=I", data, body + _INODE_AT)[0])
            if inode:
                yield inode, port
            offset += (length + 3) & ~3


def _by_proc() -> dict[int, int]:
    found: dict[int, int] = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text("ascii").splitlines()[1:]
        except OSError:
            continue
        for fields in (line.split() for line in lines):
            if fields[3] == "0A":
                found[int(fields[9])] = int(fields[1].rpartition(":")[2], 16)
    return found
