//! `function <name>`: runs one of the functions as Lambda runs it. `cargo test` builds no other package's executables,
//! so tests that need a function's process start this one.

use std::process::ExitCode;

use shared::Task;
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

const TASKS: [Task; 2] = [maintenance::TASK, seal::TASK];

#[tokio::main]
async fn main() -> ExitCode {
    let name = std::env::args().nth(1).unwrap_or_default();
    if let Some(task) = TASKS.into_iter().find(|task| task.name == name) {
        return shared::run_scheduled(task).await;
    }
    let Some(endpoint) = ENDPOINTS.into_iter().find(|endpoint| endpoint.name == name) else {
        let known = ENDPOINTS.map(|endpoint| endpoint.name).join(", ");
        let tasks = TASKS.map(|task| task.name).join(", ");
        eprintln!("error: there is no function \"{name}\"; there are: {known}, {tasks}");
        return ExitCode::FAILURE;
    };
    shared::run(endpoint).await
}
