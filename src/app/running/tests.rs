use super::*;
use crate::config::{self, File, Sources};

fn config(profiles: &str) -> Config {
    let text = format!("[server]\nlisten = [\"127.0.0.1:0\"]\n[access]\nanonymous = \"none\"\n{profiles}");
    let file = File { path: "config.toml".into(), text, is_exposed: false };
    config::load(&Sources { file: Some(file), ..Sources::default() }).unwrap()
}

// What failed may tell of the one, and requests that go on of the other.
#[tokio::test]
async fn a_reload_that_fails_leaves_what_is_in_force_masked() {
    const STORE: &str = "[profiles.default]\nstore = \"s3://cache\"\nendpoint = \"http://127.0.0.1:1\"\naccess_key_id = \"id\"\n";
    let mask = Mask::default();
    let running =
        Running::start(config(&format!("{STORE}secret_access_key = \"in-force\"")), Vec::new(), mask.clone()).await.unwrap();
    let broken = "[profiles.a]\nimages = [\"a\"]\nstore = \"/dev/null/a\"\n";

    let refused = running.reload(config(&format!("{STORE}secret_access_key = \"refused\"\n{broken}")), Occasion::Noticed).await;

    assert!(refused.is_err());
    assert_eq!(mask.apply("in-force refused"), "*** ***");
}
