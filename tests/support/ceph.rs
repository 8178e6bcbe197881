//! A Ceph cluster of the test's own with its gateway for S3: one monitor, one OSD that keeps all in memory, one RADOS Gateway.

use std::fs;
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::Command;
use uuid::Uuid;

use super::keeper::Kept;
use super::minio::{ACCESS_KEY_ID, SECRET_ACCESS_KEY};
use super::{client, eventually, ports, scratch, tools};

/// How long a step of the start may take on a busy machine.
const STEP: Duration = Duration::from_secs(60);

/// The most that the OSD keeps, in bytes of memory.
const CAPACITY: u64 = 4 * 1024 * 1024 * 1024;

/// Who takes part, and what each may do.
const PARTIES: [(&str, &[&str]); 4] = [
    ("mon.", &["--cap", "mon", "allow *"]),
    ("client.admin", &["--cap", "mon", "allow *", "--cap", "osd", "allow *"]),
    ("client.rgw.a", &["--cap", "mon", "allow rwx", "--cap", "osd", "allow rwx"]),
    ("osd.0", &["--cap", "mon", "allow profile osd", "--cap", "osd", "allow *"]),
];

/// A running cluster; gone with its objects when dropped.
#[derive(Debug)]
pub struct Ceph {
    pub address: SocketAddrV4,
    /// The last one started ends first.
    _daemons: [Kept; 3],
    _folders: Folders,
}

/// A directory for each daemon, which is gone when the daemon is. What all need lies in the monitor's.
#[derive(Debug)]
struct Folders {
    mon: TempDir,
    osd: TempDir,
    rgw: TempDir,
}

impl Ceph {
    /// Starts one, and waits until its gateway answers.
    pub async fn start() -> Self {
        let folders = Folders { mon: scratch("ceph-mon"), osd: scratch("ceph-osd"), rgw: scratch("ceph-rgw") };
        let address = ports::free_address();
        let fsid = Uuid::new_v4().to_string();
        let monitor = format!("[v2:{},v1:{}]", ports::free_address(), ports::free_address());
        fs::write(folders.conf(), folders.settings(&fsid, &monitor, address)).expect("a file");
        folders.make_keys().await;

        let mon = folders.start_mon(&fsid, &monitor).await;
        let osd = folders.start_osd().await;
        let rgw = folders.start_daemon("radosgw", &["-n", "client.rgw.a"], folders.rgw.path());
        eventually("the gateway of Ceph answers", STEP, || async {
            let request = http::Request::get("/").body(bytes::Bytes::new()).expect("a request");
            client::try_send(address, request).await
        })
        .await;
        let keys = ["--access-key", ACCESS_KEY_ID, "--secret-key", SECRET_ACCESS_KEY];
        folders.run("radosgw-admin", &[&["user", "create", "--uid=test", "--display-name=test"][..], &keys].concat()).await;
        Self { address, _daemons: [rgw, osd, mon], _folders: folders }
    }
}

impl Folders {
    fn conf(&self) -> PathBuf {
        self.mon.path().join("ceph.conf")
    }

    fn keyring(&self) -> String {
        self.mon.path().join("keyring").display().to_string()
    }

    fn settings(&self, fsid: &str, monitor: &str, gateway: SocketAddrV4) -> String {
        let (mon, osd, rgw) = (self.mon.path().display(), self.osd.path().display(), self.rgw.path().display());
        let keyring = self.keyring();
        format!(
            "[global]\n\
             fsid = {fsid}\n\
             mon_initial_members = a\n\
             mon_host = {monitor}\n\
             public_addr = 127.0.0.1\n\
             cluster_addr = 127.0.0.1\n\
             auth_cluster_required = cephx\n\
             auth_service_required = cephx\n\
             auth_client_required = cephx\n\
             keyring = {keyring}\n\
             run_dir = {mon}\n\
             admin_socket =\n\
             log_to_file = false\n\
             [mon]\n\
             mon_data = {mon}/data\n\
             mon_data_avail_crit = 1\n\
             mon_data_avail_warn = 1\n\
             mon_allow_pool_size_one = true\n\
             osd_pool_default_size = 1\n\
             osd_pool_default_min_size = 1\n\
             osd_pool_default_pg_num = 8\n\
             osd_crush_chooseleaf_type = 0\n\
             [osd]\n\
             osd_data = {osd}/data\n\
             osd_objectstore = memstore\n\
             memstore_device_bytes = {CAPACITY}\n\
             [client.rgw.a]\n\
             rgw_frontends = beast endpoint={gateway}\n\
             rgw_data = {rgw}/data\n"
        )
    }

    async fn make_keys(&self) {
        let keyring = self.keyring();
        run("ceph-authtool", &["--create-keyring", &keyring]).await;
        for (name, may) in PARTIES {
            run("ceph-authtool", &[&[&keyring, "--gen-key", "-n", name][..], may].concat()).await;
        }
    }

    async fn start_mon(&self, fsid: &str, monitor: &str) -> Kept {
        let map = self.mon.path().join("monmap").display().to_string();
        run("monmaptool", &["--create", "--fsid", fsid, "--addv", "a", monitor, "--enable-all-features", &map]).await;
        // The keys of all are made known to the cluster by this.
        self.run("ceph-mon", &["-i", "a", "--mkfs", "--monmap", &map, "--keyring", &self.keyring()]).await;
        self.start_daemon("ceph-mon", &["-i", "a"], self.mon.path())
    }

    async fn start_osd(&self) -> Kept {
        let uuid = Uuid::new_v4().to_string();
        self.run("ceph", &["osd", "new", &uuid, "0"]).await;
        self.run("ceph", &["osd", "crush", "add", "osd.0", "1.0", "root=default", "host=this"]).await;
        fs::create_dir(self.osd.path().join("data")).expect("a directory");
        self.run("ceph-osd", &["-i", "0", "--mkfs", "--osd-uuid", &uuid]).await;
        let osd = self.start_daemon("ceph-osd", &["-i", "0"], self.osd.path());
        eventually("the OSD of Ceph is up", STEP, || async {
            self.run("ceph", &["osd", "stat"]).await.contains("1 up").then_some(())
        })
        .await;
        osd
    }

    /// Starts `program`, whose own directory is `folder`, in the foreground.
    fn start_daemon(&self, program: &str, arguments: &[&str], folder: &Path) -> Kept {
        let mut daemon = std::process::Command::new(tools::debian_tool(program));
        daemon.arg("-f").arg("-c").arg(self.conf()).args(arguments);
        Kept::start(&daemon, folder, &folder.join("log"))
    }

    /// Runs `program` as one that knows the cluster; what it says.
    async fn run(&self, program: &str, arguments: &[&str]) -> String {
        let conf = self.conf().display().to_string();
        run(program, &[&["-c", &conf], arguments].concat()).await
    }
}

/// Runs `program`, which must succeed; what it says.
async fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(tools::debian_tool(program))
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .output()
        .await
        .expect("it runs");
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
