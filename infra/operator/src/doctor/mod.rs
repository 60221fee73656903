//! `doctor`: tries out everything that the service needs of its stores, and names what is wrong.
//!
//! It writes objects below `_doctor/` and one row of `storage_state`, all of which it removes; what a run that was killed left
//! behind is removed by the next one, or expires. It never touches a file, and never writes into the audit log: no organisation
//! can be called `_doctor`.

mod archive;
mod browsers;
mod checks;
mod objects;
mod parts;
mod privacy;
mod probe;
mod settings;
mod spaces;
mod tables;

use crate::report::{Report, Verdict};
use crate::web::Web;

pub use checks::CHECKS;
pub(crate) use privacy::is_public;

/// Reads variables from wherever they are.
pub type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Looks at everything, as far as it can be looked at. `origins` are those of the pages that are to reach the bucket.
///
/// # Errors
/// A text, if this machine has no means to send a request.
pub async fn examine(variables: Variables<'_>, origins: &[String]) -> Result<Report, String> {
    let web = Web::new()?;
    let mut report = Report::default();
    let stores = settings::examine(variables, &mut report).await;
    if let Some(stores) = &stores {
        spaces::examine(stores, &web, origins, &mut report).await;
        archive::examine(stores, &web, &mut report).await;
        tables::examine(stores, &mut report).await;
    }
    // Whatever stopped an examination stands before what it left out.
    for group in CHECKS {
        let failed = |verdict| verdict == Verdict::Failed;
        let cause =
            report.findings.iter().rev().find(|finding| {
                failed(finding.verdict) && (stores.is_none() || group.contains(&finding.check))
            });
        let because = cause.map_or_else(
            || "it could not be looked at".to_owned(),
            |cause| format!("not looked at, since {} failed", cause.check.id),
        );
        report.skip_rest(group, &because);
    }
    Ok(report)
}
