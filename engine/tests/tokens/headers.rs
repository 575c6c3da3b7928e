//! The header and the signature of a token.

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use maravilla_engine::token::Keys;

use crate::support::{KEY, OTHER_KEY, OTHER_SECRET, SECRET, base64, sign, start};
use crate::{assert_accepted, assert_rejected, claims, signed};

const PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----\nMFk=\n-----END PUBLIC KEY-----\n";

#[test]
fn rejects_every_algorithm_except_hs256() {
    let engine = start();
    let payload = base64(claims().to_string());
    for alg in
        ["none", "NONE", "nOnE", "None", "", " ", "hs256", "HS256 ", "HS-256", "RS256", "RS384", "PS256", "ES256"]
            .into_iter()
            .chain(["PS512", "EdDSA", "HS384", "HS512", "HS\\u0032560", "HS256\\u0000"])
    {
        let header = format!(r#"{{"alg":"{alg}","typ":"JWT"}}"#);
        // A public key as the secret is the classic confusion of RS256 with HS256.
        for secret in [SECRET, OTHER_SECRET, "", PUBLIC_KEY] {
            assert_rejected(&engine, &sign(&header, &claims().to_string(), secret));
        }
        assert_rejected(&engine, &format!("{}.{payload}.", base64(&header)));
        assert_rejected(&engine, &format!("{}.{payload}", base64(&header)));
    }
    for alg in [Algorithm::HS384, Algorithm::HS512] {
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        assert_rejected(&engine, &encode(&Header::new(alg), &claims(), &key).unwrap());
    }
}

#[test]
fn rejects_an_invalid_header() {
    let engine = start();
    let headers = [
        "{}",
        "",
        "null",
        "[]",
        "\"HS256\"",
        r#"{"alg":null}"#,
        r#"{"alg":256}"#,
        r#"{"alg":["HS256"]}"#,
        r#"{"alg":{"HS256":true}}"#,
        r#"{"ALG":"HS256"}"#,
        r#"{"alg":"HS256","alg":"none"}"#,
        r#"{"alg":"none","alg":"HS256"}"#,
        r#"{"alg":"none","\u0061lg":"HS256"}"#,
        // An unsupported critical extension must be rejected (RFC 7515, section 4.1.11).
        r#"{"alg":"HS256","crit":["exp"]}"#,
        r#"{"alg":"HS256","crit":[]}"#,
        // Unencoded payloads (RFC 7797) and encryption are not supported.
        r#"{"alg":"HS256","b64":false,"crit":["b64"]}"#,
        r#"{"alg":"HS256"}x"#,
        r#"{"alg":"dir","enc":"A256GCM"}"#,
    ];
    for header in headers {
        assert_rejected(&engine, &sign(header, &claims().to_string(), SECRET));
    }
    let nested = format!(r#"{{"alg":"HS256","x":{}1{}}}"#, "[".repeat(5000), "]".repeat(5000));
    assert_rejected(&engine, &sign(&nested, &claims().to_string(), SECRET));
}

#[test]
fn ignores_keys_that_the_header_names_or_contains() {
    let engine = start();
    let own_secret = "the attacker's own secret";
    let pointers = [
        format!(r#""kid":"{OTHER_KEY}""#),
        r#""kid":"../../dev/null""#.into(),
        r#""kid":"' UNION SELECT 'x""#.into(),
        format!(r#""jwk":{{"kty":"oct","alg":"HS256","k":"{}"}}"#, base64(own_secret)),
        r#""jku":"http://127.0.0.1:1/jwks.json""#.into(),
        r#""x5u":"http://127.0.0.1:1/cert.pem""#.into(),
        format!(r#""x5c":["{}"]"#, base64(own_secret)),
    ];
    for pointer in pointers {
        let header = format!(r#"{{"alg":"HS256",{pointer}}}"#);
        for secret in [own_secret, OTHER_SECRET, ""] {
            assert_rejected(&engine, &sign(&header, &claims().to_string(), secret));
        }
        assert_accepted(&engine, &sign(&header, &claims().to_string(), SECRET));
    }
}

#[test]
fn rejects_a_truncated_extended_or_non_canonical_signature() {
    let engine = start();
    let good = signed(&claims().to_string());
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (header, payload) = message.split_once('.').unwrap();
    // The last of the 43 base64 digits of 32 bytes has two unused bits.
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = digits.iter().position(|digit| *digit == *signature.as_bytes().last().unwrap()).unwrap();
    for unused_bits in 1..4 {
        let other = char::from(digits[last ^ unused_bits]);
        assert_rejected(&engine, &format!("{message}.{}{other}", &signature[..signature.len() - 1]));
    }
    for wrong in [
        format!("{message}."),
        message.to_owned(),
        format!("{message}.{}", &signature[..signature.len() - 1]),
        format!("{message}.{}", &signature[..22]),
        format!("{message}.{signature}="),
        format!("{message}.{signature}=="),
        format!("{message}.{signature}A"),
        format!("{message}.{signature}.{signature}"),
        format!("{message}.{signature}."),
        format!(".{message}.{signature}"),
        format!("{header}..{signature}"),
        format!(".{payload}.{signature}"),
        format!("{header}=.{payload}.{signature}"),
        format!("{header}.{payload}=.{signature}"),
        format!("{header}.{payload} .{signature}"),
        format!("{header}.\t{payload}.{signature}"),
        format!("{message}.{}", base64("\0".repeat(32))),
        format!("{message}.{}", signature.to_lowercase().to_uppercase()),
        good.to_uppercase(),
    ] {
        assert_rejected(&engine, &wrong);
    }
}

#[test]
fn rejects_a_token_with_any_single_bit_flipped() {
    let keys = Keys::new([(KEY, SECRET)]);
    let good = signed(&claims().to_string());
    assert!(keys.verify(&good).is_ok());
    for at in 0..good.len() {
        for bit in 0..7 {
            let mut bytes = good.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            let Ok(other) = String::from_utf8(bytes) else { continue };
            assert!(keys.verify(&other).is_err(), "{other}");
        }
    }
}
