//! What is sealed: a line for each secret, `NAME SECONDS VALUE`.

use std::collections::BTreeMap;

use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};

use crate::secrets::SecretName;

/// A secret, and when it was set.
#[derive(Clone, Debug)]
pub struct SealedSecret {
    /// Never empty, and without control characters.
    pub value: SecretString,
    /// In seconds since 1970.
    pub set_at: u64,
}

/// All secrets of a file.
pub type SealedSecrets = BTreeMap<SecretName, SealedSecret>;

/// The lines of `secrets`, in memory with room for `more` bytes, so that no copy is left where it grows.
pub(super) fn written(secrets: &SealedSecrets, more: usize) -> Zeroizing<Vec<u8>> {
    let lines = || secrets.iter().map(|(name, secret)| (format!("{name} {} ", secret.set_at), secret.value.expose_secret()));
    let length: usize = lines().map(|(start, value)| start.len() + value.len() + 1).sum();
    let mut written = Zeroizing::new(Vec::with_capacity(length + more));
    for (start, value) in lines() {
        written.extend_from_slice(start.as_bytes());
        written.extend_from_slice(value.as_bytes());
        written.push(b'\n');
    }
    written
}

/// The secrets whose lines these are.
pub(super) fn parse(lines: &[u8]) -> Option<SealedSecrets> {
    std::str::from_utf8(lines).ok()?.split_terminator('\n').map(secret).collect()
}

fn secret(line: &str) -> Option<(SecretName, SealedSecret)> {
    let (name, rest) = line.split_once(' ')?;
    let (seconds, value) = rest.split_once(' ')?;
    let value = crate::secrets::value::value(value.as_bytes()).ok()?;
    Some((name.parse().ok()?, SealedSecret { value, set_at: seconds.parse().ok()? }))
}
