#!/usr/bin/env python3
"""Independent check of every SMB signature in a packet capture.

usage: verify.py [-v] [--json OUT] [--summary OUT] [--account NAME:PASSWORD]...
                 [--keytab FILE] [--port N]... capture.pcapng [...]

--json writes every checked signature, --summary one record for each TCP
connection (time, dialect, counts, reasons, commands seen signed and unsigned).
Input is only the capture plus the accounts (those of the captures kept in
testdata/captures, and those given).  The tool rebuilds the
TCP streams, follows NEGOTIATE / SESSION_SETUP, derives the keys from the
password and recomputes the signature of each SMB1 and SMB2/3 message.  For
each capture it prints

    NAME: N verified, M bad, K unsigned  (details)

verified  signature present and equal to the recomputed one
bad       signature claimed or required but wrong, or no key could be derived
unsigned  message that carries no signature (reason counted in the details)

Encrypted SMB3 messages are decrypted and authenticated (counted "enc ok") and
the messages inside are counted as unsigned/inside-encryption.
Needs pycryptodomex (or pycryptodome). Not part of the product: it shares no
code with it, and is the judge of its signatures.
"""
import sys, struct, hashlib, hmac, json, os, collections

try:
    from Cryptodome.Cipher import AES, ARC4, DES
    from Cryptodome.Hash import CMAC
except ImportError:
    from Crypto.Cipher import AES, ARC4, DES
    from Crypto.Hash import CMAC

ACCOUNTS = {"alice": "Passw0rd!", "bob": "S3cret#2b"}
SERVER_PORTS = set(range(4480, 4490)) | {445, 139}

# ----------------------------------------------------------------- pcapng


def pcap_packets(path):
    data = open(path, "rb").read()
    off = 0
    end = "<"
    ifs, ifs_tick = [], []
    n = 0
    while off + 12 <= len(data):
        btype, blen = struct.unpack_from(end + "II", data, off)
        if btype == 0x0A0D0D0A:
            magic = data[off + 8:off + 12]
            end = "<" if magic == b"\x4d\x3c\x2b\x1a" else ">"
            blen = struct.unpack_from(end + "I", data, off + 4)[0]
            ifs, ifs_tick = [], []
        body = data[off + 8:off + blen - 4]
        if btype == 1:
            ifs.append(struct.unpack_from(end + "H", body, 0)[0])
            tick, o = 1e-6, 8
            while o + 4 <= len(body):                       # option 9: if_tsresol
                code, ln = struct.unpack_from(end + "HH", body, o)
                if code == 9:
                    r = body[o + 4]
                    tick = 2.0 ** -(r & 127) if r & 128 else 10.0 ** -r
                if code == 0:
                    break
                o += 4 + (ln + 3) // 4 * 4
            ifs_tick.append(tick)
        elif btype == 6:
            iface, hi, lo, caplen, _ = struct.unpack_from(end + "IIIII", body, 0)
            n += 1
            yield n, ifs[iface], body[20:20 + caplen], (hi << 32 | lo) * ifs_tick[iface]
        off += blen


def tcp_of(link, pkt):
    if link == 1:
        et = struct.unpack_from(">H", pkt, 12)[0]
        ip = pkt[14:]
    elif link == 113:
        et = struct.unpack_from(">H", pkt, 14)[0]
        ip = pkt[16:]
    elif link == 101:
        ip = pkt
        et = 0x0800 if pkt[0] >> 4 == 4 else 0x86DD
    else:
        return None
    if et == 0x0800:
        ihl = (ip[0] & 15) * 4
        tot = struct.unpack_from(">H", ip, 2)[0]
        if ip[9] != 6:
            return None
        src, dst = ip[12:16], ip[16:20]
        seg = ip[ihl:tot] if tot else ip[ihl:]
    elif et == 0x86DD:
        if ip[6] != 6:
            return None
        plen = struct.unpack_from(">H", ip, 4)[0]
        src, dst = ip[8:24], ip[24:40]
        seg = ip[40:40 + plen] if plen else ip[40:]
    else:
        return None
    sp, dp, seq, ack = struct.unpack_from(">HHII", seg, 0)
    doff = (seg[12] >> 4) * 4
    flags = seg[13]
    return (src, sp), (dst, dp), seq, flags, seg[doff:]


class Flow:
    """one direction of a TCP connection, delivered in sequence order"""

    def __init__(self):
        self.nxt = None
        self.hold = {}
        self.buf = b""

    def feed(self, seq, flags, data):
        if flags & 2:
            self.nxt = (seq + 1) & 0xFFFFFFFF
            return
        if self.nxt is None:
            self.nxt = seq
        if not data:
            return
        self.hold[seq] = max(self.hold.get(seq, b""), data, key=len)
        moved = True
        while moved:
            moved = False
            for s in list(self.hold):
                d = self.hold[s]
                delta = (self.nxt - s) & 0xFFFFFFFF
                if delta < 0x80000000:
                    del self.hold[s]
                    if delta < len(d):
                        self.buf += d[delta:]
                        self.nxt = (self.nxt + len(d) - delta) & 0xFFFFFFFF
                    moved = True

    def messages(self):
        while len(self.buf) >= 4:
            ln = int.from_bytes(self.buf[1:4], "big")
            if len(self.buf) < 4 + ln:
                return
            typ, msg = self.buf[0], self.buf[4:4 + ln]
            self.buf = self.buf[4 + ln:]
            yield typ, msg


# ----------------------------------------------------------------- NTLM


def md4(data):
    def rot(x, n):
        x &= 0xFFFFFFFF
        return ((x << n) | (x >> (32 - n))) & 0xFFFFFFFF
    h = [0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476]
    m = data + b"\x80" + b"\0" * ((55 - len(data)) % 64) + struct.pack("<Q", len(data) * 8)
    for o in range(0, len(m), 64):
        x = struct.unpack_from("<16I", m, o)
        a, b, c, d = h
        for i in range(48):
            if i < 16:
                f, k, s, add = (b & c) | (~b & d), i, (3, 7, 11, 19)[i % 4], 0
            elif i < 32:
                j = i - 16
                f, k, s, add = (b & c) | (b & d) | (c & d), (j % 4) * 4 + j // 4, (3, 5, 9, 13)[i % 4], 0x5A827999
            else:
                j = i - 32
                k = (0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15)[j]
                f, s, add = b ^ c ^ d, (3, 9, 11, 15)[i % 4], 0x6ED9EBA1
            t = rot((a + f + x[k] + add) & 0xFFFFFFFF, s)
            a, b, c, d = d, t, b, c
        h = [(p + q) & 0xFFFFFFFF for p, q in zip(h, (a, b, c, d))]
    return struct.pack("<4I", *h)


def hmd5(k, d):
    return hmac.new(k, d, hashlib.md5).digest()


def rc4(k, d):
    return ARC4.new(k).encrypt(d)


def des7(k7, block):
    v = int.from_bytes(k7, "big")
    key = bytes((((v >> (49 - 7 * i)) & 0x7F) << 1) for i in range(8))
    return DES.new(key, DES.MODE_ECB).encrypt(block)


def desl(k16, block):
    k = k16 + b"\0" * 5
    return des7(k[0:7], block) + des7(k[7:14], block) + des7(k[14:21], block)


def nt_hash(pw):
    return md4(pw.encode("utf-16le"))


def lm_hash(pw):
    p = pw.upper().encode("latin1", "replace")[:14].ljust(14, b"\0")
    return des7(p[:7], b"KGS!@#$%") + des7(p[7:], b"KGS!@#$%")


NEG_UNICODE = 0x1
NEG_SIGN = 0x10
NEG_LM_KEY = 0x80
NEG_ESS = 0x80000
NEG_128 = 0x20000000
NEG_KEYEX = 0x40000000
NEG_56 = 0x80000000


def base_key(user, domains, chal, nt, lm, flags=0):
    """-> (kind, session base key, key exchange key) or None if password unknown/wrong"""
    pw = ACCOUNTS.get(user.lower())
    if pw is None:
        return None
    nth, lmh = nt_hash(pw), lm_hash(pw)
    if len(nt) > 24:
        for dom in domains:
            v2 = hmd5(nth, (user.upper() + dom).encode("utf-16le"))
            if hmd5(v2, chal + nt[16:]) == nt[:16]:
                k = hmd5(v2, nt[:16])
                return "NTLMv2", k, k
    if len(nt) == 24:
        ubase = md4(nth)
        if flags & NEG_ESS and len(lm) == 24 and lm[8:] == b"\0" * 16:
            c2 = hashlib.md5(chal + lm[:8]).digest()[:8]
            if desl(nth, c2) == nt:
                return "NTLMv1-ESS", ubase, hmd5(ubase, chal + lm[:8])
        if desl(nth, chal) == nt:
            if flags & NEG_LM_KEY and len(lm) == 24:
                kxk = des7(lmh[:7], lm[:8]) + des7(lmh[7:8] + b"\xbd" * 6, lm[:8])
                return "NTLMv1-LMKEY", ubase, kxk
            return "NTLMv1", ubase, ubase
    if len(lm) == 24:
        if desl(lmh, chal) == lm:
            k = lmh[:8] + b"\0" * 8
            return "LM", k, k
        for dom in domains:
            v2 = hmd5(nth, (user.upper() + dom).encode("utf-16le"))
            if hmd5(v2, chal + lm[16:]) == lm[:16]:
                return "LMv2", hmd5(v2, lm[:16]), hmd5(v2, lm[:16])
    return None


class Ntlm:
    """collects the three NTLMSSP messages of one authentication"""

    def __init__(self):
        self.m1 = self.m2 = self.m3 = None
        self.key = None
        self.kind = None
        self.user = None
        self.mic = None
        self.anon = False
        self.krb = None
        self.flags = 0
        self.mechlist = None
        self.mics = []
        self.lm = self.nt = b""

    def feed(self, blob, from_server):
        tok = None
        if KRB_OID in blob and b"NTLMSSP\0" not in blob and (self.krb or not from_server):
            k = self.krb or Krb()
            if k.feed(blob, from_server):
                self.krb, self.key = k, k.key
                self.user, self.m3 = k.user, b"krb"
                self.kind = f"Kerberos({k.src}, {len(k.key)}B, sub-key==acceptor-key: {k.acc == k.sub if k.acc else 'no AP-REP subkey'})"
                return
        i = blob.find(b"NTLMSSP\0")
        if i >= 0:
            tok = blob[i:]
            t = struct.unpack_from("<I", tok, 8)[0]
        self._spnego(blob, from_server)
        if tok is None:
            return
        # cut the token at its DER length if it sits in SPNEGO
        tok = der_octets_at(blob, i) or tok
        if t == 1:
            self.m1 = tok
            self.m2 = self.m3 = None
        elif t == 2:
            self.m2 = tok
        elif t == 3:
            self.m3 = tok
            self._auth()

    def _spnego(self, blob, from_server):
        try:
            ml, mic, neg = spnego_parts(blob)
        except Exception:
            return
        if ml is not None and not from_server:
            self.mechlist = ml
        if mic:
            self.mics.append((from_server, mic))

    def _auth(self):
        m = self.m3

        def fld(o):
            l, _, off = struct.unpack_from("<HHI", m, o)
            return m[off:off + l]
        lm, nt, dom, usr, wks, ek = (fld(o) for o in (12, 20, 28, 36, 44, 52))
        offs = [struct.unpack_from("<I", m, o + 4)[0] for o in (12, 20, 28, 36, 44, 52)
                if struct.unpack_from("<H", m, o)[0]]
        flags = struct.unpack_from("<I", m, 60)[0]
        enc = "utf-16le" if flags & NEG_UNICODE else "latin1"
        self.user, dom = usr.decode(enc), dom.decode(enc)
        self.dom, self.flags, self.lm, self.nt = dom, flags, lm, nt
        chal = self.m2[24:32]
        if not usr and len(nt) == 0 and lm in (b"", b"\0"):
            self.kind, self.anon = "anonymous", True
            # anonymous: KeyExchangeKey is 16 zero bytes
            self.key = rc4(b"\0" * 16, ek) if (flags & NEG_KEYEX and ek) else b"\0" * 16
            return
        r = base_key(self.user, [dom, ""], chal, nt, lm, flags)
        if r is None:
            self.kind = "unknown"
            return
        self.kind, base, kxk = r
        self.base = base
        if flags & NEG_KEYEX and ek:
            self.key = rc4(kxk, ek)
            self.kind += "+KEYEX"
        else:
            self.key = kxk
        # MIC: present only when AV_FLAGS bit 2 set in the NTLMv2 blob
        if len(nt) > 44:
            av, p = {}, 44
            while p + 4 <= len(nt):
                t, l = struct.unpack_from("<HH", nt, p)
                if t == 0:
                    break
                av[t] = nt[p + 4:p + 4 + l]
                p += 4 + l
            if 6 in av and struct.unpack("<I", av[6])[0] & 2 and min(offs) >= 88:
                z = m[:72] + b"\0" * 16 + m[88:]
                self.mic = hmd5(self.key, self.m1 + self.m2 + z) == m[72:88]

    def check_mechlistmics(self):
        """NTLM SIGN (seq 0 in each direction) of the mechTypeList -> (good, bad)"""
        good = bad = 0
        if self.key is None or self.mechlist is None or self.krb:
            return 0, 0
        for from_server, mic in self.mics:
            if len(mic) != 16:
                continue
            d = b"server-to-client" if from_server else b"client-to-server"
            ok = False
            if self.flags & NEG_ESS:
                sk = hashlib.md5(self.key + b"session key to " + d + b" signing key magic constant\0").digest()
                bits = 16 if self.flags & NEG_128 else (7 if self.flags & NEG_56 else 5)
                ck = hashlib.md5(self.key[:bits] + b"session key to " + d + b" sealing key magic constant\0").digest()
                seq = mic[12:16]
                h = hmd5(sk, seq + self.mechlist)[:8]
                c = rc4(ck, h) if self.flags & NEG_KEYEX else h
                ok = mic[4:12] == c
            else:
                # CRC32 form, sealed with RC4 (one handle, server follows client)
                ok = None
            if ok:
                good += 1
            elif ok is False:
                bad += 1
        return good, bad


# ----------------------------------------------------------------- DER/SPNEGO


def der(b, o):
    t = b[o]
    l = b[o + 1]
    o += 2
    if l & 0x80:
        n = l & 0x7F
        l = int.from_bytes(b[o:o + n], "big")
        o += n
    return t, o, l


def der_octets_at(b, i):
    """the OCTET STRING whose contents start at offset i"""
    for back in (2, 3, 4, 5):
        s = i - back
        if s >= 0 and b[s] == 4:
            try:
                t, o, l = der(b, s)
            except Exception:
                continue
            if o == i and o + l <= len(b):
                return b[o:o + l]
    return None


def spnego_parts(b):
    """-> (DER of mechTypes or None, mechListMIC or None, negState or None)"""
    t, o, l = der(b, 0)
    if t == 0x60:
        t2, o2, l2 = der(b, o)      # OID 1.3.6.1.5.5.2
        o = o2 + l2
        t, o, l = der(b, o)
    if t not in (0xA0, 0xA1):
        return None, None, None
    init = t == 0xA0
    t, o, l = der(b, o)
    end = o + l
    ml = mic = neg = None
    while o < end:
        t, p, l = der(b, o)
        if init and t == 0xA0:
            ml = b[p:p + l]
        if t == 0xA3 and b[p] == 4:
            _, q, ll = der(b, p)
            mic = b[q:q + ll]
        if not init and t == 0xA0:
            neg = b[p + 2]
        o = p + l
    return ml, mic, neg


# ----------------------------------------------------------------- Kerberos


def nfold(data, n):
    """RFC 3961 5.1"""
    from math import gcd
    bits = len(data) * 8
    lcm = len(data) * n // gcd(len(data), n)
    v = int.from_bytes(data, "big")
    buf = b""
    for i in range(lcm // len(data)):
        r = (13 * i) % bits
        buf += ((v >> r | v << (bits - r)) & ((1 << bits) - 1)).to_bytes(len(data), "big")
    tot = sum(int.from_bytes(buf[i:i + n], "big") for i in range(0, lcm, n))
    while tot >> (n * 8):
        tot = (tot & ((1 << n * 8) - 1)) + (tot >> (n * 8))
    return tot.to_bytes(n, "big")


def krb_dk(key, usage, tag):
    c = nfold(struct.pack(">IB", usage, tag), 16)
    out = b""
    while len(out) < len(key):
        c = AES.new(key, AES.MODE_ECB).encrypt(c)
        out += c
    return out[:len(key)]


def krb_decrypt(etype, key, usage, ct):
    if etype in (17, 18):                       # aes-cts-hmac-sha1-96
        ke, ki = krb_dk(key, usage, 0xAA), krb_dk(key, usage, 0x55)
        body, mac = ct[:-12], ct[-12:]
        ecb = AES.new(ke, AES.MODE_ECB)
        n = len(body)
        last = n % 16 or 16
        head, pen, fin = body[:n - last - 16], body[n - last - 16:n - last], body[n - last:]
        out, iv = b"", b"\0" * 16
        for i in range(0, len(head), 16):
            out += bytes(a ^ b for a, b in zip(ecb.decrypt(head[i:i + 16]), iv))
            iv = head[i:i + 16]
        d = ecb.decrypt(pen)
        tail = bytes(a ^ b for a, b in zip(d, fin))
        full = fin + d[last:]
        out += bytes(a ^ b for a, b in zip(ecb.decrypt(full), iv)) + tail
        if hmac.new(ki, out, hashlib.sha1).digest()[:12] != mac:
            raise ValueError("krb integrity")
        return out[16:]
    if etype == 23:                             # arcfour-hmac
        k1 = hmd5(key, struct.pack("<I", {3: 8}.get(usage, usage)))
        k3 = hmd5(k1, ct[:16])
        out = rc4(k3, ct[16:])
        if hmd5(k1, out) != ct[:16]:
            raise ValueError("krb integrity")
        return out[8:]
    raise ValueError(f"etype {etype}")


def der_fields(b):
    """context-tagged fields of a SEQUENCE, APPLICATION wrapper allowed"""
    t, o, l = der(b, 0)
    if t & 0xE0 == 0x60:
        t, o, l = der(b, o)
    end, f = o + l, {}
    while o < end:
        t, p, l = der(b, o)
        f[t & 0x1F] = b[p:p + l]
        o = p + l
    return f


def krb_enc(b):
    f = der_fields(b)
    _, o, l = der(f[2], 0)
    t, p, n = der(f[0], 0)
    return int.from_bytes(f[0][p:p + n], "big"), f[2][o:o + l]


def krb_key(b):
    f = der_fields(b)
    t, p, n = der(f[0], 0)
    _, o, l = der(f[1], 0)
    return int.from_bytes(f[0][p:p + n], "big"), f[1][o:o + l]


SERVICE_KEYS = {}


def load_service_keys(path):
    for line in open(path):
        if line.strip() and not line.startswith("#"):
            e, k = line.split()
            SERVICE_KEYS[int(e)] = bytes.fromhex(k)


def load_keytab(path):
    """MIT's keytab: big-endian, version 0x502, entries with their size in front"""
    b = open(path, "rb").read()
    at = 2
    while at + 4 <= len(b):
        size = struct.unpack_from(">i", b, at)[0]
        at += 4
        if size <= 0:                               # a hole
            at -= size
            continue
        p = at
        parts = struct.unpack_from(">H", b, p)[0] + 1  # the realm too
        p += 2
        for _ in range(parts):
            p += 2 + struct.unpack_from(">H", b, p)[0]
        p += 4 + 4 + 1                              # kind of name, time, version
        etype, length = struct.unpack_from(">HH", b, p)
        SERVICE_KEYS[etype] = b[p + 4:p + 4 + length]
        at += size


KRB_OID = bytes.fromhex("06092a864886f712010202")


class Krb:
    """AP-REQ / AP-REP of one authentication; .key is the GSS session key"""

    def __init__(self):
        self.key = self.sub = self.acc = None

    def feed(self, blob, from_server):
        i = blob.find(KRB_OID + (b"\2\0" if from_server else b"\1\0"))
        if i < 0:
            return False
        b = blob[i + len(KRB_OID) + 2:]
        f = der_fields(b)
        if not from_server:
            tk = der_fields(f[3])
            et, ct = krb_enc(tk[3])
            part = krb_decrypt(et, SERVICE_KEYS[et], 2, ct)
            self.tkt = krb_key(der_fields(part)[1])
            et, ct = krb_enc(f[4])
            au = der_fields(krb_decrypt(self.tkt[0], self.tkt[1], 11, ct))
            self.sub = krb_key(au[6]) if 6 in au else None
            # cname: [1] PrincipalName { [1] name-string }
            self.user = der_fields(au[2])[1][4:].decode("latin1", "replace")
            self.key = (self.sub or self.tkt)[1]
            self.src = "authenticator subkey" if self.sub else "ticket session key"
        else:
            et, ct = krb_enc(f[2])
            rep = der_fields(krb_decrypt(self.tkt[0], self.tkt[1], 12, ct))
            self.acc = krb_key(rep[2]) if 2 in rep else None
            if self.acc:
                self.key, self.src = self.acc[1], "AP-REP subkey"
        return True


# ----------------------------------------------------------------- KDF


def smb3kdf(ki, label, ctx, bits=128):
    return hmac.new(ki, struct.pack(">I", 1) + label + b"\0" + ctx + struct.pack(">I", bits),
                    hashlib.sha256).digest()[:bits // 8]


# ----------------------------------------------------------------- report


class Tally:
    def __init__(self, name, verbose):
        self.name, self.v = name, verbose
        self.good = self.bad = self.uns = 0
        self.why = collections.Counter()
        self.notes = collections.Counter()
        self.vectors = []
        self.auths = []
        self.conn = None

    def line(self, frame, d, what, res):
        if self.conn is not None and what.split()[0] != "TRANSFORM":
            kind = "signed" if res.startswith("ok") else "bad" if res.startswith("BAD") else "unsigned"
            self.conn.seen[kind][("R " if d else "Q ") + what.split()[0]] += 1
            if kind == "unsigned":
                self.conn.seen["why"][res[10:]] += 1
            if kind == "bad":
                self.conn.bad.append(what + " " + res)
        elif self.conn is not None:
            self.conn.seen["encrypted" if res == "AEAD ok" else "bad"]["TRANSFORM"] += 1
        if self.v:
            print(f"  #{frame:<5}{'S>C' if d else 'C>S'} {what:<58} {res}")


# ----------------------------------------------------------------- SMB1

SMB1CMD = {0x04: "CLOSE", 0x08: "QUERY_INFO", 0x24: "LOCKING_ANDX", 0x25: "TRANS", 0x26: "TRANS_SEC",
           0x2B: "ECHO", 0x2E: "READ_ANDX", 0x2F: "WRITE_ANDX", 0x32: "TRANS2", 0x33: "TRANS2_SEC",
           0x34: "FIND_CLOSE2", 0x71: "TREE_DISC", 0x72: "NEGOTIATE", 0x73: "SESSION_SETUP",
           0x74: "LOGOFF", 0x75: "TREE_CONNECT", 0xA0: "NT_TRANS", 0xA1: "NT_TRANS_SEC",
           0xA2: "NT_CREATE", 0xA4: "NT_CANCEL", 0x06: "DELETE", 0x00: "MKDIR", 0x01: "RMDIR",
           0x1A: "READ_RAW", 0x1D: "WRITE_RAW", 0x0A: "READ", 0x0B: "WRITE", 0x05: "FLUSH"}


def smb1_mac(key, msg, seq):
    return hashlib.md5(key + msg[:14] + struct.pack("<Q", seq) + msg[22:]).digest()[:8]


class Smb1:
    def __init__(self, t):
        self.t = t
        self.challenge = None
        self.server_mode = 0
        self.ntlm = Ntlm()
        self.all_ntlm = []
        self.key = None
        self.next = 2            # sequence for the next request once active
        self.pend = {}           # (pid, mid) -> request sequence
        self.last = {}           # per (pid, mid) commands
        self.setup_key = None
        self.client_flags2 = 0
        self.broken_cli = False

    def message(self, frame, from_server, m):
        t = self.t
        cmd = m[4]
        status, = struct.unpack_from("<I", m, 5)
        flags = m[9]
        f2, = struct.unpack_from("<H", m, 10)
        pidh, = struct.unpack_from("<H", m, 12)
        sig = m[14:22]
        tid, pidl, uid, mid = struct.unpack_from("<HHHH", m, 24)
        pid = pidh << 16 | pidl
        wct = m[32]
        name = SMB1CMD.get(cmd, hex(cmd))
        reply = bool(flags & 0x80)
        what = f"{name} mid={mid} st={status:08x} f2={f2:04x} sig={sig.hex()}"
        andx = []
        if cmd in (0x2D, 0x24, 0x2E, 0x2F, 0x73, 0x74, 0x75, 0xA2) and wct >= 2:
            nc, no = m[33], struct.unpack_from("<H", m, 35)[0]
            seen = 0
            while nc != 0xFF and 0 < no < len(m) and seen < 20:
                andx.append(nc)
                w = m[no]
                if nc not in (0x2D, 0x24, 0x2E, 0x2F, 0x73, 0x74, 0x75, 0xA2) or w < 2:
                    break
                nc, no = m[no + 1], struct.unpack_from("<H", m, no + 3)[0]
                seen += 1
        if andx:
            what += " andx=" + "+".join(SMB1CMD.get(c, hex(c)) for c in andx)
            t.notes["andx chains"] += 1

        # --- negotiation and authentication
        if cmd == 0x72 and reply and status == 0 and wct == 17:
            self.server_mode = m[35]
            caps, = struct.unpack_from("<I", m, 52)
            bcc_off = 33 + 34
            if not caps & 0x80000000:
                self.challenge = m[bcc_off + 2:bcc_off + 10]
            t.notes[f"NT1 srv SecurityMode=0x{self.server_mode:02x} extsec={'y' if caps >> 31 else 'n'}"] += 1
        if cmd == 0x73 and not reply:
            self.client_flags2 = f2
            self._setup_request(m, wct, f2)

        # --- which key and sequence number apply
        seq = None
        if self.key is None and cmd == 0x73 and reply and status == 0 and self.setup_key:
            action = struct.unpack_from("<H", m, 33 + 4)[0]
            if action & 1:
                t.auths.append(f"{self.setup_who} -> GUEST")
                t.notes["guest session"] += 1
                self.setup_key = None
            else:
                t.auths.append(self.setup_who)
                if sig in (b"\0" * 8, b"BSRSPYL "):
                    # the server did not start signing with this session
                    if self.server_mode & 8 or (self.server_mode & 4 and self.client_flags2 & 4):
                        t.notes["signing negotiated but not started by the server"] += 1
                    self.setup_key = None
                else:
                    self.key, self.next = self.setup_key, 2
                    self.pend = {(pid, mid): 0}
        elif cmd == 0x73 and reply and status == 0 and self.key is None and wct >= 3:
            t.auths.append("no key")
        elif cmd == 0x73 and reply and status == 0 and self.key is not None:
            t.notes["further session on signed connection"] += 1
            t.auths.append(self.setup_who + " (2nd, key unchanged)")

        if self.key is None:
            if sig == b"BSRSPYL ":
                self.uns("placeholder BSRSPYL", frame, from_server, what)
            elif cmd == 0x72:
                self.uns("negotiate", frame, from_server, what)
            elif cmd == 0x73:
                self.uns("session setup before key", frame, from_server, what)
            else:
                self.uns("signing not active", frame, from_server, what)
            return

        if not from_server:
            seq = self.next
            self.next += 1 if cmd == 0xA4 else 2
            self.pend[(pid, mid)] = seq
            k = (cmd, "req")
            if cmd == 0xA4:
                # cancel shares the MID of the request it cancels: keep that one's number
                self.pend[(pid, mid)] = self.cancel_keep.get((pid, mid), seq) if hasattr(self, "cancel_keep") else seq
            else:
                if not hasattr(self, "cancel_keep"):
                    self.cancel_keep = {}
                self.cancel_keep[(pid, mid)] = seq
        else:
            if cmd == 0x24 and not reply and mid == 0xFFFF:
                ok = sig == b"\0" * 8
                self.uns("oplock break from server" + ("" if ok else " (nonzero sig)"), frame, from_server, what)
                return
            rs = self.pend.get((pid, mid))
            seq = None if rs is None else rs + 1
        if seq is None:
            t.bad += 1
            t.line(frame, from_server, what, "BAD no request for this response")
            return
        good = smb1_mac(self.key, m, seq) == sig
        if good:
            t.good += 1
            t.line(frame, from_server, what, f"ok seq={seq}")
            t.vectors.append(dict(frame=frame, dir="S>C" if from_server else "C>S", proto="SMB1", seq=seq,
                                  key=self.key.hex(), sig=sig.hex(), msg=m.hex() if len(m) <= 512 else None))
            if not (f2 & 4):
                t.notes["signed without Flags2 0x0004"] += 1
            return
        near = None
        for d in range(-40, 41):
            if seq + d >= 0 and smb1_mac(self.key, m, seq + d) == sig:
                near = seq + d
        if sig == b"\0" * 8 and not f2 & 4:
            self.uns("unsigned on signed connection", frame, from_server, what)
            return
        if sig == b"\0" * 8:
            self.uns("zero signature", frame, from_server, what)
            return
        t.bad += 1
        t.line(frame, from_server, what, f"BAD expected seq={seq}" + (f" matches seq={near}" if near is not None else ""))
        if near is not None:
            t.notes[f"out-of-sequence by {near - seq:+d}"] += 1

    def uns(self, why, frame, d, what):
        self.t.uns += 1
        self.t.why[why] += 1
        self.t.line(frame, d, what, "unsigned: " + why)

    def _setup_request(self, m, wct, f2):
        if wct == 13:
            l1, l2 = struct.unpack_from("<HH", m, 33 + 14)
            o = 33 + 26 + 2
            lm, nt = m[o:o + l1], m[o + l1:o + l1 + l2]
            o += l1 + l2
            if f2 & 0x8000:
                if o & 1:
                    o += 1
                s = m[o:].decode("utf-16le", "replace").split("\0")
            else:
                s = m[o:].decode("latin1").split("\0")
            user, dom = s[0], s[1]
            r = base_key(user, [dom, ""], self.challenge, nt, lm) if self.challenge else None
            if user == "":
                self.setup_key, self.setup_who = None, "anonymous(non-ext)"
                return
            if r is None:
                self.setup_key, self.setup_who = None, f"{user} non-ext unknown"
                # a failing or guest logon: no key
                return
            kind, base, _ = r
            resp = nt if nt else lm
            self.setup_key = base + resp
            self.setup_who = f"{user} {kind} non-ext key={len(self.setup_key)}B"
            self.t.notes[f"SMB1 MAC key = 16B session key + {len(resp)}B response"] += 1
            self.ntlm.kind = kind
        elif wct == 12:
            bl, = struct.unpack_from("<H", m, 33 + 14)
            o = 33 + 24 + 2
            if b"NTLMSSP\0\1\0\0\0" in m[o:o + bl] or (KRB_OID + b"\1\0") in m[o:o + bl]:
                self.ntlm = Ntlm()          # a new exchange starts
                self.all_ntlm.append(self.ntlm)
            self.ntlm.feed(m[o:o + bl], False)
            n = self.ntlm
            if n.m3 is not None:
                raw = m[o:o + 8] == b"NTLMSSP\0"
                self.setup_key = None if n.anon else n.key
                self.ext = True
                self.setup_who = f"{n.user} {n.kind} {'raw-NTLMSSP' if raw else 'SPNEGO'} MIC={n.mic}"

    def blob_from_server(self, m):
        if m[4] == 0x73 and m[9] & 0x80 and m[32] == 4:
            bl, = struct.unpack_from("<H", m, 33 + 6)
            self.ntlm.feed(m[33 + 8 + 2:33 + 8 + 2 + bl], True)
            if self.ntlm.krb and self.key is None:
                self.setup_key = self.ntlm.key
                self.setup_who = f"{self.ntlm.user} {self.ntlm.kind}"


# ----------------------------------------------------------------- SMB2/3

SMB2CMD = ["NEGOTIATE", "SESSION_SETUP", "LOGOFF", "TREE_CONNECT", "TREE_DISC", "CREATE", "CLOSE", "FLUSH",
           "READ", "WRITE", "LOCK", "IOCTL", "CANCEL", "ECHO", "QUERY_DIR", "CHANGE_NOTIFY", "QUERY_INFO",
           "SET_INFO", "OPLOCK_BREAK"]
HMAC_SHA256, AES_CMAC, AES_GMAC = 0, 1, 2
ALGN = {0: "HMAC-SHA256", 1: "AES-128-CMAC", 2: "AES-128-GMAC"}
CIPHN = {1: "AES-128-CCM", 2: "AES-128-GCM", 3: "AES-256-CCM", 4: "AES-256-GCM"}


def smb2_sig(alg, key, m):
    z = m[:48] + b"\0" * 16 + m[64:]
    if alg == HMAC_SHA256:
        return hmac.new(key, z, hashlib.sha256).digest()[:16]
    if alg == AES_CMAC:
        return CMAC.new(key, msg=z, ciphermod=AES).digest()
    cmd, = struct.unpack_from("<H", m, 12)
    flags, = struct.unpack_from("<I", m, 16)
    mid = m[24:32]
    bits = (1 if flags & 1 else 0) | (2 if cmd == 12 else 0)
    g = AES.new(key, AES.MODE_GCM, nonce=mid + struct.pack("<I", bits), mac_len=16)
    g.update(z)
    return g.digest()


class Sess2:
    def __init__(self):
        self.ntlm = Ntlm()
        self.key = None          # first 16 bytes of the session key
        self.full = None
        self.sign = {}           # connection id -> (alg, signing key)
        self.enc = None          # (cipher, c2s, s2c)
        self.guest = self.null = False
        self.ready = False


SESSIONS = {}   # shared between the connections of one capture: SessionId -> Sess2


class Smb2:
    def __init__(self, t, cid):
        self.t, self.cid = t, cid
        self.dialect = None
        self.alg = None
        self.cipher = 0
        self.pre = b"\0" * 64
        self.hash = {}           # SessionId (or 'new') -> running preauth hash
        self.auth = {}           # SessionId -> Ntlm for a running exchange on this connection
        self.mode = [0, 0]
        self.reqsig = {}         # message id -> signature field of the request
        self.last_setup = {}     # message id -> (sessid at request, blob, flags, signed?)

    # -- frames
    def frame(self, frame, from_server, m):
        if m[:4] == b"\xfdSMB":
            self.transform(frame, from_server, m)
            return
        self.chain(frame, from_server, m, False)

    def transform(self, frame, from_server, m):
        t = self.t
        sig, nonce, size, flg, sid = m[4:20], m[20:36], *struct.unpack_from("<I2xHQ", m, 36)
        s = SESSIONS.get(sid)
        if s is None or s.enc is None:
            t.bad += 1
            t.line(frame, from_server, f"TRANSFORM sid={sid:x}", "BAD no key")
            return
        ciph, c2s, s2c = s.enc
        key = s2c if from_server else c2s
        if ciph in (1, 3):
            c = AES.new(key, AES.MODE_CCM, nonce=nonce[:11], mac_len=16)
        else:
            c = AES.new(key, AES.MODE_GCM, nonce=nonce[:12], mac_len=16)
        c.update(m[20:52])
        try:
            p = c.decrypt_and_verify(m[52:52 + size], sig)
        except ValueError:
            t.bad += 1
            t.line(frame, from_server, f"TRANSFORM sid={sid:x}", "BAD AEAD tag")
            return
        t.notes["enc ok"] += 1
        t.line(frame, from_server, f"TRANSFORM {CIPHN[ciph]} sid={sid:x} flags={flg}", "AEAD ok")
        self.chain(frame, from_server, p, True)

    def chain(self, frame, from_server, m, inside):
        off = 0
        n = 0
        prev_sid = None
        while True:
            nxt, = struct.unpack_from("<I", m, off + 20)
            part = m[off:off + nxt] if nxt else m[off:]
            flags, = struct.unpack_from("<I", part, 16)
            sid, = struct.unpack_from("<Q", part, 40)
            if flags & 4 and sid == 0xFFFFFFFFFFFFFFFF and prev_sid is not None:
                sid = prev_sid
            prev_sid = sid
            if n == 1:
                self.t.notes["compound chains"] += 1
            self.one(frame, from_server, part, sid, inside, m if n == 0 and not nxt else part)
            if not nxt:
                break
            off += nxt
            n += 1

    def one(self, frame, from_server, m, sid, inside, whole):
        t = self.t
        charge, status, cmd, credits, flags, nxt, mid = struct.unpack_from("<HIHHIIQ", m, 6)
        sig = m[48:64]
        signed = bool(flags & 8)
        name = SMB2CMD[cmd] if cmd < len(SMB2CMD) else hex(cmd)
        what = f"{name} mid={mid if mid < 1 << 63 else 'ffff..'} st={status:08x} fl={flags:x} len={len(m)}"
        if charge > 1:
            t.notes["multi-credit"] += 1
        if not from_server:
            self.reqsig[mid] = sig

        # ---- track state that the signature of this very message may need
        if cmd == 0:
            self.negotiate(from_server, m, status)
        post = None
        if cmd == 1:
            post = self.setup(from_server, m, sid, status, mid, flags)

        s = SESSIONS.get(sid)
        key = None
        if s is not None:
            key = s.sign.get(self.cid)
            if cmd == 1 and key is None and s.ready:
                key = s.sign.get("session")     # binding in progress: session's own key
            if cmd == 1 and post == "bindkey":
                key = s.sign.get(self.cid)

        if inside:
            if signed and key is None:
                t.notes["signed flag inside encryption, no key"] += 1
            elif signed and smb2_sig(*key, m) != sig:
                t.notes["signed flag inside encryption, wrong sig"] += 1
            elif signed:
                t.notes["signed flag inside encryption, sig ok"] += 1
            self.uns("inside encryption", frame, from_server, what)
            return
        if not signed:
            if cmd == 0:
                why = "negotiate"
            elif status == 0x103:
                why = "STATUS_PENDING interim"
                if sig != b"\0" * 16:
                    why += " (echoes request signature)" if self.reqsig.get(mid) == sig else " (nonzero sig field)"
            elif cmd == 1 and status in (0, 0xC0000016) and not (s and s.ready):
                why = "session setup before key"
            elif cmd == 1:
                why = f"session setup {'response' if from_server else 'request'}"
                if status and status != 0xC0000016:
                    why += f" st={status:08x}"
            elif cmd == 18 and from_server and mid == 0xFFFFFFFFFFFFFFFF:
                why = "oplock/lease break notification"
            elif s is not None and s.guest:
                why = "guest session"
            elif s is not None and s.null:
                why = "anonymous session"
            elif from_server and status:
                why = f"error response st={status:08x}"
            elif s is None:
                why = "no session"
            else:
                why = "session not signing"
            self.uns(why, frame, from_server, what)
            return
        if key is None:
            if from_server and self.reqsig.get(mid) == sig:
                self.uns("error response echoing the request's flag and signature field", frame, from_server, what)
                return
            t.bad += 1
            t.line(frame, from_server, what, "BAD no key")
            return
        alg, k = key
        calc = smb2_sig(alg, k, m)
        if calc != sig and from_server and self.reqsig.get(mid) == sig:
            self.uns("error response echoing the request's flag and signature field", frame, from_server, what)
            return
        if calc == sig:
            t.good += 1
            t.notes["sig " + ALGN[alg]] += 1
            if nxt or (flags & 4):
                t.notes["signed compound parts"] += 1
            if status == 0x103:
                t.notes["SIGNED interim"] += 1
            if cmd == 12:
                t.notes["signed CANCEL"] += 1
            t.line(frame, from_server, what, f"ok {ALGN[alg]}")
            t.vectors.append(dict(frame=frame, dir="S>C" if from_server else "C>S", proto="SMB2", alg=ALGN[alg],
                                  dialect=f"{self.dialect:04x}", key=k.hex(), sig=sig.hex(),
                                  msg=m.hex() if len(m) <= 512 else None))
        else:
            t.bad += 1
            t.line(frame, from_server, what, f"BAD got {sig.hex()} want {calc.hex()} ({ALGN[alg]})")

    def uns(self, why, frame, d, what):
        self.t.uns += 1
        self.t.why[why] += 1
        self.t.line(frame, d, what, "unsigned: " + why)

    # -- NEGOTIATE
    def negotiate(self, from_server, m, status):
        if not from_server:
            self.pre = hashlib.sha512(b"\0" * 64 + m).digest()
            self.mode[0] = struct.unpack_from("<H", m, 64 + 4)[0]
            return
        if status:
            return
        mode, self.dialect = struct.unpack_from("<HH", m, 64 + 2)
        self.mode[1] = mode
        if self.dialect == 0x2FF:
            self.pre = b"\0" * 64
            return
        self.pre = hashlib.sha512(self.pre + m).digest()
        if self.dialect < 0x300:
            self.alg = HMAC_SHA256
        else:
            self.alg = AES_CMAC
        if self.dialect in (0x300, 0x302) and struct.unpack_from("<I", m, 64 + 24)[0] & 0x40:
            self.cipher = 1
        if self.dialect == 0x311:
            cnt, = struct.unpack_from("<H", m, 64 + 6)
            off, = struct.unpack_from("<I", m, 64 + 60)
            for _ in range(cnt):
                ty, ln = struct.unpack_from("<HH", m, off)
                d = m[off + 8:off + 8 + ln]
                if ty == 2:
                    self.cipher = struct.unpack_from("<H", d, 2)[0]
                if ty == 8:
                    self.alg = struct.unpack_from("<H", d, 2)[0]
                off += (8 + ln + 7) // 8 * 8
        self.t.notes[f"dialect {self.dialect:04x} mode c={self.mode[0]:x} s={self.mode[1]:x} "
                     f"sign={ALGN[self.alg]} enc={CIPHN.get(self.cipher, 'none')}"] += 1

    # -- SESSION_SETUP
    def setup(self, from_server, m, sid, status, mid, flags):
        t = self.t
        if not from_server:
            bo, bl = struct.unpack_from("<HH", m, 64 + 12)
            self.last_setup[mid] = (sid, m, m[64 + 2])
            if sid:
                # continuation: hash chain continues, unless this is the start of a bind or re-auth
                a = self.auth.get(sid)
                if a is None:
                    self.auth[sid] = Ntlm()
                    self.hash[sid] = self.pre
                self.hash[sid] = hashlib.sha512(self.hash[sid] + m).digest()
                self.auth[sid].feed(m[bo:bo + bl], False)
            return None
        rq = self.last_setup.pop(mid, None)
        bo, bl = struct.unpack_from("<HH", m, 64 + 4) if len(m) > 72 else (0, 0)
        if status == 0 and rq and rq[0] == 0 and sid not in self.auth:      # one-leg logon (Kerberos)
            self.hash[sid] = hashlib.sha512(self.pre + rq[1]).digest()
            a = self.auth[sid] = Ntlm()
            qo, ql = struct.unpack_from("<HH", rq[1], 64 + 12)
            a.feed(rq[1][qo:qo + ql], False)
        if status == 0xC0000016:
            if rq and rq[0] == 0:
                self.hash[sid] = hashlib.sha512(self.pre + rq[1]).digest()
                a = self.auth[sid] = Ntlm()
                qo, ql = struct.unpack_from("<HH", rq[1], 64 + 12)
                a.feed(rq[1][qo:qo + ql], False)
            self.hash[sid] = hashlib.sha512(self.hash[sid] + m).digest()
            self.auth[sid].feed(m[bo:bo + bl], True)
            return None
        a = self.auth.pop(sid, None)
        if status != 0 or a is None:
            return None
        a.feed(m[bo:bo + bl], True)
        sflags, = struct.unpack_from("<H", m, 64 + 2)
        s = SESSIONS.get(sid)
        bind = bool(rq and rq[2] & 1)
        g, b = a.check_mechlistmics()
        t.notes["mechListMIC ok"] += g
        t.notes["mechListMIC bad"] += b
        if a.mic is not None:
            t.notes["NTLM MIC ok" if a.mic else "NTLM MIC BAD"] += 1
        label = f"{a.user} {a.kind} MIC={a.mic} sflags={sflags}"
        if s is not None and s.ready and not bind:
            t.auths.append(label + " (re-auth, keys kept)")
            return None
        if s is None or not s.ready:
            s = SESSIONS[sid] = Sess2()
        s.ntlm = a
        if sflags & 1:
            s.guest = True
        if sflags & 2:
            s.null = True
        if a.key is None:
            t.auths.append(label + " NO KEY")
            s.ready = False
            return None
        k16 = a.key[:16].ljust(16, b"\0")
        h = self.hash.get(sid)
        if self.dialect >= 0x311:
            sk = smb3kdf(k16, b"SMBSigningKey\0", h)
        elif self.dialect >= 0x300:
            sk = smb3kdf(k16, b"SMB2AESCMAC\0", b"SmbSign\0")
        else:
            sk = k16
        s.sign[self.cid] = (self.alg, sk)
        if bind:
            t.auths.append(label + " (channel bind)")
            t.notes["channel binds"] += 1
            return "bindkey"
        s.sign["session"] = (self.alg, sk)
        t.auths.append(label)
        bits = 256 if self.cipher in (3, 4) else 128
        if self.cipher:
            if self.dialect >= 0x311:
                s.enc = (self.cipher, smb3kdf(a.key if bits == 256 else k16, b"SMBC2SCipherKey\0", h, bits),
                         smb3kdf(a.key if bits == 256 else k16, b"SMBS2CCipherKey\0", h, bits))
            elif self.dialect >= 0x300:
                s.enc = (self.cipher, smb3kdf(k16, b"SMB2AESCCM\0", b"ServerIn \0"),
                         smb3kdf(k16, b"SMB2AESCCM\0", b"ServerOut\0"))
        s.key, s.ready = k16, True
        t.vectors.append(dict(proto="session", dialect=f"{self.dialect:04x}", alg=ALGN[self.alg], auth=label,
                              session_key=a.key.hex(), preauth_hash=h.hex() if h and self.dialect >= 0x311 else None,
                              signing_key=sk.hex(), c2s=s.enc[1].hex() if s.enc else None,
                              s2c=s.enc[2].hex() if s.enc else None))
        return None


# ----------------------------------------------------------------- driver


class Conn:
    def __init__(self, t, cid, server):
        self.server = server
        self.flows = {}
        self.smb1, self.smb2 = Smb1(t), Smb2(t, cid)
        self.t = t
        self.seen = collections.defaultdict(collections.Counter)
        self.bad = []
        self.first = 0.0
        self.frames = 0

    def summary(self):
        d = self.smb2.dialect
        return dict(first=self.first, frames=self.frames, dialect=f"{d:04x}" if d else "NT1" if self.frames else None,
                    smb1_server_mode=self.smb1.server_mode, smb1_client_flags2=self.smb1.client_flags2,
                    smb2_modes=self.smb2.mode, bad=self.bad, **{k: dict(self.seen[k]) for k in
                    ("signed", "unsigned", "encrypted", "why")})


def run(path, verbose):
    SESSIONS.clear()
    name = os.path.basename(path).rsplit(".", 1)[0]
    t = Tally(name, verbose)
    t.conns = []
    conns = {}
    if verbose:
        print(name)
    for no, link, pkt, when in pcap_packets(path):
        r = tcp_of(link, pkt)
        if r is None:
            continue
        src, dst, seq, flags, data = r
        key = tuple(sorted((src, dst)))
        c = conns.get(key)
        if c is None or (flags & 0x12 == 2):
            server = dst if (flags & 0x12) == 2 or dst[1] in SERVER_PORTS else src
            c = conns[key] = Conn(t, len(conns) + no * 1000, server)
            c.first = when
            t.conns.append(c)
        f = c.flows.setdefault(src, Flow())
        f.feed(seq, flags, data)
        for typ, m in f.messages():
            if typ != 0:
                continue
            from_server = src == c.server
            t.conn = c
            c.frames += 1
            if m[:4] == b"\xffSMB":
                if from_server:
                    c.smb1.blob_from_server(m)
                c.smb1.message(no, from_server, m)
            elif m[:4] in (b"\xfeSMB", b"\xfdSMB"):
                c.smb2.frame(no, from_server, m)
            else:
                t.notes["other frames"] += 1
    for c in t.conns:
        for n in c.smb1.all_ntlm:
            if n.m3 is None or not n.key:
                continue
            g, b = n.check_mechlistmics()
            t.notes["mechListMIC ok"] += g
            t.notes["mechListMIC bad"] += b
            if n.mic is not None:
                t.notes["NTLM MIC ok" if n.mic else "NTLM MIC BAD"] += 1
    det = "; ".join([f"{k}={v}" for k, v in sorted(t.why.items())])
    notes = "; ".join([f"{k}" + (f" x{v}" if v > 1 else "") for k, v in sorted(t.notes.items()) if v])
    print(f"{name}: {t.good} verified, {t.bad} bad, {t.uns} unsigned")
    if det:
        print(f"    unsigned: {det}")
    if notes:
        print(f"    notes: {notes}")
    for a in t.auths:
        print(f"    auth: {a}")
    return t


if __name__ == "__main__":
    args = sys.argv[1:]
    verbose = "-v" in args
    out = None
    if "--json" in args:
        i = args.index("--json")
        out = args[i + 1]
        del args[i:i + 2]
    summary = None
    for option in ("--summary", "--account", "--keytab", "--port"):
        while option in args:
            i = args.index(option)
            value = args[i + 1]
            del args[i:i + 2]
            if option == "--summary":
                summary = value
            elif option == "--keytab":
                load_keytab(value)
            elif option == "--account":
                ACCOUNTS.update([value.split(":", 1)])
            else:
                SERVER_PORTS.add(int(value))
    files = [a for a in args if a != "-v"]
    kf = os.path.join(os.path.dirname(os.path.abspath(files[0])) if files else ".", "krb5-service-keys.txt")
    if os.path.exists(kf):
        load_service_keys(kf)
    tot = collections.Counter()
    allv, sums = {}, {}
    for f in files:
        try:
            t = run(f, verbose)
        except Exception as e:
            if verbose:
                raise
            print(f"{f}: ERROR {type(e).__name__} {e}")
            tot["errors"] += 1
            continue
        tot["verified"] += t.good
        tot["bad"] += t.bad
        tot["unsigned"] += t.uns
        allv[t.name] = t.vectors
        sums[t.name] = dict(verified=t.good, bad=t.bad, unsigned=t.uns,
                            connections=[c.summary() for c in t.conns])
    if len(files) > 1:
        print(f"TOTAL {len(files)} captures: {tot['verified']} verified, {tot['bad']} bad, {tot['unsigned']} unsigned"
              + (f", {tot['errors']} errors" if tot["errors"] else ""))
    if out:
        json.dump(allv, open(out, "w"), indent=0)
    if summary:
        with open(summary, "w") as f:
            json.dump(sums, f, indent=1)
    if tot["errors"]:
        sys.exit(1)
