"""Presents Kerberos tickets to a server as no honest client would: ADDRESS PORT CACHE SPN DIALECTS WHAT...

The ticket for SPN is taken from a ticket cache; each WHAT is tried on connections of its own in each of DIALECTS
(NT1,SMB2_02,SMB2_10,SMB3_00,SMB3_02,SMB3_11):
  honest       once, as it should be
  replay       the same token twice
  skew=SECONDS an authenticator of another time
  truncated    a token without its end
  flipped      a byte of the ticket changed
  mic          a wrong proof of the list of mechanisms
  second       Kerberos as the second mechanism of the list, its token in the second message
Prints the dialect, WHAT and the last status of each try, in hexadecimal.
"""
import datetime
import os
import socket
import struct
import sys

from impacket.krb5 import constants
from impacket.krb5.asn1 import AP_REQ, Authenticator, TGS_REP, seq_set
from impacket.krb5.ccache import CCache
from impacket.krb5.types import KerberosTime, Principal, Ticket
from pyasn1.codec.der import decoder, encoder
from pyasn1.type.univ import noValue

address, port, cache, spn, dialects = sys.argv[1:6]
KRB5 = bytes.fromhex("06092a864886f712010202")
SPNEGO = bytes.fromhex("06062b0601050502")
OTHER = bytes.fromhex("06062a0304050607")


def der(tag, *parts):
    body = b"".join(parts)
    n = len(body)
    size = bytes([n]) if n < 128 else (lambda b: bytes([0x80 | len(b)]) + b)(n.to_bytes((n.bit_length() + 7) // 8, "big"))
    return bytes([tag]) + size + body


def ap_req(skew=0):
    realm = CCache.loadFile(cache).principal.toPrincipal().realm
    tgs = CCache.loadFile(cache).getCredential(spn + "@" + realm, anySPN=False).toTGS()
    rep = decoder.decode(tgs["KDC_REP"], asn1Spec=TGS_REP())[0]
    ticket = Ticket()
    ticket.from_asn1(rep["ticket"])
    req = AP_REQ()
    req["pvno"] = 5
    req["msg-type"] = int(constants.ApplicationTagNumbers.AP_REQ.value)
    req["ap-options"] = constants.encodeFlags([constants.APOptions.mutual_required.value])
    seq_set(req, "ticket", ticket.to_asn1)
    auth = Authenticator()
    auth["authenticator-vno"] = 5
    auth["crealm"] = str(rep["crealm"])
    user = Principal()
    user.from_asn1(rep, "crealm", "cname")
    seq_set(auth, "cname", user.components_to_asn1)
    now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None) + datetime.timedelta(seconds=skew)
    auth["cusec"] = int.from_bytes(os.urandom(2), "big")
    auth["ctime"] = KerberosTime.to_asn1(now)
    auth["cksum"] = noValue
    auth["cksum"]["cksumtype"] = 0x8003  # RFC 4121 4.1.1: mutual, replay, sequence, integrity.
    auth["cksum"]["checksum"] = struct.pack("<I16xI", 16, 0x2E)
    auth["seq-number"] = 0
    sealed = tgs["cipher"].encrypt(tgs["sessionKey"], 11, encoder.encode(auth), None)
    req["authenticator"] = noValue
    req["authenticator"]["etype"] = tgs["cipher"].enctype
    req["authenticator"]["cipher"] = sealed
    return der(0x60, KRB5, b"\1\0", encoder.encode(req))


def init(token, mechanisms=(KRB5,), mic=None):
    fields = [der(0xA0, der(0x30, *mechanisms))]
    if token is not None:
        fields.append(der(0xA2, der(0x04, token)))
    if mic is not None:
        fields.append(der(0xA3, der(0x04, mic)))
    return der(0x60, SPNEGO, der(0xA0, der(0x30, *fields)))


def resp(token):
    return der(0xA1, der(0x30, der(0xA2, der(0x04, token))))


class Connection:
    def __init__(self, dialect):
        self.s = socket.create_connection((address, int(port)), 20)
        self.mid = 0
        self.session = 0
        self.smb1 = dialect == "NT1"
        if self.smb1:
            offered = b"\2NT LM 0.12\0"
            assert self.call1(0x72, b"\0" + struct.pack("<H", len(offered)) + offered) == 0
            return
        number = {"SMB2_02": 0x0202, "SMB2_10": 0x0210, "SMB3_00": 0x0300, "SMB3_02": 0x0302, "SMB3_11": 0x0311}[dialect]
        contexts, behind = b"\0" * 8, b""
        if number == 0x0311:
            # SHA-512, with a salt; behind the dialects, at a multiple of eight.
            contexts = struct.pack("<IHH", 104, 1, 0)
            behind = b"\0\0" + struct.pack("<HHIHHH", 1, 38, 0, 1, 32, 1) + os.urandom(32)
        body = struct.pack("<HHHHI16s8sH", 36, 1, 1, 0, 0, os.urandom(16), contexts, number) + behind
        assert self.call(0, body) == 0

    def call1(self, command, body):
        header = struct.pack("<4sBIBHH8sHHHHH", b"\xffSMB", command, 0, 0x18, 0xC801, 0, b"", 0, 0, 1, self.session, self.mid)
        self.mid += 1
        answer = self.exchange(header + body)
        self.session = struct.unpack_from("<H", answer, 28)[0]
        return struct.unpack_from("<I", answer, 5)[0]

    def call(self, command, body):
        header = struct.pack("<4sHHIHHIIQIIQ16s", b"\xfeSMB", 64, 0, 0, command, 31, 0, 0, self.mid, 0xFEFF, 0,
                             self.session, b"")
        self.mid += 1
        answer = self.exchange(header + body)
        self.session = struct.unpack_from("<Q", answer, 40)[0]
        return struct.unpack_from("<I", answer, 8)[0]

    def exchange(self, message):
        self.s.sendall(struct.pack(">I", len(message)) + message)
        return self.read(struct.unpack(">I", self.read(4))[0])

    def read(self, n):
        out = b""
        while len(out) < n:
            piece = self.s.recv(n - len(out))
            if not piece:
                raise SystemExit("the server closed the connection")
            out += piece
        return out

    def setup(self, token):
        if self.smb1:
            words = struct.pack("<BBHHHHIHII", 0xFF, 0, 0, 65535, 2, 1, 0, len(token), 0, 0x8000005C)
            rest = token + b"\0" * 5
            return self.call1(0x73, bytes([12]) + words + struct.pack("<H", len(rest)) + rest)
        return self.call(1, struct.pack("<HBBIIHHQ", 25, 0, 1, 0, 0, 88, len(token), 0) + token)


def attempt(what, dialect):
    if what == "honest":
        return [Connection(dialect).setup(init(ap_req()))]
    if what == "replay":
        token = init(ap_req())
        return [Connection(dialect).setup(token), Connection(dialect).setup(token)]
    if what.startswith("skew="):
        return [Connection(dialect).setup(init(ap_req(int(what[5:]))))]
    if what == "truncated":
        return [Connection(dialect).setup(init(ap_req()[:-10]))]
    if what == "flipped":
        token = bytearray(ap_req())
        token[len(token) // 3] ^= 1
        return [Connection(dialect).setup(init(bytes(token)))]
    if what == "mic":
        return [Connection(dialect).setup(init(ap_req(), mic=b"\4\4\0\0" + b"\xff" * 24))]
    if what == "second":
        c = Connection(dialect)
        return [c.setup(init(ap_req(), (OTHER, KRB5))), c.setup(resp(ap_req()))]
    raise SystemExit(what + "?")


for dialect in dialects.split(","):
    for what in sys.argv[6:]:
        print(dialect, what, *("%08x" % status for status in attempt(what, dialect)))
