"""Somebody between a member and its controller: middle.py LISTEN CONTROLLER MODE

Forwards TCP 389 and 445 and UDP 389 of the address LISTEN to CONTROLLER, and changes what passes as MODE says.
Prints a line for each change.

  none             nothing
  smb-strip        signatures and their flag are taken off what the server sends
  smb-alter        the last byte of every signed answer is changed
  smb-read         the last byte of what is read is changed, its signature left
  smb-read-strip   the same, signature and flag taken off
  smb-negotiate    the server says in NEGOTIATE that it neither requires nor enables signing
  smb-dialect      the server chooses SMB 2.0.2 in NEGOTIATE, without its pre-authentication hash
  smb-ntlm         the server's NEGOTIATE offers NTLM alone
  smb-guest        the logon is answered as that of a guest, unsigned
  smb-null         the logon is answered as an anonymous one, unsigned
  smb-both         strip, negotiate and guest together: nothing says any more that anything is signed
  smb-request      what the client asks is changed: a byte of every signed request
  ldap-alter       a byte of every sealed buffer of the server is changed
  ldap-request     a byte of every sealed buffer of the client is changed
  ldap-plain       an entry in the clear is put in place of the first sealed buffer
  ldap-unsealed    the first sealed buffer is sent without its seal (as a message of plain LDAP without a length)
  ldap-layer       the server's offer of layers is replaced by one in the clear, of no layer
  ldap-success     the first bind is answered with success
  ldap-refuse      the first bind is answered with authMethodNotSupported: simple or NTLM are left
  ldap-replay      the first sealed buffer of the server is sent twice
"""
import signal
import socket
import struct
import sys
import threading

listen, controller, mode = sys.argv[1:4]


def ber(tag, body):
    n = len(body)
    size = bytes([n]) if n < 128 else (lambda b: bytes([0x80 | len(b)]) + b)(n.to_bytes((n.bit_length() + 7) // 8, "big"))
    return bytes([tag]) + size + body


def told(what):
    print(what, flush=True)


def exactly(source, n):
    out = b""
    while len(out) < n:
        piece = source.recv(n - len(out))
        if not piece:
            raise EOFError
        out += piece
    return out


class Smb:
    """Frames of SMB2 with their length."""

    def frame(self, source):
        size = struct.unpack(">I", exactly(source, 4))[0]
        return bytearray(exactly(source, size))

    def pack(self, frame):
        return struct.pack(">I", len(frame)) + bytes(frame)

    def answer(self, f):
        if f[:4] != b"\xfeSMB":
            return [f]
        command, flags = struct.unpack_from("<H", f, 12)[0], f[16]
        signed = flags & 8
        if command == 0 and mode in ("smb-negotiate", "smb-both"):
            told("negotiate")
            f[66] = 0
        if command == 0 and mode == "smb-dialect":
            told("dialect")
            struct.pack_into("<H", f, 68, 0x0202)
            struct.pack_into("<H", f, 70, 0)
        if command == 0 and mode == "smb-ntlm":
            offset, length = struct.unpack_from("<HH", f, 120)
            ntlm = bytes.fromhex("060a2b06010401823702020a")
            blob = ber(0x60, bytes.fromhex("06062b0601050502") + ber(0xA0, ber(0x30, ber(0xA0, ber(0x30, ntlm)))))
            told("ntlm")
            # What is behind the blob (contexts) keeps its place.
            f[offset:offset + length] = blob + bytes(length - len(blob))
            struct.pack_into("<H", f, 122, len(blob))
        if command == 1 and mode in ("smb-guest", "smb-null", "smb-both"):
            told("logon")
            f[66] |= 2 if mode == "smb-null" else 1
            f[16] &= ~8
            f[48:64] = bytes(16)
        elif signed and mode in ("smb-strip", "smb-both"):
            told("strip")
            f[16] &= ~8
            f[48:64] = bytes(16)
        elif mode in ("smb-read", "smb-read-strip"):
            self.read(f)
        elif signed and mode == "smb-alter":
            told("alter")
            f[-1] ^= 1
        return [f]

    def read(self, f):
        """Requests travel together, and so do their answers."""
        at = 0
        while True:
            command, status = struct.unpack_from("<H", f, at + 12)[0], struct.unpack_from("<I", f, at + 8)[0]
            if command == 8 and status == 0 and f[at + 16] & 8:
                told("read")
                f[at + f[at + 66]] ^= 1
                if mode == "smb-read-strip":
                    f[at + 16] &= ~8
                    f[at + 48:at + 64] = bytes(16)
            following = struct.unpack_from("<I", f, at + 20)[0]
            if following == 0:
                return
            at += following

    def request(self, f):
        if mode == "smb-request" and f[:4] == b"\xfeSMB" and f[16] & 8:
            told("request")
            f[-1] ^= 1
        return [f]


class Ldap:
    """Messages of LDAP until the bind is over, then sealed buffers."""

    def __init__(self):
        self.sealed = {"answer": False, "request": False}
        self.binds = 0
        self.first = True

    def frame_of(self, source, way):
        # Which of the two it is shows only when it comes.
        head = exactly(source, 1)
        if self.sealed[way]:
            size = struct.unpack(">I", head + exactly(source, 3))[0]
            return bytearray(exactly(source, size))
        head += exactly(source, 1)
        size = head[1]
        if size & 0x80:
            more = exactly(source, size & 0x7F)
            head, size = head + more, int.from_bytes(more, "big")
        return bytearray(head + exactly(source, size))

    def pack(self, frame, way):
        return struct.pack(">I", len(frame)) + bytes(frame) if self.sealed[way] else bytes(frame)

    def bind_result(self, code, credentials=None):
        body = ber(0x0A, bytes([code])) + ber(4, b"") + ber(4, b"")
        if credentials is not None:
            body += ber(0x87, credentials)
        return bytearray(ber(0x30, ber(2, bytes([self.binds])) + ber(0x61, body)))

    def answer(self, f):
        if not self.sealed["answer"]:
            self.binds += 1
            code = f[f.index(b"\x0a\x01") + 2]
            if self.binds == 1 and mode in ("ldap-success", "ldap-refuse"):
                told(mode)
                return [self.bind_result(0 if mode == "ldap-success" else 7)]
            if self.binds == 2 and code == 14 and mode == "ldap-layer":
                told(mode)
                return [self.bind_result(14, b"\x01\x00\x00\x00")]
            if code == 0:
                return ["sealed", f]
            return [f]
        if mode == "ldap-alter":
            told(mode)
            f[-1] ^= 1
        first, self.first = self.first, False
        if first and mode == "ldap-replay":
            told(mode)
            return [f, f]
        if first and mode in ("ldap-plain", "ldap-unsealed"):
            told(mode)
            entry = ber(0x64, ber(4, b"") + ber(0x30, ber(0x30, ber(4, b"defaultNamingContext") + ber(0x31, ber(4, b"DC=evil")))))
            number = bytes([self.binds + 1])
            plain = ber(0x30, ber(2, number) + entry) + ber(0x30, ber(2, number) + ber(0x65, ber(0x0A, b"\0") + ber(4, b"") + ber(4, b"")))
            return [bytearray(plain)] if mode == "ldap-plain" else ["raw", plain]
        return [f]

    def request(self, f):
        if self.sealed["request"] and mode == "ldap-request":
            told(mode)
            f[-1] ^= 1
        return [f]


def forward(way, kind, source, target):
    try:
        while True:
            if isinstance(kind, Smb):
                frame = kind.frame(source)
                for one in getattr(kind, way)(frame):
                    target.sendall(kind.pack(one))
                continue
            frame = kind.frame_of(source, way)
            raw = False
            for one in getattr(kind, way)(frame):
                if one == "raw":
                    raw = True
                elif one == "sealed":
                    # The last answer of the bind is still plain; what follows is not.
                    kind.sealed = {"answer": True, "request": True}
                    target.sendall(bytes(frame))
                    break
                else:
                    target.sendall(bytes(one) if raw else kind.pack(one, way))
    except (EOFError, OSError, ValueError, IndexError, struct.error):
        pass
    for end in (source, target):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def relay(client, port):
    try:
        server = socket.create_connection((controller, port), 10)
    except OSError:
        client.close()
        return
    server.settimeout(None)
    kind = Smb() if port == 445 else Ldap()
    threading.Thread(target=forward, args=("request", kind, client, server), daemon=True).start()
    threading.Thread(target=forward, args=("answer", kind, server, client), daemon=True).start()


def accept(listener, port):
    while True:
        client, _ = listener.accept()
        threading.Thread(target=relay, args=(client, port), daemon=True).start()


def pings():
    while True:
        data, sender = ping.recvfrom(65536)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            out.settimeout(2)
            out.sendto(data, (controller, 389))
            try:
                ping.sendto(out.recv(65536), sender)
            except OSError:
                pass


ping = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
ping.bind((listen, 389))
threading.Thread(target=pings, daemon=True).start()
for number in (389, 445):
    one = socket.create_server((listen, number))
    threading.Thread(target=accept, args=(one, number), daemon=True).start()
told("ready")
signal.pause()
