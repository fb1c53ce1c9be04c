//! Tests of reaching a PostgreSQL server that demands a password or encryption.

use std::{env, fs, os::unix::fs::PermissionsExt as _};

use super::common::{Scratch, child_command, execute_on_server};

/// Creates a role with a schema of its own, in a role of the server that demands something of its members. Returns the
/// configurations that open the schema as this role, and the name of the role.
fn role_in(group: &str, settings: &str) -> (Scratch, String) {
    let mut scratch = Scratch::postgres();
    let schema = scratch.calls.schema.clone().unwrap();
    let role = format!("role_{schema}");
    execute_on_server(&format!(
        "SELECT pg_advisory_xact_lock(7);
         DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{group}')
         THEN CREATE ROLE {group}; END IF; END $$;
         CREATE ROLE {role} LOGIN {settings} IN ROLE {group}; CREATE SCHEMA {schema} AUTHORIZATION {role}"
    ));
    let url = env::var("FLECHE_POSTGRES").unwrap();
    let (_, host) = url.split_once('@').unwrap();
    scratch.calls.url = format!("postgres://{role}@{host}").into();
    scratch.values.url = scratch.calls.url.clone();
    (scratch, role)
}

#[test]
#[ignore = "needs a server: cargo xtask postgres"]
fn password_is_read_from_the_password_file() {
    let (scratch, role) = role_in("needs_password", "PASSWORD 'a:s3cret'");
    let file = scratch.directory.path().join("passwords");
    // Whether a child process with this file can open the store.
    let opens = |content: &str, mode: u32| {
        fs::write(&file, content).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let mut child = child_command("write the first half", &scratch);
        child.env("PGPASSFILE", &file).env_remove("PGPASSWORD");
        child.output().unwrap().status.success()
    };
    let right = format!("otherhost:*:*:*:wrong\n127.0.0.1:*:postgres:{role}:a\\:s3cret\n");
    assert!(!opens(&format!("*:*:*:{role}:wrong\n"), 0o600));
    assert!(!opens(&right, 0o644), "a file that other users may read is ignored");
    assert!(opens(&right, 0o600));
}

#[cfg(feature = "tls")]
#[test]
#[ignore = "needs a server: cargo xtask postgres"]
fn connection_is_encrypted_and_the_certificate_is_verified_as_the_url_demands() {
    use fleche_core::CallStore as _;
    use fleche_store_sql::SqlCalls;

    use super::common::{key, record};

    let (scratch, role) = role_in("needs_tls", "");
    let url = env::var("FLECHE_POSTGRES").unwrap();
    let (_, host) = url.split_once('@').unwrap();
    let open = |parameters: &str| {
        let mut calls = scratch.calls.clone();
        calls.url = format!("postgres://{role}@{host}?{parameters}").into();
        let calls = SqlCalls::open_with(&calls)?;
        calls.put(&key(1), &record(1))?;
        calls.get(&key(1))
    };
    let certificate = env::var("FLECHE_POSTGRES_CERTIFICATE").expect("`cargo xtask postgres` sets it");
    let refused = |parameters: &str| open(parameters).unwrap_err().report().to_string();
    assert!(refused("sslmode=disable").contains("no encryption"), "{}", refused("sslmode=disable"));
    assert!(refused("sslmode=verify-full").contains("certificate"), "{}", refused("sslmode=verify-full"));
    for parameters in [&*format!("sslmode=verify-full&sslrootcert={certificate}"), "sslmode=require", "sslmode=prefer"]
    {
        assert_eq!(open(parameters).unwrap(), Some(record(1)), "{parameters}");
    }
}

/// Two processes whose clocks differ by ten minutes take turns, and check that the other one does not hold the claim.
#[cfg(all(target_os = "linux", target_pointer_width = "64", target_env = "gnu"))]
#[test]
#[ignore = "needs a server: cargo xtask postgres"]
fn leases_are_judged_by_the_clock_of_the_server() {
    let scratch = Scratch::postgres();
    let _calls = scratch.open_calls();
    let children = [300, -300].map(|seconds| {
        let mut command = child_command("claim in turn", &scratch);
        fleche_conformance::skew_clock(&mut command, seconds, scratch.directory.path());
        command.spawn().unwrap()
    });
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}
