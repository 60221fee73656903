use jsonwebtoken::EncodingKey;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::ids::UserId;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;
const NOW: i64 = 1_700_000_000;

fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

fn verifier() -> Verifier {
    Verifier::hs256(&Secret::new(SECRET.to_owned()), None, None).unwrap()
}

fn strict_verifier() -> Verifier {
    let secret = Secret::new(SECRET.to_owned());
    Verifier::hs256(&secret, Some("platform".to_owned()), Some("storage".to_owned())).unwrap()
}

fn encode(text: impl AsRef<[u8]>) -> String {
    BASE64URL_NOPAD.encode(text.as_ref())
}

fn sign(message: &str, secret: &str, algorithm: Algorithm) -> String {
    let signature =
        crypto::sign(message.as_bytes(), &EncodingKey::from_secret(secret.as_bytes()), algorithm).unwrap();
    format!("{message}.{signature}")
}

/// A token with a good signature over whatever these texts are.
fn token(header: &str, claims: &str) -> String {
    sign(&format!("{}.{}", encode(header), encode(claims)), SECRET, Algorithm::HS256)
}

fn good_claims() -> Value {
    json!({"sub": "user-1", "org_id": "org-123", "role": "member", "exp": NOW + 600})
}

/// The good claims with one replaced or added.
fn with(name: &str, value: Value) -> String {
    let mut claims = good_claims();
    claims[name] = value;
    claims.to_string()
}

fn without(name: &str) -> String {
    let mut claims = good_claims();
    claims.as_object_mut().unwrap().remove(name);
    claims.to_string()
}

fn verify(claims: &str) -> Result<Principal, TokenError> {
    verifier().verify(&token(HEADER, claims), now())
}

fn malformed(part: &'static str) -> TokenError {
    TokenError::Malformed { part }
}

#[test]
fn a_good_token_becomes_a_principal() {
    let principal = verify(&good_claims().to_string()).unwrap();
    assert_eq!(principal.sub(), "user-1");
    assert_eq!(principal.org().as_str(), "org-123");
    assert_eq!(principal.role(), "member");
    assert_eq!(principal.roles(), ["member"]);
    assert_eq!(principal.user_id(), &UserId::Text("user-1".to_owned()));
}

#[test]
fn a_token_as_the_crate_writes_it_is_good() {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let token = jsonwebtoken::encode(&jsonwebtoken::Header::default(), &good_claims(), &key).unwrap();
    assert!(verifier().verify(&token, now()).is_ok());
}

#[test]
fn the_role_comes_first_and_each_role_once() {
    let claims = with("roles", json!(["auditor", "member", "auditor", "rôle"]));
    let principal = verify(&claims).unwrap();
    assert_eq!(principal.role(), "member");
    assert_eq!(principal.roles(), ["member", "auditor", "rôle"]);
    assert_eq!(verify(&with("roles", json!([]))).unwrap().roles(), ["member"]);
}

#[test]
fn a_user_id_keeps_its_json_type() {
    let number = UserId::Number;
    for (literal, expected) in [
        ("1", number(1)),
        ("-7", number(-7)),
        ("-0", number(0)),
        ("1.0", number(1)),
        ("1e3", number(1000)),
        ("9007199254740991", number(9_007_199_254_740_991)),
        ("-9007199254740991", number(-9_007_199_254_740_991)),
        (r#""1""#, UserId::Text("1".to_owned())),
        (r#""Zoë 🚑""#, UserId::Text("Zoë 🚑".to_owned())),
    ] {
        let claims = with("user_id", json!("PLACE")).replace(r#""PLACE""#, literal);
        assert_eq!(verify(&claims).unwrap().user_id(), &expected, "{literal}");
    }
}

#[test]
fn a_claim_that_must_be_there_is_named_when_it_is_not() {
    for name in ["sub", "org_id", "role", "exp"] {
        assert_eq!(verify(&without(name)), Err(TokenError::MissingClaim { name }));
    }
}

#[test]
fn a_claim_that_is_not_acceptable_is_refused() {
    let long = "x".repeat(257);
    let table: &[(&'static str, &[Value])] = &[
        ("sub", &[json!(1), json!(null), json!(""), json!(["a"]), json!({}), json!(true), json!(long)]),
        ("sub", &[json!("a\nb"), json!("a\u{0}"), json!("\u{7f}"), json!("\u{85}")]),
        (
            "org_id",
            &[json!(1), json!(null), json!(""), json!(["org-1"]), json!({"a": "org-1"}), json!("a/b")],
        ),
        ("org_id", &[json!("a..b"), json!("../org-1"), json!(" org-1"), json!("org-1\n"), json!("оrg-1")]),
        ("org_id", &[json!("-org"), json!("org%2f1"), json!("x".repeat(129))]),
        (
            "role",
            &[json!(1), json!(null), json!(""), json!(["admin"]), json!({}), json!(long), json!("admin\r\n")],
        ),
        ("roles", &[json!("admin"), json!(null), json!({}), json!(1), json!(["a", 1]), json!(["a", null])]),
        ("roles", &[json!([["a"]]), json!([""]), json!([long]), json!(["a\tb"])]),
        ("exp", &[json!((NOW + 600).to_string()), json!(null), json!([NOW + 600]), json!({}), json!(true)]),
        ("exp", &[json!(1e308), json!(-1e308), json!(u64::MAX), json!(i64::MIN), json!(253_402_300_800_i64)]),
        ("nbf", &[json!(NOW.to_string()), json!(null), json!([NOW]), json!(false), json!(1e308)]),
        (
            "user_id",
            &[json!(null), json!(""), json!([1]), json!({}), json!(true), json!(long), json!("a\u{1b}[0m")],
        ),
        ("user_id", &[json!(1.5), json!(9_007_199_254_740_992_i64), json!(-9_007_199_254_740_992_i64)]),
        ("user_id", &[json!(1e300), json!(-1e300), json!(u64::MAX), json!(9_007_199_254_740_992.0)]),
        ("iss", &[json!(1), json!(null), json!(["platform"])]),
        ("aud", &[json!(1), json!(null), json!({}), json!([1]), json!(["storage", null])]),
        ("jti", &[json!(1), json!(null), json!([])]),
    ];
    for (name, values) in table {
        for value in *values {
            assert_eq!(
                verify(&with(name, value.clone())),
                Err(TokenError::Claim { name }),
                "{name} = {value}"
            );
        }
    }
}

#[test]
fn a_name_may_have_as_many_bytes_as_an_entry_takes() {
    let longest = "é".repeat(128);
    for name in ["sub", "role", "user_id"] {
        assert!(verify(&with(name, json!(longest))).is_ok(), "{name}");
    }
}

#[test]
fn exp_is_a_number_with_leeway_on_it() {
    for (exp, expected) in [
        (json!(NOW + 1), None),
        (json!(NOW as f64 + 0.5), None),
        (json!(NOW - 59), None),
        (json!(NOW as f64 - 59.5), None),
        (json!(NOW - 60), Some(TokenError::Expired)),
        (json!(NOW - 61), Some(TokenError::Expired)),
        (json!(NOW as f64 - 60.5), Some(TokenError::Expired)),
        (json!(0), Some(TokenError::Expired)),
        (json!(-1), Some(TokenError::Expired)),
        (json!(253_402_200_000_i64), None),
    ] {
        assert_eq!(verify(&with("exp", exp.clone())).err(), expected, "{exp}");
    }
}

#[test]
fn a_number_that_no_double_holds_is_malformed() {
    let claims = with("exp", json!("PLACE")).replace(r#""PLACE""#, "1e400");
    assert!(verify(&claims).is_err());
    let claims = with("exp", json!("PLACE")).replace(r#""PLACE""#, "NaN");
    assert_eq!(verify(&claims), Err(malformed("claims")));
}

#[test]
fn nbf_is_honoured_with_leeway_on_it() {
    for (nbf, expected) in [
        (json!(NOW), None),
        (json!(NOW + 60), None),
        (json!(NOW + 61), Some(TokenError::NotYetValid)),
        (json!(NOW as f64 + 60.5), Some(TokenError::NotYetValid)),
        (json!(-1), None),
    ] {
        assert_eq!(verify(&with("nbf", nbf.clone())).err(), expected, "{nbf}");
    }
}

#[test]
fn the_time_is_the_parameter_at_every_time() {
    let token = token(HEADER, &good_claims().to_string());
    for (time, expected) in [
        (Timestamp::MIN, None),
        (Timestamp::UNIX_EPOCH, None),
        (Timestamp::from_second(NOW + 659).unwrap(), None),
        (Timestamp::from_second(NOW + 660).unwrap(), Some(TokenError::Expired)),
        (Timestamp::MAX, Some(TokenError::Expired)),
    ] {
        assert_eq!(verifier().verify(&token, time).err(), expected, "{time}");
    }
}

#[test]
fn issuer_and_audience_must_match_when_they_are_configured() {
    let good =
        json!({"sub": "u", "org_id": "o", "role": "r", "exp": NOW, "iss": "platform", "aud": "storage"});
    let table = [
        ("iss", json!("platform"), None),
        ("aud", json!(["other", "storage"]), None),
        ("iss", json!("Platform"), Some(TokenError::Claim { name: "iss" })),
        ("aud", json!("storage2"), Some(TokenError::Claim { name: "aud" })),
        ("aud", json!(["other"]), Some(TokenError::Claim { name: "aud" })),
        ("aud", json!([]), Some(TokenError::Claim { name: "aud" })),
        ("aud", json!(["storage", 1]), Some(TokenError::Claim { name: "aud" })),
    ];
    for (name, value, expected) in table {
        let mut claims = good.clone();
        claims[name] = value.clone();
        let token = token(HEADER, &claims.to_string());
        assert_eq!(strict_verifier().verify(&token, now()).err(), expected, "{name} = {value}");
        assert_eq!(
            verifier().verify(&token, now()).is_ok(),
            value != json!(["storage", 1]),
            "{name} = {value}"
        );
    }
    for name in ["iss", "aud"] {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(name);
        let refused = strict_verifier().verify(&token(HEADER, &claims.to_string()), now());
        assert_eq!(refused, Err(TokenError::MissingClaim { name }));
    }
}

#[test]
fn the_header_never_chooses() {
    let claims = encode(good_claims().to_string());
    let signed = |header: &str, algorithm| sign(&format!("{}.{claims}", encode(header)), SECRET, algorithm);
    for (header, expected) in [
        (r#"{"alg":"none"}"#, TokenError::WrongAlgorithm),
        (r#"{"alg":"None"}"#, TokenError::WrongAlgorithm),
        (r#"{"alg":""}"#, TokenError::WrongAlgorithm),
        (r#"{"alg":"hs256"}"#, TokenError::WrongAlgorithm),
        (r#"{"alg":"HS384"}"#, TokenError::WrongAlgorithm),
        (r#"{"alg":"HS512"}"#, TokenError::WrongAlgorithm),
        (r#"{"alg":"RS256"}"#, TokenError::WrongAlgorithm),
        (r#"{"alg":"ES256"}"#, TokenError::WrongAlgorithm),
        (r#"{"alg":"EdDSA"}"#, TokenError::WrongAlgorithm),
        (r#"{"alg":null}"#, malformed("header")),
        (r#"{"alg":["HS256"]}"#, malformed("header")),
        (r#"{"typ":"JWT"}"#, malformed("header")),
        (r#"{"alg":"none","alg":"HS256"}"#, malformed("header")),
        (r#"{"alg":"HS256","crit":["exp"]}"#, TokenError::Extension),
        (r#"{"alg":"HS256","crit":[]}"#, TokenError::Extension),
        (r#"{"alg":"HS256","crit":null}"#, TokenError::Extension),
        (r#"{"alg":"HS256","b64":false}"#, TokenError::Extension),
        (r#"{"alg":"HS256","b64":false,"crit":["b64"]}"#, TokenError::Extension),
        (r#"["HS256"]"#, malformed("header")),
        (r#""HS256""#, malformed("header")),
        ("{}", malformed("header")),
        ("not JSON", malformed("header")),
        (r#"{"alg":"HS256"} x"#, malformed("header")),
        ("", malformed("header")),
    ] {
        for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
            assert_eq!(verifier().verify(&signed(header, algorithm), now()), Err(expected), "{header}");
        }
    }
    // Good headers, and a signature by another algorithm.
    assert_eq!(verifier().verify(&signed(HEADER, Algorithm::HS384), now()), Err(TokenError::WrongKey));
}

#[test]
fn a_key_inside_the_token_is_not_looked_at() {
    let other = "ffffffffffffffffffffffffffffffff";
    let header = json!({
        "alg": "HS256", "kid": "../../dev/null", "jku": "https://evil.example/keys", "x5u": "https://evil.example/cert",
        "x5c": ["AAAA"], "jwk": {"kty": "oct", "k": encode(other)},
    })
    .to_string();
    let message = format!("{}.{}", encode(&header), encode(good_claims().to_string()));
    assert_eq!(verifier().verify(&sign(&message, other, Algorithm::HS256), now()), Err(TokenError::WrongKey));
    // Nor does it do harm: signed with our key, the token is good.
    assert!(verifier().verify(&sign(&message, SECRET, Algorithm::HS256), now()).is_ok());
}

#[test]
fn what_is_no_token_is_refused() {
    let good = token(HEADER, &good_claims().to_string());
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (header, claims) = message.split_once('.').unwrap();
    let padded = format!("{header}.{claims}.{signature}=");
    let table = [
        (String::new(), malformed("parts")),
        ("abc".to_owned(), malformed("parts")),
        ("a.b".to_owned(), malformed("parts")),
        ("..".to_owned(), malformed("header")),
        ("...".to_owned(), malformed("parts")),
        (message.to_owned(), malformed("parts")),
        (format!("{message}."), TokenError::WrongKey),
        (format!("{header}..{signature}"), TokenError::WrongKey),
        (format!("{good}."), malformed("parts")),
        (format!("{good} "), malformed("signature")),
        (format!("{good}\n"), malformed("signature")),
        (format!("{good}.x"), malformed("parts")),
        (format!(" {good}"), malformed("header")),
        (format!("Bearer {good}"), malformed("header")),
        (format!(".{good}"), malformed("parts")),
        (padded, malformed("signature")),
        (good.replace('.', "\u{ff0e}"), malformed("parts")),
        (format!("{header}=.{claims}.{signature}"), malformed("header")),
        (format!("é{good}"), malformed("header")),
        ("x".repeat(9 * 1024), TokenError::TooLong),
        (token(HEADER, &with("note", json!("x".repeat(9 * 1024)))), TokenError::TooLong),
        (sign(message, "ffffffffffffffffffffffffffffffff", Algorithm::HS256), TokenError::WrongKey),
    ];
    for (text, expected) in table {
        assert_eq!(verifier().verify(&text, now()), Err(expected), "{text}");
    }
    // Standard base64 and padding, although they are signed.
    for claims in [format!("{claims}="), format!("{claims}=="), format!("{claims}+/")] {
        let text = sign(&format!("{header}.{claims}"), SECRET, Algorithm::HS256);
        assert_eq!(verifier().verify(&text, now()), Err(malformed("claims")), "{text}");
    }
}

#[test]
fn claims_that_are_no_object_with_each_member_once_are_refused() {
    let deep = format!(r#"{{"a":{}}}"#, "[".repeat(5_000));
    let good = good_claims().to_string();
    for claims in [
        "",
        "null",
        "[]",
        "1",
        r#""text""#,
        "{",
        r#"{"sub":"a","sub":"b"}"#,
        &format!("{good} x"),
        &format!("{good}{good}"),
        &good.replacen('{', r#"{"role":"admin","#, 1),
        &good.replacen('{', r#"{"rol\u0065":"admin","#, 1),
        &good.replacen('{', r#"{"x":1,"x":2,"#, 1),
        &deep,
    ] {
        assert_eq!(verify(claims), Err(malformed("claims")), "{claims}");
    }
    let not_utf8 =
        sign(&format!("{}.{}", encode(HEADER), encode(b"{\"a\":\"\xff\"}")), SECRET, Algorithm::HS256);
    assert_eq!(verifier().verify(&not_utf8, now()), Err(malformed("claims")));
}

#[test]
fn the_signature_counts_before_any_claim() {
    let message = format!("{}.{}", encode(HEADER), encode("not JSON"));
    let text = sign(&message, "ffffffffffffffffffffffffffffffff", Algorithm::HS256);
    assert_eq!(verifier().verify(&text, now()), Err(TokenError::WrongKey));
}

#[test]
fn a_short_secret_makes_no_verifier() {
    let make = |length| Verifier::hs256(&Secret::new("x".repeat(length)), None, None).err();
    assert_eq!(make(0), Some(VerifierError::ShortSecret { bytes: 0 }));
    assert_eq!(make(31), Some(VerifierError::ShortSecret { bytes: 31 }));
    assert_eq!(make(32), None);
}

#[test]
fn neither_a_verifier_nor_an_error_shows_what_is_secret() {
    assert!(!format!("{:?}", verifier()).contains("0123456789"));
    assert!(!format!("{:?}", verifier()).contains("48, 49, 50"));
    let error = verify(&with("role", json!("marker\n"))).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("marker"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn random_text_never_verifies(text in any::<String>()) {
        prop_assert!(verifier().verify(&text, now()).is_err());
    }

    #[test]
    fn random_parts_never_verify(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..5)) {
        let text = parts.iter().map(encode).collect::<Vec<_>>().join(".");
        prop_assert!(verifier().verify(&text, now()).is_err());
    }

    #[test]
    fn random_claims_with_a_good_signature_never_panic(claims in any::<Vec<u8>>()) {
        let text = sign(&format!("{}.{}", encode(HEADER), encode(claims)), SECRET, Algorithm::HS256);
        prop_assert!(verifier().verify(&text, now()).is_err());
    }

    #[test]
    fn a_token_with_any_byte_changed_never_verifies(at in any::<prop::sample::Index>(), byte in 0_u8..128) {
        let good = token(HEADER, &good_claims().to_string());
        let mut bytes = good.clone().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let changed = String::from_utf8(bytes).unwrap();
        prop_assume!(changed != good);
        prop_assert!(verifier().verify(&changed, now()).is_err());
    }
}
