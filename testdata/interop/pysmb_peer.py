"""pysmb against a share: HOST PORT USER PASSWORD SHARE DIALECT"""
import io
import sys

from smb import smb_structs
from smb.SMBConnection import SMBConnection

host, port, user, password, share, dialect = sys.argv[1:7]
smb_structs.SUPPORT_SMB2 = dialect != "NT1"
smb_structs.SUPPORT_SMB2x = dialect != "NT1"

c = SMBConnection(user, password + "x", "peer", host, use_ntlm_v2=True, is_direct_tcp=True)
assert not c.connect(host, int(port), timeout=20), "a wrong password was accepted"
c.close()

c = SMBConnection(user, password, "peer", host, use_ntlm_v2=True, is_direct_tcp=True,
                  sign_options=SMBConnection.SIGN_WHEN_SUPPORTED)
assert c.connect(host, int(port), timeout=20), "not logged on"
assert c.isUsingSMB2 == (dialect != "NT1"), "another dialect"
names = [s.name.upper() for s in c.listShares()]
assert share.upper() in names, names
data = bytes(range(256)) * 1200
assert c.storeFile(share, "pysmb.bin", io.BytesIO(data)) == len(data)
assert "pysmb.bin" in [f.filename for f in c.listPath(share, "/")]
assert c.getAttributes(share, "PYSMB.bin").file_size == len(data)
back = io.BytesIO()
c.retrieveFile(share, "pysmb.bin", back)
assert back.getvalue() == data, "the bytes differ"
c.createDirectory(share, "pysmb dir")
c.rename(share, "pysmb.bin", "pysmb dir/moved.bin")
assert "moved.bin" in [f.filename for f in c.listPath(share, "pysmb dir")]
c.deleteFiles(share, "pysmb dir/moved.bin")
c.deleteDirectory(share, "pysmb dir")
assert "pysmb dir" not in [f.filename for f in c.listPath(share, "/")]
assert c.echo(b"hello") == b"hello"
c.close()
print("all done")
