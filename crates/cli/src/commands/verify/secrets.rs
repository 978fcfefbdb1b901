//! What `verify` is told of passwords and keys.

use std::path::Path;

use countersign_auth::NtHash;
use countersign_verify::Secrets;
use zeroize::Zeroizing;

use super::VerifyArguments;

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, rest) = text.split_once(':').ok_or("`:` is missing")?;
    Ok((name.to_owned(), rest.to_owned()))
}

fn hexadecimal(text: &str) -> Result<Vec<u8>, String> {
    let (pairs, odd) = text.trim().as_bytes().as_chunks::<2>();
    let digit = |b: &u8| {
        char::from(*b)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
    };
    let bytes: Option<Vec<u8>> = pairs
        .iter()
        .map(|[high, low]| Some(digit(high)? << 4 | digit(low)?))
        .collect();
    match bytes {
        Some(bytes) if odd.is_empty() && !bytes.is_empty() => Ok(bytes),
        _ => Err("not pairs of hexadecimal digits".to_owned()),
    }
}

pub(super) fn nt_hash(text: &str) -> Result<(String, NtHash), String> {
    let (name, hash) = pair(text)?;
    let hash: [u8; 16] = hexadecimal(&hash)?
        .try_into()
        .map_err(|_| "an NT hash has 32 digits")?;
    Ok((name, NtHash::new(hash)))
}

pub(super) fn session_key(text: &str) -> Result<(u64, Vec<u8>), String> {
    let (id, key) = pair(text)?;
    let digits = id.trim_start_matches("0x");
    let id = u64::from_str_radix(digits, 16).map_err(|_| "the id is not hexadecimal")?;
    Ok((id, hexadecimal(&key)?))
}

impl VerifyArguments {
    pub(super) fn secrets(&self) -> Result<Secrets, String> {
        let mut secrets = Secrets::new();
        for user in &self.user {
            match user.split_once(':') {
                Some((name, password)) => secrets.add_password(name, password),
                None => secrets.add_password(user, &self.password.existing(user)?),
            }
        }
        for (name, hash) in &self.nt_hash {
            secrets.add_nt_hash(name, hash.clone());
        }
        for file in &self.keytab {
            add_keytab(&mut secrets, file)?;
        }
        for (id, key) in &self.session_key {
            secrets.add_session_key(*id, key.clone());
        }
        for file in &self.secrets {
            let text = std::fs::read_to_string(file);
            let text = Zeroizing::new(text.map_err(|e| format!("{}: {e}", file.display()))?);
            for (n, line) in (1..).zip(text.lines()) {
                add_line(&mut secrets, line)
                    .map_err(|e| format!("{}: line {n}: {e}", file.display()))?;
            }
        }
        Ok(secrets)
    }
}

fn add_keytab(secrets: &mut Secrets, file: &Path) -> Result<(), String> {
    let at = |why: &dyn std::fmt::Display| format!("{}: {why}", file.display());
    let bytes = Zeroizing::new(std::fs::read(file).map_err(|e| at(&e))?);
    secrets.add_keytab(&bytes).map_err(|e| at(&e))
}

/// A line of a file with secrets.
fn add_line(secrets: &mut Secrets, line: &str) -> Result<(), String> {
    let line = line.trim_end_matches('\r');
    if line.trim().is_empty() || line.starts_with('#') {
        return Ok(());
    }
    let (kind, value) = line.split_once(' ').unwrap_or((line, ""));
    match kind {
        "user" => {
            let (name, password) = pair(value)?;
            secrets.add_password(&name, &password);
        }
        "nt-hash" => {
            let (name, hash) = nt_hash(value)?;
            secrets.add_nt_hash(&name, hash);
        }
        "session-key" => {
            let (id, key) = session_key(value)?;
            secrets.add_session_key(id, key);
        }
        "keytab" => add_keytab(secrets, Path::new(value))?,
        _ => return Err("neither `user`, `nt-hash`, `session-key` nor `keytab`".to_owned()),
    }
    Ok(())
}
