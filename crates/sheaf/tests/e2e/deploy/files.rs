//! What lies under `deploy/`: images, a compose file, a chart and units, checked by programs that
//! others wrote.

use std::path::PathBuf;
use std::process::Command;

/// `make deploy-check` puts the validators into the target directory. Where they are not, the test
/// says so and does no more, unless `SHEAF_REQUIRE_DEPLOY_CHECK` is set, as in CI. Here the program
/// itself is asked about every command line as well.
#[test]
fn what_is_deployed_is_valid() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let python = root.join("target/deploy-check/bin/python");
    if !root.join("target/deploy-check/installed").exists() {
        let required = std::env::var_os("SHEAF_REQUIRE_DEPLOY_CHECK").is_some();
        assert!(
            !required,
            "SHEAF_REQUIRE_DEPLOY_CHECK is set, and the validators are not in target/deploy-check: \
            run `make deploy-check`"
        );
        eprintln!("skipped: deploy/ is not checked, since `make deploy-check` has not been run");
        return;
    }
    let run = Command::new(python)
        .arg(root.join("deploy/tests/check.py"))
        .args(["--sheaf", env!("CARGO_BIN_EXE_sheaf")])
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&run.stdout);
    assert!(
        run.status.success() && text.contains("ok   command lines"),
        "{text}{}",
        String::from_utf8_lossy(&run.stderr)
    );
    println!("{text}");
}
