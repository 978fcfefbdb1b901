//! Declarations of the C library, RFC 2744 and MIT's gssapi_ext.h.

use core::ffi::{c_char, c_int, c_void};

pub(crate) type OmUint32 = u32;

/// gss_OID_desc.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct OidDesc {
    pub(crate) length: OmUint32,
    pub(crate) elements: *mut c_void,
}

/// gss_OID_set_desc.
#[repr(C)]
pub(crate) struct OidSetDesc {
    pub(crate) count: usize,
    pub(crate) elements: *mut OidDesc,
}

/// gss_buffer_desc.
#[repr(C)]
pub(crate) struct BufferDesc {
    pub(crate) length: usize,
    pub(crate) value: *mut c_void,
}

/// gss_buffer_set_desc.
#[repr(C)]
pub(crate) struct BufferSetDesc {
    pub(crate) count: usize,
    pub(crate) elements: *mut BufferDesc,
}

/// gss_key_value_element_desc.
#[repr(C)]
pub(crate) struct KeyValueElement {
    pub(crate) key: *const c_char,
    pub(crate) value: *const c_char,
}

/// gss_key_value_set_desc.
#[repr(C)]
pub(crate) struct KeyValueSet {
    pub(crate) count: OmUint32,
    pub(crate) elements: *mut KeyValueElement,
}

/// What gss_name_t, gss_cred_id_t and gss_ctx_id_t point to.
#[repr(C)]
pub(crate) struct Opaque {
    _private: [u8; 0],
}

pub(crate) type Name = *mut Opaque;
pub(crate) type Cred = *mut Opaque;
pub(crate) type Ctx = *mut Opaque;
pub(crate) type Oid = *mut OidDesc;
pub(crate) type OidSet = *mut OidSetDesc;
pub(crate) type Buffer = *mut BufferDesc;
pub(crate) type BufferSet = *mut BufferSetDesc;
/// gss_channel_bindings_t; always null here.
pub(crate) type ChannelBindings = *mut c_void;

/// GSS_C_INITIATE.
pub(crate) const INITIATE: c_int = 1;
/// GSS_C_ACCEPT.
pub(crate) const ACCEPT: c_int = 2;
/// GSS_C_INDEFINITE.
pub(crate) const INDEFINITE: OmUint32 = 0xFFFF_FFFF;
/// GSS_C_GSS_CODE.
pub(crate) const GSS_CODE: c_int = 1;
/// GSS_C_MECH_CODE.
pub(crate) const MECH_CODE: c_int = 2;

/// An OID's contents, as a value the library can be given for reading.
pub(crate) fn oid(contents: &'static [u8]) -> OidDesc {
    OidDesc {
        length: u32::try_from(contents.len()).unwrap_or(0),
        elements: contents.as_ptr().cast_mut().cast(),
    }
}

/// 1.2.840.113554.1.2.2, the Kerberos mechanism.
pub(crate) const MECH_KRB5: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x12, 1, 2, 2];
/// 1.2.840.113554.1.2.2.1, GSS_KRB5_NT_PRINCIPAL_NAME.
pub(crate) const NT_PRINCIPAL: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x12, 1, 2, 2, 1];
/// 1.2.840.113554.1.2.2.5.5, GSS_C_INQ_SSPI_SESSION_KEY.
pub(crate) const INQ_SESSION_KEY: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x12, 1, 2, 2, 5, 5];

macro_rules! functions {
    ($($name:ident($($argument:ty),* $(,)?);)*) => {
        /// The library's functions; all return a major status.
        pub(crate) struct Functions {
            $(pub(crate) $name: unsafe extern "C" fn($($argument),*) -> OmUint32,)*
        }

        impl Functions {
            /// Finds every function by `symbol`, which answers null for one that is not there.
            pub(crate) fn find(
                symbol: impl Fn(&'static core::ffi::CStr) -> *mut c_void,
            ) -> Result<Self, &'static str> {
                Ok(Self {
                    $($name: {
                        let name = concat!(stringify!($name), "\0");
                        let found = core::ffi::CStr::from_bytes_with_nul(name.as_bytes())
                            .map_or(core::ptr::null_mut(), &symbol);
                        if found.is_null() {
                            return Err(stringify!($name));
                        }
                        // SAFETY: the symbol of this name in this library is a function of
                        // this type (RFC 2744, RFC 6680, MIT's gssapi_ext.h), stable since
                        // MIT 1.11; it is not null, and the library is never unloaded.
                        unsafe {
                            core::mem::transmute::<
                                *mut c_void,
                                unsafe extern "C" fn($($argument),*) -> OmUint32,
                            >(found)
                        }
                    },)*
                })
            }
        }
    };
}

functions! {
    gss_import_name(*mut OmUint32, Buffer, Oid, *mut Name);
    gss_display_name(*mut OmUint32, Name, Buffer, *mut Oid);
    gss_release_name(*mut OmUint32, *mut Name);
    gss_get_name_attribute(*mut OmUint32, Name, Buffer, *mut c_int, *mut c_int, Buffer, Buffer, *mut c_int);
    gss_acquire_cred_from(
        *mut OmUint32, Name, OmUint32, OidSet, c_int, *const KeyValueSet, *mut Cred, *mut OidSet, *mut OmUint32,
    );
    gss_acquire_cred_with_password(
        *mut OmUint32, Name, Buffer, OmUint32, OidSet, c_int, *mut Cred, *mut OidSet, *mut OmUint32,
    );
    gss_inquire_cred(*mut OmUint32, Cred, *mut Name, *mut OmUint32, *mut c_int, *mut OidSet);
    gss_release_cred(*mut OmUint32, *mut Cred);
    gss_init_sec_context(
        *mut OmUint32, Cred, *mut Ctx, Name, Oid, OmUint32, OmUint32, ChannelBindings, Buffer, *mut Oid, Buffer,
        *mut OmUint32, *mut OmUint32,
    );
    gss_accept_sec_context(
        *mut OmUint32, *mut Ctx, Cred, Buffer, ChannelBindings, *mut Name, *mut Oid, Buffer, *mut OmUint32,
        *mut OmUint32, *mut Cred,
    );
    gss_inquire_context(
        *mut OmUint32, Ctx, *mut Name, *mut Name, *mut OmUint32, *mut Oid, *mut OmUint32, *mut c_int, *mut c_int,
    );
    gss_inquire_sec_context_by_oid(*mut OmUint32, Ctx, Oid, *mut BufferSet);
    gss_delete_sec_context(*mut OmUint32, *mut Ctx, Buffer);
    gss_wrap(*mut OmUint32, Ctx, c_int, OmUint32, Buffer, *mut c_int, Buffer);
    gss_unwrap(*mut OmUint32, Ctx, Buffer, Buffer, *mut c_int, *mut OmUint32);
    gss_wrap_size_limit(*mut OmUint32, Ctx, c_int, OmUint32, OmUint32, *mut OmUint32);
    gss_get_mic(*mut OmUint32, Ctx, OmUint32, Buffer, Buffer);
    gss_verify_mic(*mut OmUint32, Ctx, Buffer, Buffer, *mut OmUint32);
    gss_display_status(*mut OmUint32, OmUint32, c_int, Oid, *mut OmUint32, Buffer);
    gss_release_buffer(*mut OmUint32, Buffer);
    gss_release_buffer_set(*mut OmUint32, *mut BufferSet);
}
