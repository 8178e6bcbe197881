//! Reads secrets from standard input: one as it is from a pipe, several a line each; without echo from a terminal.

use std::io::{self, BufRead, IsTerminal, Read, Stdin, stdin};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use secrecy::zeroize::Zeroizing;

use crate::secrets::{MAX_SECRET_BYTES, SecretName};

use super::complain;

/// Most bytes of a line that a terminal passes on; the rest is lost (Linux' N_TTY_BUF_SIZE, without the line end).
const MAX_LINE_BYTES: usize = 4095;

/// What standard input says of `names`, but no more than a byte too many for each; as many values as it has.
pub(super) fn read(names: &[SecretName]) -> io::Result<Vec<Zeroizing<Vec<u8>>>> {
    let stdin = stdin();
    if stdin.is_terminal() {
        return names.iter().map(|name| line(&stdin, name)).collect();
    }
    let most = (MAX_SECRET_BYTES + 3) * names.len();
    let mut bytes = Zeroizing::new(Vec::with_capacity(most));
    stdin.lock().take(most as u64).read_to_end(&mut bytes)?;
    match names {
        [_] => Ok(vec![bytes]),
        _ => Ok(lines(&bytes).map(|line| Zeroizing::new(line.to_vec())).collect()),
    }
}

/// The lines of a text, whose last may end with the text.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    text.split(|byte| *byte == b'\n')
}

fn line(stdin: &Stdin, name: &SecretName) -> io::Result<Zeroizing<Vec<u8>>> {
    let quiet = Quiet::new(stdin)?;
    complain(&format_args!("The value of {name}, which is not shown, and Enter:"));
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_LINE_BYTES + 1));
    stdin.lock().read_until(b'\n', &mut bytes)?;
    drop(quiet);
    if bytes.trim_ascii_end().len() >= MAX_LINE_BYTES {
        return Err(io::Error::other("a terminal passes on no more than 4095 characters of a line; use a pipe"));
    }
    Ok(bytes)
}

/// A terminal that does not show what is typed, until this is dropped.
struct Quiet<'a> {
    terminal: &'a Stdin,
    before: Termios,
}

impl<'a> Quiet<'a> {
    fn new(terminal: &'a Stdin) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        tcsetattr(terminal, OptionalActions::Flush, &quiet)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        // Nothing is left to do about a terminal that is gone.
        let _ = tcsetattr(self.terminal, OptionalActions::Now, &self.before);
    }
}
