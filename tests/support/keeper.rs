//! Servers that end with the test process, even when it is killed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::process::Process;

/// Runs `"$@"` until standard input closes, which the kernel does when the test process ends.
/// Then nothing mounted or stored under `$KEPT` is left.
const KEEP: &str = r#"
trap '' INT HUP
"$@" </dev/null &
server=$!
echo "$server" >"$KEPT/pid"
cat >/dev/null
kill "$server"
( sleep 10; kill -9 "$server" ) 2>/dev/null &
wait "$server"
kill $! 2>/dev/null
awk -v root="$KEPT/" 'index($2, root) == 1 { print $2 }' /proc/mounts | sort -r | xargs -r umount -l
rm -rf "$KEPT"
"#;

/// A server process and the directory that is its own.
#[derive(Debug)]
pub struct Kept {
    keeper: Child,
    pid_file: PathBuf,
}

impl Kept {
    /// Starts `command`, whose files all lie in `root` and whose output goes to `log`.
    pub fn start(command: &Command, root: &Path, log: &Path) -> Self {
        let output = File::create(log).expect("a log file");
        let mut keeper = Command::new("/bin/sh");
        keeper.args(["-c", KEEP, "keeper"]).arg(command.get_program()).args(command.get_args());
        keeper.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        for (name, value) in command.get_envs() {
            keeper.env(name, value.unwrap_or_default());
        }
        keeper.env("KEPT", root).stdin(Stdio::piped()).stdout(output.try_clone().expect("a second handle")).stderr(output);
        Self { keeper: keeper.spawn().expect("the keeper starts"), pid_file: root.join("pid") }
    }

    /// The server, once it has been started.
    pub fn server(&self) -> Option<Process> {
        let pid = fs::read_to_string(&self.pid_file).ok()?;
        pid.trim().parse().ok().map(Process::new)
    }

    /// Whether the server has ended by itself.
    pub fn server_ended(&self) -> bool {
        self.server().is_some_and(|server| server.has_ended())
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}
