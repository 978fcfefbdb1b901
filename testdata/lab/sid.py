"""Prints the SIDs of accounts and groups: sid.py SMB_CONF NAME..."""
import sys

import ldb
from samba.auth import system_session
from samba.dcerpc import security
from samba.ndr import ndr_unpack
from samba.param import LoadParm
from samba.samdb import SamDB

lp = LoadParm()
lp.load(sys.argv[1])
db = SamDB(lp=lp, session_info=system_session(lp))
for name in sys.argv[2:]:
    found = db.search(expression="(sAMAccountName=%s)" % ldb.binary_encode(name), attrs=["objectSid"])
    print(ndr_unpack(security.dom_sid, found[0]["objectSid"][0]))
