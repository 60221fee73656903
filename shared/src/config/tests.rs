use super::*;

const GOOD: &[(&str, &str)] = &[
    ("SPACES_ENDPOINT", "https://nyc3.digitaloceanspaces.com"),
    ("SPACES_REGION", "nyc3"),
    ("SPACES_BUCKET", "fusonems-quantum-storage"),
    ("SPACES_ACCESS_KEY", "DO00EXAMPLE"),
    ("SPACES_SECRET_KEY", "the-spaces-secret"),
    ("AWS_REGION", "us-east-1"),
    ("AWS_ACCESS_KEY_ID", "role"),
    ("AWS_SECRET_ACCESS_KEY", "the-role-secret"),
    ("JWT_SECRET", "the-token-secret-0123456789abcdef"),
];

fn read(changes: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let find = |list: &[(&str, &str)], name: &str| {
        list.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    };
    Config::read(Needs::ALL, &|name| find(changes, name).or_else(|| find(GOOD, name)))
}

#[test]
fn the_guides_settings_are_accepted() {
    let config = read(&[]).unwrap();
    assert_eq!(config.tables.records_table, "file_records");
    assert_eq!(config.tables.log_table, "storage_audit_logs");
    assert_eq!(config.tables.state_table, "storage_state");
    assert!(!config.spaces.is_loopback());
}

#[test]
fn a_trailing_slash_is_dropped() {
    let config = read(&[("SPACES_ENDPOINT", "https://nyc3.digitaloceanspaces.com/")]).unwrap();
    assert_eq!(config.spaces.endpoint, "https://nyc3.digitaloceanspaces.com");
}

#[test]
fn what_is_wrong_is_named_by_its_variable_and_never_by_its_value() {
    let table: &[(&str, &str, &str)] = &[
        ("SPACES_ENDPOINT", "", "is not set"),
        ("SPACES_ENDPOINT", "nyc3.digitaloceanspaces.com", "is not an https:// address"),
        ("SPACES_ENDPOINT", "http://nyc3.digitaloceanspaces.com", "plain http"),
        ("SPACES_ENDPOINT", "https://nyc3.digitaloceanspaces.com/my-space", "after the host"),
        ("SPACES_ENDPOINT", "ftp://nyc3.digitaloceanspaces.com", "is not an https:// address"),
        ("SPACES_ENDPOINT", "https://me:pw@nyc3.digitaloceanspaces.com", "has a user in it"),
        ("SPACES_REGION", "sfo3", "is not the region in SPACES_ENDPOINT"),
        ("SPACES_BUCKET", "", "is not set"),
        ("SPACES_BUCKET", "My Space", "is not a bucket's name"),
        ("SPACES_ACCESS_KEY", "", "is not set"),
        ("SPACES_ACCESS_KEY", "DO00EXAMPLE ", "white space"),
        ("SPACES_SECRET_KEY", "\tthe-spaces-secret", "white space"),
        ("DYNAMODB_ENDPOINT", "http://dynamodb.internal:8000", "plain http"),
        ("JWT_SECRET", "", "is not set"),
        ("JWT_SECRET", "tiny-secret", "shorter than 32 bytes"),
        ("JWT_SECRET", DEVELOPMENT_JWT_SECRET, "development secret"),
        ("JWT_SECRET", EMULATOR_SECRETS[0], "the one for emulators"),
        ("STORAGE_POLICIES", "/no/such/file.cedar", "cannot be read"),
    ];
    for (name, value, expected) in table {
        let error = read(&[(name, value)]).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains(expected), "{name}={value}: {error}");
        assert!(value.is_empty() || !error.contains(value), "{name}: the value is told: {error}");
    }
}

#[test]
fn the_key_for_emulators_signs_no_other_log() {
    let audit = [
        ("AUDIT_ORIGIN", "audit.example.com"),
        ("AUDIT_ARCHIVE_BUCKET", "archive"),
        ("AUDIT_SIGNING_KEY", EMULATOR_SECRETS[1]),
    ];
    let error = read(&audit).unwrap_err().to_string();
    assert_eq!(error, "AUDIT_SIGNING_KEY is the one for emulators, which everybody knows");
    let emulated = [&audit[..], &[("SPACES_ENDPOINT", "http://127.0.0.1:4566")]].concat();
    read(&emulated).unwrap();
}

#[test]
fn what_a_function_does_not_need_is_not_read() {
    let find = |name: &str| {
        let audit = [("AUDIT_ORIGIN", "audit.example.com"), ("AUDIT_ARCHIVE_BUCKET", "archive")];
        let all = GOOD.iter().chain(&audit).chain(&[("AUDIT_SIGNING_KEY", "a seed")]);
        all.into_iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    };
    let read = |needs: Needs| {
        let needed = |name: &str| match name {
            "SPACES_ACCESS_KEY" | "SPACES_SECRET_KEY" if !needs.spaces => panic!("{name} for {needs:?}"),
            "JWT_SECRET" if !needs.tokens => panic!("{name} for {needs:?}"),
            "AUDIT_SIGNING_KEY" if !needs.signing => panic!("{name} for {needs:?}"),
            name => find(name),
        };
        Config::read(needs, &needed).unwrap()
    };
    for needs in [Needs::ENDPOINT, Needs::TASK, Needs::TASK.and_signing(), Needs::ENDPOINT.and_spaces()] {
        let config = read(needs);
        assert_eq!(config.spaces.key.is_some(), needs.spaces, "{needs:?}");
        assert_eq!(config.tokens.is_some(), needs.tokens, "{needs:?}");
        assert_eq!(config.audit.unwrap().signing.is_some(), needs.signing, "{needs:?}");
    }
}

#[test]
fn plain_http_is_fine_on_this_machine() {
    for endpoint in ["http://127.0.0.1:8788", "http://localhost:4566", "http://[::1]:4566"] {
        assert!(read(&[("SPACES_ENDPOINT", endpoint)]).unwrap().spaces.is_loopback(), "{endpoint}");
    }
}

#[test]
fn every_error_is_told_at_once() {
    let error = read(&[("SPACES_BUCKET", ""), ("JWT_SECRET", "")]).unwrap_err().to_string();
    assert_eq!(error, "SPACES_BUCKET is not set; JWT_SECRET is not set");
}

#[test]
fn secrets_are_not_printed() {
    let printed = format!("{:?}", read(&[]).unwrap());
    assert!(!printed.contains("the-spaces-secret") && !printed.contains("the-token-secret"), "{printed}");
}
