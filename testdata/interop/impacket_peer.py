"""impacket against a share: HOST PORT USER PASSWORD SHARE DIALECT"""
import io
import sys

from impacket.smb import SMB_DIALECT
from impacket.smb3structs import SMB2_DIALECT_002, SMB2_DIALECT_21, SMB2_DIALECT_30, SMB2_DIALECT_311
from impacket.smbconnection import SessionError, SMBConnection

host, port, user, password, share, dialect = sys.argv[1:7]
wanted = {"NT1": SMB_DIALECT, "2.0.2": SMB2_DIALECT_002, "2.1": SMB2_DIALECT_21, "3.0": SMB2_DIALECT_30,
          "3.1.1": SMB2_DIALECT_311}[dialect]

c = SMBConnection(host, host, sess_port=int(port), preferredDialect=wanted)
assert c.getDialect() == wanted, f"it speaks {c.getDialect()}"
try:
    c.login(user, password + "x")
    raise SystemExit("a wrong password was accepted")
except SessionError as e:
    assert e.getErrorCode() == 0xC000006D, hex(e.getErrorCode())
c.close()

c = SMBConnection(host, host, sess_port=int(port), preferredDialect=wanted)
c.login(user, password)
names = [s["shi1_netname"][:-1].upper() for s in c.listShares()]
assert share.upper() in names and "IPC$" in names, names
data = bytes(range(256)) * 1200
c.putFile(share, "impacket.bin", io.BytesIO(data).read)
assert "impacket.bin" in [f.get_longname() for f in c.listPath(share, "*")]
size = [f.get_filesize() for f in c.listPath(share, "impacket.bin")]
assert size == [len(data)], size
back = io.BytesIO()
c.getFile(share, "IMPACKET.bin", back.write)
assert back.getvalue() == data, "the bytes differ"
c.createDirectory(share, "impacket dir")
c.rename(share, "impacket.bin", "impacket dir\\moved.bin")
assert "moved.bin" in [f.get_longname() for f in c.listPath(share, "impacket dir\\*")]
try:
    c.getFile(share, "impacket.bin", back.write)
    raise SystemExit("the old name still opens")
except SessionError as e:
    assert e.getErrorCode() == 0xC0000034, hex(e.getErrorCode())
c.deleteFile(share, "impacket dir\\moved.bin")
c.deleteDirectory(share, "impacket dir")
assert "impacket dir" not in [f.get_longname() for f in c.listPath(share, "*")]
c.logoff()
print("all done")
