//! `function <name>`: runs one of the functions as Lambda runs it. `cargo test` builds no other package's executables,
//! so tests that need a function's process start this one.

use std::process::ExitCode;

use shared::http::Endpoint;

const ENDPOINTS: [Endpoint; 8] = [
    upload::ENDPOINT,
    uploads::ENDPOINT,
    signed_url::ENDPOINT,
    delete::ENDPOINT,
    metadata::ENDPOINT,
    receipt_upload::ENDPOINT,
    app_zip_upload::ENDPOINT,
    audit_logs::ENDPOINT,
];

#[tokio::main]
async fn main() -> ExitCode {
    let name = std::env::args().nth(1).unwrap_or_default();
    if name == maintenance::TASK.name {
        return shared::run_scheduled(maintenance::TASK).await;
    }
    let Some(endpoint) = ENDPOINTS.into_iter().find(|endpoint| endpoint.name == name) else {
        let known = ENDPOINTS.map(|endpoint| endpoint.name).join(", ");
        let task = maintenance::TASK.name;
        eprintln!("error: there is no function \"{name}\"; there are: {known}, {task}");
        return ExitCode::FAILURE;
    };
    shared::run(endpoint).await
}
