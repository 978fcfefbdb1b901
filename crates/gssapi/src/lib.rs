//! The GSSAPI of MIT Kerberos, loaded at run time when Kerberos is configured:
//! building needs no system packages, and machines without the library run the rest.
