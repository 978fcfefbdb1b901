"""Fills a fresh directory: users, groups, an organizational unit, the file server's account and its keytab.

accounts.py SMB_CONF KEYTAB USER_PASSWORD
"""
import sys

import ldb
from samba import dckeytab  # noqa: F401  (adds export_keytab)
from samba.auth import system_session
from samba.credentials import Credentials
from samba.net import Net
from samba.param import LoadParm
from samba.samdb import SamDB

conf, keytab, password = sys.argv[1:4]
lp = LoadParm()
lp.load(conf)
credentials = Credentials()
credentials.guess(lp)
db = SamDB(lp=lp, session_info=system_session(lp))
domain = lp.get("realm").lower()
base = db.domain_dn()

for user in ("alice", "bob"):
    db.newuser(user, password, givenname=user.capitalize(), surname="Example")
for group, members in (("engineers", ["alice"]), ("everybody", ["engineers", "bob"])):
    db.newgroup(group)
    db.add_remove_group_members(group, members, add_members_operation=True)

# What the controller would register by itself, some time after its start.
db.modify(
    ldb.Message.from_dict(
        db,
        {
            "dn": "CN=dc1,OU=Domain Controllers," + base,
            "servicePrincipalName": ["ldap/" + n for n in ("dc1." + domain, "dc1", "dc1.%s/%s" % (domain, domain))],
        },
        ldb.FLAG_MOD_ADD,
    )
)

unit = "OU=Servers," + base
db.create_ou(unit)
db.newcomputer(
    "files",
    computerou="OU=Servers",
    service_principal_name_list=[s + h for s in ("cifs/", "HOST/") for h in ("files." + domain, "files")],
)
db.setpassword("(sAMAccountName=files$)", password + "Machine")
db.modify(
    ldb.Message.from_dict(
        db,
        {
            "dn": "CN=files," + unit,
            # RC4, AES-128, AES-256.
            "msDS-SupportedEncryptionTypes": ["28"],
            "dNSHostName": ["files." + domain],
        },
        ldb.FLAG_MOD_REPLACE,
    )
)
for principal in ("FILES$", "cifs/files." + domain, "HOST/files." + domain, "cifs/files"):
    Net(credentials, lp).export_keytab(keytab=keytab, principal=principal)
