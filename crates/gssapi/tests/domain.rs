//! Both ends against a real KDC. `cargo xtask lab run` sets what is needed;
//! without it these tests say so and do nothing.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test"
)]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use countersign_gssapi::{
    AcceptorContext, Credential, ErrorKind, Established, Flags, InitiatorContext, Library,
    Lifetime, PAC_LOGON_INFO, ReplayCache, Step,
};

struct Lab {
    library: &'static Library,
    realm: String,
    spn: String,
    keytab: PathBuf,
    user: String,
    password: String,
}

fn lab() -> Option<Lab> {
    let get = |name: &str| std::env::var(name).ok();
    let Some(realm) = get("LAB_REALM") else {
        println!("skipped: no domain controller (cargo xtask lab run cargo test ...)");
        return None;
    };
    Some(Lab {
        library: Library::load().unwrap(),
        realm,
        spn: get("LAB_FILES_SPN").unwrap(),
        keytab: get("LAB_FILES_KEYTAB").unwrap().into(),
        user: get("LAB_USER").unwrap(),
        password: get("LAB_USER_PASSWORD").unwrap(),
    })
}

impl Lab {
    fn client(&self) -> Arc<Credential> {
        Arc::new(Credential::from_password(self.library, &self.user, &self.password).unwrap())
    }

    fn service(&self, name: &str) -> Arc<Credential> {
        let file = std::env::temp_dir().join(format!("gssapi-{}-{name}.rc", std::process::id()));
        let _ = std::fs::remove_file(&file);
        let replay = ReplayCache::File(&file);
        Arc::new(Credential::acceptor(self.library, &self.keytab, None, replay).unwrap())
    }

    fn first_token(&self, client: &Arc<Credential>) -> (InitiatorContext, Vec<u8>) {
        let mut initiator =
            InitiatorContext::new(client.clone(), &self.spn, Flags::SEALED).unwrap();
        let Step::Continue { token } = initiator.step(None).unwrap() else {
            panic!("mutual authentication needs an answer");
        };
        (initiator, token)
    }

    fn established(&self, name: &str) -> (Established, Established) {
        let (mut initiator, token) = self.first_token(&self.client());
        let mut acceptor = AcceptorContext::new(self.service(name)).unwrap();
        let Step::Done { token, context } = acceptor.step(&token).unwrap() else {
            panic!("one token is enough for an acceptor");
        };
        let Step::Done {
            token,
            context: client,
        } = initiator.step(Some(&token)).unwrap()
        else {
            panic!("one answer is enough for an initiator");
        };
        assert!(token.is_empty());
        (client, context)
    }
}

#[test]
fn both_ends_agree() {
    let Some(lab) = lab() else { return };
    let (mut client, mut server) = lab.established("agree");
    assert_eq!(
        server.peer().unwrap(),
        format!("{}@{}", lab.user, lab.realm)
    );
    assert_eq!(
        client.session_key().unwrap().as_slice(),
        server.session_key().unwrap().as_slice()
    );
    assert_eq!(client.session_key().unwrap().len(), 32);
    assert!(client.flags().contains(Flags::SEALED));
    assert!(server.flags().contains(Flags::SEALED));
    for context in [&mut client, &mut server] {
        let Lifetime::Left(left) = context.lifetime() else {
            panic!("a ticket has an end");
        };
        assert!(left > Duration::from_secs(3600), "{left:?}");
    }
    let info = server.peer_attribute(PAC_LOGON_INFO).unwrap().unwrap();
    assert!(info.authenticated);
    assert!(info.value.len() > 200, "{}", hex::encode(&info.value));
    assert_eq!(server.peer_attribute("urn:nobody:nothing").unwrap(), None);
    if let Ok(file) = std::env::var("LAB_KEEP_PAC") {
        std::fs::write(file, &info.value).unwrap();
    }
}

#[test]
fn messages_are_protected() {
    let Some(lab) = lab() else { return };
    let (mut client, mut server) = lab.established("messages");
    for confidential in [false, true] {
        let wrapped = client.wrap(confidential, b"to the server").unwrap();
        assert_eq!(
            wrapped.windows(6).any(|w| w == b"server"),
            !confidential,
            "visible only where not encrypted"
        );
        let mut forged = wrapped.clone();
        *forged.last_mut().unwrap() ^= 1;
        assert!(server.unwrap(&forged).is_err());
        let opened = server.unwrap(&wrapped).unwrap();
        assert_eq!(opened.message, b"to the server");
        assert_eq!(opened.confidential, confidential);
        let again = server.unwrap(&wrapped).unwrap_err();
        assert_eq!(again.kind(), ErrorKind::Replay, "{again}");
    }
    let limit = client.wrap_size_limit(true, 1000).unwrap();
    assert!(client.wrap(true, &vec![1; limit as usize]).unwrap().len() <= 1000);
    let mic = server.get_mic(b"list").unwrap();
    client.verify_mic(b"list", &mic).unwrap();
    let mic = server.get_mic(b"list").unwrap();
    let error = client.verify_mic(b"lisT", &mic).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Integrity, "{error}");
}

#[test]
fn a_token_is_good_once() {
    let Some(lab) = lab() else { return };
    let (_, token) = lab.first_token(&lab.client());
    let service = lab.service("once");
    let mut first = AcceptorContext::new(service.clone()).unwrap();
    assert!(matches!(first.step(&token).unwrap(), Step::Done { .. }));
    let mut second = AcceptorContext::new(service).unwrap();
    let error = second.step(&token).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Replay, "{error}");
}

#[test]
fn altered_tokens_are_refused() {
    let Some(lab) = lab() else { return };
    let (_, token) = lab.first_token(&lab.client());
    let service = lab.service("altered");
    // The ticket's clear parts (its realm, the service's name) are nobody's proof: a
    // change there is let in once, and changes nothing about who it is.
    let mut accepted = 0;
    for at in (0..token.len()).step_by(token.len() / 60) {
        let mut forged = token.clone();
        forged[at] ^= 0x55;
        let mut acceptor = AcceptorContext::new(service.clone()).unwrap();
        if let Ok(Step::Done { context, .. }) = acceptor.step(&forged) {
            assert!(at < 150, "byte {at} of {} changed", token.len());
            assert!(context.peer().unwrap().starts_with(&lab.user));
            accepted += 1;
        }
    }
    assert!(accepted <= 1, "the second is a replay: {accepted}");
    for cut in [0, 1, 2, 20, token.len() / 2, token.len() - 1] {
        let mut acceptor = AcceptorContext::new(service.clone()).unwrap();
        assert!(acceptor.step(&token[..cut]).is_err(), "{cut} bytes");
    }
}

#[test]
fn what_is_not_there_is_named() {
    let Some(lab) = lab() else { return };
    let library = lab.library;
    let check = |error: countersign_gssapi::Error, kind: ErrorKind, word: &str| {
        let code = i64::from(error.minor().cast_signed()) + 1_765_328_384;
        assert_eq!(error.kind(), kind, "{error} ({code})");
        assert!(error.to_string().contains(word), "{error}");
    };
    let error = match Credential::from_password(library, &lab.user, "wrong") {
        Err(error) => error,
        Ok(credential) => InitiatorContext::new(Arc::new(credential), &lab.spn, Flags::SMB)
            .unwrap()
            .step(None)
            .unwrap_err(),
    };
    check(error, ErrorKind::NoCredential, "reauthentication failed");
    let mut nobody =
        InitiatorContext::new(lab.client(), "cifs/nowhere.lab.example", Flags::SMB).unwrap();
    let error = nobody.step(None).unwrap_err();
    check(error, ErrorKind::UnknownPrincipal, "not found in Kerberos");
    let missing = std::env::temp_dir().join("no-such.keytab");
    let error = Credential::acceptor(library, &missing, None, ReplayCache::System).unwrap_err();
    check(error, ErrorKind::NoCredential, "no-such.keytab");
    let error = Credential::acceptor(
        library,
        &lab.keytab,
        Some("cifs/other"),
        ReplayCache::System,
    )
    .unwrap_err();
    check(error, ErrorKind::NoCredential, "cifs/other");
    let error = Credential::from_cache(library, Some("FILE:/nonexistent/cc"), None).unwrap_err();
    check(error, ErrorKind::NoCredential, "No credentials cache found");
}

#[test]
fn a_keytab_gets_its_own_tickets() {
    let Some(lab) = lab() else { return };
    let account = std::env::var("LAB_FILES_ACCOUNT").unwrap();
    let credential = Credential::from_keytab(lab.library, &lab.keytab, &account).unwrap();
    assert_eq!(
        credential.name().unwrap(),
        format!("{account}@{}", lab.realm)
    );
    let dc = std::env::var("LAB_DC_HOST").unwrap();
    let mut initiator =
        InitiatorContext::new(Arc::new(credential), &format!("ldap/{dc}"), Flags::SEALED).unwrap();
    assert!(matches!(
        initiator.step(None).unwrap(),
        Step::Continue { .. }
    ));
}
