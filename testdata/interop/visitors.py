"""Peers that only come and look: HOST PORT PASSWORD SHARE [LIBRARY,DIALECT,USER]...

One line for each: USER ok, or USER failed WHY."""
import sys

host, port, password, share = sys.argv[1:5]


def impacket(dialect, user):
    from impacket.smb import SMB_DIALECT
    from impacket.smb3structs import SMB2_DIALECT_002, SMB2_DIALECT_21, SMB2_DIALECT_30, SMB2_DIALECT_311
    from impacket.smbconnection import SMBConnection

    wanted = {"NT1": SMB_DIALECT, "2.0.2": SMB2_DIALECT_002, "2.1": SMB2_DIALECT_21,
              "3.0": SMB2_DIALECT_30, "3.1.1": SMB2_DIALECT_311}[dialect]
    c = SMBConnection(host, host, sess_port=int(port), preferredDialect=wanted, timeout=20)
    c.login(user, password)
    assert not c.isGuestSession(), "a guest"
    c.listPath(share, "*")
    c.close()


def pysmb(dialect, user):
    from smb import smb_structs
    from smb.SMBConnection import SMBConnection

    smb_structs.SUPPORT_SMB2 = dialect != "NT1"
    smb_structs.SUPPORT_SMB2x = dialect != "NT1"
    c = SMBConnection(user, password, "visitor", host, use_ntlm_v2=True, is_direct_tcp=True,
                      sign_options=SMBConnection.SIGN_WHEN_REQUIRED)
    assert c.connect(host, int(port), timeout=20), "not logged on"
    c.listPath(share, "/", timeout=20)
    c.close()


for peer in sys.argv[5:]:
    library, dialect, user = peer.split(",")
    try:
        {"impacket": impacket, "pysmb": pysmb}[library](dialect, user)
        print(user, "ok", flush=True)
    except BaseException as why:
        print(user, "failed", type(why).__name__, str(why).replace("\n", " ")[:200], flush=True)
