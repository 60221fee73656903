//! What pages may do: CORS, asked as a browser asks.

use super::checks::CORS;
use super::probe::{BYTES, Probe};
use crate::report::{Finding, Report};
use crate::web::{Answer, Web, address, life};
use shared::clock;

pub(super) async fn examine(
    probe: &Probe<'_>,
    key: &str,
    origins: &[String],
    web: &Web,
    report: &mut Report,
) {
    if origins.is_empty() {
        report.push(Finding::skipped(&CORS, "no --origin names your pages' origins"));
    }
    for origin in origins {
        let remedy = format!("operator provision --apply --origin {origin}");
        report.push(
            match ask(probe, key, origin, web).await {
                Ok(()) => Finding::ok(&CORS, "may GET and PUT, and reads ETag"),
                Err(text) => Finding::failed(&CORS, text, remedy),
            }
            .about(origin),
        );
    }
}

async fn ask(probe: &Probe<'_>, key: &str, origin: &str, web: &Web) -> Result<(), String> {
    let signed = probe.object_url(key, clock::now()).await?;
    for method in ["GET", "PUT"] {
        let asked = [("origin", origin), ("access-control-request-method", method)];
        let answer = web.send("OPTIONS", &address(&signed), &asked, Vec::new()).await?;
        if !answer.is_success()
            || !allows(&answer, origin)
            || !answer.lists("access-control-allow-methods", method)
        {
            return Err(format!("a preflight for {method} is not allowed (status {})", answer.status));
        }
    }
    let got = web.send_signed(&signed, &[("origin", origin)], Vec::new()).await?;
    if !allows(&got, origin) {
        return Err("a GET is answered without Access-Control-Allow-Origin".into());
    }
    let put = probe.stores.s3.put_object().bucket(probe.stores.bucket()).key(probe.key("page.txt"));
    let put = put.presigned(life(clock::now(), 60)?).await.map_err(|_| "a URL cannot be signed")?;
    let put = web.send_signed(&put, &[("origin", origin)], BYTES.to_vec()).await?;
    if !put.is_success() || !allows(&put, origin) {
        return Err(format!("a PUT is answered without Access-Control-Allow-Origin (status {})", put.status));
    }
    match put.lists("access-control-expose-headers", "etag") {
        true => Ok(()),
        false => Err("a PUT's ETag is not exposed to the page".into()),
    }
}

fn allows(answer: &Answer, origin: &str) -> bool {
    let allowed = answer.header("access-control-allow-origin");
    allowed == "*" || allowed == origin
}
