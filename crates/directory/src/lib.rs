//! Active Directory as a Group Policy client sees it: domain controllers by DNS,
//! LDAP signed and sealed with Kerberos, policies from SYSVOL.
#![forbid(unsafe_code)]
