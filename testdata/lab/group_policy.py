"""What an administrator does to Group Policy, step by step, as JSON on the command
line: [["create", NAME], ["link", NAME, DN, OPTIONS], ["unlink", NAME, DN],
["set", NAME, {SETTING: 0 or 1 or null}], ["registry", NAME, {VALUE: NUMBER}],
["flags", NAME, N], ["deny", NAME, ACCOUNT], ["only", NAME, ACCOUNT], ["block", DN, 0 or 1],
["ou", DN], ["move", ACCOUNT, DN], ["group", NAME, [MEMBER]], ["file", NAME, PATH, TEXT or null],
["version", NAME, N] (the directory's alone), ["attribute", ACCOUNT, NAME, VALUE], ["remove", ACCOUNT], ["wmi", NAME, QUERY], ["delete", NAME] (the object in the
directory; links to it stay)]. DN may be "domain" or "site". The last line printed is {NAME: GUID}.

The objects are made by samba-tool; links are appended, so the last one overrules
the others of its container; files are written over SMB and versions raised as the
editor of Windows does it."""
import json
import os
import re
import struct
import sys

import ldb
from samba import NTSTATUSError
from samba.auth import system_session
from samba.credentials import Credentials
from samba.dcerpc import security
from samba.ndr import ndr_pack, ndr_unpack
from samba.netcmd.gpo import cmd_gpo
from samba.param import LoadParm
from samba.samba3 import libsmb_samba_internal as libsmb
from samba.samba3 import param as s3param
from samba.samdb import SamDB

E = os.environ
BASE, HOST, DNS, REALM = E["LAB_BASE_DN"], E["LAB_DC_HOST"], E["LAB_DNS_DOMAIN"], E["LAB_REALM"]
CONF, ADMIN, PASSWORD = E["LAB_CLIENT_CONF"], E["LAB_ADMIN"], E["LAB_ADMIN_PASSWORD"]
SITE = f"CN=Default-First-Site-Name,CN=Sites,CN=Configuration,{BASE}"
SECURITY = ("{827D319E-6EAC-11D2-A4EA-00C04F79F83A}", "{803E14A0-B4FB-11D0-A0D0-00A0C90F574B}")
REGISTRY = ("{35378EAC-683F-11D2-A89A-00C04FBBCFA2}", "{D02B1F72-3407-48AE-BA88-E8213C6761F1}")
APPLY = "edacfd8f-ffb3-11d1-b41d-00a0c968f939"
NAMES = {
    "server-if-client-agrees": r"LanManServer\Parameters\EnableSecuritySignature",
    "server-always": r"LanManServer\Parameters\RequireSecuritySignature",
    "client-if-server-agrees": r"LanmanWorkstation\Parameters\EnableSecuritySignature",
    "client-always": r"LanmanWorkstation\Parameters\RequireSecuritySignature",
}

lp = LoadParm()
lp.load(CONF)
cr = Credentials()
cr.guess(lp)
cr.set_username(ADMIN)
cr.set_password(PASSWORD)
cr.set_realm(REALM)
cr.set_domain(E["LAB_DOMAIN"])
db = SamDB("ldap://" + HOST, session_info=system_session(), credentials=cr, lp=lp)


def container(name):
    return {"domain": BASE, "site": SITE}.get(name, name)


def find(name):
    found = db.search(
        f"CN=Policies,CN=System,{BASE}", ldb.SCOPE_ONELEVEL, f"(displayName={ldb.binary_encode(name)})",
        controls=["sd_flags:1:4"],
        attrs=["name", "versionNumber", "gPCMachineExtensionNames", "nTSecurityDescriptor"])
    assert len(found) == 1, f"{name}: {len(found)} objects"
    return found[0]


def replace(dn, controls=None, **attributes):
    message = {"dn": dn, **{name: [] if value is None else [value] for name, value in attributes.items()}}
    db.modify(ldb.Message.from_dict(db, message, ldb.FLAG_MOD_REPLACE), controls or [])


def create(name):
    # samba-tool without starting it anew each time.
    arguments = [name, "-H", "ldap://" + HOST, "-U", f"{ADMIN}%{PASSWORD}", "-s", CONF]
    failed = cmd_gpo().subcommands["create"]._run("samba-tool gpo create", *arguments)
    assert not failed, f"samba-tool gpo create {name}: {failed}"


def links_of(dn):
    found = db.search(dn, ldb.SCOPE_BASE, attrs=["gPLink"])[0]
    return str(found.get("gPLink", [""])[0]).strip()


def link(name, dn, options):
    dn = container(dn)
    replace(dn, gPLink=f"{links_of(dn)}[LDAP://{find(name).dn};{options}]")


def unlink(name, dn):
    dn = container(dn)
    left = re.sub(re.escape(f"[LDAP://{find(name).dn};") + r"\d+\]", "", links_of(dn))
    replace(dn, gPLink=left or None)


def block(dn, on):
    replace(container(dn), gPOptions=str(on))


def flags(name, value):
    replace(find(name).dn, flags=str(value))


def deny(name, account):
    gpo = find(name)
    sid = db.search(BASE, ldb.SCOPE_SUBTREE, f"(sAMAccountName={ldb.binary_encode(account)})", attrs=["objectSid"])
    sid = str(ndr_unpack(security.dom_sid, sid[0]["objectSid"][0]))
    domain = security.dom_sid(db.get_domain_sid())
    sddl = ndr_unpack(security.descriptor, gpo["nTSecurityDescriptor"][0]).as_sddl(domain)
    head, _, dacl = sddl.partition("D:")
    at = dacl.index("(")
    sddl = f"{head}D:{dacl[:at]}(OD;CI;CR;{APPLY};;{sid}){dacl[at:]}"
    packed = ndr_pack(security.descriptor.from_sddl(sddl, domain))
    replace(gpo.dn, ["sd_flags:1:4"], nTSecurityDescriptor=packed)


def only(name, account):
    """Apply Group Policy for nobody but this account or group; everybody may still read."""
    gpo = find(name)
    sid = db.search(BASE, ldb.SCOPE_SUBTREE, f"(sAMAccountName={ldb.binary_encode(account)})", attrs=["objectSid"])
    sid = str(ndr_unpack(security.dom_sid, sid[0]["objectSid"][0]))
    domain = security.dom_sid(db.get_domain_sid())
    sddl = ndr_unpack(security.descriptor, gpo["nTSecurityDescriptor"][0]).as_sddl(domain)
    sddl = re.sub(rf"\(OA;[^;]*;CR;{APPLY};;AU\)", f"(OA;CI;CR;{APPLY};;{sid})", sddl, flags=re.I)
    assert sid in sddl, sddl
    replace(gpo.dn, ["sd_flags:1:4"], nTSecurityDescriptor=ndr_pack(security.descriptor.from_sddl(sddl, domain)))


def group(name, members):
    if not db.search(BASE, ldb.SCOPE_SUBTREE, f"(sAMAccountName={ldb.binary_encode(name)})", attrs=["cn"]):
        db.newgroup(name)
    db.add_remove_group_members(name, members, add_members_operation=True)


def raw_file(name, path, text):
    folder = Folder(find(name))
    if text is None:
        folder.smb.unlink(f"{folder.root}\\{path}")
    else:
        folder.write(path, text.encode())


def version(name, number):
    replace(find(name).dn, versionNumber=str(number))


def attribute(account, name, value):
    found = db.search(BASE, ldb.SCOPE_SUBTREE, f"(sAMAccountName={ldb.binary_encode(account)})", attrs=["cn"])[0]
    replace(found.dn, **{name: value})


def remove(account):
    found = db.search(BASE, ldb.SCOPE_SUBTREE, f"(sAMAccountName={ldb.binary_encode(account)})", attrs=["cn"])[0]
    db.delete(found.dn)


def wmi(name, query):
    number = "{11111111-2222-3333-4444-555555555555}"
    above = f"CN=SOM,CN=WMIPolicy,CN=System,{BASE}"
    dn = f"CN={number},{above}"
    if query and not db.search(BASE, ldb.SCOPE_SUBTREE, f"(msWMI-ID={number})", attrs=["cn"]):
        db.add({
            "dn": dn, "objectClass": "msWMI-Som", "msWMI-ID": number, "msWMI-Name": "never here", "msWMI-Parm1": "x",
            "msWMI-Parm2": query, "msWMI-Author": "x", "msWMI-ChangeDate": "x", "msWMI-CreationDate": "x",
        })
    replace(find(name).dn, gPCWQLFilter=f"[{DNS};{number};0]" if query else None)


def delete(name):
    db.delete(find(name).dn, ["tree_delete:1"])


class Folder:
    """The object's folder in SYSVOL, over signed SMB."""

    def __init__(self, gpo):
        conf = s3param.get_context()
        conf.load(CONF)
        self.smb = libsmb.Conn(HOST, "sysvol", lp=conf, creds=cr)
        self.root = f"{DNS}\\Policies\\{gpo['name'][0]}"

    def read(self, path):
        try:
            return self.smb.loadfile(f"{self.root}\\{path}")
        except NTSTATUSError as error:
            # OBJECT_NAME_NOT_FOUND, OBJECT_PATH_NOT_FOUND
            if error.args[0] in (0xC0000034, 0xC000003A):
                return None
            raise

    def write(self, path, content):
        at = self.root
        for part in path.split("\\")[:-1]:
            at += "\\" + part
            if not self.smb.chkpath(at):
                self.smb.mkdir(at)
        self.smb.savefile(f"{self.root}\\{path}", content)


def changed(gpo, folder, extension):
    """First the file, then gpt.ini, then the directory: one more in the low half."""
    ini = (folder.read("GPT.INI") or b"[General]\r\nVersion=0\r\n").decode("utf-8-sig", "replace")
    version = int(re.search(r"(?im)^version\s*=\s*(\d+)", ini)[1]) + 1
    ini = re.sub(r"(?im)^(version\s*=\s*)\d+", lambda found: found[1] + str(version), ini)
    folder.write("GPT.INI", ini.encode())
    known = dict(re.findall(r"\[(\{[^}]*\})((?:\{[^}]*\})*)\]", str(gpo.get("gPCMachineExtensionNames", [""])[0])))
    known[extension[0]] = extension[1]
    names = "".join(f"[{key}{known[key]}]" for key in sorted(known))
    replace(gpo.dn, versionNumber=str(version), gPCMachineExtensionNames=names)


def set_security(name, values):
    gpo = find(name)
    folder = Folder(gpo)
    path = "MACHINE\\Microsoft\\Windows NT\\SecEdit\\GptTmpl.inf"
    old = folder.read(path)
    lines = dict(re.findall(r"(?m)^(MACHINE[^=]*)=(.*?)\r?$", old.decode("utf-16"))) if old else {}
    for setting, value in values.items():
        key = "MACHINE\\System\\CurrentControlSet\\Services\\" + NAMES[setting]
        lines.pop(key, None)
        if value is not None:
            lines[key] = f"4,{value}"
    text = "[Unicode]\r\nUnicode=yes\r\n[Version]\r\nsignature=\"$CHICAGO$\"\r\nRevision=1\r\n[Registry Values]\r\n"
    text += "".join(f"{key}={value}\r\n" for key, value in lines.items())
    folder.write(path, b"\xff\xfe" + text.encode("utf-16-le"))
    changed(gpo, folder, SECURITY)


def set_registry(name, values):
    gpo = find(name)
    folder = Folder(gpo)

    def wide(text):
        return text.encode("utf-16-le")

    out = b"PReg" + struct.pack("<I", 1)
    for full, number in values.items():
        key, _, value = full.rpartition("\\")
        out += wide(f"[{key}\0;{value}\0;") + struct.pack("<I", 4) + wide(";") + struct.pack("<I", 4)
        out += wide(";") + struct.pack("<I", number) + wide("]")
    folder.write("MACHINE\\Registry.pol", out)
    changed(gpo, folder, REGISTRY)


def move(account, dn):
    found = db.search(BASE, ldb.SCOPE_SUBTREE, f"(sAMAccountName={ldb.binary_encode(account)})", attrs=["cn"])[0]
    target = f"CN={found['cn'][0]},{dn}"
    if str(found.dn).lower() != target.lower():
        db.rename(str(found.dn), target)


def ou(dn):
    try:
        db.add({"dn": dn, "objectClass": "organizationalUnit"})
    except ldb.LdbError as error:
        if error.args[0] != ldb.ERR_ENTRY_ALREADY_EXISTS:
            raise


STEPS = {
    "create": create, "link": link, "unlink": unlink, "set": set_security, "registry": set_registry,
    "flags": flags, "deny": deny, "block": block, "ou": ou, "move": move, "only": only, "group": group,
    "file": raw_file, "version": version, "attribute": attribute, "remove": remove, "wmi": wmi, "delete": delete,
}
for verb, *args in json.loads(sys.argv[1]):
    STEPS[verb](*args)
every = db.search(
    f"CN=Policies,CN=System,{BASE}", ldb.SCOPE_ONELEVEL, "(objectClass=groupPolicyContainer)",
    attrs=["name", "displayName"])
print(json.dumps({str(one["displayName"][0]): str(one["name"][0]) for one in every}))
