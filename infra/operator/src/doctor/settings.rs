//! The variables, and what needs no store.

use std::time::Duration;

use shared::app::connection_pool;
use shared::auth::Policies;
use shared::clock::Deadline;
use shared::config::{Config, LoadError, Needs, SigningConfig};
use shared::kms::KmsKey;
use shared::sealed::Signer;

use super::Variables;
use super::checks::{POLICIES, SIGNING_KEY, VARIABLES};
use crate::Stores;
use crate::report::{Finding, Report};

/// How long KMS may take.
const SIGNING_LIMIT: Duration = Duration::from_secs(15);

/// None: a function would not get as far as its stores.
pub(super) async fn examine(variables: Variables<'_>, report: &mut Report) -> Option<Stores> {
    let config = match Config::load(Needs::ALL, variables, connection_pool()).await {
        Ok(config) => config,
        Err(LoadError::Unavailable(text)) => {
            let remedy = "Check the ARN, and that this role may secretsmanager:GetSecretValue.";
            report.push(Finding::failed(&VARIABLES, text, remedy));
            return None;
        }
        Err(LoadError::Wrong(error)) => {
            for problem in error.problems() {
                report.push(Finding::failed(&VARIABLES, problem, remedy(problem)));
            }
            return None;
        }
    };
    report.push(Finding::ok(&VARIABLES, "all set"));
    report.push(match config.policies.as_deref().map_or_else(Policies::default_set, Policies::parse) {
        Ok(_) if config.policies.is_none() => Finding::ok(&POLICIES, "the default set"),
        Ok(_) => Finding::ok(&POLICIES, "valid"),
        Err(error) => Finding::failed(
            &POLICIES,
            error.to_string(),
            "Mend the file that STORAGE_POLICIES names, or unset it for the default set.",
        ),
    });
    let signing = config.audit.as_ref().and_then(|audit| audit.signing.as_ref());
    report.push(signing_key(signing).await);
    Some(Stores::new(config))
}

async fn signing_key(signing: Option<&SigningConfig>) -> Finding {
    let signer = match signing {
        None => return Finding::skipped(&SIGNING_KEY, "none is configured; only the sealer has one"),
        Some(SigningConfig::Seed(seed)) => match Signer::seed(seed) {
            Ok(signer) => signer,
            Err(error) => {
                let found = format!("AUDIT_SIGNING_KEY {error}");
                return Finding::failed(&SIGNING_KEY, found, "Make one: openssl rand -base64 32");
            }
        },
        Some(SigningConfig::Kms(key)) => Signer::kms(KmsKey::new(key, connection_pool())),
    };
    match signer.check(Deadline::after(SIGNING_LIMIT)).await {
        Ok(key) => Finding::ok(&SIGNING_KEY, format!("signs; its public key is {}", key.to_base64())),
        Err(error) => Finding::failed(
            &SIGNING_KEY,
            error.to_string(),
            "AUDIT_SIGNING_KMS_KEY must be a key of the specification ECC_NIST_EDWARDS25519, of AWS_REGION, with kms:GetPublicKey \
             and kms:Sign for this role.",
        ),
    }
}

/// The setup guide's advice.
fn remedy(problem: &str) -> &'static str {
    let is = |text: &str| problem.contains(text);
    if is("_ARN") {
        "Give the ARN of a secret of AWS Secrets Manager, with :member:: behind it where the secret is JSON, to a role that may \
         secretsmanager:GetSecretValue."
    } else if is("is not set") {
        "Set it; all SPACES_* variables, AWS_REGION, the AWS keys and JWT_SECRET are needed."
    } else if is("white space") {
        "Copy and paste it again, without spaces."
    } else if problem.starts_with("SPACES_ENDPOINT") {
        "Give it as https://{region}.digitaloceanspaces.com, without the bucket; a trailing slash does no harm."
    } else if problem.starts_with("SPACES_REGION") {
        "Make it the region in the endpoint, such as nyc3."
    } else if problem.starts_with("SPACES_BUCKET") {
        "Give the Space's name as the control panel shows it."
    } else if problem.starts_with("JWT_SECRET") {
        "Give it the secret that your identity provider signs tokens with, at least 32 bytes; to make one: openssl rand -base64 48"
    } else if problem.starts_with("AUDIT_SIGNING_KEY ") {
        "Make one of your own: openssl rand -base64 32"
    } else {
        "See the README's list of variables."
    }
}
