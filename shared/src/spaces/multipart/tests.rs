//! What is signed for a part.

use aws_smithy_http_client::Builder;

use super::*;
use crate::config::{SpacesConfig, SpacesKey};
use crate::secret::Secret;

fn spaces() -> Spaces {
    let secret = |text: &str| Secret::new(text.into());
    let config = SpacesConfig {
        endpoint: "https://nyc3.digitaloceanspaces.com".into(),
        region: "nyc3".into(),
        bucket: "fusonems".into(),
        key: Some(SpacesKey { access: secret("DO00EXAMPLE"), secret: secret("the-spaces-secret") }),
    };
    // Signing asks nobody.
    Spaces::new(&config, Builder::new().build_http())
}

async fn signed(number: u32, size: u64, from: &str) -> SignedPart {
    let life = Duration::from_secs(900);
    spaces().sign_part("org/a.pdf", "id", number, size, from.parse().unwrap(), life).await.unwrap()
}

#[tokio::test]
async fn a_part_signed_twice_for_one_time_has_one_url() {
    let from = "2026-11-21T10:00:00Z";
    let part = signed(2, 5, from).await;
    assert_eq!(signed(2, 5, "2026-11-21T10:00:00.9Z").await.url, part.url);
    for other in
        [signed(3, 5, from).await, signed(2, 6, from).await, signed(2, 5, "2026-11-21T10:00:01Z").await]
    {
        assert_ne!(other.url, part.url);
    }
}

#[tokio::test]
async fn the_length_of_a_part_is_signed() {
    let part = signed(2, 5, "2026-11-21T10:00:00Z").await;
    assert!(part.url.contains("X-Amz-SignedHeaders=content-length%3Bhost&"), "{}", part.url);
    assert_eq!(part.headers, [("content-length".to_owned(), "5".to_owned())]);
}

#[tokio::test]
async fn a_signed_part_shows_nothing_of_its_url() {
    let part = signed(2, 5, "2026-11-21T10:00:00Z").await;
    assert_eq!(format!("{part:?}"), "SignedPart { .. }");
}
