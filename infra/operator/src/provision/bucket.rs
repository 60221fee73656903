//! The files' bucket: private, with rules for browsers and for uploads that were given up.

use aws_sdk_s3::config::http::HttpRequest;
use aws_sdk_s3::types::{
    BucketCannedAcl, BucketLifecycleConfiguration, CorsConfiguration, CorsRule, LifecycleRule,
    ObjectOwnership,
};
use data_encoding::BASE64;
use md5::{Digest, Md5};
use serde::Deserialize;

use super::{Action, Plan, configured, lifecycle, place};
use crate::Stores;
use crate::doctor::is_public;
use crate::stores::Refusal;

/// The rule of the setup guide, with what uploads in parts need. Its origins are examples.
const CORS: &str = include_str!("../../../spaces/cors.json");

#[derive(Debug)]
pub(super) enum Change {
    Create,
    Private,
    /// The rules that are there, and ours before them: some stores look no further than the first that has the origin.
    Cors(Vec<CorsRule>),
    /// The rules that are there, and ours behind them.
    Lifecycle(Vec<LifecycleRule>),
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CorsFile {
    #[serde(rename = "CORSRules")]
    rules: Vec<CorsFileRule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CorsFileRule {
    allowed_methods: Vec<String>,
    allowed_headers: Vec<String>,
    #[serde(default)]
    expose_headers: Vec<String>,
    max_age_seconds: i32,
}

pub(super) async fn plan(stores: &Stores, origins: &[String], plan: &mut Plan) -> Result<(), String> {
    let (s3, bucket) = (&stores.s3, stores.bucket());
    let resource = format!("bucket {bucket}");
    let told = |refusal: Refusal| format!("{resource}: {}", refusal.text);
    let head = configured(s3.head_bucket().bucket(bucket).send().await).map_err(told)?.flatten();
    let (mut cors, mut rules) = (Some(Vec::new()), Some(Vec::new()));
    if head.is_none() {
        plan.step(&resource, "is not there: make it, private", Action::Bucket(Change::Create));
    } else {
        match s3.get_bucket_acl().bucket(bucket).send().await.map_err(Refusal::from) {
            Ok(acl) if is_public(acl.grants()) => {
                plan.step(&resource, "lets everybody in: make it private", Action::Bucket(Change::Private));
            }
            Ok(_) => {}
            Err(refusal) => plan.note(&resource, &format!("its ACL is not to be read: {}", refusal.text)),
        }
        let there = configured(s3.get_bucket_cors().bucket(bucket).send().await).map_err(told)?;
        cors = there.map(|there| there.and_then(|there| there.cors_rules).unwrap_or_default());
        let there = s3.get_bucket_lifecycle_configuration().bucket(bucket).send().await;
        let there = configured(there).map_err(told)?;
        rules = there.map(|there| there.and_then(|there| there.rules).unwrap_or_default());
    }
    match cors {
        Some(cors) => plan_cors(&resource, cors, origins, plan)?,
        None => plan.note(&resource, "the store has no rules of CORS that can be set"),
    }
    match rules {
        Some(rules) => plan_lifecycle(&resource, rules, plan),
        None => plan.note(&resource, "the store has no lifecycle rules"),
    }
    plan.settle(&resource);
    Ok(())
}

fn plan_cors(
    resource: &str,
    mut rules: Vec<CorsRule>,
    origins: &[String],
    plan: &mut Plan,
) -> Result<(), String> {
    let new: Vec<_> = origins.iter().filter(|origin| !allows(&rules, origin)).cloned().collect();
    if !new.is_empty() {
        let text = format!("CORS: let pages of {} GET, HEAD and PUT, and read ETag", new.join(", "));
        rules.splice(0..0, rules_for(&new)?);
        plan.step(resource, text, Action::Bucket(Change::Cors(rules)));
    } else if rules.is_empty() {
        plan.note(resource, "no CORS: no --origin names your pages' origins");
    }
    Ok(())
}

fn plan_lifecycle(resource: &str, mut rules: Vec<LifecycleRule>, plan: &mut Plan) {
    if rules.iter().any(lifecycle::is_hasty) {
        let text = "a lifecycle rule aborts uploads that are still under way: let it wait 7 days; it is not ours to change";
        plan.step(resource, text, Action::Refused);
    } else if !rules.iter().any(lifecycle::aborts) {
        rules.extend(lifecycle::rule());
        let text = format!("lifecycle: abort uploads that were given up, after {} days", lifecycle::DAYS);
        plan.step(resource, text, Action::Bucket(Change::Lifecycle(rules)));
    }
}

pub(super) async fn apply(stores: &Stores, change: &Change) -> Result<(), String> {
    let (s3, bucket) = (&stores.s3, stores.bucket());
    let done = match change {
        Change::Create => {
            let spaces = &stores.config.spaces;
            let place = place(Some(&spaces.endpoint), &spaces.region);
            let create = s3.create_bucket().bucket(bucket).set_create_bucket_configuration(place);
            // Amazon's buckets take no ACL of an object unless told to; the service sends `private` with each.
            let create = match spaces.endpoint.ends_with(".amazonaws.com") {
                true => create.object_ownership(ObjectOwnership::BucketOwnerPreferred),
                false => create.acl(BucketCannedAcl::Private),
            };
            create.send().await.map(drop).map_err(Refusal::from)
        }
        Change::Private => {
            let set = s3.put_bucket_acl().bucket(bucket).acl(BucketCannedAcl::Private);
            set.customize().mutate_request(add_md5).send().await.map(drop).map_err(Refusal::from)
        }
        Change::Cors(rules) => {
            let cors = CorsConfiguration::builder().set_cors_rules(Some(rules.clone())).build();
            let cors = cors.map_err(|_| "a rule is incomplete".to_owned())?;
            let set = s3.put_bucket_cors().bucket(bucket).cors_configuration(cors);
            set.customize().mutate_request(add_md5).send().await.map(drop).map_err(Refusal::from)
        }
        Change::Lifecycle(rules) => {
            let rules = BucketLifecycleConfiguration::builder().set_rules(Some(rules.clone())).build();
            let rules = rules.map_err(|_| "a rule is incomplete".to_owned())?;
            let set = s3.put_bucket_lifecycle_configuration().bucket(bucket).lifecycle_configuration(rules);
            set.customize().mutate_request(add_md5).send().await.map(drop).map_err(Refusal::from)
        }
    };
    done.map_err(|refusal| refusal.text)
}

/// Stores other than S3 know no other checksum for a bucket's settings, and want one.
pub(super) fn add_md5(request: &mut HttpRequest) {
    if let Some(body) = request.body().bytes() {
        let md5 = BASE64.encode(&Md5::digest(body));
        request.headers_mut().insert("content-md5", md5);
    }
}

/// Whether rules allow an origin everything that ours would, in stores that look at the first rule that has it.
fn allows(rules: &[CorsRule], origin: &str) -> bool {
    let fits = |pattern: &String| match pattern.split_once('*') {
        None => pattern.eq_ignore_ascii_case(origin),
        Some((start, end)) => {
            origin.len() >= start.len() + end.len() && origin.starts_with(start) && origin.ends_with(end)
        }
    };
    let has = |list: &[String], word: &str| list.iter().any(|it| it == "*" || it.eq_ignore_ascii_case(word));
    rules.iter().find(|rule| rule.allowed_origins().iter().any(fits)).is_some_and(|rule| {
        ["GET", "HEAD", "PUT"].iter().all(|method| has(rule.allowed_methods(), method))
            && has(rule.expose_headers(), "ETag")
    })
}

fn rules_for(origins: &[String]) -> Result<Vec<CorsRule>, String> {
    let file: CorsFile =
        serde_json::from_str(CORS).map_err(|error| format!("infra/spaces/cors.json: {error}"))?;
    let rules = file.rules.into_iter().map(|rule| {
        CorsRule::builder()
            .set_allowed_origins(Some(origins.to_vec()))
            .set_allowed_methods(Some(rule.allowed_methods))
            .set_allowed_headers(Some(rule.allowed_headers))
            .set_expose_headers(Some(rule.expose_headers))
            .max_age_seconds(rule.max_age_seconds)
            .build()
            .map_err(|error| format!("infra/spaces/cors.json: {error}"))
    });
    rules.collect()
}
