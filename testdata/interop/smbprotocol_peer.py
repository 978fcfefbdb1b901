"""smbprotocol against a share: HOST PORT USER PASSWORD SHARE DIALECT[-encrypt]"""
import sys
import uuid

from smbprotocol.connection import Connection, Dialects
from smbprotocol.exceptions import LogonFailure, ObjectNameNotFound
from smbprotocol.file_info import FileDirectoryInformation, FileDispositionInformation, FileInformationClass, \
    FileRenameInformation
from smbprotocol.open import CreateDisposition, CreateOptions, DirectoryAccessMask, FileAttributes, \
    FilePipePrinterAccessMask, ImpersonationLevel, Open, ShareAccess, SMB2SetInfoRequest
from smbprotocol.header import Commands
from smbprotocol.open import SMB2SetInfoResponse
from smbprotocol.session import Session
from smbprotocol.tree import TreeConnect

host, port, user, password, share, dialect = sys.argv[1:7]
dialect, _, encrypt = dialect.partition("-")
wanted = {"2.0.2": Dialects.SMB_2_0_2, "2.1": Dialects.SMB_2_1_0, "3.0": Dialects.SMB_3_0_0,
          "3.0.2": Dialects.SMB_3_0_2, "3.1.1": Dialects.SMB_3_1_1}[dialect]


def connect():
    c = Connection(uuid.uuid4(), host, int(port), require_signing=True)
    c.connect(wanted, timeout=20)
    assert c.dialect == wanted, f"it speaks {c.dialect:#x}"
    return c


c = connect()
try:
    Session(c, user, password + "x", require_encryption=bool(encrypt)).connect()
    raise SystemExit("a wrong password was accepted")
except LogonFailure:
    pass
c.disconnect()

c = connect()
session = Session(c, user, password, require_encryption=bool(encrypt))
session.connect()
assert session.signing_required or encrypt
tree = TreeConnect(session, rf"\\{host}\{share}")
tree.connect(require_secure_negotiate=dialect != "3.1.1")


def open_it(name, disposition, options=CreateOptions.FILE_NON_DIRECTORY_FILE,
            access=FilePipePrinterAccessMask.GENERIC_READ | FilePipePrinterAccessMask.GENERIC_WRITE |
            FilePipePrinterAccessMask.DELETE):
    f = Open(tree, name)
    f.create(ImpersonationLevel.Impersonation, access, FileAttributes.FILE_ATTRIBUTE_NORMAL,
             ShareAccess.FILE_SHARE_READ | ShareAccess.FILE_SHARE_WRITE | ShareAccess.FILE_SHARE_DELETE,
             disposition, options)
    return f


def names(folder):
    d = open_it(folder, CreateDisposition.FILE_OPEN, CreateOptions.FILE_DIRECTORY_FILE,
                DirectoryAccessMask.FILE_LIST_DIRECTORY | DirectoryAccessMask.SYNCHRONIZE)
    entries = d.query_directory("*", FileInformationClass.FILE_DIRECTORY_INFORMATION)
    d.close()
    return [e["file_name"].get_value().decode("utf-16-le") for e in entries]


def set_info(f, info):
    q = SMB2SetInfoRequest()
    q["info_type"] = info.INFO_TYPE
    q["file_info_class"] = info.INFO_CLASS
    q["file_id"] = f.file_id
    q["buffer"] = info
    r = c.send(q, session.session_id, tree.tree_connect_id)
    c.receive(r)


data = bytes(range(256)) * 1000
f = open_it("smbprotocol.bin", CreateDisposition.FILE_CREATE)
limit = min(c.max_write_size, 65536)
for at in range(0, len(data), limit):
    assert f.write(data[at:at + limit], at) == len(data[at:at + limit])
f.flush()
f.close()
assert "smbprotocol.bin" in names("")
f = open_it("SMBPROTOCOL.bin", CreateDisposition.FILE_OPEN)
assert f.end_of_file == len(data), f.end_of_file
limit = min(c.max_read_size, 65536)
back = b"".join(f.read(at, limit) for at in range(0, len(data), limit))
assert back == data, "the bytes differ"
open_it("smbprotocol dir", CreateDisposition.FILE_CREATE, CreateOptions.FILE_DIRECTORY_FILE,
        DirectoryAccessMask.FILE_LIST_DIRECTORY).close()
rename = FileRenameInformation()
rename["file_name"] = "smbprotocol dir\\moved.bin"
set_info(f, rename)
f.close()
assert "moved.bin" in names("smbprotocol dir")
try:
    open_it("smbprotocol.bin", CreateDisposition.FILE_OPEN)
    raise SystemExit("the old name still opens")
except ObjectNameNotFound:
    pass
for name, options in (("smbprotocol dir\\moved.bin", CreateOptions.FILE_NON_DIRECTORY_FILE),
                      ("smbprotocol dir", CreateOptions.FILE_DIRECTORY_FILE)):
    f = open_it(name, CreateDisposition.FILE_OPEN, options, FilePipePrinterAccessMask.DELETE)
    gone = FileDispositionInformation()
    gone["delete_pending"] = True
    set_info(f, gone)
    f.close()
assert "smbprotocol dir" not in names("")
tree.disconnect()
session.disconnect()
c.disconnect()
print("all done")
